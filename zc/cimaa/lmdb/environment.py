"""One LMDB file in one process: opened once for all its handles, again in a fork, with its errors translated.

What LMDB asks of its users, and what is done about it here:

- No process opens a file twice: handles on one directory share one environment.
- No environment survives a fork: the child forgets it, and opens its own when it first needs one.
- The map is resized only while this process has no transaction: there is one at a time.
- The lock file is written through a mapping, and a full disk would kill the process there (``SIGBUS``):
  its space is allocated before LMDB maps it.
- A process that was killed leaves its reader's slot: the dead are cleared at open.
- Whoever reads a mapped file beyond its end is killed, too, and one that was deleted is written to as if nothing had
  happened: before each transaction the files are looked at, and if they are not what was opened, they are opened anew.
"""

import errno
import os
import resource
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import lmdb

from ..errors import StoreClosed, StoreDenied, StoreError, StoreFull, StoreIncompatible, StoreUnavailable
from ..units import format_size
from . import records

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
T = TypeVar("T")

# Processes and threads that may read at the same time; LMDB's own default is 126.
_MAX_READERS = 1024
# The size LMDB gives to a lock file for that many.
_LOCK_FILE_SIZE = 64 * (_MAX_READERS + 2)
# Less free space (bytes) than this makes a failed write a matter of the disk being full.
_HARDLY_ANY = 1024 * 1024


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
                while True:
                    try:
                        with environment.begin(write=write) as transaction:
                            return work(transaction)
                    except lmdb.MapResizedError:  # another process made the file larger than our map
                        environment.set_mapsize(0)
            except lmdb.Error as error:
                raise self._failed(error) from error

    def sync(self) -> None:
        """Return once all that was written is on disk."""
        with self._lock:
            try:
                self._current().sync(True)
            except lmdb.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: lmdb.Error) -> StoreError:
        translated = self._translated(error)
        if not isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
            self._forget()  # LMDB may work with this environment no more: the next call opens another
        return translated

    def _current(self) -> lmdb.Environment:
        """The environment, open and whole."""
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
        data, lock = os.stat(self._data), os.stat(self._lock_file)  # noqa: PTH116  # before each transaction: cheap
        if [_identity(data), _identity(lock)] != self._files:
            return "replaced"
        if lock.st_size < _LOCK_FILE_SIZE:
            _allocate(self._lock_file, _LOCK_FILE_SIZE)  # else closing it would end the process
            return "cut short"
        if data.st_size != self._whole:
            if _is_cut(environment, data.st_size):
                return "cut short"
            self._whole = data.st_size
        return ""

    def _open(self) -> lmdb.Environment:
        if not self._handles:
            raise StoreClosed(f"the store in {self._path} was closed by another thread")
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _allocate(self._lock_file, _LOCK_FILE_SIZE)
            self._lmdb = lmdb.open(
                os.fsencode(self._path), map_size=self._map_size, max_readers=_MAX_READERS, mode=0o600, metasync=False
            )
            self._files = [_identity(Path(path).stat()) for path in (self._data, self._lock_file)]
            if _is_cut(self._lmdb, Path(self._data).stat().st_size):
                raise StoreIncompatible(f"{self._data} was cut short: move it away, or put back a backup")
            self._lmdb.reader_check()
            self._check_format(self._lmdb)
        except OSError as error:
            raise self._translated(error) from error
        except BaseException:
            self._forget()
            raise
        return self._lmdb

    def _check_format(self, environment: lmdb.Environment) -> None:
        with environment.begin() as transaction:
            version = transaction.get(records.VERSION_KEY)
        if version is None:
            with environment.begin(write=True) as transaction:
                if transaction.stat()["entries"] and transaction.get(records.VERSION_KEY) is None:
                    raise StoreIncompatible(f"{self._path} holds an LMDB file that is no store of zc.cimaa's")
                transaction.put(records.VERSION_KEY, b"%d" % records.FORMAT)
        elif version != b"%d" % records.FORMAT:
            raise StoreIncompatible(
                f"the store in {self._path} has format {version.decode(errors='replace')}, and this version of zc.cimaa"
                f" reads format {records.FORMAT}: upgrade zc.cimaa on this host, or give another path"
            )

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

    def _translated(self, error: lmdb.Error | OSError) -> StoreError:
        """What to tell of an error of LMDB's or the system's."""
        text = str(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            return StoreError(f"the store's path {self._path} is no directory, or not in one: give another path")
        if isinstance(error, lmdb.MapFullError):
            return StoreFull(
                f"the store in {self._path} is full: its map_size is {format_size(self._lmdb_map_size())};"
                " set a larger map_size in the [database] section"
            )
        if isinstance(error, PermissionError) or os.strerror(errno.EACCES) in text:
            return StoreDenied(
                f"no permission to use the store in {self._path}: run as the user who owns it, or give another path"
            )
        if self._is_full(error):
            return StoreFull(f"there is no room for the store in {self._path}: the disk is full ({text})")
        if isinstance(
            error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError | lmdb.PageNotFoundError
        ):
            return StoreIncompatible(
                f"{self._data} is no LMDB file, or a damaged one ({text}): move it away, or put back a backup"
            )
        if isinstance(error, lmdb.ReadersFullError):
            return StoreUnavailable(f"more than {_MAX_READERS} readers use the store in {self._path} at once")
        return StoreUnavailable(f"the store in {self._path} cannot be used: {text}")

    def _lmdb_map_size(self) -> int:
        return self._map_size if self._lmdb is None else self._lmdb.info()["map_size"]

    def _is_full(self, error: lmdb.Error | OSError) -> bool:
        numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers):
            return True
        # A write that was cut short for want of room is an input/output error to LMDB.
        return os.strerror(errno.EIO) in str(error) and self._room() < _HARDLY_ANY

    def _room(self) -> int:
        """How many bytes the data file may still grow by."""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        free = shutil.disk_usage(self._path).free
        return free if limit == resource.RLIM_INFINITY else min(free, limit - Path(self._data).stat().st_size)

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


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_cut(environment: lmdb.Environment, size: int) -> bool:
    """True if a file of this size lacks pages; the first two are needed to ask LMDB for the others."""
    if size < 2 * resource.getpagesize():
        return True
    pages: int = environment.info()["last_pgno"] + 1
    return bool(size < pages * environment.stat()["psize"])


def _allocate(path: str, size: int) -> None:
    """See to it that the file exists and has so many bytes on disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
