"""Checks that a response is one of DynamoDB's, before botocore parses it.

Whatever answers at the address (a proxy, a captive portal, a damaged line) may send anything with any status.
botocore takes what it finds for a success, or fails with an ``AttributeError`` of its own.  Here every response is
compared with botocore's description of the operation: what does not fit is an error that the caller translates.
"""

from typing import Any

import orjson
from botocore.parsers import ResponseParserError

# What a successful response must have; everything else may be left out.
_REQUIRED = {
    "CreateTable": "TableDescription",
    "DescribeContinuousBackups": "ContinuousBackupsDescription",
    "DescribeTable": "Table",
    "Query": "Items",
    "Scan": "Items",
}
_PAGED = ("Query", "Scan")
_TYPES: dict[str, tuple[type, ...]] = {
    "blob": (str,),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    "integer": (int,),
    "list": (list,),
    "long": (int,),
    "map": (dict,),
    "string": (str,),
    "structure": (dict,),
    "timestamp": (int, float),
}


class InvalidResponse(ResponseParserError):  # type: ignore[misc]  # botocore ships no types
    """The response is not one of DynamoDB's."""

    def __init__(self) -> None:
        """Its text completes "gave an invalid response"."""
        super().__init__("it is not one of DynamoDB's")


def check(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_others: object
) -> None:
    """A handler of botocore's event ``before-parse``: check the response, and take the items of a page as they are.

    botocore's own parsing of the items takes ten times as long as reading the JSON.

    :raises InvalidResponse: for a success that does not fit the operation.
    """
    body = _json(response_dict["body"])
    if response_dict["status_code"] != 200:
        if not _is_error(body, operation_model):
            text = response_dict["body"].decode(errors="replace")
            response_dict["body"] = orjson.dumps({"message": text})  # the status is the code, then
        return
    required = _REQUIRED.get(operation_model.name)
    if not isinstance(body, dict) or (required is not None and body.get(required) is None):
        raise InvalidResponse
    if operation_model.name in _PAGED:
        customized_response_dict["Items"] = items = body.pop("Items")
        if not isinstance(items, list):
            raise InvalidResponse
        response_dict["body"] = orjson.dumps(body)
    if not fits(body, operation_model.output_shape):
        raise InvalidResponse


def fits(value: Any, shape: Any) -> bool:
    """True if the JSON value has the types that botocore's description of it says; a missing member fits."""
    if value is None or shape is None:
        return True
    kind: str = shape.type_name
    right: bool = isinstance(value, _TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean")
    if not right:
        return False
    if kind == "structure":
        return all(fits(value.get(name), member) for name, member in shape.members.items())
    if kind == "list":
        return all(one is not None and fits(one, shape.member) for one in value)
    if kind == "map":
        return all(one is not None and fits(one, shape.value) for one in value.values())
    return True


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def _is_error(body: Any, operation_model: Any) -> bool:
    """True if the body of a response with an error status is one that botocore can parse."""
    if not isinstance(body, dict):
        return False
    shapes = operation_model.service_model.error_shapes
    texts = (body.get(key, "") for key in ("__type", "code", "message", "Message"))
    return all(isinstance(text, str) for text in texts) and all(fits(body, one) for one in shapes)
