"""The writes that change one agent's row and faults: in one transaction, or in batches if that is too large.  Pure.

One transaction writes the changed faults and the row, on condition that the row's
revision is still the one that was read.  If the changes do not fit into one
transaction, they are written in three steps:

1. the row is marked: it gets another revision and loses its digest, so that no
   report matches it, not even the last one;
2. the faults are written in batches;
3. the row is written, on condition that it still has the mark.

If another writer changed the revision, the last step fails, and everything is read
and computed again.  After an interruption the mark remains, and the next report reads
what is stored and completes it.

But batches cannot have conditions.  (Transactions can, and cost twice as much.)  A
batch of a slow report may arrive after another writer found its mark and wrote the row
and the faults.  So a row that replaces a mark is unsettled until the time that it
contains: until then no report counts as unchanged; each reads what is stored and
corrects it.  The mark is renewed while batches are written, so a writer that lost it
stops long before that time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import faults
from ..agents import MICROSECONDS
from ..faults import FaultDict
from . import records
from .records import Item, Stored

#: One write in a request of several.
Write = Mapping[str, Mapping[str, Any]]

# DynamoDB's limits for one transaction (4 MB, of which some is left free), and for one batch.
_ENTRIES, _BYTES = 100, 3 * 1024 * 1024
_BATCH = 25

#: Seconds: how long batches are written before the mark is renewed, and how long a row that replaces another writer's
#: mark is unsettled.  The difference is the time that one batch may take, with all its retries.
MARK, UNSETTLED = 60, 15 * 60


class ConditionFailed(Exception):  # the caller that sets a condition expects this outcome
    """The write was not done, because its condition failed."""

    def __init__(self, item: Item | None) -> None:
        """``item`` is the stored item, if the request asked for it."""
        super().__init__()
        self.item = item


class Change(NamedTuple):
    """The write of one fault: its new item (``None``: delete it), its key, and its encoded size (bytes)."""

    item: Item | None
    key: Item
    size: int

    def entry(self, table: str) -> Write:
        """The change as an entry of a transaction."""
        if self.item is None:
            return {"Delete": {"TableName": table, "Key": self.key}}
        return {"Put": {"TableName": table, "Item": self.item}}

    def request(self) -> Write:
        """The change as an entry of a batch."""
        return {"DeleteRequest": {"Key": self.key}} if self.item is None else {"PutRequest": {"Item": self.item}}


def changes(agent: str, old: Iterable[FaultDict], what: faults.Changes) -> list[Change]:
    """The writes of these changes to the agent's old faults."""
    were = {fault["name"]: fault for fault in old}
    made = []
    for name in what.removed:
        size = records.size(records.encode_fault(agent, were[name]))
        made.append(Change(None, records.fault_key(agent, name), size))
    for fault in what.put:
        item = records.encode_fault(agent, fault)
        made.append(Change(item, records.fault_key(agent, fault["name"]), records.size(item)))
    return made


def unsettled_until(stored: Stored, now: int) -> int | None:
    """The time (microseconds) until which a row that replaces the stored one now is unsettled; ``None``: it is not."""
    longest = now + UNSETTLED * MICROSECONDS
    if stored.unfinished:
        return longest
    # The time must not be extended by a clock that was set back.
    until = stored.unsettled_until
    return min(until, longest) if until is not None and until > now else None


def fit(changes: Sequence[Change]) -> bool:
    """True if the changes and the row fit into one transaction."""
    return len(changes) < _ENTRIES and sum(change.size for change in changes) <= _BYTES


def batches(changes: Sequence[Change]) -> list[list[Write]]:
    """The changes, in batches."""
    requests = [change.request() for change in changes]
    return [requests[start : start + _BATCH] for start in range(0, len(requests), _BATCH)]


class AgentWrites:
    """The writes to one agent's row."""

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name

    def touch(self, digest: str, instance: str, now: int) -> dict[str, Any]:
        """Set the heartbeat to ``now``, if the row has this digest and instance, and is settled (``UpdateItem``)."""
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
        """Give the row the revision ``mark``, and remove its digest, if it has this revision (``UpdateItem``)."""
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
        """Replace the row by this item, or delete it, if it still has this revision."""
        condition = {"TableName": self._table, **_unchanged(revision)}
        if item is None:
            return {"Delete": {"Key": records.agent_key(self._name), **condition}}
        return {"Put": {"Item": item, **condition}}


def _unchanged(revision: str | None) -> dict[str, Any]:
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(revision)"}
    values = {":revision": records.text(revision)}
    return {"ConditionExpression": "revision = :revision", "ExpressionAttributeValues": values}
