"""CFEngine's LMDB files: where they are, and what each holds at one moment.

Nothing of a file is trusted: a child process copies it into memory and examines the copy, within limits of time and
memory, and only a copy that is whole is read with LMDB.  See :mod:`~zc.cimaa.cfengine.snapshot`.
"""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from ..errors import Error
from ..text import one_line
from . import records

#: Where CFEngine keeps its state, with its own packages and with those of Debian.
DIRECTORIES = ("/var/cfengine/state", "/var/lib/cfengine3/state")
SUFFIX = ".lmdb"

#: Seconds that reading one file may take.
TIMEOUT = 10.0
# Files that one child process copies.
_BATCH = 16
# Bytes that it may write about one file.
_LONGEST = 64 * 1024
_ROOM = Path(__file__).parents[3]
_CHILD = """\
import sys
sys.path.insert(0, sys.argv[1])
from zc.cimaa.cfengine import snapshot
snapshot.main(sys.argv[2:])
"""

_REPAIR = "repair it with 'cf-check repair', or put back its .backup"
#: How a file that only root can read is made readable.
READERS = (
    "let its user read it, through a group or 'setfacl -m u:USER:r FILE' (and x for the directories above it), or run"
    " this as root: 'cimaa report' can pass on what root's cron job found"
)
#: Why a file is not read, by the kind of the reason: ``{0}`` is what is known about it.
KINDS = {
    "missing": "there is no such file",
    "denied": "no permission to read it{0}: " + READERS,
    "empty": "it is empty: it is not an LMDB file yet",
    "other": "it is not an LMDB file{0}",
    "foreign": "it is the LMDB file{0}, and can be read only there",
    "newer": "it is an LMDB file of a newer format{0}",
    "cut": "it was cut short{0}; " + _REPAIR,
    "damaged": "it is damaged{0}; " + _REPAIR,
    "large": "it is larger than any file of CFEngine{0}, and is not read",
    "busy": "it changes faster than it can be read: try again",
    "time": "reading it was given up{0}",
    "version": "its layout is not known{0}",
    "system": "it cannot be read{0}",
    "bug": "reading it failed{0}: this is a bug in zc.cimaa, please report it",
}


class Unreadable(Error):
    """A file that cannot be read, and why."""

    def __init__(self, path: str, kind: str, detail: str = "") -> None:
        """``kind`` is one of :data:`KINDS`."""
        link = {"foreign": " "}.get(kind, ": " if kind in ("cut", "damaged", "system") else " (")
        shown = f"{link}{detail}{')' if link == ' (' else ''}" if detail else ""
        self.path, self.kind = path, kind
        self.reason = one_line(KINDS[kind].format(shown))
        super().__init__(f"{path}: {self.reason}")


class NoState(Error):
    """There is no directory of CFEngine."""


class FileFacts(NamedTuple):
    """The figures of a file at one moment."""

    entries: int
    #: Of the file: those of the meta pages and of free pages included.
    pages: int
    free_pages: int
    #: Bytes.
    page_size: int
    #: Bytes to which the file may grow.
    map_size: int
    #: The number of the last transaction that wrote to it.
    transaction: int
    #: Bytes of the file.
    size: int
    #: Seconds since the epoch.
    modified: float

    @property
    def used(self) -> float:
        """Percent of the map that hold something: pages that may be used again are not counted."""
        return 100 * (self.pages - self.free_pages) * self.page_size / self.map_size


class FileSnapshot:
    """A file at one moment: a copy in memory that is whole.  To be closed."""

    def __init__(self, path: str, facts: FileFacts, copy: int) -> None:
        """``copy`` is the descriptor of the copy."""
        self.path, self.facts = path, facts
        self._copy = copy

    @property
    def name(self) -> str:
        """The file's name."""
        return os.path.basename(self.path)  # noqa: PTH119  # a Path would drop what an operator typed

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values, in the order of the file.

        :raises Unreadable: if LMDB finds another number of them than the walk through the pages.
        """
        count = 0
        with self._reading() as transaction:
            for entry in transaction.cursor():
                count += 1
                yield entry
        if count != self.facts.entries:
            raise Unreadable(self.path, "damaged", f"{count} of {self.facts.entries} entries were found")

    def version(self) -> bytes | None:
        """The version that the file states for its layout, if it states one.

        :raises Unreadable: if the layout is not known.
        """
        with self._reading() as transaction:
            version: bytes | None = transaction.get(records.VERSION_KEY)
            cursor = transaction.cursor()
            first: bytes = cursor.key() if cursor.first() else b""
        if refusal := records.refusal(self.name, version, first):
            raise Unreadable(self.path, "version", refusal)
        return version

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A transaction on the copy."""
        import lmdb

        copy = f"/proc/self/fd/{self._copy}"
        try:
            with lmdb.open(copy, subdir=False, readonly=True, lock=False) as opened, opened.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise Unreadable(self.path, "damaged", str(error)) from error

    def close(self) -> None:
        """Drop the copy."""
        os.close(self._copy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def state_directory(given: str | None = None) -> str:
    """The directory of CFEngine's files, by default where its packages have it.

    :raises NoState: naming the places that were looked at.
    """
    if given is not None:
        return given
    for directory in DIRECTORIES:
        if os.path.lexists(directory):
            return directory
    raise NoState(f"there is no {' or '.join(DIRECTORIES)}: name the directory of CFEngine's state with --state")


def databases(directory: str) -> list[str]:
    """The paths of the LMDB files in the directory, by name.

    :raises NoState: if it cannot be listed.
    """
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208
    except PermissionError:
        owner = _owner(directory)
        raise NoState(f"no permission to list {directory}{f' ({owner})' if owner else ''}: {READERS}") from None
    except OSError as error:
        raise NoState(f"{directory or repr(directory)} cannot be listed: {error.strerror}") from None
    return [os.path.join(directory, name) for name in names if name.endswith(SUFFIX)]  # noqa: PTH118


def read(path: str, timeout: float = TIMEOUT) -> FileSnapshot:
    """The file at one moment.

    :raises Unreadable: if it cannot be read within ``timeout`` seconds.
    """
    (found,) = read_all([path], timeout)
    if isinstance(found, Unreadable):
        raise found
    return found


def read_all(paths: Iterable[str], timeout: float = TIMEOUT) -> Iterator[FileSnapshot | Unreadable]:
    """Each file at one moment, or why it cannot be read, in the order of the paths.

    ``timeout`` (seconds) is for each of them.  Close each snapshot before you ask for the next one.
    """
    left = list(paths)
    while left:
        done = 0
        with _Child(left[:_BATCH]) as child:
            for path in left[:_BATCH]:
                yield child.result(done, path, timeout)
                done += 1
                if not child.goes_on:
                    break
        left = left[done:]


class _Child:
    """The child process, which copies several files."""

    def __init__(self, paths: Sequence[str]) -> None:
        if not hasattr(os, "memfd_create"):
            raise Error("CFEngine's files can only be read on Linux")
        # One for each, also of those that are the same: the process goes on while a copy is read.
        self._copies = [os.memfd_create("cimaa", os.MFD_CLOEXEC) for _ in paths]
        places = zip(self._copies, paths, strict=True)
        arguments = [f"{copy}:{os.path.abspath(path)}" for copy, path in places]  # noqa: PTH100
        command = [sys.executable, "-I", "-S", "-c", _CHILD, os.fspath(_ROOM), *arguments]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=self._copies,
        )
        self._read = b""
        #: False once it ended, and reported nothing about the files that are left.
        self.goes_on = True

    def result(self, index: int, path: str, timeout: float) -> FileSnapshot | Unreadable:
        """What became of the file of this index and path; they are asked for in their order."""
        line = self._line(time.monotonic() + timeout)
        if line is None:
            self.goes_on = False
            return Unreadable(path, "time", f"it took longer than {timeout:g} s")
        if not line.endswith(b"\n"):
            self.goes_on = False
            return _died(path, self._process.wait())
        return _result(path, json.loads(line), os.dup(self._copies[index]))

    def _line(self, end: float) -> bytes | None:
        """Its next line, what it wrote of one before it ended, or nothing once the time is over."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._read and len(self._read) < _LONGEST:
            if not select.select([descriptor], [], [], max(0, end - time.monotonic()))[0]:
                return None
            data = os.read(descriptor, _LONGEST)
            if not data:
                break
            self._read += data
        line, newline, self._read = self._read.partition(b"\n")
        return line + newline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:  # it waits for a dead disk, and cannot be killed
            self._process.returncode = -signal.SIGKILL
        for copy in self._copies:
            os.close(copy)


def _result(path: str, outcome: dict[str, Any], copy: int) -> FileSnapshot | Unreadable:
    if "kind" not in outcome:
        return FileSnapshot(path, FileFacts(**outcome), copy)
    os.close(copy)
    return Unreadable(path, *_kind(path, outcome))


def _kind(path: str, outcome: dict[str, Any]) -> tuple[str, str]:
    """The kind of the reason, and what is known about it."""
    if outcome["kind"] != "system":
        return outcome["kind"], outcome["reason"]
    error = OSError(outcome["errno"], outcome["reason"])
    if isinstance(error, FileNotFoundError):
        return "missing", ""
    if isinstance(error, PermissionError):
        return "denied", _owner(path)
    return "system", outcome["reason"]


def _died(path: str, status: int) -> Unreadable:
    """What it means that the child process ended while it read this file."""
    if status in (-signal.SIGBUS, -signal.SIGSEGV, -signal.SIGABRT):
        return Unreadable(path, "damaged", f"reading it ended with {signal.Signals(-status).name}")
    ending = f"signal {-status}" if status < 0 else f"status {status}"
    return Unreadable(path, "time", f"the process that read it ended with {ending}")


def _owner(path: str) -> str:
    """Who may read the file or the directory above it that keeps others out."""
    for place in (path, *map(str, Path(os.path.abspath(path)).parents)):  # noqa: PTH100
        try:
            user = Path(place).stat().st_uid
        except OSError:
            continue
        if place != path and os.access(place, os.X_OK):
            break
        try:
            name = pwd.getpwuid(user).pw_name
        except KeyError:
            name = str(user)
        return f"{place if place != path else 'it'} belongs to {name}"
    return ""
