"""One LMDB file in one process: opened once for all its handles, again in a fork, with its errors translated.

What LMDB asks of its users, and what is done about it here:

- No process opens a file twice: handles on one directory share one environment.
- No environment survives a fork: the child forgets it, and opens its own when it first needs one.
- The map is resized only while this process has no transaction.
- The lock file is written through a mapping, and a full disk would kill the process there (``SIGBUS``):
  its space is allocated before LMDB maps it.
- LMDB's own locks on the lock file are lost when the process closes any descriptor of it: the one that is used to
  look at its length stays open for as long as the environment.
- A process that was killed leaves its reader's slot: the dead are cleared at open.
- A process that reads a mapped file beyond its end is killed, and one whose file was deleted goes on writing to it:
  before each transaction the directory's time and the files' lengths are looked at, and if the files are not those
  that were opened, they are opened again.  The files' own times are not asked for: the kernel would then note the next
  write's time more precisely, at the price of one more block to sync.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import lmdb

from ..errors import StoreClosed, StoreError, StoreUnavailable
from .directory import Directory
from .errors import translated
from .heartbeats import AgentLock, Heartbeats

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
T = TypeVar("T")


class Environment:
    """The LMDB environment in a directory, for all handles of this process."""

    _shared: ClassVar[dict[Path, "Environment"]] = {}
    _registry_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, map_size: int) -> None:
        self._path = path
        self._map_size = map_size
        self._handles = 0
        # Held throughout each short transaction.  A long read counts as a reader instead, and holds up only what no
        # transaction may see: a resize of the map, the end of the environment, and a fork.
        self._lock = threading.Lock()
        self._readers = 0
        self._no_readers = threading.Condition(self._lock)
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
            return (self._directory or self._open()).heartbeats.lock(agent)

    def read(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """What ``work`` makes of one snapshot of the file.

        ``heartbeats`` is the file in which an agent's lock is held: it must still be the one that is in use.
        """
        return self._transact(work, False, heartbeats)

    def write(self, work: Callable[[Transaction], T], heartbeats: Heartbeats | None = None) -> T:
        """Do all of ``work`` in one transaction, or nothing of it; on disk when it returns."""
        return self._transact(work, True, heartbeats)

    @contextmanager
    def reading(self) -> Iterator[tuple[Transaction, bytes]]:
        """One snapshot of the file for a longer read, and the slots of the heartbeats as they were just before."""
        with self._lock:
            try:
                directory = self._current()
                slots = directory.heartbeats.copy()
                transaction = self._begin(directory, False)
            except (lmdb.Error, OSError) as error:
                raise self._failed(error) from error
            self._readers += 1
        try:
            yield transaction, slots
        except lmdb.Error as error:
            raise translated(error, self._path, self._map_size) from error
        finally:
            with self._lock:
                transaction.abort()
                self._readers -= 1
                self._no_readers.notify_all()

    def _transact(self, work: Callable[[Transaction], T], write: bool, heartbeats: Heartbeats | None) -> T:
        with self._lock:
            try:
                directory = self._current()
                if heartbeats is not None and heartbeats.identity != directory.heartbeats.identity:
                    raise self._replaced("replaced")  # by another thread, meanwhile
                with self._begin(directory, write) as transaction:
                    return work(transaction)
            except (lmdb.Error, OSError) as error:
                raise self._failed(error) from error

    def _begin(self, directory: Directory, write: bool) -> Transaction:
        while True:
            try:
                return directory.environment.begin(write=write)
            except lmdb.MapResizedError:  # another process made the file larger than our map
                self._wait_for_readers()
                directory.environment.set_mapsize(0)

    def _failed(self, error: lmdb.Error | OSError) -> StoreError:
        failure = translated(error, self._path, self._map_size)
        if not isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
            self._forget()  # LMDB may work with this environment no more: the next call opens another
        return failure

    def _current(self) -> Directory:
        """The files, open and whole."""
        if self._directory is None:
            return self._open()
        if changed := self._directory.changed():
            self._forget()
            raise self._replaced(changed)
        return self._directory

    def _replaced(self, changed: str) -> StoreUnavailable:
        return StoreUnavailable(f"the files of the store in {self._path} were {changed}: the next call looks again")

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
                    self._wait_for_readers()
                    self._directory.environment.set_mapsize(map_size)

    def _forget(self) -> None:
        if self._directory is not None:
            self._wait_for_readers()
            directory, self._directory = self._directory, None
            if directory is not None:
                directory.close()  # in a fork, lmdb only drops its own notes here: the file is the parent's

    def _wait_for_readers(self) -> None:
        while self._readers:
            self._no_readers.wait()

    @classmethod
    def _before_fork(cls) -> None:
        """Wait until no thread uses an environment: the child could never close one that is in use."""
        cls._registry_lock.acquire()
        for environment in cls._shared.values():
            environment._lock.acquire()
            environment._wait_for_readers()

    @classmethod
    def _after_fork_in_parent(cls) -> None:
        for environment in cls._shared.values():
            environment._lock.release()
        cls._registry_lock.release()

    @classmethod
    def _after_fork_in_child(cls) -> None:
        """The environments are the parent's: forget them."""
        for environment in cls._shared.values():
            environment._forget()
        cls._after_fork_in_parent()


os.register_at_fork(
    before=Environment._before_fork,
    after_in_parent=Environment._after_fork_in_parent,
    after_in_child=Environment._after_fork_in_child,
)
