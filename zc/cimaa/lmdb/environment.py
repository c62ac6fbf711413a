"""One LMDB file in one process: opened once for all its handles, and again in a fork.

What LMDB requires of its users, and how it is met:

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

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import lmdb

from ..errors import StoreClosed, StoreError, StoreUnavailable
from . import errors, files, records
from .directory import MAX_READERS, Directory
from .heartbeats import AgentLock, Heartbeats
from .scan import Scan

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
T = TypeVar("T")

# How often a store that another host writes to is read, until nothing is written meanwhile.
_READ_ATTEMPTS = 10


class Environment:
    """The LMDB environment in a directory, for all handles of this process."""

    _shared: ClassVar[dict[Path, "Environment"]] = {}
    _registry_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, map_size: int) -> None:
        self._path = path
        self._map_size = map_size
        self._handles = 0
        # Held throughout each short read.  Scans and the thread that writes (which waits for the disk) do not hold it;
        # they hold up only what no transaction may see: a resize of the map, the end of the environment, and a fork.
        # The garbage collector may end a scan that was interrupted, and may run while its thread has the lock.
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._scans: dict[Scan, int] = {}  # each with its thread
        self._writer: int | None = None
        self._writing = threading.Lock()  # taken before the other
        self._directory: Directory | None = None

    @classmethod
    def acquire(cls, path: Path, map_size: int) -> "Environment":
        """The environment in this directory, for one handle more; the largest map that a handle asks for counts."""
        with cls._registry_lock:
            resolved = path.resolve()  # whatever becomes of the current directory
            environment = cls._shared.get(resolved)
            if environment is None:
                environment = cls._shared[resolved] = cls(resolved, map_size)
            environment._handles += 1
        environment._widen(map_size)
        return environment

    def release(self) -> None:
        """One handle less; the last one closes the file."""
        with Environment._registry_lock:
            self._handles -= 1
            if not self._handles:
                del Environment._shared[self._path]
                with self._lock:
                    self._forget()

    def lock(self, agent: bytes) -> AgentLock:
        """The agent's lock, to be held by all that writes for it; it gives the file of heartbeats."""
        with self._lock:
            directory = self._opened()
            if directory.read_only:
                raise errors.read_only(self._path)
            return directory.heartbeats.lock(agent)

    def read(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """What ``work`` returns for one snapshot of the file.

        ``heartbeats`` is the file in which an agent's lock is held: it must still be the one that is in use.
        """
        with self._lock:
            try:
                directory = self._current(heartbeats)
                if directory.read_only:
                    return self._read_unlocked(directory, work)
                with self._begin_read(directory) as transaction:
                    return work(transaction)
            except (lmdb.Error, OSError) as error:
                raise self._failed(error) from error
            except records.UNREADABLE as error:
                raise errors.unreadable(self._path) from error

    def write(
        self, work: Callable[[Transaction], T], key: bytes, heartbeats: Heartbeats | None = None, size: int = 0
    ) -> T:
        """Do all of ``work`` in one transaction, or nothing of it; on disk when it returns.

        It puts the record of this ``key``, and perhaps others, which may be large and have this ``size`` (bytes).
        """

        def reserved(directory: Directory) -> T:
            with self._begin_write(directory) as transaction:
                left = files.AFTER_ADDING if transaction.get(key) is None else files.AFTER_CHANGING
                result = work(transaction)
                directory.allocate(transaction, size, left)
                return result

        return self._changed_by(reserved, heartbeats)

    def remove(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """As :meth:`write`, for work that makes room: it may use what other writes leave."""

        def unreserved(directory: Directory) -> T:
            try:
                with self._begin_write(directory) as transaction:
                    return work(transaction)
            except lmdb.MapFullError:
                return self._remove_from_full_map(directory, work)

        return self._changed_by(unreserved, heartbeats)

    def scan(self, work: Callable[[Scan], Iterator[T]]) -> Iterator[T]:
        """What ``work`` yields for one snapshot of the file, while other threads and processes may read and write."""
        scan = self._begin_scan()
        if scan.transaction is None:
            yield from self.read(lambda transaction: list(work(scan.of(transaction))))
            return
        try:
            yield from work(scan)
        except lmdb.Error as error:
            raise self._translated(error) from error
        except records.UNREADABLE as error:
            raise errors.unreadable(self._path) from error
        finally:
            with self._lock:
                self._end(scan)

    def _begin_scan(self) -> Scan:
        with self._lock:
            try:
                directory = self._current()
                scan = Scan(directory)
                if not directory.read_only:  # else no snapshot stays as it is
                    scan.transaction = self._begin_read(directory)
                    self._scans[scan] = threading.get_ident()
            except (lmdb.Error, OSError) as error:
                raise self._failed(error) from error
            return scan

    def _end(self, scan: Scan) -> None:
        if self._scans.pop(scan, None) is not None:
            scan.abort()
            self._idle.notify_all()

    def _changed_by(self, change: Callable[[Directory], T], heartbeats: Heartbeats | None) -> T:
        """Let one thread after the other write; meanwhile, others may read."""
        with self._writing:
            with self._lock:
                try:
                    directory = self._current(heartbeats)
                except (lmdb.Error, OSError) as error:
                    raise self._failed(error) from error
                if directory.read_only:
                    raise errors.read_only(self._path)
                self._writer = threading.get_ident()
            try:
                return change(directory)
            except (lmdb.Error, OSError) as error:
                with self._lock:
                    raise self._failed(error) from error
            except records.UNREADABLE as error:
                raise errors.unreadable(self._path) from error
            finally:
                with self._lock:
                    self._writer = None
                    self._idle.notify_all()

    def _read_unlocked(self, directory: Directory, work: Callable[[Transaction], T]) -> T:
        """What ``work`` returns for one snapshot, of which nothing was overwritten meanwhile.

        No lock can be taken, as that is a write.  But a store that is mounted read-only here may be written to from
        elsewhere.  LMDB's writer reuses the pages of a snapshot in the third transaction after it, and not before.

        :raises StoreUnavailable: if too much is written.
        """
        for _ in range(_READ_ATTEMPTS):
            before = _last_transaction(directory)
            try:
                with self._begin_read(directory) as transaction:
                    result = work(transaction)
            except (lmdb.Error, *records.UNREADABLE):
                if _last_transaction(directory) <= before + 1:
                    raise
            else:
                if _last_transaction(directory) <= before + 1:
                    return result
        raise StoreUnavailable(f"the store in {self._path} changes faster than it can be read: try again")

    def _remove_from_full_map(self, directory: Directory, work: Callable[[Transaction], T]) -> T:
        size = directory.environment.info()["map_size"]
        with self._lock:
            self._resize(directory, size + files.SPARE)
        try:
            with self._begin_write(directory) as transaction:
                return work(transaction)
        finally:
            with self._lock:
                self._resize(directory, size)  # or more, if more is in use

    def _begin_write(self, directory: Directory) -> Transaction:
        while True:
            try:
                return directory.environment.begin(write=True)
            except lmdb.MapResizedError:  # another process made the file larger than our map
                with self._lock:
                    self._resize(directory, 0)

    def _begin_read(self, directory: Directory) -> Transaction:
        while True:
            try:
                return directory.environment.begin()
            except lmdb.MapResizedError:
                self._resize(directory, 0)

    def _translated(self, error: lmdb.Error | OSError) -> StoreError:
        size = self._map_size if self._directory is None else self._directory.environment.info()["map_size"]
        return errors.translate(error, self._path, size, MAX_READERS)

    def _failed(self, error: lmdb.Error | OSError) -> StoreError:
        translated = self._translated(error)
        if not isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
            self._forget()  # LMDB may work with this environment no more: the next call opens another
        return translated

    def _current(self, heartbeats: Heartbeats | None = None) -> Directory:
        """The files, open and whole."""
        directory = self._opened()
        if changed := directory.changed():
            self._forget()
            raise self._gone(changed)
        if heartbeats is not None and heartbeats.identity != directory.heartbeats.identity:
            raise self._gone("replaced")  # another thread noticed, and opened the new ones
        return directory

    def _gone(self, changed: str) -> StoreUnavailable:
        return StoreUnavailable(f"the files of the store in {self._path} were {changed}: the next call looks again")

    def _opened(self) -> Directory:
        if self._directory is not None and self._directory.read_only and not files.is_read_only(self._path):
            self._forget()  # it was mounted for writing
        return self._directory or self._open()

    def _open(self) -> Directory:
        if not self._handles:
            raise StoreClosed(f"the store in {self._path} was closed by another thread")
        self._directory = Directory(self._path, self._map_size)
        return self._directory

    def _widen(self, map_size: int) -> None:
        with self._lock:
            if map_size > self._map_size:
                self._map_size = map_size
                if self._directory is not None:
                    self._resize(self._directory, map_size)

    def _forget(self) -> None:
        self._wait()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _wait(self) -> None:
        """Wait until no other thread scans or writes.  What this thread itself scans (it was interrupted) ends here."""
        this = threading.get_ident()
        for scan in [scan for scan, thread in self._scans.items() if thread == this]:
            self._end(scan)
        while self._scans or self._writer not in (None, this):
            self._idle.wait()  # which releases the lock

    def _resize(self, directory: Directory, map_size: int) -> None:
        self._wait()
        if self._directory is not directory:
            raise self._gone("closed by another thread")
        directory.environment.set_mapsize(map_size)

    @classmethod
    def _before_fork(cls) -> None:
        """Wait until no thread uses an environment: the child could never close one that is in use."""
        cls._registry_lock.acquire()
        for environment in cls._shared.values():
            environment._lock.acquire()
            environment._wait()

    @classmethod
    def _after_fork_in_parent(cls) -> None:
        for environment in cls._shared.values():
            environment._lock.release()
        cls._registry_lock.release()

    @classmethod
    def _after_fork_in_child(cls) -> None:
        """The environments are the parent's: forget them."""
        for environment in cls._shared.values():
            directory, environment._directory = environment._directory, None
            if directory is not None:
                directory.close_in_fork()
            environment._writing = threading.Lock()  # another thread of the parent may have been about to write
        cls._after_fork_in_parent()


os.register_at_fork(
    before=Environment._before_fork,
    after_in_parent=Environment._after_fork_in_parent,
    after_in_child=Environment._after_fork_in_child,
)


def _last_transaction(directory: Directory) -> int:
    """The number of the last transaction that wrote."""
    number: int = directory.environment.info()["last_txnid"]
    return number
