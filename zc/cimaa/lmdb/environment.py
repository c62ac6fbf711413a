"""One LMDB file in one process: opened once for all its handles, and again in a fork.

What LMDB requires of its users, and how it is met:

- No process opens a file twice: handles on one directory share one environment.
- No environment survives a fork: the child forgets it, and opens its own when it first needs one.
- The map is resized only while this process has no transaction: there is one at a time.
- The lock file is written through a mapping, and a full disk would kill the process there (``SIGBUS``):
  its space is allocated before LMDB maps it.
- A process that was killed leaves its reader's slot: the dead are cleared at open.
- A process that reads a mapped file beyond its end is killed, too, and a deleted file is written to as if nothing had
  happened: the files are examined before each transaction, and opened again if they are not what was opened.
- Its locks are in a file, which cannot be written on a file system that is mounted read-only: there the store is opened
  without locks, and each read checks that nothing was overwritten meanwhile.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import lmdb

from ..errors import StoreClosed, StoreError, StoreIncompatible, StoreUnavailable
from . import errors, files, records

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
T = TypeVar("T")

# Processes and threads that may read at the same time; LMDB's own default is 126.
_MAX_READERS = 1024
# The size LMDB gives to a lock file for that many.
_LOCK_FILE_SIZE = 64 * (_MAX_READERS + 2)
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
        self._lock = threading.Lock()
        self._lmdb: lmdb.Environment | None = None
        self._data, self._lock_file = os.fspath(path / "data.mdb"), os.fspath(path / "lock.mdb")
        # What the open files are, data and lock: each device and inode.  And with which size the data was whole.
        self._files: list[tuple[int, int]] = []
        self._whole = 0
        # True while the file system is mounted read-only.
        self._read_only = False

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

    def read(self, work: Callable[[Transaction], T]) -> T:
        """What ``work`` makes of one snapshot of the file."""
        return self._transact(work, False)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Do all of ``work`` in one transaction, or nothing of it.

        When it returns, other processes see it, and all that was written before is
        on disk; this write itself is after the next one, or after :meth:`sync`.
        """
        return self._transact(work, True)

    def _transact(self, work: Callable[[Transaction], T], write: bool) -> T:
        with self._lock:
            try:
                environment = self._current()
                if self._read_only:
                    if write:
                        raise errors.read_only(self._path)
                    return self._read_unlocked(environment, work)
                return _done(environment, work, write)
            except lmdb.Error as error:
                raise self._failed(error) from error

    def _read_unlocked(self, environment: lmdb.Environment, work: Callable[[Transaction], T]) -> T:
        """What ``work`` makes of one snapshot, of which nothing was overwritten meanwhile.

        No lock can be taken, as that is a write.  But a store that is mounted read-only here may be written to from
        elsewhere.  LMDB's writer reuses the pages of a snapshot in the third transaction after it, and not before.

        :raises StoreUnavailable: if too much is written.
        """
        for _ in range(_READ_ATTEMPTS):
            before = _last_transaction(environment)
            try:
                result = _done(environment, work, False)
            except lmdb.Error:
                if _last_transaction(environment) <= before + 1:
                    raise
            else:
                if _last_transaction(environment) <= before + 1:
                    return result
        raise StoreUnavailable(f"the store in {self._path} changes faster than it can be read: try again")

    def sync(self) -> None:
        """Return once all that was written is on disk."""
        with self._lock:
            try:
                self._current().sync(True)
            except lmdb.Error as error:
                raise self._failed(error) from error

    def _translated(self, error: lmdb.Error | OSError) -> StoreError:
        size = self._map_size if self._lmdb is None else self._lmdb.info()["map_size"]
        return errors.translate(error, self._path, size, _MAX_READERS)

    def _failed(self, error: lmdb.Error) -> StoreError:
        translated = self._translated(error)
        if not isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
            self._forget()  # LMDB may work with this environment no more: the next call opens another
        return translated

    def _current(self) -> lmdb.Environment:
        """The environment, open and whole."""
        if self._lmdb is not None and self._read_only and not files.is_read_only(self._path):
            self._forget()  # it was mounted for writing
        if self._lmdb is None:
            return self._open()
        try:
            changed = self._changed(self._lmdb)
        except OSError:
            changed = "deleted, or moved away"
        if changed:
            self._forget()
            raise StoreUnavailable(f"the files of the store in {self._path} were {changed}: the next call looks again")
        return self._lmdb

    def _changed(self, environment: lmdb.Environment) -> str:
        """What became of the files since they were opened, if anything."""
        data = os.stat(self._data)  # noqa: PTH116  # before each transaction: cheap
        identities = [files.identity(data)]
        if not self._read_only:
            lock = os.stat(self._lock_file)  # noqa: PTH116
            identities.append(files.identity(lock))
        if identities != self._files:
            return "replaced"
        if not self._read_only and lock.st_size < _LOCK_FILE_SIZE:
            files.allocate(self._lock_file, _LOCK_FILE_SIZE)  # else closing it would end the process
            return "cut short"
        if data.st_size != self._whole:
            if files.is_cut(environment, data.st_size):
                return "cut short"
            self._whole = data.st_size
        return ""

    def _open(self) -> lmdb.Environment:
        if not self._handles:
            raise StoreClosed(f"the store in {self._path} was closed by another thread")
        try:
            self._read_only = files.is_read_only(self._path)
            environment = self._lmdb = self._open_read_only() if self._read_only else self._open_writable()
            used = [self._data] if self._read_only else [self._data, self._lock_file]
            self._files = [files.identity(Path(path).stat()) for path in used]
            if files.is_cut(environment, Path(self._data).stat().st_size):
                raise StoreIncompatible(f"{self._data} was cut short: move it away, or put back a backup")
            if not self._read_only:
                environment.reader_check()
            self._check_format(environment)
        except OSError as error:
            raise self._translated(error) from error
        except BaseException:
            self._forget()
            raise
        return environment

    def _open_writable(self) -> lmdb.Environment:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.allocate(self._lock_file, _LOCK_FILE_SIZE)
        return lmdb.open(
            os.fsencode(self._path), map_size=self._map_size, max_readers=_MAX_READERS, mode=0o600, metasync=False
        )

    def _open_read_only(self) -> lmdb.Environment:
        if not Path(self._data).exists():
            raise StoreUnavailable(
                f"there is no store in {self._path}, and none can be made: its file system is mounted read-only;"
                " mount it for writing, or give another path"
            )
        return lmdb.open(os.fsencode(self._path), map_size=self._map_size, readonly=True, lock=False)

    def _check_format(self, environment: lmdb.Environment) -> None:
        with environment.begin() as transaction:
            version = transaction.get(records.VERSION_KEY)
            empty = not transaction.stat()["entries"]
        if version is not None:
            if version != b"%d" % records.FORMAT:
                raise errors.other_format(self._path, version, records.FORMAT)
        elif not empty:
            raise StoreIncompatible(f"{self._path} holds an LMDB file that is not a store of zc.cimaa")
        elif not self._read_only:
            with environment.begin(write=True) as transaction:
                transaction.put(records.VERSION_KEY, b"%d" % records.FORMAT, overwrite=False)
            self._check_format(environment)  # another process may have been faster

    def _widen(self, map_size: int) -> None:
        with self._lock:
            if map_size > self._map_size:
                self._map_size = map_size
                if self._lmdb is not None:
                    self._lmdb.set_mapsize(map_size)

    def _forget(self) -> None:
        if self._lmdb is not None:
            self._lmdb.close()  # in a fork, lmdb only drops its own notes here: the file is the parent's
            self._lmdb = None

    @classmethod
    def _before_fork(cls) -> None:
        """Wait until no thread uses an environment: the child could never close one that is in use."""
        cls._registry_lock.acquire()
        for environment in cls._shared.values():
            environment._lock.acquire()

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


def _done(environment: lmdb.Environment, work: Callable[[Transaction], T], write: bool) -> T:
    """What ``work`` returns, done in one transaction."""
    while True:
        try:
            with environment.begin(write=write) as transaction:
                return work(transaction)
        except lmdb.MapResizedError:  # another process made the file larger than our map
            environment.set_mapsize(0)


def _last_transaction(environment: lmdb.Environment) -> int:
    """The number of the last transaction that wrote."""
    number: int = environment.info()["last_txnid"]
    return number
