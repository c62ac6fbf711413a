"""Transactions on the LMDB file of a store, with the errors of LMDB and the system translated.

What LMDB requires of its users, and how it is met (here, and in ``registry``, ``gate``, ``shared`` and ``directory``):

- No process opens a file twice: handles on one directory share one environment.
- No environment survives a fork: the child forgets it, and opens its own when it first needs one.
- The map is resized only while this process has no transaction.
- The lock file is written through a mapping, and a full disk would kill the process there (``SIGBUS``):
  its space is allocated before LMDB maps it.
- LMDB's own locks on the lock file are lost when the process closes any descriptor of it: the one that is used to
  look at its length stays open for as long as the environment.
- A process that was killed leaves its reader's slot: the dead are cleared at open.
- A removal needs new pages before it leaves old ones: other writes must leave some allocated, and if the map is full,
  a removal gets a larger one.
- A process that reads a mapped file beyond its end is killed, and one whose file was deleted goes on writing to it:
  before each transaction the directory's time and the files' lengths are examined, and if the files are not those
  that were opened, they are opened again.  The files' own times are not asked for: the kernel would then note the next
  write's time more precisely, at the price of one more block to sync.
- Its locks are in a file, which cannot be written on a file system that is mounted read-only: there the store is opened
  without locks, and each read checks that nothing was overwritten meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from ..errors import StoreIncompatible, StoreUnavailable
from . import errors, files, records, registry
from .directory import Directory
from .gate import Gate
from .group_commit import PendingChange
from .heartbeats import AgentLock, Heartbeats
from .scan import Scan
from .shared import SharedDirectory, Transaction

T = TypeVar("T")

# How often a store that another host writes to is read, until nothing is written meanwhile.
_READ_ATTEMPTS = 10


class Environment:
    """One handle on the LMDB environment of a directory, which all handles of this process share."""

    def __init__(self, path: Path, map_size: int) -> None:
        self._shared = registry.acquire(path, map_size)
        self._gate = self._shared.gate

    def close(self) -> None:
        """Release the handle; the last one closes the files."""
        registry.release(self._shared)

    def lock(self, agent: bytes) -> AgentLock:
        """The agent's lock, to be held by all that writes for it; it gives the file of heartbeats."""
        with self._gate.lock:
            directory = self._shared.opened()
            if directory.read_only:
                raise errors.read_only(self._shared.path)
            return directory.heartbeats.lock(agent)

    def touch(self, agent: bytes, work: Callable[[Heartbeats], T]) -> T:
        """What ``work`` returns while the agent's lock is held.  It must not wait for a disk or another process."""
        with self._gate.turns:
            lock = self.lock(agent)
            if lock.attempt():
                try:
                    return work(lock.heartbeats)
                finally:
                    lock.release()
        with lock as heartbeats:  # another thread or process holds it: other agents' reports do not wait for it
            return work(heartbeats)

    def read(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """What ``work`` returns for one snapshot of the file.

        ``heartbeats`` is the file in which an agent's lock is held: it must still be the one that is in use.
        """
        with self._gate.lock:
            try:
                return self._read(self._shared.current(heartbeats), work)
            except (lmdb.Error, OSError) as error:
                raise self._shared.failed(error) from error

    def _read(self, directory: Directory, work: Callable[[Transaction], T]) -> T:
        try:
            if directory.read_only:
                return _read_unlocked(self._shared, directory, work)
            with self._shared.begin_read(directory) as transaction:
                return work(transaction)
        except records.UnreadableRecord as error:
            raise errors.unreadable(self._shared.path) from error

    def unreadable(self) -> StoreIncompatible:
        """The exception for a record that cannot be decoded after it was read."""
        return errors.unreadable(self._shared.path)

    def write(
        self, work: Callable[[Transaction], T], key: bytes, heartbeats: Heartbeats | None = None, size: int = 0
    ) -> T:
        """Do all of ``work`` in one transaction, or nothing of it; on disk when it returns.

        It puts the record of this ``key``, and perhaps others, which may be large and have this ``size`` (bytes).  It
        may be called twice, as the transaction may have other threads' work, too.
        """
        change = PendingChange(work, key, heartbeats, size)
        self._gate.changes.commit(change, self._write)
        return change.result

    def _write(self, changes: Sequence[PendingChange[Any]]) -> None:
        """Make all changes in one transaction, or none of them.  No other thread may write."""

        def reserved(directory: Directory) -> None:
            with self._shared.begin_write(directory) as transaction:
                left = size = 0
                for change in changes:
                    left = max(left, change.apply(transaction))
                    size += change.size
                # Two transactions in a row may keep the pages that each other change copied from being used again.
                directory.allocate(transaction, size, left + (len(changes) - 1) * files.SPARE)

        self._changed_by(reserved, *[change.heartbeats for change in changes])

    def remove(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """As :meth:`write`, for work that makes room: it may use what other writes leave."""

        def unreserved(directory: Directory) -> T:
            try:
                with self._shared.begin_write(directory) as transaction:
                    return work(transaction)
            except lmdb.MapFullError:
                return _remove_from_full_map(self._shared, self._gate, directory, work)

        return self._gate.changes.exclude(lambda: self._changed_by(unreserved, heartbeats))

    def scan(self, work: Callable[[Scan], Iterator[T]]) -> Iterator[T]:
        """What ``work`` yields for one snapshot of the file, while other threads and processes may read and write."""
        scan = self._begin_scan()
        if scan.transaction is None:
            yield from self.read(lambda transaction: list(work(scan.of(transaction))))
            return
        try:
            yield from work(scan)
        except lmdb.Error as error:
            raise self._shared.translated(error) from error
        except records.UnreadableRecord as error:
            raise errors.unreadable(self._shared.path) from error
        finally:
            with self._gate.lock:
                self._gate.end_scan(scan)

    def _begin_scan(self) -> Scan:
        with self._gate.lock:
            try:
                directory = self._shared.current()
                scan = Scan(directory)
                if not directory.read_only:  # else no snapshot stays as it is
                    scan.transaction = self._shared.begin_read(directory)
                    self._gate.begin_scan(scan)
            except (lmdb.Error, OSError) as error:
                raise self._shared.failed(error) from error
            return scan

    def _changed_by(self, change: Callable[[Directory], T], *heartbeats: Heartbeats | None) -> T:
        """What ``change`` returns.  No other thread may write; they may read meanwhile."""
        with self._gate.lock:
            try:
                directory = self._shared.current(*heartbeats)
            except (lmdb.Error, OSError) as error:
                raise self._shared.failed(error) from error
            if directory.read_only:
                raise errors.read_only(self._shared.path)
            self._gate.begin_write()
        try:
            return change(directory)
        except (lmdb.Error, OSError) as error:
            with self._gate.lock:
                raise self._shared.failed(error) from error
        except records.UnreadableRecord as error:
            raise errors.unreadable(self._shared.path) from error
        finally:
            with self._gate.lock:
                self._gate.end_write()


def _remove_from_full_map(
    shared: SharedDirectory, gate: Gate, directory: Directory, work: Callable[[Transaction], T]
) -> T:
    """What ``work`` returns, for which the map is larger meanwhile."""
    size = directory.map_size
    with gate.lock:
        shared.resize(directory, size + files.SPARE)
    try:
        with shared.begin_write(directory) as transaction:
            return work(transaction)
    finally:
        with gate.lock:
            shared.resize(directory, size)  # or more, if more is in use


def _read_unlocked(shared: SharedDirectory, directory: Directory, work: Callable[[Transaction], T]) -> T:
    """What ``work`` returns for one snapshot, of which nothing was overwritten meanwhile.

    No lock can be taken, as that is a write.  But a store that is mounted read-only here may be written to from
    elsewhere.  LMDB's writer reuses the pages of a snapshot in the third transaction after it, and not before.

    :raises StoreUnavailable: if too much is written.
    """
    for _ in range(_READ_ATTEMPTS):
        before = _last_transaction(directory)
        try:
            with shared.begin_read(directory) as transaction:
                result = work(transaction)
        except Exception:  # pages may have been overwritten while they were read
            if _last_transaction(directory) <= before + 1:
                raise
        else:
            if _last_transaction(directory) <= before + 1:
                return result
    raise StoreUnavailable(f"the store in {shared.path} changes faster than it can be read: try again")


def _last_transaction(directory: Directory) -> int:
    """The number of the last transaction that wrote."""
    number: int = directory.environment.info()["last_txnid"]
    return number
