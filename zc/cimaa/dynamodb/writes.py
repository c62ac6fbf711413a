"""The writes that make one agent's row and faults others: all at once, or in parts where that is too much.  Pure.

One transaction writes the changed faults and the row, on condition that the row
is as it was read, which its revision tells.  What does not fit into one is
written in parts, like this:

1. the row is marked: it gets another revision and loses its digest, so that no
   report matches it any more, the last one neither;
2. the faults are written, in batches;
3. the row is written, on condition that the mark still stands.

Whoever else writes in between changes the revision, so the last step fails, and all
is read and worked out again.  If it is interrupted, the mark stays: the next
report, whatever it says, finds out what is there and mends it.

But batches take no conditions.  (Transactions do, and cost twice as much.)  One of a
slow report may come after somebody else found its mark and wrote row and faults.
So what is written in place of a mark is in doubt for a while, as its row says: no
report passes for an unchanged one, each looks what is there, and mends it.  The
mark is renewed in time, so that whoever lost it stops long before the doubt ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import faults
from ..agents import MICROSECONDS
from ..faults import Fault
from . import records
from .records import Item, Stored

#: One write in a request of several.
Write = Mapping[str, Mapping[str, Any]]

# DynamoDB's limits for one transaction (of the 4 MB, some are left free), and for one batch.
_ENTRIES, _BYTES = 100, 3 * 1024 * 1024
_BATCH = 25

#: Seconds: how long batches may be written after the mark, and how long what is written in place of another's is in
#: doubt.  Between the two lies the time that one batch may take, with all that is tried again.
MARK, DOUBT = 60, 15 * 60


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

    def request(self) -> Write:
        """The change as part of a batch."""
        return {"DeleteRequest": {"Key": self.key}} if self.item is None else {"PutRequest": {"Item": self.item}}


def changes(agent: str, old: Iterable[Fault], what: faults.Changes) -> list[Change]:
    """The writes that make these changes to the agent's old faults."""
    were = {fault["name"]: fault for fault in old}
    made = []
    for name in what.removed:
        size = records.size(records.encode_fault(agent, were[name]))
        made.append(Change(None, records.fault_key(agent, name), size))
    for fault in what.put:
        item = records.encode_fault(agent, fault)
        made.append(Change(item, records.fault_key(agent, fault["name"]), records.size(item)))
    return made


def doubt(stored: Stored, now: int) -> int | None:
    """Until when (microseconds) what is written now, in place of what is stored, is in doubt; ``None``: it is not."""
    longest = now + DOUBT * MICROSECONDS
    if stored.unfinished:
        return longest
    # A clock that was set back makes no doubt longer.
    return min(stored.doubt, longest) if stored.doubt is not None and stored.doubt > now else None


def fit(changes: Sequence[Change]) -> bool:
    """True if one transaction takes the changes together with the row."""
    return len(changes) < _ENTRIES and sum(change.size for change in changes) <= _BYTES


def batches(changes: Sequence[Change]) -> list[list[Write]]:
    """The changes in batches."""
    requests = [change.request() for change in changes]
    return [requests[start : start + _BATCH] for start in range(0, len(requests), _BATCH)]


class AgentWrites:
    """Makes the writes to one agent's row."""

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name

    def touch(self, digest: str, instance: str, now: int) -> dict[str, Any]:
        """The heartbeat is ``now``, if digest and instance still are these, beyond doubt: an ``UpdateItem``."""
        return {
            "TableName": self._table,
            "Key": records.agent_key(self._name),
            "UpdateExpression": "SET updated = :now",
            "ConditionExpression": "digest = :digest AND instance = :instance AND attribute_not_exists(doubt)",
            "ExpressionAttributeValues": {
                ":now": records.number(now),
                ":digest": records.text(digest),
                ":instance": records.text(instance),
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def mark(self, revision: str | None, mark: str) -> dict[str, Any]:
        """The row gets the revision ``mark`` and loses its digest, if its revision still is this."""
        condition = _unchanged(revision)
        values = {**condition.get("ExpressionAttributeValues", {}), ":mark": records.text(mark)}
        return {
            "TableName": self._table,
            "Key": records.agent_key(self._name),
            "UpdateExpression": "SET revision = :mark REMOVE digest",
            **condition,
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def write(self, item: Item | None, revision: str | None) -> Write:
        """The row becomes this item, or goes, if its revision still is this."""
        condition = {"TableName": self._table, **_unchanged(revision)}
        if item is None:
            return {"Delete": {"Key": records.agent_key(self._name), **condition}}
        return {"Put": {"Item": item, **condition}}


def _unchanged(revision: str | None) -> dict[str, Any]:
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(revision)"}
    values = {":revision": records.text(revision)}
    return {"ConditionExpression": "revision = :revision", "ExpressionAttributeValues": values}
