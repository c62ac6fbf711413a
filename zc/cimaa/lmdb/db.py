"""The contract, kept in an LMDB file."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import agents, faults
from ..agents import Instance, Row
from ..db import DB as Contract
from ..db import Snapshot
from ..errors import ConfigurationError, StoreFull
from ..faults import Fault, Report
from ..options import PATH, SIZE, Option
from ..squelches import Squelch
from ..units import format_size
from . import records
from .environment import Environment, Transaction
from .heartbeats import NO_SLOT, SLOT, Heartbeats
from .heartbeats import decode as decode_slot
from .search import find_faults

# What a map may be: room for a few pages at least, and no more than the address space has.
_SMALLEST, _LARGEST = 16 * 1024, 64 * 1024**4
# How far (microseconds) the time in a row may be from the heartbeat, which a power failure may lose.
_WRITE_THROUGH = 15 * 60 * agents.MICROSECONDS


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
        self._environment = Environment.acquire(Path(self.settings["path"]), self.settings["map_size"])

    def _close(self) -> None:
        self._environment.release()

    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            row = self._environment.read(lambda transaction: transaction.get(records.AGENT + name), heartbeats)
            if row is None or not records.is_unchanged(row, records.condition(digest, instance)):
                return False
            head = records.head(row)
            near = abs(now - head.updated) <= _WRITE_THROUGH
            if not (near and heartbeats.write(head.slot, head.revision, now)):
                self._environment.write(lambda transaction: _write_through(transaction, heartbeats, name, row, now))
            return True

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        name = agent.encode()
        with self._environment.lock(name) as heartbeats:
            now = self._now()
            self._environment.write(
                lambda transaction: _replace(transaction, heartbeats, name, report, instance, now), heartbeats
            )

    def _remove_agent(self, agent: str) -> None:
        name = agent.encode()

        with self._environment.lock(name) as heartbeats:
            try:
                self._environment.write(lambda transaction: _remove(transaction, name, free_slot=True), heartbeats)
            except StoreFull:  # what makes room must need none: the slot stays in use
                self._environment.write(lambda transaction: _remove(transaction, name, free_slot=False), heartbeats)

    def _agent_faults(self, agent: str) -> Iterable[Fault]:
        value = self._environment.read(lambda transaction: transaction.get(records.FAULTS + agent.encode()))
        return records.decode_faults(value)

    def _all_faults(self) -> Iterable[tuple[str, list[Fault]]]:
        with self._environment.reading() as (transaction, _):
            for key, value in _all(transaction, records.FAULTS):
                yield records.name(key), records.decode_faults(value)

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[Fault]:
        if agent is not None:
            return super()._find_faults(agent, severity, pattern, limit)
        with self._environment.reading() as (transaction, _):
            return find_faults(_all(transaction, records.FAULTS), severity, pattern, limit)

    def _rows(self) -> Iterable[tuple[str, Row]]:
        with self._environment.reading() as (transaction, slots):
            for key, value in _all(transaction, records.AGENT):
                yield records.name(key), records.decode_row(value)._replace(updated=_heartbeat(value, slots))

    def _heartbeats(self) -> Iterable[tuple[str, int]]:
        with self._environment.reading() as (transaction, slots):
            for key, value in _all(transaction, records.AGENT):
                yield records.name(key), _heartbeat(value, slots)

    def _put_squelch(self, squelch: Squelch) -> None:
        key, value = records.squelch_key(squelch.regex), records.encode_squelch(squelch)
        self._environment.write(lambda transaction: transaction.put(key, value))

    def _remove_squelch(self, regex: str) -> None:
        self._environment.write(lambda transaction: transaction.delete(records.squelch_key(regex)))

    def _squelches(self) -> Iterable[Squelch]:
        with self._environment.reading() as (transaction, _):
            return [records.decode_squelch(value) for _, value in _all(transaction, records.SQUELCH)]

    def _snapshot(self) -> Snapshot:
        with self._environment.reading() as (transaction, slots):
            return Snapshot(
                {
                    records.name(key): records.decode_row(value)._replace(updated=_heartbeat(value, slots))
                    for key, value in _all(transaction, records.AGENT)
                },
                [(records.name(key), records.decode_faults(value)) for key, value in _all(transaction, records.FAULTS)],
                [records.decode_squelch(value) for _, value in _all(transaction, records.SQUELCH)],
            )


def _write_through(transaction: Transaction, heartbeats: Heartbeats, name: bytes, row: bytes, now: int) -> None:
    """Write a heartbeat to the row itself, which gets a slot if it has none."""
    slot = records.head(row).slot
    if slot == NO_SLOT:
        slot = _take_slot(transaction, heartbeats)
    transaction.put(records.AGENT + name, records.touched(row, now, slot))


def _replace(
    transaction: Transaction, heartbeats: Heartbeats, name: bytes, report: Report, instance: Instance, now: int
) -> None:
    stored = transaction.get(records.AGENT + name)
    if stored is None:
        row, slot = None, _take_slot(transaction, heartbeats)
    else:
        updated, revision, slot, _ = records.head(stored)
        row = records.decode_row(stored)
        row = row._replace(updated=heartbeats.read(slot, revision) or updated)
    old = records.decode_faults(transaction.get(records.FAULTS + name))
    new = agents.reported(row, report.digest, instance, now)
    reported = report.faults()
    changes = faults.changes(old, reported, now // agents.MICROSECONDS)
    transaction.put(records.AGENT + name, records.encode_row(new, slot))
    if changes.put or changes.removed:
        _put_faults(transaction, records.FAULTS + name, _changed(old, reported, changes))


def _remove(transaction: Transaction, name: bytes, *, free_slot: bool) -> None:
    row = transaction.pop(records.AGENT + name)
    transaction.delete(records.FAULTS + name)
    if row and free_slot and (slot := records.head(row).slot) != NO_SLOT:
        transaction.put(records.free_slot_key(slot), b"")


def _take_slot(transaction: Transaction, heartbeats: Heartbeats) -> int:
    """A slot for a row that has none: one that is free again, or one more; none if there is no space for it."""
    free = next(_all(transaction, records.FREE_SLOT), None)
    used = int(transaction.get(records.SLOTS_KEY) or 0)
    slot = used if free is None else records.free_slot(free[0])
    if not heartbeats.allocate(slot):
        return NO_SLOT
    if free is None:
        transaction.put(records.SLOTS_KEY, b"%d" % (used + 1))
    else:
        transaction.delete(free[0])
    return slot


def _all(transaction: Transaction, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of key and value whose key starts like this."""
    with transaction.cursor() as cursor:
        if cursor.set_range(kind):
            for key, value in cursor:
                if not key.startswith(kind):
                    break
                yield key, value


def _heartbeat(row: bytes, slots: bytes) -> int:
    updated, revision, slot, _ = records.head(row)
    found = decode_slot(slots, slot * SLOT, revision)
    return updated if found is None else found


def _changed(old: list[Fault], reported: list[Fault], changes: faults.Changes) -> list[Fault]:
    """The faults as they are to be stored, in the order of the report."""
    stored = {fault["name"]: fault for fault in old}
    stored.update((fault["name"], fault) for fault in changes.put)
    return [stored[fault["name"]] for fault in reported]


def _put_faults(transaction: Transaction, key: bytes, listed: list[Fault]) -> None:
    if listed:
        transaction.put(key, records.encode_faults(listed))
    else:
        transaction.delete(key)
