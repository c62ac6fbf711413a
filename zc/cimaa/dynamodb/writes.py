"""The writes that change one agent's row and faults: in one transaction, or in batches if that is too large.  Pure.

One transaction writes the changed faults, their events and the row, on condition that
the row's revision is still the one that was read.  If they do not fit into one
transaction, they are written in steps:

1. the undo log is written: how the faults that change were before;
2. the row is marked: it gets another revision and loses its digest, so that no
   report matches it, not even the last one; it names the undo log;
3. all parts of the events but the last are written, and the faults in batches;
4. the row and the last part of the events are written in one transaction, on condition
   that the row still has the mark.  Without that part, the others do not count.

If another writer changed the revision, the last step fails, and everything is read
and computed again.  After an interruption the mark remains, and the next report reads
what is stored and completes it: it writes the difference to the faults that it finds,
and records the difference to those before the interrupted report.

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
from ..agents import MICROSECONDS, Touch
from ..faults import Changes, FaultDict
from ..history import Event
from . import records
from .history_records import UndoLog
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
        return replace(table, self.item, self.key)

    def request(self) -> Write:
        """The change as an entry of a batch."""
        return {"DeleteRequest": {"Key": self.key}} if self.item is None else {"PutRequest": {"Item": self.item}}


class PlannedWrite(NamedTuple):
    """What one write makes of an agent."""

    #: The agent's new item; ``None``: delete it.
    row: Item | None
    #: The faults after the last complete write, and what becomes of them.
    old: list[FaultDict]
    changes: Changes
    events: Sequence[Event]
    #: True if history is kept, so that an interrupted write must be undone.
    keep: bool


def changes(agent: str, old: Iterable[FaultDict], what: Changes) -> list[Change]:
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


def corrected(found: Iterable[FaultDict], old: Iterable[FaultDict], what: Changes) -> Changes:
    """The changes to the faults that were found, so that they become what ``what`` makes of the ``old`` ones.

    They differ after an interrupted write.
    """
    removed = {*what.removed}
    wanted = {fault["name"]: fault for fault in (*old, *what.put) if fault["name"] not in removed}
    names = _different(found, wanted.values())
    return Changes([wanted[name] for name in names if name in wanted], [name for name in names if name not in wanted])


def undo_log(found: Iterable[FaultDict], old: Sequence[FaultDict], what: Changes) -> UndoLog:
    """What leads back to the ``old`` faults while these changes are made to those that were found."""
    were = {fault["name"]: fault for fault in old}
    names = {*_different(found, old), *what.removed, *(fault["name"] for fault in what.put)}
    return UndoLog(faults.digest(old), {name: were.get(name) for name in sorted(names)})


def _different(one: Iterable[FaultDict], other: Iterable[FaultDict]) -> list[str]:
    """The names of the faults that are not the same in both."""
    here, there = ({fault["name"]: faults.encode(fault) for fault in listed} for listed in (one, other))
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))


def unsettled_until(stored: Stored, now: int) -> int | None:
    """The time (microseconds) until which a row that replaces the stored one now is unsettled; ``None``: it is not."""
    longest = now + UNSETTLED * MICROSECONDS
    if stored.unfinished:
        return longest
    # The time must not be extended by a clock that was set back.
    until = stored.unsettled_until
    return min(until, longest) if until is not None and until > now else None


def fit(changes: Sequence[Change], events: Sequence[Item]) -> bool:
    """True if the changes, the events and the row fit into one transaction."""
    size = sum(change.size for change in changes) + sum(map(records.size, events))
    return len(events) <= 1 and len(changes) <= _ENTRIES - 2 and size <= _BYTES


def replace(
    table: str, item: Item | None, key: Item | None = None, condition: Mapping[str, Any] | None = None
) -> Write:
    """Put the item, or delete the one with this key (``None``), as an entry of a transaction."""
    common = {"TableName": table, **(condition or {})}
    return {"Delete": {"Key": key, **common}} if item is None else {"Put": {"Item": item, **common}}


def unchanged(revision: str | None) -> dict[str, Any]:
    """The condition that an item has this revision, or none."""
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(revision)"}
    values = {":revision": records.text(revision)}
    return {"ConditionExpression": "revision = :revision", "ExpressionAttributeValues": values}


def batches(changes: Sequence[Change]) -> list[list[Write]]:
    """The changes, in batches."""
    requests = [change.request() for change in changes]
    return [requests[start : start + _BATCH] for start in range(0, len(requests), _BATCH)]


class AgentWrites:
    """The writes to one agent's row."""

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name

    def touch(self, touch: Touch, now: int) -> dict[str, Any]:
        """Set the heartbeat to ``now``, if ``touch`` holds for the row, and it is settled (``UpdateItem``)."""
        values = {
            ":now": records.number(now),
            ":digest": records.text(touch.digest),
            ":instance": records.text(touch.instance),
        }
        condition = "digest = :digest AND instance = :instance AND attribute_not_exists(doubt)"
        if touch.unmarked:
            condition += " AND attribute_not_exists(woken)"
        due = "attribute_not_exists(#within)"
        if touch.within is not None:
            due = "#within = :within AND updated >= :due"
            values[":within"] = records.number(touch.within)
            values[":due"] = records.number(now - touch.within * MICROSECONDS)
        return {
            "TableName": self._table,
            "Key": records.agent_key(self._name),
            "UpdateExpression": "SET updated = :now",
            "ConditionExpression": f"{condition} AND {due}",
            "ExpressionAttributeNames": {"#within": "within"},  # a reserved word of DynamoDB
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def mark(self, revision: str | None, mark: str, undo: str | None) -> dict[str, Any]:
        """Give the row the revision ``mark``, and remove its digest, if it has this revision (``UpdateItem``).

        ``undo`` is the revision of the undo log, if there is one.
        """
        condition = unchanged(revision)
        values = {**condition.get("ExpressionAttributeValues", {}), ":mark": records.text(mark)}
        # The item of an agent that was removed would expire.
        change = "SET revision = :mark REMOVE digest, expires, #undo"
        if undo is not None:
            values[":undo"] = records.text(undo)
            change = "SET revision = :mark, #undo = :undo REMOVE digest, expires"
        return {
            "TableName": self._table,
            "Key": records.agent_key(self._name),
            "UpdateExpression": change,
            **condition,
            "ExpressionAttributeNames": {"#undo": "undo"},  # a reserved word of DynamoDB
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def wake(self, revision: str) -> dict[str, Any]:
        """Mark the row as woken, and give it this revision, if there is a row without such a mark (``UpdateItem``).

        The revision makes a report that was computed before, without the mark, fail.
        """
        return {
            "TableName": self._table,
            "Key": records.agent_key(self._name),
            "UpdateExpression": "SET woken = :woken, revision = :revision",
            "ConditionExpression": "attribute_exists(updated) AND attribute_not_exists(woken)",
            "ExpressionAttributeValues": {":woken": records.WOKEN, ":revision": records.text(revision)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def write(self, item: Item | None, revision: str | None) -> Write:
        """Replace the row by this item, or delete it, if it still has this revision."""
        return replace(self._table, item, records.agent_key(self._name), unchanged(revision))
