"""The least that IAM must permit for each role, as policies.  Pure.

The policies go by the principal's tag ``cimaa-agent``: an agent's user or role that
has its name there can write the items of that name, and no others.
"""

from collections.abc import Iterable
from typing import Any

from ..records import full_name, schemas
from ..regions import partition

#: The tag of a user or a role that holds the name of the agent that it may report for.
TAG = "cimaa-agent"

ROLES = {
    "agent": "reports for one agent and removes it, and reads the squelches",
    "operator": "reads everything, sets and removes squelches, removes agents",
    "reader": "reads everything",
    "setup": "makes the tables",
}

_READ = ("GetItem", "Query", "Scan")
_AGENT = {
    "agents": ("DeleteItem", "GetItem", "PutItem", "UpdateItem"),
    "faults": ("BatchWriteItem", "DeleteItem", "PutItem", "Query"),
}
_OPERATOR = {
    "agents": ("DeleteItem", "UpdateItem"),
    "faults": ("BatchWriteItem", "DeleteItem"),
    "squelches": ("DeleteItem", "PutItem"),
}
_SETUP = (
    "CreateTable",
    "DescribeContinuousBackups",
    "DescribeTable",
    "ListTagsOfResource",
    "TagResource",
    "UpdateContinuousBackups",
    "UpdateTable",
)


def policy(role: str, prefix: str, region: str | None) -> dict[str, Any]:
    """The policy document for one of :data:`ROLES`, for the tables of this prefix.

    It is for whichever account it is put into; without a region, for all regions.
    """
    arns = {table: _arn(full_name(prefix, table), region) for table in schemas}
    if role == "agent":
        own = {
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"${{aws:PrincipalTag/{TAG}}}"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        }
        statements = [_allow(actions, [arns[table]]) | {"Condition": own} for table, actions in _AGENT.items()]
        statements.append(_allow(["Scan"], [arns["squelches"]]))
    elif role == "setup":
        statements = [_allow(_SETUP, arns.values())]
    else:
        statements = [_allow(_READ, arns.values())]
        if role == "operator":
            statements += [_allow(actions, [arns[table]]) for table, actions in _OPERATOR.items()]
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: Iterable[str], arns: Iterable[str]) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": sorted(arns),
    }


def _arn(table: str, region: str | None) -> str:
    return f"arn:{partition(region or '')}:dynamodb:{region or '*'}:*:table/{table}"
