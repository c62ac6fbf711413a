"""The files of a store in their directory: opened, of a format that is known, and looked at again later."""

import os
import resource
import time
from pathlib import Path
from typing import Final

import lmdb

from ..errors import StoreIncompatible
from . import migrations
from .errors import translated
from .heartbeats import Heartbeats

# Processes and threads that may read at the same time; LMDB's own default is 126.
MAX_READERS: Final = 1024
# The size LMDB gives to a lock file for that many.
_LOCK_FILE_SIZE: Final = 64 * (MAX_READERS + 2)
# A directory's time may be the same after two changes in a row; older than this (nanoseconds) it cannot.
_SETTLED: Final = 1_000_000_000


class Directory:
    """The open files: LMDB's data and lock, and the heartbeats."""

    def __init__(self, path: Path, map_size: int) -> None:
        """Open the files, and make them if they are missing.

        :raises StoreError: if they cannot be opened, or are no store of a format that is known.
        """
        self._path = path
        self._paths = [path / name for name in ("data.mdb", "lock.mdb", "heartbeats")]
        self._descriptors: list[int] = []
        self.environment: lmdb.Environment
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with migrations.exclusion(path):
                self._open(map_size)
        except (lmdb.Error, OSError) as error:
            self.close()
            raise translated(error, path, map_size) from error
        except BaseException:
            self.close()
            raise

    def _open(self, map_size: int) -> None:
        data, lock, heartbeats = self._paths
        while True:
            self._lock_file = self._descriptor(lock, os.O_RDWR | os.O_CREAT)
            os.posix_fallocate(self._lock_file, 0, _LOCK_FILE_SIZE)
            self.environment = lmdb.open(
                os.fsencode(self._path), map_size=map_size, max_readers=MAX_READERS, mode=0o600
            )
            self._data_file = self._descriptor(data, os.O_RDONLY)
            self._whole = os.lseek(self._data_file, 0, os.SEEK_END)
            if self._is_cut(self._whole):
                raise StoreIncompatible(f"{data} was cut short: move it away, or put back a backup")
            self.environment.reader_check()
            if not migrations.is_needed(self.environment, self._path):
                break
            self.close()
            migrations.migrate(self._path, map_size)
        self.heartbeats = Heartbeats(heartbeats, writable=True)
        self._identities = [_identity(os.fstat(each)) for each in (self._data_file, self._lock_file)]
        self._identities.append(self.heartbeats.identity)
        self._settled: tuple[int, int, int] | None = None

    def close(self) -> None:
        """Close the files; closing them twice is no error.  The heartbeats are closed when no lock is held there."""
        if hasattr(self, "environment"):
            self.environment.close()  # before the lock file: LMDB's locks go with the first descriptor that is closed
        while self._descriptors:
            os.close(self._descriptors.pop())

    def changed(self) -> str:
        """What became of the files since they were opened, if anything."""
        try:
            status = os.stat(self._path)  # noqa: PTH116  # before each transaction: cheap
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns
            if stamp != self._settled:
                if [_identity(path.stat()) for path in self._paths] != self._identities:
                    return "replaced"
                self._settled = stamp if time.time_ns() - status.st_mtime_ns > _SETTLED else None
        except OSError:
            return "deleted, or moved away"
        return "cut short" if self._was_cut() else ""

    def _was_cut(self) -> bool:
        if os.lseek(self._lock_file, 0, os.SEEK_END) < _LOCK_FILE_SIZE:
            os.posix_fallocate(self._lock_file, 0, _LOCK_FILE_SIZE)  # else closing it would end the process
            return True
        if (size := os.lseek(self._data_file, 0, os.SEEK_END)) != self._whole:
            if self._is_cut(size):
                return True
            self._whole = size
        return False

    def _is_cut(self, size: int) -> bool:
        """True if a data file of this size lacks pages; the first two are needed to ask LMDB for the others."""
        if size < 2 * resource.getpagesize():
            return True
        pages: int = self.environment.info()["last_pgno"] + 1
        return bool(size < pages * self.environment.stat()["psize"])

    def _descriptor(self, path: Path, flags: int) -> int:
        self._descriptors.append(os.open(path, flags | os.O_CLOEXEC, 0o600))
        return self._descriptors[-1]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
