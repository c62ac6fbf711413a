"""IAM in front of a server with DynamoDB's protocol: it denies what a policy does not permit."""

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.dynamodb_servers import Answer, Proxy
from zc.cimaa.dynamodb import schemas

# The permissions that the parts of a transaction need.
PARTS = {"Put": "PutItem", "Delete": "DeleteItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem"}


class Need(NamedTuple):
    """A permission that a request needs, with the partition keys that it names; ``None``: it names none."""

    action: str
    table: str
    keys: frozenset[str] | None


def needs(operation: str, body: dict[str, Any]) -> Iterator[Need]:
    """The permissions that a request needs."""
    if operation == "TransactWriteItems":
        for entry in body["TransactItems"]:
            for kind, part in entry.items():
                yield _need(PARTS[kind], part["TableName"], [part.get("Item") or part["Key"]])
    elif operation == "BatchWriteItem":
        for table, writes in body["RequestItems"].items():
            parts = [part for write in writes for part in write.values()]
            yield _need(operation, table, [part.get("Item") or part["Key"] for part in parts])
    elif operation == "Query":
        match = re.match(r"(#(\w+)) = :\2(?= AND |$)", body["KeyConditionExpression"])
        assert match is not None
        placeholder, key = match.groups()
        assert body["ExpressionAttributeNames"][placeholder] == key
        yield _need(operation, body["TableName"], [{key: body["ExpressionAttributeValues"][f":{key}"]}])
    elif "ResourceArn" in body:
        yield Need(operation, body["ResourceArn"].rpartition("/")[2], None)
    else:
        item = body.get("Item") or body.get("Key")
        yield _need(operation, body["TableName"], [item] if item else None)


def _need(action: str, table: str, items: list[Any] | None) -> Need:
    if items is None:
        return Need(action, table, None)
    key = schemas[table.rpartition(".")[2]][0]["AttributeName"]
    return Need(action, table, frozenset(item[key]["S"] for item in items))


def permits(policy: dict[str, Any], need: Need, tag: str) -> bool:
    """True if a statement of the policy allows it to a principal whose tag ``cimaa-agent`` is this."""
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{need.table}"
    return any(
        statement["Effect"] == "Allow"
        and f"dynamodb:{need.action}" in statement["Action"]
        and any(fnmatch.fnmatchcase(arn, pattern) for pattern in statement["Resource"])
        and all(_holds(name, condition, need, tag) for name, condition in statement.get("Condition", {}).items())
        for statement in policy["Statement"]
    )


def _holds(name: str, condition: dict[str, Any], need: Need, tag: str) -> bool:
    [(key, wanted)] = condition.items()
    assert key == "dynamodb:LeadingKeys"
    if name == "Null":
        return (need.keys is None) == (wanted == "true")
    keys = need.keys or frozenset()
    if name == "ForAllValues:StringLike":
        return all(any(fnmatch.fnmatchcase(key, pattern) for pattern in wanted) for key in keys)
    assert name == "ForAllValues:StringEquals"
    allowed = {text.replace("${aws:PrincipalTag/cimaa-agent}", tag) for text in wanted}
    return keys <= allowed  # IAM: all of no values match


class Guard(Proxy):
    """Forwards what the policy permits to a principal with this tag, and denies the rest like AWS."""

    def __init__(self, target: str, policy: dict[str, Any], tag: str) -> None:
        super().__init__(target)
        self._policy, self._tag = policy, tag
        #: What was refused.
        self.refused: list[Need] = []

    def answer(self, headers: dict[str, str], body: dict[str, Any]) -> Answer | None:
        operation = headers["X-Amz-Target"].partition(".")[2]
        for need in needs(operation, body):
            if not permits(self._policy, need, self._tag):
                self.refused.append(need)
                said = f"User: x is not authorized to perform: dynamodb:{need.action} on resource: {need.table}"
                refusal = {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": said}
                return Answer(400, json.dumps(refusal).encode())
        return super().answer(headers, body)
