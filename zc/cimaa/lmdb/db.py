"""The contract, kept in an LMDB file."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from mmap import PAGESIZE
from pathlib import Path
from typing import TypeVar

from .. import agents, entries, history, limits, types
from ..agents import Instance, Row, Touch
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError, StoreFull
from ..faults import FaultDict, Report
from ..history import Event, Kept
from ..options import PATH, SIZE, Option
from ..squelches import StoredSquelch
from ..units import format_size
from . import event_log, records, writes
from .environment import Environment
from .heartbeats import Heartbeats
from .records import Condition, Transaction
from .scan import Scan
from .search import find_faults

T = TypeVar("T")

# What a map may be: room for a few pages at least, and no more than the address space has.
_SMALLEST, _LARGEST = 16 * 1024, 64 * 1024**4
# How many of the oldest records of events a full store drops, and how many times more if that is not enough.
_DROPPED, _MORE = 1000, 4
# How many agents' last reports are remembered.
_REMEMBERED = 1000
# How many agents are marked in one transaction, which other writers wait for.
_WOKEN = 200
# How many agents a part of a snapshot has.
_PART = 1000


def default_path() -> str:
    """Where the store is if no path is configured: systemd's state directory, root's, or the user's."""
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return systemd.split(":")[0]
    if os.geteuid() == 0:
        return "/var/lib/cimaa"
    return str(Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "cimaa"))


class DB(Contract):
    """A store in a directory of this host's, for all processes that may write there.

    A report that changed a fault is on disk when the call returns; the heartbeats
    of the last 15 minutes may be lost in a power failure.  The file is never damaged
    by either.
    """

    options = (
        Option("path", "the directory that holds the store; it is made if it is missing", PATH, default_path),
        Option("map_size", "how large the file may grow; address space, not disk, until it is used", SIZE, "4GiB"),
        *Contract.options,
    )

    deletes_history = True

    def _open(self) -> None:
        if not _SMALLEST <= self.settings["map_size"] <= _LARGEST:
            smallest, largest = format_size(_SMALLEST), format_size(_LARGEST)
            raise ConfigurationError(f"[database] map_size: it must be from {smallest} to {largest}")
        self._reported: dict[str, str] = {}  # the digests of what was reported last, by agent
        self._touched: dict[str, int] = {}  # when a report was last unchanged: spares a look at the slot
        self._environment = Environment(Path(self.settings["path"]), self.settings["map_size"])

    def _close(self) -> None:
        self._environment.close()

    def _touch(self, agent: str, touch: Touch) -> bool:
        if self._reported.get(agent, touch.digest) != touch.digest:
            return False  # it would not match, unless another instance reported the same meanwhile
        name, condition = agent.encode(), records.condition(touch)
        key = records.AGENT + name
        touched = self._environment.touch(
            name, lambda heartbeats: self._touch_slot(agent, key, condition, touch.within, heartbeats)
        )
        if touched is not None:
            return touched
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            row = self._environment.write(
                lambda transaction: writes.write_through(transaction, heartbeats, key, condition, now), key, heartbeats
            )
            if row is not None:
                writes.confirm(heartbeats, row, touch.within)
                self._was_touched(agent, touch.within, now)
            return row is not None

    def _touch_slot(
        self, agent: str, key: bytes, condition: Condition, within: int | None, heartbeats: Heartbeats
    ) -> bool | None:
        """Write a heartbeat to the slot; False if the touch does not hold, None if the row must be written."""
        now = self._now()
        found = self._environment.read(
            lambda transaction: writes.unchanged(transaction.get(key), condition), heartbeats
        )
        if found is None or (within is not None and self._is_silent(agent, heartbeats, found, within, now)):
            return False
        updated, revision, slot, _ = found
        if not (0 <= now - updated <= writes.WRITE_THROUGH and heartbeats.write(slot, revision, now)):
            return None
        self._was_touched(agent, within, now)
        return True

    def _was_touched(self, agent: str, within: int | None, now: int) -> None:
        if within is not None:
            _remember(self._touched, agent, now)

    def _is_silent(self, agent: str, heartbeats: Heartbeats, head: records.Head, within: int, now: int) -> bool:
        """True if the report at ``now`` comes after a silence.  The slot is not read if this handle knows better."""
        lately = now - self._touched.get(agent, 0) <= within * agents.MICROSECONDS
        return not lately and writes.is_silent(heartbeats, head, within, now)

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            writer = writes.Writer(agent, heartbeats, instance, self._now())
            replace = partial(writes.replace, writer=writer, report=report, within=within, unmark=unmark)
            row, woken = self._written(replace, writer, records.AGENT + name, len(report.encoded))
            writes.confirm(heartbeats, row, within)
        _remember(self._reported, agent, report.digest)
        return woken

    def _wake(self, agents: Sequence[str]) -> int:
        keys, found = sorted(records.AGENT + agent.encode() for agent in agents), 0
        for start in range(0, len(keys), _WOKEN):
            part = keys[start : start + _WOKEN]
            # Each row may be on a page of its own.
            found += self._environment.write(partial(writes.wake, keys=part), part[0], size=len(part) * PAGESIZE)
        return found

    def _written(self, work: Callable[..., T], writer: writes.Writer, key: bytes, size: int) -> T:
        """What ``work`` returns; in a full store the history makes room, or is not kept."""
        recording = self._recording(writer.now)
        if recording.keep:
            try:
                return self._with_room(partial(work, recording=recording), key, writer.heartbeats, size)
            except StoreFull:
                recording = recording._replace(keep=False)
        return self._environment.write(partial(work, recording=recording), key, writer.heartbeats, size)

    def _with_room(
        self, work: Callable[[Transaction], T], key: bytes, heartbeats: Heartbeats | None = None, size: int = 0
    ) -> T:
        """What ``work`` returns; in a full store the history makes room."""
        records_to_drop = _DROPPED
        while True:
            try:
                return self._environment.write(work, key, heartbeats, size)
            except StoreFull:
                if not self._keeps_history:
                    raise
                dropped = self._environment.remove(partial(event_log.drop, records=records_to_drop), heartbeats)
                self._environment.remove(event_log.settle, heartbeats)
                if not dropped:
                    raise
                records_to_drop *= _MORE

    def _remove_agent(self, agent: str, user: str | None) -> None:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            remove = partial(
                writes.remove, heartbeats=heartbeats, agent=agent, user=user, now=now, recording=self._recording(now)
            )
            try:
                self._environment.write(partial(remove, whole=True), records.AGENT + name, heartbeats)
            except StoreFull:
                self._environment.remove(partial(remove, whole=False), heartbeats)

    def _recording(self, now: int) -> writes.Recording:
        return writes.Recording(self._keeps_history, now - self._retention * agents.MICROSECONDS)

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        key = records.FAULTS + agent.encode()
        return self._environment.read(lambda transaction: records.decode_faults(transaction.get(key)))

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        return self._environment.scan(_faults)

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[FaultDict]:
        if agent is not None:
            return super()._find_faults(agent, severity, pattern, limit)
        [found] = self._environment.scan(
            lambda scan: iter([find_faults(scan.records(records.FAULTS), severity, pattern, limit)])
        )
        return found

    def _rows(self) -> Iterable[tuple[str, Row]]:
        return self._environment.scan(lambda scan: _rows(scan, 1))

    def _rows_of_several(self) -> Iterable[tuple[str, Row]]:
        return self._environment.scan(lambda scan: _rows(scan, 2))

    def _shown_agents(self) -> Iterable[types.Agent]:
        return self._environment.scan(_shown_agents)

    def _heartbeats(self) -> Iterable[tuple[str, int]]:
        return self._environment.scan(_heartbeats)

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        now = self._now()
        put = partial(
            writes.replace_squelch,
            regex=squelch.regex,
            new=squelch,
            user=None,
            now=now,
            recording=self._recording(now),
        )
        self._with_room(put, records.squelch_key(squelch.regex))

    def _remove_squelch(self, regex: str, user: str | None) -> None:
        now = self._now()
        self._environment.remove(
            partial(writes.replace_squelch, regex=regex, new=None, user=user, now=now, recording=self._recording(now))
        )

    def _squelches(self) -> Iterable[StoredSquelch]:
        return self._environment.scan(_squelches)

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        now, start = self._now(), records.entry_key(kind, owner, key)
        found = self._environment.read(
            lambda transaction: [records.decode_entry(value) for _, value in records.of_kind(transaction, start)]
        )
        return [entry for entry in found if entry.is_current(now) and entry.is_one_of(kind, owner, key)]

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        place = records.entry_key(kind, owner, key)

        def swap(transaction: Transaction) -> bool:
            found = transaction.get(place)
            stored = None if found is None else records.decode_entry(found)
            if not entries.permits(stored, was, becomes, self._now()):
                return False
            if becomes is None:
                transaction.delete(place)
            else:
                transaction.put(place, records.encode_entry(becomes))
            return True

        if becomes is None:
            return self._environment.remove(swap)
        return self._with_room(swap, place, size=len(records.encode_entry(becomes)))

    def _forget_entries(self, limit: int) -> int:
        found = self._environment.read(partial(records.expired_entries, now=self._now(), limit=limit))
        return self._environment.remove(partial(self._remove_expired, places=found)) if found else 0

    def _remove_expired(self, transaction: Transaction, places: Iterable[bytes]) -> int:
        """Delete those of the entries that have not been written again since they were found."""
        now = self._now()
        values = [(place, transaction.get(place)) for place in places]
        gone = [place for place, value in values if value and not records.decode_entry(value).is_current(now)]
        for place in gone:
            transaction.delete(place)
        return len(gone)

    def _snapshot(self) -> Iterable[Snapshot]:
        return self._environment.scan(_snapshot)

    def _events(self, agent: str | None, since: int, until: int) -> Iterable[Event]:
        for stored in event_log.read(self._environment.read, agent, since, until):
            try:
                events = stored.events()
            except records.UnreadableRecord as error:
                raise self._environment.unreadable() from error
            yield from reversed(events)

    def _forget(self, until: int, limit: int) -> int:
        return self._environment.remove(partial(event_log.forget, until=until, limit=limit))

    def _history_start(self) -> int:
        return max(super()._history_start(), self._environment.read(event_log.start))

    def _row(self, agent: str) -> Row | None:
        [row] = self._environment.scan(lambda scan: iter([scan.row(agent)]))
        return row

    def _kept(self, agent: str | None, moment: int) -> Iterable[tuple[str, Kept]]:
        if agent is not None:
            return super()._kept(agent, moment)
        return self._environment.scan(lambda scan: _kept(scan, moment))

    def _events_of(self, spans: Mapping[str, int], until: int) -> Iterable[tuple[str, Iterable[Event]]]:
        return self._environment.scan(lambda scan: _events_of(scan, spans, until))


def _remember(memory: dict[str, T], agent: str, value: T) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[agent] = value


def _rows(scan: Scan, least: int) -> Iterator[tuple[str, Row]]:
    """The rows that remember at least ``least`` instances."""
    for key, row, updated, _ in scan.rows(least):
        yield records.name(key), records.decode_row(row, updated)


def _shown_agents(scan: Scan) -> Iterator[types.Agent]:
    for key, row, updated, instances in scan.rows():
        if instances == 1:  # nearly always: decoded no further than it is shown
            yield agents.shown_alone(records.name(key), updated, *records.only_instance(row))
        else:
            decoded = records.decode_row(row, updated)
            yield agents.shown(records.name(key), decoded, agents.instances(decoded))


def _events_of(scan: Scan, spans: Mapping[str, int], until: int) -> Iterator[tuple[str, Iterable[Event]]]:
    for agent, since in spans.items():
        stored = event_log.read(scan.run, agent, since, until)
        yield agent, (event for one in stored for event in reversed(one.events()))


def _kept(scan: Scan, moment: int) -> Iterator[tuple[str, Kept]]:
    assert scan.transaction is not None
    events: dict[str, list[Event]] = defaultdict(list)
    for stored in event_log.read(scan.run, None, moment + 1, limits.INTEGER_MAX):
        made = stored.events()
        events[made[0].agent] += reversed(made)
    events.pop(history.SQUELCHES, None)
    for key, value in scan.records(records.AGENT):
        name = records.name(key)
        row = records.decode_row_start(value, records.head(value)[0])
        listed = records.decode_faults(scan.transaction.get(records.FAULTS + key[len(records.AGENT) :]))
        yield name, Kept(row, listed, events.pop(name, []), records.reworded(value))
    for name, after in events.items():
        yield name, Kept(None, [], after)


def _heartbeats(scan: Scan) -> Iterator[tuple[str, int]]:
    for key, _, updated, _ in scan.rows():
        yield records.name(key), updated


def _faults(scan: Scan) -> Iterator[tuple[str, list[FaultDict]]]:
    for key, value in scan.records(records.FAULTS):
        yield records.name(key), records.decode_faults(value)


def _squelches(scan: Scan) -> Iterator[StoredSquelch]:
    for _, value in scan.records(records.SQUELCH):
        yield records.decode_squelch(value)


def _snapshot(scan: Scan) -> Iterator[Snapshot]:
    heartbeats, stored = _heartbeats(scan), _faults(scan)
    while some := [*islice(heartbeats, _PART)]:
        yield Snapshot(heartbeats=some)
    while others := [*islice(stored, _PART)]:
        yield Snapshot(faults=others)
    yield Snapshot(squelches=[*_squelches(scan)])
