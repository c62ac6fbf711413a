"""A long read of the store: one snapshot of the file, and the heartbeats as they were just before."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import lmdb

from ..agents import Row
from . import records
from .directory import Directory
from .heartbeats import SLOT, TornError, decode, find
from .records import Transaction

T = TypeVar("T")


class Scan:
    """The heartbeats, copied when this is made; a transaction that began afterwards is added."""

    def __init__(self, directory: Directory) -> None:
        self.transaction: lmdb.Transaction[bytes] | None = None
        self._directory = directory
        self._slots = directory.heartbeats.copy()

    def of(self, transaction: "lmdb.Transaction[bytes]") -> "Scan":
        """The scan in a transaction that its caller ends."""
        self.transaction = transaction
        return self

    def abort(self) -> None:
        """End the transaction."""
        if self.transaction is not None:
            self.transaction.abort()

    def run(self, work: Callable[[Transaction], T]) -> T:
        """What ``work`` returns for the snapshot."""
        assert self.transaction is not None
        return work(self.transaction)

    def records(self, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs of key and value whose key starts like this, in order."""
        assert self.transaction is not None
        return records.of_kind(self.transaction, kind)

    def rows(self, least: int = 0) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Each agent's key, row, heartbeat (microseconds), and how many instances the row remembers, at ``least``."""
        slots, head, starts = self._slots, records.head, self._slots.startswith
        for key, row in self.records(records.AGENT):
            updated, revision, slot, instances = head(row)
            if instances >= least:
                if starts(revision, slot * SLOT):
                    try:
                        updated = decode(slots, slot * SLOT)
                    except TornError:
                        updated = self._heartbeat_now(key, row)
                yield key, row, updated, instances

    def row(self, agent: str) -> Row | None:
        """An agent's row."""
        assert self.transaction is not None
        key = records.AGENT + agent.encode()
        value = self.transaction.get(key)
        if value is None:
            return None
        updated, revision, slot, _ = records.head(value)
        try:
            found = find(self._slots, slot, revision)
        except TornError:
            found = self._heartbeat_now(key, value)
        return records.decode_row(value, updated if found is None else found)

    def _heartbeat_now(self, key: bytes, row: bytes) -> int:
        """The heartbeat once it is not being written.

        The row has to be read again: if the slot is of a new one meanwhile, the old one's own time may be older than
        the last acknowledged report.
        """
        heartbeats = self._directory.heartbeats
        with heartbeats.lock(records.name(key).encode()), self._directory.environment.begin() as transaction:
            updated, revision, slot, _ = records.head(transaction.get(key) or row)
            found = heartbeats.read(slot, revision)
        return updated if found is None else found
