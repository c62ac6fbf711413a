"""Walks through directories and reads files so that symbolic links, devices and FIFOs can do no harm.

Directories are opened one below the other, each by its name in the one above, and never
through a symbolic link: a link, or a directory that is replaced by one meanwhile, leads nowhere.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

#: Bytes that are read at once.
PIECE = 1024 * 1024
#: Levels of directories; each takes two descriptors.
DEEPEST = 200

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A directory on the way, in which others are only looked up: this takes no permission to list it.
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeFile(NamedTuple):
    """A file of any type, in a directory that is open."""

    #: The descriptor of the directory.
    directory: int
    name: str
    path: str

    def status(self) -> os.stat_result:
        """Its own status; that of a link, not of what it leads to."""
        return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)  # Path has no dir_fd


class _Level(NamedTuple):
    descriptor: int
    path: str
    entries: "os._ScandirIterator[str]"

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


class FileTree:
    """The files below a path, itself included."""

    def __init__(self, path: str, depth: int, skipped: Mapping[str, str], failed: Callable[[str, OSError], None]):
        """``path`` is absolute, and has no symbolic links in it; ``depth`` is 0 for the file of this path alone.

        ``skipped`` has the mount points that are not entered; ``failed`` is called for each directory that cannot be
        read.
        """
        self._path, self._depth, self._skipped, self._failed = path, depth, skipped, failed
        #: Directories that were listed; and those that were not, as they are too deep or mount points.
        self.directories = 0
        self.deeper: list[str] = []
        self.mounts: list[str] = []

    def files(self) -> Iterator[tuple[TreeFile, "os.DirEntry[str] | None"]]:
        """Each file, and what its directory says about it (``None`` for the first); the order is not defined.

        :raises OSError: if the path cannot be opened.
        """
        parent, _, name = self._path.rpartition("/")
        with _opened(parent or "/") as descriptor:
            first = TreeFile(descriptor, name or ".", self._path)
            is_directory = stat.S_ISDIR(first.status().st_mode)
            yield first, None
            if is_directory:
                yield from self._below(first)

    def _below(self, first: TreeFile) -> Iterator[tuple[TreeFile, "os.DirEntry[str]"]]:
        levels: list[_Level] = []
        try:
            self._enter(first, levels)
            while levels:
                level = levels[-1]
                if (entry := self._next(level)) is None:
                    levels.pop().close()
                    continue
                file = TreeFile(level.descriptor, entry.name, f"{level.path.rstrip('/')}/{entry.name}")
                yield file, entry
                if is_type(entry.is_dir):
                    self._enter(file, levels)
        finally:
            for level in levels:
                level.close()

    def _next(self, level: _Level) -> "os.DirEntry[str] | None":
        try:
            return next(level.entries, None)
        except OSError as error:
            self._failed(level.path, error)
            return None

    def _enter(self, file: TreeFile, levels: list[_Level]) -> None:
        if len(levels) >= self._depth:
            self.deeper.append(file.path)
        elif levels and file.path in self._skipped:
            self.mounts.append(file.path)
        else:
            try:
                descriptor = os.open(file.name, _DIRECTORY, dir_fd=file.directory)
            except OSError as error:
                self._failed(file.path, error)
                return
            self.directories += 1
            levels.append(_Level(descriptor, file.path, os.scandir(descriptor)))


def is_type(test: Callable[..., bool]) -> bool:
    """What ``is_dir`` or ``is_file`` of an entry says about the entry itself; false if it cannot be looked at."""
    try:
        return test(follow_symlinks=False)
    except OSError:
        return False


def pieces(file: TreeFile) -> Iterator[bytes]:
    """The contents of a regular file; nothing of any other, which is not opened.

    :raises OSError: if it cannot be read.
    """
    # A descriptor of this kind does not open the file: it holds it while its type is examined.
    held = os.open(file.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=file.directory)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            return
        descriptor = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)
    try:
        while data := os.read(descriptor, PIECE):
            yield data
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """The descriptor of a directory, which is reached without symbolic links.

    :raises OSError: if it cannot be opened; also if one of its parts has become a link.
    """
    descriptor = os.open("/", _ON_THE_WAY)
    try:
        for part in filter(None, path.split("/")):
            below = os.open(part, _ON_THE_WAY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
