"""What happened: the events that writes record, and what they say about an earlier moment.  Pure.

All events of one write have the same time.  An agent's events are ordered: each write is
later than the one before, even if the clock was set back (:attr:`zc.cimaa.agents.Row.written`).
What follows from time alone is not stored: that an agent is silent, that a squelch ended.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from . import agents, faults, limits, types
from .agents import MICROSECONDS, Instance, Row
from .faults import Changes, FaultDict, Report
from .squelches import StoredSquelch, in_force
from .text import cut

#: What an event says about a fault ...
BEGAN, WORSE, BETTER, ENDED = "began", "worse", "better", "ended"
#: ... about an alert ...
ALERTED, RESOLVED = "alerted", "resolved"
#: ... about an agent: STARTED means that its history is complete since then, and not before ...
APPEARED, RETURNED, REMOVED, STARTED = "appeared", "returned", "removed", "started"
#: ... and about a squelch.
SQUELCHED, UNSQUELCHED = "squelched", "unsquelched"

KINDS = (
    *(BEGAN, WORSE, BETTER, ENDED, ALERTED, RESOLVED),
    *(APPEARED, RETURNED, REMOVED, STARTED, SQUELCHED, UNSQUELCHED),
)

#: The agent under whose name the events of squelches are stored.
SQUELCHES = "_"

#: The most bytes of a message that are kept.
MESSAGE = 1024

#: The extra key of a fault in which an agent stores its alerts: for each alerter the digest of the message that it
#: sent, 16 hexadecimal digits; empty while an alert is being sent.
TRIGGERED_KEY = "triggered"
_MARK = re.compile("([0-9a-f]{16})?")


class Event(NamedTuple):
    """One thing that happened.  :class:`zc.cimaa.types.PastEvent` explains the fields."""

    time: int
    agent: str
    kind: str
    fault: str = ""
    before: int | None = None
    after: int | None = None
    since: int | None = None
    until: int | None = None
    message: str = ""
    who: str = ""
    why: str = ""

    def shown(self) -> types.PastEvent:
        """The event as ``get_history`` returns it: without what its kind does not have."""
        given = {key: value for key, value in zip(_FIELDS, self, strict=True) if value is not None and value != ""}
        return cast(types.PastEvent, given)


_FIELDS = Event._fields
# What a record of events does not repeat for each of them.
_SHARED = ("time", "agent")
#: The kinds of events after which a fault has the message of the event.
STATED = frozenset({BEGAN, WORSE, BETTER})


class Replacement(NamedTuple):
    """What a report writes."""

    row: Row
    changes: Changes
    #: All with the time ``row.written``; empty if nothing happened or no history is kept.
    events: tuple[Event, ...]
    #: True if it removes the row's mark.
    woken: bool = False


class Kept(NamedTuple):
    """What a store knows of one agent at one moment: its row, its current faults, and its last events."""

    row: Row | None
    faults: Sequence[FaultDict]
    #: Those after a moment, the latest first; those of one write in reverse order.
    events: Sequence[Event]
    #: The latest time (microseconds) at which a fault may have got another message without an event.
    reworded: int = limits.INTEGER_MAX


# What writes record


def replacement(
    agent: str,
    row: Row | None,
    old: Iterable[FaultDict],
    report: Report,
    instance: Instance,
    within: int | None,
    now: int,
    *,
    keep: bool,
    last: Event | None = None,
    tolerance: int = 0,
    unmark: bool = False,
) -> Replacement:
    """What to write so that ``row`` and the ``old`` faults become those of a report at ``now`` (microseconds).

    ``keep`` is false if no history is kept.  ``last`` is the agent's latest event, needed only if it
    has no row, or one whose history is incomplete.  ``tolerance`` (microseconds) is how much older the row's heartbeat
    may be than the last report.
    ``unmark`` removes the row's mark; otherwise it stays.
    """
    old = [*old]
    changes = faults.changes(old, report, now // MICROSECONDS)
    new = agents.reported(row, report.digest, instance, now, within)
    at = _next(now, row, last)
    recorded, events = None, []
    if keep:
        if row is None:
            recorded = 0 if last is None or last.kind == REMOVED else None
            events = [Event(at, agent, APPEARED, who=instance.host)]
        else:
            recorded = row.recorded
            events = _of_silence(agent, row, instance, at) if agents.is_silent(row, now, tolerance) else []
        if recorded is None:
            recorded = at
            events.append(Event(at, agent, STARTED))
        if changes.put or changes.removed:
            events += _of_changes(agent, old, changes, at)
    row = new._replace(written=at, recorded=recorded, marked=new.marked and not unmark)
    return Replacement(row, changes, tuple(events), unmark and new.marked)


def removal(
    agent: str, row: Row | None, old: Iterable[FaultDict], user: str | None, now: int, tolerance: int = 0
) -> tuple[Event, ...]:
    """The events of an agent's removal at ``now`` (microseconds); none if it has no row.

    If it was silent, its removal says since when; for ``tolerance`` see :func:`replacement`.
    """
    if row is None:
        return ()
    at = _next(now, row, None)
    gap = (Event(at, agent, STARTED),) if row.recorded is None else ()
    ended = (_ended(agent, fault, at) for fault in sorted(old, key=faults.by_name))
    silent = row.updated // MICROSECONDS if agents.is_silent(row, now, tolerance) else None
    return (*gap, *ended, Event(at, agent, REMOVED, since=silent, who=user or ""))


def squelched(
    old: StoredSquelch | None, new: StoredSquelch | None, user: str | None, now: int, last: Event | None
) -> tuple[Event, ...]:
    """The events of a squelch that replaces ``old``; ``last`` is the latest event of a squelch.

    Either may be ``None``: the squelch is new, or it is removed.
    """
    at, events = _next(now, None, last), []
    if old is not None:
        events.append(_of_squelch(UNSQUELCHED, old, at)._replace(who=(new.user if new else user) or ""))
    if new is not None:
        events.append(_of_squelch(SQUELCHED, new, at))
    return tuple(events)


def _next(now: int, row: Row | None, last: Event | None) -> int:
    """The time of the next write: later than that of the last one."""
    return max(now, (row.written if row else 0) + 1, (last.time if last else 0) + 1)


def _of_silence(agent: str, row: Row, instance: Instance, at: int) -> list[Event]:
    return [Event(at, agent, RETURNED, since=row.updated // MICROSECONDS, who=instance.host)]


def _of_squelch(kind: str, squelch: StoredSquelch, at: int) -> Event:
    return Event(
        *(at, SQUELCHES, kind, squelch.regex),
        since=squelch.time,
        until=squelch.expires,
        who=squelch.user,
        why=squelch.reason,
    )


def _of_changes(agent: str, old: list[FaultDict], changes: Changes, at: int) -> Iterator[Event]:
    names = {*changes.removed, *map(faults.by_name, changes.put)}
    were = {fault["name"]: fault for fault in old if fault["name"] in names}
    for name in changes.removed:
        was = were[name]
        yield _ended(agent, was, at)
        yield from _of_alerts(agent, was, {**was, TRIGGERED_KEY: None}, at)
    for fault in changes.put:
        before = were.get(fault["name"])
        if before is None or before["severity"] != fault["severity"]:
            yield _of_fault(agent, before, fault, at)
        if TRIGGERED_KEY in fault or (before and TRIGGERED_KEY in before):
            yield from _of_alerts(agent, before or {}, fault, at)


def _of_fault(agent: str, before: FaultDict | None, after: FaultDict, at: int) -> Event:
    severity, message = after["severity"], cut(after["message"], MESSAGE)
    if before is None:
        return Event(at, agent, BEGAN, after["name"], None, severity, after["since"], message=message)
    kind = WORSE if severity > before["severity"] else BETTER
    return Event(at, agent, kind, after["name"], before["severity"], severity, after["since"], message=message)


def _ended(agent: str, was: FaultDict, at: int) -> Event:
    message = cut(was["message"], MESSAGE)
    return Event(at, agent, ENDED, was["name"], was["severity"], None, was["since"], message=message)


def _of_alerts(agent: str, before: FaultDict, after: FaultDict, at: int) -> Iterator[Event]:
    """What alerters sent, according to the digests that the agent stored with the fault.

    An alert that was being sent (its digest is empty) was sent for certain only if the next
    report has the digest.  If the alerter's entry is gone instead, a fault that was no longer
    critical was resolved; one that still was had never been triggered.
    """
    old, new = _marks(before), _marks(after)
    for alerter in sorted(old.keys() | new.keys()):
        mark = new.get(alerter)
        if mark and mark != old.get(alerter):
            yield _of_alert(ALERTED, agent, alerter, after, at)
        elif mark is None and (old[alerter] or before["severity"] < faults.CRITICAL):
            yield _of_alert(RESOLVED, agent, alerter, after, at)


def _of_alert(kind: str, agent: str, alerter: str, fault: FaultDict, at: int) -> Event:
    message = cut(fault["message"], MESSAGE)
    return Event(at, agent, kind, fault["name"], after=fault["severity"], message=message, who=alerter)


def _marks(fault: FaultDict) -> Mapping[str, str]:
    """The digests by alerter, or nothing if the extra key is not an agent's."""
    marks = fault.get(TRIGGERED_KEY)
    if not isinstance(marks, dict):
        return {}
    ours = all(isinstance(mark, str) and _MARK.fullmatch(mark) for mark in marks.values())
    return marks if ours else {}


# How records of events are encoded, in stores that keep those of one write together


def encode(events: Iterable[Event]) -> bytes:
    """The events of one write, without their time and agent, as JSON."""
    return faults.encode(
        [{key: value for key, value in event.shown().items() if key not in _SHARED} for event in events]
    )


def decode(time: int, agent: str, encoded: bytes) -> list[Event]:
    """The events of one write.  Keys that this version does not know are ignored; kinds are kept as they are."""
    return [
        Event(time, agent, **{key: value for key, value in event.items() if key in Event._fields})
        for event in faults.decode(encoded)
    ]


# What was, at an earlier moment


def past_faults(kept: Kept) -> Sequence[FaultDict]:
    """The faults of an agent at the moment after which its ``kept.events`` happened.

    Severity and ``since`` are as they were; the message is the earliest that is known from then on.  Of each fault, the
    first of the events suffices.
    """
    if not kept.events:
        return kept.faults
    stored = {fault["name"]: fault for fault in kept.faults}
    for event in kept.events:
        if event.kind == BEGAN:
            stored.pop(event.fault, None)
        elif event.kind in (WORSE, BETTER, ENDED):
            was = {"name": event.fault, "severity": event.before, "message": event.message, "since": event.since}
            stored[event.fault] = was
    return [*stored.values()]


def unsure_messages(kept: Kept, past: Iterable[FaultDict]) -> dict[str, FaultDict]:
    """By name, those of the :func:`past_faults` whose last event by then may have had another message."""
    changed = {event.fault for event in kept.events if event.kind in (WORSE, BETTER)}
    if not (changed or kept.reworded):
        return {}
    return {
        fault["name"]: fault
        for fault in past
        if fault["since"] * MICROSECONDS <= kept.reworded or fault["name"] in changed
    }


def set_messages(missing: dict[str, FaultDict], events: Iterable[Event]) -> None:
    """Give each of an agent's faults the message of its latest event among ``events``, the latest first."""
    for event in events:
        if event.kind in STATED and event.fault in missing:
            missing.pop(event.fault)["message"] = event.message
        if not missing:
            break


def past_squelches(current: Iterable[StoredSquelch], events: Iterable[Event], moment: int) -> list[StoredSquelch]:
    """The squelches in force at ``moment`` (microseconds), after which the ``events`` happened, the latest first.

    The ``user`` of one that was removed since is unknown, and empty.
    """
    stored = {squelch.regex: squelch for squelch in current if squelch.time <= moment // MICROSECONDS}
    for event in events:
        if event.kind == SQUELCHED:
            stored.pop(event.fault, None)
        elif event.kind == UNSQUELCHED:
            stored[event.fault] = StoredSquelch(event.fault, event.why, "", event.since or 0, False, event.until)
    return [squelch for squelch in stored.values() if in_force(squelch, moment / MICROSECONDS)]


def complete_since(kept: Kept) -> int | None:
    """The earliest moment (microseconds) for which ``kept.events`` show the faults; ``None``: there is none yet."""
    if kept.row is None:
        if kept.events and kept.events[0].kind != REMOVED:
            return None
        recorded = 0
    elif kept.row.recorded is None:
        return None
    else:
        recorded = kept.row.recorded
    return max([recorded, *(event.time for event in kept.events if event.kind == STARTED)])
