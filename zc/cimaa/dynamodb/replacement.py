"""The writes that make one agent's row and faults others: all at once, or in parts where that is too much.  Pure.

One transaction writes the changed faults and the row, on condition that the row
is as it was read, which its revision tells.  What does not fit into one is
written in parts, like this:

1. the row is marked: it gets another revision and loses its digest, so that no
   report matches it any more, the last one neither;
2. the faults are written in transactions, each on condition that the mark still stands;
3. the last of them writes the row, too.

If this is interrupted, the mark stays: the next report, whatever it says, finds
out what is there and mends it.

Whoever else writes changes the revision; then no part comes through any more,
however late it is, and all is read and worked out again.  Whoever finds a mark
that is not theirs replaces it before they read the faults, so that none of them
changes behind their back.  (Batches would cost half, but take no conditions: one
that is late could leave faults that are not those of the row.)
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .. import faults
from ..faults import Fault
from . import items
from .items import Item

#: One write in a request of several.
Write = Mapping[str, Mapping[str, Any]]

# DynamoDB's limits for one transaction; of the 4 MB, some are left free.
_ENTRIES, _BYTES = 100, 3 * 1024 * 1024


class ConditionFailed(Exception):  # an outcome that whoever sets a condition reckons with
    """The write was not done, as its condition does not hold."""

    def __init__(self, item: Item | None) -> None:
        """``item`` is what is there instead, if the request asked for it."""
        super().__init__()
        self.item = item


class Change(NamedTuple):
    """The write of one fault: what it becomes (``None``: it goes), its key, and its size on the wire (bytes)."""

    item: Item | None
    key: Item
    size: int

    def entry(self, table: str) -> Write:
        """The change as part of a transaction."""
        if self.item is None:
            return {"Delete": {"TableName": table, "Key": self.key}}
        return {"Put": {"TableName": table, "Item": self.item}}


def changes(agent: str, old: Iterable[Fault], what: faults.Changes) -> list[Change]:
    """The writes that make these changes to the agent's old faults."""
    were = {fault["name"]: fault for fault in old}
    made = []
    for name in what.removed:
        size = items.size(items.encode_fault(agent, were[name]))
        made.append(Change(None, items.fault_key(agent, name), size))
    for fault in what.put:
        item = items.encode_fault(agent, fault)
        made.append(Change(item, items.fault_key(agent, fault["name"]), items.size(item)))
    return made


def parts(changes: Iterable[Change]) -> list[list[Change]]:
    """The changes in parts, of which there is at least one; each fits into a transaction together with the row."""
    found: list[list[Change]] = [[]]
    size = 0
    for change in changes:
        size += change.size
        if len(found[-1]) == _ENTRIES - 1 or size > _BYTES:
            found.append([])
            size = change.size
        found[-1].append(change)
    return found


class Agent:
    """Makes the writes to one agent's row."""

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name

    def touch(self, digest: str, instance: str, now: int) -> dict[str, Any]:
        """The heartbeat is ``now``, if digest and instance still are these: an ``UpdateItem``."""
        return {
            "TableName": self._table,
            "Key": items.agent_key(self._name),
            "UpdateExpression": "SET updated = :now",
            "ConditionExpression": "digest = :digest AND instance = :instance",
            "ExpressionAttributeValues": {
                ":now": items.number(now),
                ":digest": items.text(digest),
                ":instance": items.text(instance),
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def mark(self, revision: str | None, mark: str) -> dict[str, Any]:
        """The row gets the revision ``mark`` and loses its digest, if its revision still is this."""
        condition = _unchanged(revision)
        values = {**condition.get("ExpressionAttributeValues", {}), ":mark": items.text(mark)}
        return {
            "TableName": self._table,
            "Key": items.agent_key(self._name),
            "UpdateExpression": "SET revision = :mark REMOVE digest",
            **condition,
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def check(self, revision: str | None) -> Write:
        """Nothing is written with this in a transaction, unless the row's revision still is this."""
        return {
            "ConditionCheck": {"TableName": self._table, "Key": items.agent_key(self._name), **_unchanged(revision)}
        }

    def write(self, item: Item | None, revision: str | None) -> Write:
        """The row becomes this item, or goes, if its revision still is this."""
        condition = {"TableName": self._table, **_unchanged(revision)}
        if item is None:
            return {"Delete": {"Key": items.agent_key(self._name), **condition}}
        return {"Put": {"Item": item, **condition}}


def _unchanged(revision: str | None) -> dict[str, Any]:
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(revision)"}
    values = {":revision": items.text(revision)}
    return {"ConditionExpression": "revision = :revision", "ExpressionAttributeValues": values}
