"""What is written for a report, a removal or a squelch, in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .. import agents, faults, history
from ..agents import Instance, Row
from ..faults import FaultDict, Report
from ..history import Event
from ..squelches import StoredSquelch
from . import event_log, records
from .heartbeats import NO_SLOT, Heartbeats
from .records import Condition, Transaction

#: How old (microseconds) the time in a row may be: a power failure may lose the heartbeats since.
WRITE_THROUGH: Final = 15 * 60 * agents.MICROSECONDS


class Recording(NamedTuple):
    """What a write does about the history."""

    #: False if it records nothing.
    keep: bool
    #: The time (microseconds) before which events are past their time.
    start: int


class Writer(NamedTuple):
    """An instance that reports for an agent, whose lock it holds."""

    agent: str
    heartbeats: Heartbeats
    instance: Instance
    now: int


def unchanged(row: bytes | None, condition: Condition) -> records.Head | None:
    """The head of a row that meets the condition."""
    return None if row is None or not records.is_unchanged(row, condition) else records.head(row)


def is_silent(heartbeats: Heartbeats, head: records.Head, within: int, now: int) -> bool:
    """True if the report at ``now`` comes after a silence, according to the row with this head."""
    updated, tolerance = _latest(heartbeats, head)
    return agents.is_silent(Row(updated, "", "", (), within), now, tolerance)


def _latest(heartbeats: Heartbeats, head: records.Head) -> tuple[int, int]:
    """The heartbeat, and how much older it may be than the last report (both in microseconds)."""
    updated, certain = heartbeats.latest(head)
    return updated, 0 if certain else WRITE_THROUGH


def write_through(
    transaction: Transaction, heartbeats: Heartbeats, key: bytes, condition: Condition, now: int
) -> bytes | None:
    """Write a heartbeat to the row itself, which gets a slot if it has none; ``None`` if the condition is not met.

    The row is read again: if the file of heartbeats was replaced, the agent's lock did not exclude others.
    """
    row = transaction.get(key)
    if row is None or not records.is_unchanged(row, condition):
        return None
    _, _, slot, _ = records.head(row)
    if slot == NO_SLOT:
        slot = _take_slot(transaction, heartbeats)
    touched = records.touched(row, now, slot)
    transaction.put(key, touched)
    return touched


def confirm(heartbeats: Heartbeats, row: bytes, within: int | None) -> None:
    """Write the heartbeat of a new row to its slot too, if it matters that there was no later one."""
    if within is not None:
        updated, revision, slot, _ = records.head(row)
        heartbeats.write(slot, revision, updated)


def replace(
    transaction: Transaction,
    writer: Writer,
    report: Report,
    within: int | None,
    recording: Recording,
    *,
    unmark: bool,
) -> tuple[bytes, bool]:
    """Write a report; return the agent's new row, and whether its mark was removed."""
    agent, heartbeats, instance, now = writer
    name = agent.encode()
    stored, encoded = transaction.get(records.AGENT + name), transaction.get(records.FAULTS + name)
    old = records.decode_faults(encoded)
    known = _Known(None, 0, NO_SLOT, None) if stored is None else _known(stored, writer)
    last = event_log.last(transaction, agent) if stored is None else None
    new = history.replacement(
        *(agent, known.row, old, report, instance, within, now),
        keep=recording.keep,
        last=last,
        tolerance=known.tolerance,
        unmark=unmark,
    )
    slot = _take_slot(transaction, heartbeats) if known.slot == NO_SLOT else known.slot
    reworded = records.reworded(stored) if stored is not None else last.time if last is not None else 0
    if new.changes.put or new.changes.removed:
        were = {fault["name"]: fault for fault in old}
        if _rewords(were, new):
            reworded = new.row.written
        _put_faults(transaction, records.FAULTS + name, _changed(were, new.changes))
    value = _encoded(new.row, slot, reworded, known)
    transaction.put(records.AGENT + name, value)
    _record(transaction, new.events, recording)
    return value, new.woken


def wake(transaction: Transaction, keys: Sequence[bytes]) -> int:
    """Mark the rows with these keys, where there are any; return how many there are."""
    found = 0
    for key in keys:
        row = transaction.get(key)
        if row is not None:
            found += 1
            transaction.put(key, records.marked(row))
    return found


class _Known(NamedTuple):
    """What the file has of an agent that reports."""

    row: Row | None
    #: How much older its heartbeat may be than the last report (microseconds).
    tolerance: int
    slot: int
    #: The instances, encoded, if the report leaves them as they are; the row has none then.
    instances: bytes | None
    number: int = 0


def _known(stored: bytes, writer: Writer) -> _Known:
    head = records.head(stored)
    _, _, slot, number = head
    updated, tolerance = _latest(writer.heartbeats, head)
    row, instances = records.decode_row_start(stored, updated), records.encoded_instances(stored)
    if agents.is_same_reporter(row, writer.instance, writer.now) and records.remembers(instances, writer.instance):
        return _Known(row, tolerance, slot, instances, number)
    return _Known(records.decode_row(stored, updated), tolerance, slot, None)


def _encoded(row: Row, slot: int, reworded: int, known: _Known) -> bytes:
    if known.instances is None:
        return records.encode_row(row, slot, reworded=reworded)
    return records.encode_row_start(row, slot, known.number, reworded=reworded) + known.instances


def _rewords(were: Mapping[str, FaultDict], new: history.Replacement) -> bool:
    """True if a fault gets another message than its last event has; ``were`` has the faults before by name."""
    stated = {event.fault: event.message for event in new.events if event.kind in history.STATED}
    for fault in new.changes.put:
        name = fault["name"]
        last = stated.get(name, were[name]["message"] if name in were else None)
        if last != fault["message"]:
            return True
    return False


def _put_faults(transaction: Transaction, key: bytes, listed: list[FaultDict]) -> None:
    if listed:
        transaction.put(key, records.encode_faults(listed))
    else:
        transaction.delete(key)


def _changed(stored: dict[str, FaultDict], changes: faults.Changes) -> list[FaultDict]:
    """The faults as they are to be stored, sorted by name; ``stored`` has them by name, and is changed."""
    for name in changes.removed:
        del stored[name]
    left = len(stored)
    for fault in changes.put:
        stored[fault["name"]] = fault
    listed = [*stored.values()]
    if len(listed) > left:
        listed.sort(key=faults.by_name)
    return listed


def remove(
    transaction: Transaction,
    heartbeats: Heartbeats,
    agent: str,
    user: str | None,
    now: int,
    recording: Recording,
    *,
    whole: bool,
) -> None:
    """Remove an agent and its faults.

    If not ``whole``, the history has no room for the faults, and says that it is not complete before.
    """
    name = agent.encode()
    stored, encoded = transaction.pop(records.AGENT + name), transaction.pop(records.FAULTS + name)
    if stored is None:
        return
    head = records.head(stored)
    if (slot := head[2]) != NO_SLOT:
        transaction.put(records.free_slot_key(slot), b"")
    if recording.keep:
        updated, tolerance = _latest(heartbeats, head)
        row = records.decode_row_start(stored, updated)
        if whole:
            old = records.decode_faults(encoded)
        else:
            row, old = row._replace(recorded=None), []
        _record(transaction, history.removal(agent, row, old, user, now, tolerance), recording)


def replace_squelch(
    transaction: Transaction, regex: str, new: StoredSquelch | None, user: str | None, now: int, recording: Recording
) -> None:
    """Add, replace or remove (``new`` is ``None``) the squelch with this regular expression."""
    key = records.squelch_key(regex)
    stored = transaction.pop(key)
    if new is not None:
        transaction.put(key, records.encode_squelch(new))
    if recording.keep:
        old = None if stored is None else records.decode_squelch(stored)
        last = event_log.last(transaction, history.SQUELCHES)
        _record(transaction, history.squelched(old, new, user, now, last), recording)


def _record(transaction: Transaction, events: Sequence[Event], recording: Recording) -> None:
    """Store the events of this write, and drop a few that are past their time."""
    if events:
        event_log.append(transaction, events)
        event_log.prune(transaction, recording.start)


def _take_slot(transaction: Transaction, heartbeats: Heartbeats) -> int:
    """A slot for a row that has none: one that is free again, or one more; none if there is no space for it."""
    free = next(records.of_kind(transaction, records.FREE_SLOT), None)
    used = records.slots(transaction.get(records.SLOTS_KEY))
    slot = used if free is None else records.free_slot(free[0])
    if not heartbeats.allocate(slot):
        return NO_SLOT
    if free is None:
        transaction.put(records.SLOTS_KEY, b"%d" % (used + 1))
    else:
        transaction.delete(free[0])
    return slot
