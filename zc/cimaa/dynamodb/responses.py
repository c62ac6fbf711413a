"""Validates DynamoDB's responses before botocore parses them.

A proxy, a captive portal or a damaged connection may send anything with any status, and botocore accepts it as a
success, or fails with an ``AttributeError``.  Here each response is compared with botocore's description of the
operation; if it does not match, an error is raised that the caller translates.
"""

from typing import Any

import orjson
from botocore.parsers import ResponseParserError

# The required member of a successful response; all others are optional.
_REQUIRED = {
    "CreateTable": "TableDescription",
    "DescribeContinuousBackups": "ContinuousBackupsDescription",
    "DescribeTable": "Table",
    "DescribeTimeToLive": "TimeToLiveDescription",
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
    """The response does not come from DynamoDB."""

    def __init__(self) -> None:
        """Its text explains "gave an invalid response"."""
        super().__init__("it does not come from DynamoDB")


def check(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_others: object
) -> None:
    """Handle botocore's event ``before-parse``: validate the response, and take the items of a page out of it.

    botocore takes ten times as long to parse the items as it takes to read the JSON.

    :raises InvalidResponse: if a successful response does not match the operation.
    """
    body = _json(response_dict["body"])
    if response_dict["status_code"] != 200:
        if not _is_error(body, operation_model):
            text = response_dict["body"].decode(errors="replace")
            response_dict["body"] = orjson.dumps({"message": text})  # then the HTTP status is the error code
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
    """True if the JSON value has the types of botocore's description; members may be missing."""
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
