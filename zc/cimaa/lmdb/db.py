"""The contract, kept in an LMDB file."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from .. import agents, entries, faults, types
from ..agents import Instance, Row
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError
from ..faults import FaultDict, Report
from ..options import PATH, SIZE, Option
from ..squelches import StoredSquelch
from ..units import format_size
from . import records
from .environment import Environment
from .heartbeats import NO_SLOT, Heartbeats
from .scan import Scan
from .search import find_faults
from .shared import Transaction

# What a map may be: room for a few pages at least, and no more than the address space has.
_SMALLEST, _LARGEST = 16 * 1024, 64 * 1024**4
# How old (microseconds) the time in a row may be: a power failure may lose the heartbeats since.
_WRITE_THROUGH = 15 * 60 * agents.MICROSECONDS
# How many agents' last reports are remembered, by their digests, to spare a touch that would fail.
_REMEMBERED = 1000
# How many agents a part of a snapshot has.
_PART = 1000


def default_path() -> str:
    """Where the store is if nobody says: systemd's state directory, root's, or the user's."""
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
    )

    def _open(self) -> None:
        if not _SMALLEST <= self.settings["map_size"] <= _LARGEST:
            smallest, largest = format_size(_SMALLEST), format_size(_LARGEST)
            raise ConfigurationError(f"[database] map_size: it must be from {smallest} to {largest}")
        self._reported: dict[str, str] = {}  # the digests of what was reported last, by agent
        self._environment = Environment(Path(self.settings["path"]), self.settings["map_size"])

    def _close(self) -> None:
        self._environment.close()

    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        if self._reported.get(agent, digest) != digest:
            return False  # it would not match, unless another instance reported the same meanwhile
        name, condition = agent.encode(), records.condition(digest, instance)
        key = records.AGENT + name
        touched = self._environment.touch(name, lambda heartbeats: self._touch_slot(key, condition, heartbeats))
        if touched is not None:
            return touched
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            return self._environment.write(
                lambda transaction: _write_through(transaction, heartbeats, key, condition, now), key, heartbeats
            )

    def _touch_slot(self, key: bytes, condition: bytes, heartbeats: Heartbeats) -> bool | None:
        """Write a heartbeat to the slot; False if the row does not meet the condition, None if it must be written."""
        now = self._now()
        found = self._environment.read(lambda transaction: _unchanged(transaction.get(key), condition), heartbeats)
        if found is None:
            return False
        updated, revision, slot, _ = found
        return (0 <= now - updated <= _WRITE_THROUGH and heartbeats.write(slot, revision, now)) or None

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            self._environment.write(
                lambda transaction: _replace(transaction, heartbeats, name, report, instance, now),
                records.AGENT + name,
                heartbeats,
                len(report.encoded),
            )
        if len(self._reported) >= _REMEMBERED:
            self._reported.clear()
        self._reported[agent] = report.digest

    def _remove_agent(self, agent: str) -> None:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            self._environment.remove(lambda transaction: _remove(transaction, name), heartbeats)

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
        key, value = records.squelch_key(squelch.regex), records.encode_squelch(squelch)
        self._environment.write(lambda transaction: transaction.put(key, value), key)

    def _remove_squelch(self, regex: str) -> None:
        self._environment.remove(lambda transaction: transaction.delete(records.squelch_key(regex)))

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
        return self._environment.write(swap, place, size=len(records.encode_entry(becomes)))

    def _snapshot(self) -> Iterable[Snapshot]:
        return self._environment.scan(_snapshot)


def _rows(scan: Scan, least: int) -> Iterator[tuple[str, Row]]:
    """The rows that remember at least so many instances."""
    for key, row, updated, _ in scan.rows(least):
        yield records.name(key), records.decode_row(row, updated)


def _shown_agents(scan: Scan) -> Iterator[types.Agent]:
    for key, row, updated, instances in scan.rows():
        if instances == 1:  # nearly always: decoded no further than it is shown
            yield agents.shown_alone(records.name(key), updated, *records.only_instance(row))
        else:
            decoded = records.decode_row(row, updated)
            yield agents.shown(records.name(key), decoded, agents.instances(decoded))


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


def _unchanged(row: bytes | None, condition: bytes) -> tuple[int, bytes, int, int] | None:
    """The head of a row that meets the condition."""
    return None if row is None or not records.is_unchanged(row, condition) else records.head(row)


def _write_through(transaction: Transaction, heartbeats: Heartbeats, key: bytes, condition: bytes, now: int) -> bool:
    """Write a heartbeat to the row itself, which gets a slot if it has none; False if it does not meet the condition.

    The row is read again: if the file of heartbeats was replaced, the agent's lock kept nobody away.
    """
    row = transaction.get(key)
    if row is None or not records.is_unchanged(row, condition):
        return False
    _, _, slot, _ = records.head(row)
    if slot == NO_SLOT:
        slot = _take_slot(transaction, heartbeats)
    transaction.put(key, records.touched(row, now, slot))
    return True


def _replace(
    transaction: Transaction, heartbeats: Heartbeats, name: bytes, report: Report, instance: Instance, now: int
) -> None:
    key = records.AGENT + name
    stored = transaction.get(key)
    updated, revision, slot, _ = records.NO_HEAD if stored is None else records.head(stored)
    if (found := heartbeats.read(slot, revision)) is not None:
        updated = found
    if slot == NO_SLOT:
        slot = _take_slot(transaction, heartbeats)
    value = None
    if stored is not None and updated <= now:  # as agents.reported would make it
        value = records.reported(stored, now, report.digest, instance.id, slot)
    if value is None:
        row = None if stored is None else records.decode_row(stored, updated)
        value = records.encode_row(agents.reported(row, report.digest, instance, now), slot)
    transaction.put(key, value)
    _replace_faults(transaction, records.FAULTS + name, report, now)


def _replace_faults(transaction: Transaction, key: bytes, report: Report, now: int) -> None:
    old = records.decode_faults(transaction.get(key))
    changes = faults.changes(old, report, now // agents.MICROSECONDS)
    if changes.put or changes.removed:
        if listed := _changed(old, changes):
            transaction.put(key, records.encode_faults(listed))
        else:
            transaction.delete(key)


def _changed(old: list[FaultDict], changes: faults.Changes) -> list[FaultDict]:
    """The faults as they are to be stored, sorted by name."""
    stored = {fault["name"]: fault for fault in old}
    for name in changes.removed:
        del stored[name]
    left = len(stored)
    for fault in changes.put:
        stored[fault["name"]] = fault
    listed = [*stored.values()]
    if len(listed) > left:
        listed.sort(key=faults.by_name)
    return listed


def _remove(transaction: Transaction, name: bytes) -> None:
    row = transaction.pop(records.AGENT + name)
    transaction.delete(records.FAULTS + name)
    _, _, slot, _ = records.NO_HEAD if row is None else records.head(row)
    if slot != NO_SLOT:
        transaction.put(records.free_slot_key(slot), b"")


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
