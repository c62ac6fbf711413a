"""The files of a store in their directory: opened, of a format that is known, and looked at again later."""

import os
import time
from pathlib import Path
from typing import Final

import lmdb

from ..errors import StoreIncompatible, StoreUnavailable
from . import errors, event_log, files, migrations, records
from .heartbeats import Heartbeats

# Processes and threads that may read at the same time; LMDB's own default is 126.
MAX_READERS: Final = 1024
# The size LMDB gives to a lock file for that many.
_LOCK_FILE_SIZE: Final = 64 * (MAX_READERS + 2)
# A directory's time may be the same after two changes in a row; older than this (nanoseconds) it cannot.
_SETTLED: Final = 1_000_000_000


class Directory:
    """The open files: LMDB's data and lock, and the heartbeats.  On a read-only file system there is no lock."""

    environment: lmdb.Environment
    heartbeats: Heartbeats
    #: How large the file may grow (bytes).
    map_size: int

    def __init__(self, path: Path, map_size: int) -> None:
        """Open the files, and make them if they are missing.

        :raises StoreError: if they cannot be opened, or are not a store of a known format.
        """
        self._path = path
        self._path_text = os.fspath(path)
        self._data, self._lock, self._heartbeats = (path / name for name in ("data.mdb", "lock.mdb", "heartbeats"))
        self._descriptors: list[int] = []
        self._settled: tuple[int, int, int] | None = None
        try:
            self.read_only = files.is_read_only(path)
            if self.read_only:
                self._open_read_only(map_size)
            else:
                self._open_writable(map_size)
        except (lmdb.Error, OSError) as error:
            self.close()
            raise errors.translate(error, path, map_size, MAX_READERS) from error
        except BaseException:
            self.close()
            raise

    def _open_writable(self, map_size: int) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with migrations.exclusion(self._path):
            if not self._data.exists() or not self._data.stat().st_size:
                migrations.create(self._path, map_size)
            self._open(map_size)
            if migrations.is_needed(self.environment, self._path):
                self.close()
                migrations.migrate(self._path, map_size)
                self._open(map_size)
        self.heartbeats = Heartbeats(self._heartbeats, writable=True)
        self.heartbeats.allocate(self._slots() - 1)
        self._watched = {
            self._data: files.identity(os.fstat(self._data_file)),
            self._lock: files.identity(os.fstat(self._lock_file)),
            self._heartbeats: self.heartbeats.identity,
        }

    def _open(self, map_size: int) -> None:
        self._lock_file = self._descriptor(self._lock, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(self._lock_file, 0, _LOCK_FILE_SIZE)
        self.environment = lmdb.open(os.fsencode(self._path), map_size=map_size, max_readers=MAX_READERS, mode=0o600)
        self._open_data(os.O_RDWR)
        self.environment.reader_check()

    def _open_read_only(self, map_size: int) -> None:
        if not self._data.exists():
            raise StoreUnavailable(
                f"there is no store in {self._path}, and none can be made: its file system is mounted read-only;"
                " mount it for writing, or give another path"
            )
        self.environment = lmdb.open(os.fsencode(self._path), map_size=map_size, readonly=True, lock=False)
        self._open_data(os.O_RDONLY)
        if migrations.is_needed(self.environment, self._path, read_only=True):
            raise StoreUnavailable(
                f"the store in {self._path} has an older format, and cannot be upgraded: its file system is mounted"
                " read-only; mount it for writing once, or give another path"
            )
        # An empty file replaces heartbeats that were not copied.
        there = self._heartbeats.exists()
        self.heartbeats = Heartbeats(self._heartbeats if there else Path(os.devnull), writable=False)
        self._watched = {self._data: files.identity(os.fstat(self._data_file))}
        if there:
            self._watched[self._heartbeats] = self.heartbeats.identity

    def _slots(self) -> int:
        with self.environment.begin() as transaction:
            value = transaction.get(records.SLOTS_KEY)
        try:
            return records.slots(value)
        except records.UnreadableRecord as error:
            raise errors.unreadable(self._path) from error

    def _open_data(self, flags: int) -> None:
        self.map_size = self.environment.info()["map_size"]
        self._data_file = self._descriptor(self._data, flags)
        self._whole = os.lseek(self._data_file, 0, os.SEEK_END)
        if files.is_cut(self.environment, self._whole):
            raise StoreIncompatible(f"{self._data} was cut short: move it away, or put back a backup")

    def close(self) -> None:
        """Close the files; closing them twice is allowed.  The heartbeats are closed when no lock is held there."""
        if hasattr(self, "environment"):
            self.environment.close()  # before the lock file: LMDB's locks go with the first descriptor that is closed
        while self._descriptors:
            os.close(self._descriptors.pop())

    def close_in_fork(self) -> None:
        """Close what a fork inherited: the parent's locks must not live on in a descriptor of the child's."""
        self.close()  # lmdb only drops its own notes here: the file is the parent's
        self.heartbeats.close()

    def resize(self, map_size: int) -> None:
        """Resize the map, which no thread may use; 0 means the size of the file."""
        self.environment.set_mapsize(map_size)
        self.map_size = self.environment.info()["map_size"]

    def allocate(self, transaction: "lmdb.Transaction[bytes]", put: int, left: int) -> None:
        """See that there is disk for what a transaction changed, and ``left`` bytes for later ones.

        ``put`` is the size of the values that it put (bytes): the old ones take their pages for as long as those of two
        transactions are not used again.  The history gives way if the map is crowded.

        :raises OSError: if there is no room.
        """
        taken = event_log.give_way(transaction, self.map_size)
        wanted = taken + 2 * put + left
        if wanted > self._whole:
            files.allocate(self._data_file, wanted)

    def changed(self) -> str:
        """What became of the files since they were opened, if anything."""
        try:
            status = os.stat(self._path_text)  # noqa: PTH116  # before each transaction: cheap
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns
            if stamp != self._settled:
                if any(files.identity(path.stat()) != opened for path, opened in self._watched.items()):
                    return "replaced"
                self._settled = stamp if time.time_ns() - status.st_mtime_ns > _SETTLED else None
        except OSError:
            return "deleted, or moved away"
        return "cut short" if self._was_cut() else ""

    def _was_cut(self) -> bool:
        if not self.read_only and os.lseek(self._lock_file, 0, os.SEEK_END) < _LOCK_FILE_SIZE:
            os.posix_fallocate(self._lock_file, 0, _LOCK_FILE_SIZE)  # else closing it would end the process
            return True
        if (size := os.lseek(self._data_file, 0, os.SEEK_END)) != self._whole:
            if files.is_cut(self.environment, size):
                return True
            self._whole = size
        return False

    def _descriptor(self, path: Path, flags: int) -> int:
        self._descriptors.append(os.open(path, flags | os.O_CLOEXEC, 0o600))
        return self._descriptors[-1]
