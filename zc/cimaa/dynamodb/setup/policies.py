"""The minimal IAM policy of each role, derived from the requests of each call.  Pure.

Agents are identified by the principal's tag ``cimaa-agent``: a user or role with an agent's name in this tag can
read and write the items of that agent, and no others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...entries import CHANGED_KINDS, OWN_KINDS, READ_KINDS, SHARED_KINDS
from .. import regions
from ..entry_records import partition
from ..records import full_name, schemas

#: The tag of a user or role with the name of the agent for which it may report.
TAG = "cimaa-agent"

Actions = Mapping[str, tuple[str, ...]]

_FAULTS_OF_ONE = {"agents": ("GetItem",), "faults": ("Query",)}
# BatchWriteItem is not among them, because it includes the deletion of items.
_RECORDING = {"history": ("PutItem", "Query")}
_REMOVAL = {
    "agents": ("DeleteItem", "GetItem", "PutItem", "UpdateItem"),
    "faults": ("BatchWriteItem", "DeleteItem", "Query"),
    **_RECORDING,
}

_REPORT = {
    "agents": ("GetItem", "PutItem", "UpdateItem"),
    "faults": ("BatchWriteItem", "DeleteItem", "PutItem", "Query"),
    **_RECORDING,
}

#: The actions of each call, by table.  Each entry of a transaction needs the permission for its kind of write.
CALLS: Mapping[str, Actions] = {
    "set_faults": _REPORT,
    "report": _REPORT,
    "wake": {"agents": ("UpdateItem",)},
    "get_faults": _FAULTS_OF_ONE,
    "find_faults of one agent": _FAULTS_OF_ONE,
    "find_faults": {"faults": ("Scan",)},
    "get_agents": {"agents": ("Scan",)},
    "old_agents": {"agents": ("Scan",)},
    "offline_agents": {"agents": ("Scan",)},
    "double_agents": {"agents": ("Scan",)},
    "late_agents": {"agents": ("Scan",)},
    "remove_agent": _REMOVAL,
    "squelch": {"squelches": ("GetItem", "PutItem"), **_RECORDING},
    "unsquelch": {"squelches": ("DeleteItem", "GetItem"), **_RECORDING},
    "get_squelches": {"squelches": ("Scan",)},
    "get_squelch_details": {"squelches": ("Scan",)},
    "lease": {"entries": ("GetItem", "PutItem")},
    "release": {"entries": ("GetItem", "PutItem")},
    "get_leases": {"entries": ("Query",)},
    "forget_lease": {"entries": ("DeleteItem", "GetItem", "PutItem")},
    "get_history of one agent": {"history": ("Query",)},
    "get_history": {"agents": ("Scan",), "history": ("Query",)},
    "faults_at of one agent": {**_FAULTS_OF_ONE, "history": ("Query",)},
    "faults_at": {"agents": ("GetItem", "Scan"), "faults": ("Query", "Scan"), "history": ("Query",)},
    "squelches_at": {"squelches": ("Scan",), "history": ("Query",)},
    "history_start": {},
    "expired_history": {},
    "count_expired_history": {},
    "prune_history": {},
    "dump": {"agents": ("GetItem", "Scan"), "faults": ("Query", "Scan"), "squelches": ("Scan",)},
}
#: What is done with actions.  An agent may put commands of its own, as IAM cannot tell a change from an addition;
#: without a signed action they have no effect.
ACTION_CALLS: Mapping[str, Actions] = {
    "look at an action": {"entries": ("GetItem",)},
    "claim and end commands": {"entries": ("PutItem", "Query")},
    "answer actions": {"answers": ("GetItem", "PutItem")},
    # The descriptions tell what a scan costs.
    "read actions": {
        "entries": ("DescribeTable", "GetItem", "Query", "Scan"),
        "answers": ("DescribeTable", "GetItem", "Scan"),
    },
    "add actions": {"entries": ("GetItem", "PutItem", "Query")},
    "add commands": {"entries": ("PutItem",)},
    "cancel actions": {"entries": ("GetItem", "PutItem", "Query")},
}

_WRITES = (
    *("set_faults", "report", "wake", "remove_agent"),
    *("squelch", "unsquelch", "lease", "release", "forget_lease"),
)
_READS = tuple(call for call in CALLS if call not in _WRITES)
# DynamoDB itself deletes what expired.
_NOTHING = ("history_start", "expired_history", "count_expired_history", "prune_history")


@dataclass(frozen=True, slots=True)
class Role:
    """The permissions of one kind of user."""

    description: str
    #: Calls that are only permitted for the agent in the principal's tag.
    own: tuple[str, ...] = ()
    #: Calls about leases, which belong to all agents.
    entries: tuple[str, ...] = ()
    #: Calls about actions, which belong to all agents; about the agent's own commands; and about its own answers.
    actions: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    #: Calls about the commands of all agents.
    all_commands: tuple[str, ...] = ()
    #: Calls that are permitted for every agent, or do not concern an agent.
    any: tuple[str, ...] = ()
    #: Actions on the tables themselves.
    tables: tuple[str, ...] = ()


ROLES: Mapping[str, Role] = {
    "agent": Role(
        "reports for one agent and removes it, takes leases, answers actions, and reads the squelches",
        own=(
            *("set_faults", "report", "wake", "get_faults", "find_faults of one agent", "remove_agent"),
            *("get_history of one agent", "faults_at of one agent"),
        ),
        entries=("lease", "release", "get_leases"),
        actions=("look at an action",),
        commands=("claim and end commands",),
        answers=("answer actions",),
        any=("get_squelches", "get_squelch_details", *_NOTHING),
    ),
    "operator": Role(
        "reads everything, sets and removes squelches, wakes and removes agents, takes and removes leases,"
        " cancels actions",
        any=(*_READS, "read actions", "squelch", "unsquelch", "wake", "remove_agent"),
        entries=("lease", "release", "forget_lease"),
        actions=("cancel actions",),
    ),
    "investigator": Role(
        "reads everything, sends and cancels actions, wakes agents",
        any=(*_READS, "read actions", "wake"),
        actions=("add actions", "cancel actions"),
        all_commands=("add commands",),
    ),
    "reader": Role("reads everything", any=(*_READS, "read actions")),
    "setup": Role(
        "creates the tables, and checks them",
        any=_NOTHING,
        tables=(
            "CreateTable",
            "DescribeContinuousBackups",
            "DescribeTable",
            "DescribeTimeToLive",
            "ListTagsOfResource",
            "TagResource",
            "UpdateContinuousBackups",
            "UpdateTable",
            "UpdateTimeToLive",
        ),
    ),
}

_OWN = f"${{aws:PrincipalTag/{TAG}}}"
_LEASES = [partition(kind, "") for kind in SHARED_KINDS]
_ACTIONS = [partition(kind, "") for kind in READ_KINDS]
# With a wildcard, which no other pattern has.
_ALL_COMMANDS = [partition(kind, "*") for kind in CHANGED_KINDS]
_COMMANDS = [partition(kind, _OWN) for kind in CHANGED_KINDS]
_ANSWERS = [partition(kind, _OWN) for kind in OWN_KINDS]


def policy(role: str, prefix: str, region: str | None) -> dict[str, Any]:
    """The policy document for one of :data:`ROLES`, for the tables of this prefix.

    It is valid in every account and, without a region, in every region.
    """
    permitted = ROLES[role]
    arns = {table: _arn(full_name(prefix, table), region) for table in schemas}
    statements = [
        _allow(actions, [arns[table]]) | {"Condition": _keys(keys)}
        for calls, keys in (
            (permitted.own, [_OWN]),
            (permitted.entries, _LEASES),
            (permitted.actions, _ACTIONS),
            (permitted.commands, _COMMANDS),
            (permitted.answers, _ANSWERS),
            (permitted.all_commands, _ALL_COMMANDS),
        )
        for table, actions in _needed(calls)
    ]
    statements += [_allow(actions, [arns[table]]) for table, actions in _needed(permitted.any)]
    if permitted.tables:
        statements.append(_allow(permitted.tables, arns.values()))
    return {"Version": "2012-10-17", "Statement": statements}


def _keys(permitted: list[str]) -> dict[str, Any]:
    """The condition that a request names items, and only with these partition keys."""
    return {
        f"ForAllValues:{'StringLike' if permitted == _ALL_COMMANDS else 'StringEquals'}": {
            "dynamodb:LeadingKeys": permitted
        },
        # ForAllValues is true for a request without leading keys, such as a scan.
        "Null": {"dynamodb:LeadingKeys": "false"},
    }


def _needed(calls: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The actions on each table that these calls need."""
    needed: dict[str, set[str]] = {table: set() for table in schemas}
    for call in calls:
        for table, actions in {**CALLS, **ACTION_CALLS}[call].items():
            needed[table].update(actions)
    return [(table, sorted(actions)) for table, actions in needed.items() if actions]


def _allow(actions: Iterable[str], arns: Iterable[str]) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": sorted(arns),
    }


def _arn(table: str, region: str | None) -> str:
    return f"arn:{regions.partition(region or '')}:dynamodb:{region or '*'}:*:table/{table}"
