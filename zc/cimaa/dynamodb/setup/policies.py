"""The least that IAM must permit for each role, derived from one table of what each call sends.  Pure.

Agents are identified by the principal's tag ``cimaa-agent``: a user or role that has an agent's name there can
read and write the items of that agent, and no others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import full_name, schemas
from ..regions import partition

#: The tag of a user or role that holds the name of the agent that it may report for.
TAG = "cimaa-agent"

Actions = Mapping[str, tuple[str, ...]]

_FAULTS_OF_ONE = {"agents": ("GetItem",), "faults": ("Query",)}
_REMOVAL = {"agents": ("DeleteItem", "GetItem", "UpdateItem"), "faults": ("BatchWriteItem", "DeleteItem", "Query")}

#: What each call of the store may do with each table.  Each part of a transaction needs the permission of its kind.
CALLS: Mapping[str, Actions] = {
    "set_faults": {
        "agents": ("GetItem", "PutItem", "UpdateItem"),
        "faults": ("BatchWriteItem", "DeleteItem", "PutItem", "Query"),
    },
    "get_faults": _FAULTS_OF_ONE,
    "find_faults of one agent": _FAULTS_OF_ONE,
    "find_faults": {"faults": ("Scan",)},
    "get_agents": {"agents": ("Scan",)},
    "old_agents": {"agents": ("Scan",)},
    "offline_agents": {"agents": ("Scan",)},
    "double_agents": {"agents": ("Scan",)},
    "remove_agent": _REMOVAL,
    "squelch": {"squelches": ("PutItem",)},
    "unsquelch": {"squelches": ("DeleteItem",)},
    "get_squelches": {"squelches": ("Scan",)},
    "get_squelch_details": {"squelches": ("Scan",)},
    "dump": {"agents": ("GetItem", "Scan"), "faults": ("Query", "Scan"), "squelches": ("Scan",)},
}

_READS = tuple(call for call in CALLS if call.startswith(("get_", "find_", "old_", "offline_", "double_", "dump")))


@dataclass(frozen=True, slots=True)
class Role:
    """Who uses the tables, and for what."""

    description: str
    #: Calls for the agent that the principal is tagged with, and for no other.
    own: tuple[str, ...] = ()
    #: Calls for every agent, and those about no agent.
    any: tuple[str, ...] = ()
    #: What is done to every table as such.
    tables: tuple[str, ...] = ()


ROLES: Mapping[str, Role] = {
    "agent": Role(
        "reports for one agent and removes it, and reads the squelches",
        own=("set_faults", "get_faults", "find_faults of one agent", "remove_agent"),
        any=("get_squelches", "get_squelch_details"),
    ),
    "operator": Role(
        "reads everything, sets and removes squelches, removes agents",
        any=(*_READS, "squelch", "unsquelch", "remove_agent"),
    ),
    "reader": Role("reads everything", any=_READS),
    "setup": Role(
        "makes the tables, and checks them",
        tables=(
            "CreateTable",
            "DescribeContinuousBackups",
            "DescribeTable",
            "ListTagsOfResource",
            "TagResource",
            "UpdateContinuousBackups",
            "UpdateTable",
        ),
    ),
}

_OWN_ITEMS = {
    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"${{aws:PrincipalTag/{TAG}}}"]},
    # A request without leading keys, such as a scan, would match all of none.
    "Null": {"dynamodb:LeadingKeys": "false"},
}


def policy(role: str, prefix: str, region: str | None) -> dict[str, Any]:
    """The policy document for one of :data:`ROLES`, for the tables of this prefix.

    It is valid in whatever account it is used; without a region, in all regions.
    """
    permitted = ROLES[role]
    arns = {table: _arn(full_name(prefix, table), region) for table in schemas}
    statements = [
        _allow(actions, [arns[table]]) | {"Condition": _OWN_ITEMS} for table, actions in _needed(permitted.own)
    ]
    statements += [_allow(actions, [arns[table]]) for table, actions in _needed(permitted.any)]
    if permitted.tables:
        statements.append(_allow(permitted.tables, arns.values()))
    return {"Version": "2012-10-17", "Statement": statements}


def _needed(calls: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The actions that these calls need with each table."""
    needed: dict[str, set[str]] = {table: set() for table in schemas}
    for call in calls:
        for table, actions in CALLS[call].items():
            needed[table].update(actions)
    return [(table, sorted(actions)) for table, actions in needed.items() if actions]


def _allow(actions: Iterable[str], arns: Iterable[str]) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": sorted(arns),
    }


def _arn(table: str, region: str | None) -> str:
    return f"arn:{partition(region or '')}:dynamodb:{region or '*'}:*:table/{table}"
