"""The contract, kept in an LMDB file."""

import os
from collections.abc import Iterable
from pathlib import Path

from .. import agents, faults
from ..agents import Instance, Row
from ..db import DB as Contract
from ..db import Snapshot
from ..errors import ConfigurationError
from ..faults import FaultDict, Report
from ..options import PATH, SIZE, Option
from ..squelches import StoredSquelch
from ..units import format_size
from . import records
from .environment import Environment, Transaction

# What a map may be: room for a few pages at least, and no more than the address space has.
_SMALLEST, _LARGEST = 16 * 1024, 64 * 1024**4


def default_path() -> str:
    """Where the store is if nobody says: systemd's state directory, root's, or the user's."""
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return systemd.split(":")[0]
    if os.geteuid() == 0:
        return "/var/lib/cimaa"
    return str(Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "cimaa"))


class DB(Contract):
    """A store in a directory of this host's, for all processes that may write there.

    A report that changed a fault is on disk when the call returns; a mere heartbeat
    may be lost in a power failure.  The file is never damaged by either.
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
        key = records.AGENT + agent.encode()
        mark = records.mark(digest, instance)

        def touch(transaction: Transaction) -> bool:
            row = transaction.get(key)
            if row is None or row[records.MARK] != mark:
                return False
            return transaction.put(key, records.touched(row, self._now()))

        return self._environment.write(touch)

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        encoded = agent.encode()

        def replace(transaction: Transaction) -> bool:
            now = self._now()
            row = transaction.get(records.AGENT + encoded)
            old = records.decode_faults(transaction.get(records.FAULTS + encoded))
            new = agents.reported(None if row is None else records.decode_row(row), report.digest, instance, now)
            changes = faults.changes(old, report.faults(), now // agents.MICROSECONDS)
            transaction.put(records.AGENT + encoded, records.encode_row(new))
            changed = bool(changes.put or changes.removed)
            if changed:
                _put_faults(transaction, records.FAULTS + encoded, _changed(old, changes))
            return changed

        if self._environment.write(replace):
            self._environment.sync()

    def _remove_agent(self, agent: str) -> None:
        def remove(transaction: Transaction) -> None:
            transaction.delete(records.AGENT + agent.encode())
            transaction.delete(records.FAULTS + agent.encode())

        self._environment.write(remove)
        self._environment.sync()

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        value = self._environment.read(lambda transaction: transaction.get(records.FAULTS + agent.encode()))
        return records.decode_faults(value)

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        return _decoded_faults(self._environment.read(lambda transaction: _all(transaction, records.FAULTS)))

    def _rows(self) -> Iterable[tuple[str, Row]]:
        rows = self._environment.read(lambda transaction: _all(transaction, records.AGENT))
        return ((records.name(key), records.decode_row(value)) for key, value in rows)

    def _heartbeats(self) -> Iterable[tuple[str, int]]:
        rows = self._environment.read(lambda transaction: _all(transaction, records.AGENT))
        return ((records.name(key), records.heartbeat(value)) for key, value in rows)

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        key, value = records.squelch_key(squelch.regex), records.encode_squelch(squelch)
        self._environment.write(lambda transaction: transaction.put(key, value))
        self._environment.sync()

    def _remove_squelch(self, regex: str) -> None:
        self._environment.write(lambda transaction: transaction.delete(records.squelch_key(regex)))
        self._environment.sync()

    def _squelches(self) -> Iterable[StoredSquelch]:
        stored = self._environment.read(lambda transaction: _all(transaction, records.SQUELCH))
        return (records.decode_squelch(value) for _, value in stored)

    def _snapshot(self) -> Snapshot:
        def everything(transaction: Transaction) -> list[list[tuple[bytes, bytes]]]:
            return [_all(transaction, kind) for kind in (records.AGENT, records.FAULTS, records.SQUELCH)]

        rows, stored, squelches = self._environment.read(everything)
        return Snapshot(
            {records.name(key): records.decode_row(value) for key, value in rows},
            _decoded_faults(stored),
            [records.decode_squelch(value) for _, value in squelches],
        )


def _all(transaction: Transaction, kind: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of key and value whose key starts like this."""
    found = []
    with transaction.cursor() as cursor:
        if cursor.set_range(kind):
            for key, value in cursor:
                if not key.startswith(kind):
                    break
                found.append((key, value))
    return found


def _decoded_faults(stored: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, list[FaultDict]]]:
    return ((records.name(key), records.decode_faults(value)) for key, value in stored)


def _changed(old: list[FaultDict], changes: faults.Changes) -> list[FaultDict]:
    kept = {fault["name"]: fault for fault in old}
    for name in changes.removed:
        del kept[name]
    return [*(kept | {fault["name"]: fault for fault in changes.put}).values()]


def _put_faults(transaction: Transaction, key: bytes, listed: list[FaultDict]) -> None:
    if listed:
        transaction.put(key, records.encode_faults(listed))
    else:
        transaction.delete(key)
