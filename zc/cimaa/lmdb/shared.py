"""The files of one store, opened for all handles of this process when they are first used, and again if they change."""

from pathlib import Path
from typing import TypeAlias

import lmdb

from ..errors import StoreClosed, StoreError, StoreUnavailable
from . import errors, files
from .directory import MAX_READERS, Directory
from .gate import Gate
from .heartbeats import Heartbeats

Transaction: TypeAlias = "lmdb.Transaction[bytes]"


class SharedDirectory:
    """The directory of a store.  Unless a method says otherwise, ``gate.lock`` must be held when it is called."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path = path
        self.gate = Gate()
        #: How many handles use it; without any, it is not opened again.
        self.handles = 0
        self._map_size = map_size
        self._directory: Directory | None = None

    def current(self, *heartbeats: Heartbeats | None) -> Directory:
        """The files, opened and complete.

        :raises StoreUnavailable: if they changed, or one of ``heartbeats`` is not the file that is in use.
        """
        directory = self.opened()
        if changed := directory.changed():
            self.close()
            raise self._gone(changed)
        opened = directory.heartbeats.identity
        for locked in heartbeats:
            if locked is not None and locked.identity != opened:
                raise self._gone("replaced")  # another thread noticed, and opened the new ones
        return directory

    def opened(self) -> Directory:
        """The files, opened but not examined.

        :raises StoreClosed: if they are closed, and no handle is left.
        """
        if self._directory is not None and self._directory.read_only and not files.is_read_only(self.path):
            self.close()  # it was mounted for writing
        return self._directory or self._open()

    def _open(self) -> Directory:
        if not self.handles:
            raise StoreClosed(f"the store in {self.path} was closed by another thread")
        self._directory = Directory(self.path, self._map_size)
        return self._directory

    def close(self) -> None:
        """Close the files once no other thread uses them; the next call opens them again if a handle is left."""
        self.gate.wait()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def close_in_fork(self) -> None:
        """Close what the child inherited: the files are the parent's."""
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close_in_fork()
        self.gate.reset_in_fork()

    def begin_read(self, directory: Directory) -> Transaction:
        """A new transaction that reads; the map is resized if another process made the file larger."""
        while True:
            try:
                return directory.environment.begin()
            except lmdb.MapResizedError:
                self.resize(directory, 0)

    def begin_write(self, directory: Directory) -> Transaction:
        """As :meth:`begin_read`, for one that writes.  No other thread may write, nor this one hold ``gate.lock``."""
        while True:
            try:
                return directory.environment.begin(write=True)
            except lmdb.MapResizedError:
                with self.gate.lock:
                    self.resize(directory, 0)

    def resize(self, directory: Directory, map_size: int) -> None:
        """Resize the map once no other thread uses it; 0 means the size of the file.

        :raises StoreUnavailable: if another thread closed the directory meanwhile.
        """
        self.gate.wait()
        if self._directory is not directory:
            raise self._gone("closed by another thread")
        directory.resize(map_size)

    def widen(self, map_size: int) -> None:
        """Make the map at least this large (bytes).  ``gate.lock`` need not be held."""
        with self.gate.lock:
            if map_size > self._map_size:
                self._map_size = map_size
                if self._directory is not None:
                    self.resize(self._directory, map_size)

    def translated(self, error: lmdb.Error | OSError) -> StoreError:
        """The exception to raise for an error of LMDB or the system.  ``gate.lock`` need not be held."""
        size = self._map_size if self._directory is None else self._directory.map_size
        return errors.translate(error, self.path, size, MAX_READERS)

    def failed(self, error: lmdb.Error | OSError) -> StoreError:
        """As :meth:`translated`, for an error after which LMDB may not work: the files are closed."""
        translated = self.translated(error)
        if not isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
            self.close()
        return translated

    def _gone(self, changed: str) -> StoreUnavailable:
        return StoreUnavailable(f"the files of the store in {self.path} were {changed}: the next call looks again")
