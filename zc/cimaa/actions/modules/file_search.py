"""Which files are there: by path, name, size, age, SHA-256 and content?  The answer never has any of their content."""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from ...text import storable
from ..answers import Answer, failed, utc
from ..parameters import (
    AGES,
    CONTENTS,
    DIGESTS,
    FLAG,
    PATHS,
    PATTERNS,
    SIZES,
    Parameter,
    ParameterValues,
    Test,
    choice,
    integer,
)
from . import Bounds, Inspector, any_match, file_tree, mounts
from .file_tree import DEEPEST, PIECE, FileTree, TreeFile, is_type

# A match may extend over the end of a piece of a long line by this many bytes.
_OVERLAP = 64 * 1024
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class FoundFile(NamedTuple):
    """What is known of a file; what was not asked for is ``None``."""

    path: str
    mode: int
    size: int
    modified: float
    owner: int
    digest: str | None = None

    @property
    def type(self) -> str:
        """The type of the file."""
        return _TYPES.get(stat.S_IFMT(self.mode), "unknown")


class Module(Inspector):
    """Searches for files."""

    name = "file"
    summary = "search for files by path, name, size, age, SHA-256 and content; it never shows content"
    parameters = (
        Parameter("path", PATHS, "where to search: a file, or a directory and all below it", required=True),
        Parameter("name", PATTERNS, "patterns for the file's name, as find -name takes them; one must match"),
        Parameter("type", choice("file", "directory", "link", "any"), "the type of the file", "file"),
        Parameter("size", SIZES, "the size in bytes, or with KiB, MiB, GiB; all must hold", ()),
        Parameter("mtime", AGES, "how long ago it was modified: '<7d' within the last 7 days; all must hold", ()),
        Parameter("sha256", DIGESTS, "SHA-256 of the content; one must be the same"),
        Parameter("content", CONTENTS, "RE2, searched line by line in regular files; all must match somewhere", ()),
        Parameter("hash", FLAG, "whether the answer has the SHA-256 of each file", False),
        Parameter("depth", integer(0, DEEPEST), "levels of directories below the path; 0: the path itself", DEEPEST),
        Parameter("matches", integer(1, 1000), "the most files in the answer; the search ends there", 100),
    )

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        """Search, until everything was searched, ``matches`` files were found, or the time is over."""
        starts = [os.path.realpath(path) for path in values["path"]]
        if outside := [path for path in starts if not _is_within(path, bounds.within)]:
            allowed = ", ".join(bounds.within)
            return failed(*(f"{path} is not within {allowed}, as the permission demands" for path in outside))
        search = _Search(values, bounds)
        for path in dict.fromkeys(starts):
            search.search(path)
        return search.answer()


def judge(found: FoundFile, values: ParameterValues, now: float) -> bool:
    """True if the type, the size and the age of the file are as asked for."""
    return (
        values["type"] in ("any", found.type)
        and all(holds(found.size) for holds in values["size"])
        and all(holds(now - found.modified) for holds in values["mtime"])
    )


def matching(pieces: Iterable[bytes], tests: Sequence[Test]) -> bool:
    """True if each of the tests finds a line in the content.

    Lines longer than a piece are searched in parts, which overlap.
    """
    missing = list(tests)
    for lines in _lines(pieces):
        missing = [test for test in missing if not test(lines)]
        if not missing:
            break
    return not missing


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content in parts that end at the end of a line, each without its last line break."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        end = data.rfind(b"\n")
        if end >= 0:
            yield data[:end]
            rest = data[end + 1 :]
        elif len(data) > PIECE:
            yield data
            rest = data[-_OVERLAP:]
        else:
            rest = data
    if rest:
        yield rest


class _TimeOver(Exception):
    """The search is to end now."""


class _Search:
    """One search, and what it found."""

    def __init__(self, values: ParameterValues, bounds: Bounds) -> None:
        self._values, self._bounds = values, bounds
        self._now = time.time()
        self._mounts = mounts.mounted()
        self._skipped = mounts.not_entered(self._mounts)
        self._found: dict[str, FoundFile] = {}
        self._errors: list[str] = []
        self._counts = {"files": 0, "directories": 0, "bytes_read": 0, "mounts_skipped": 0}
        self._is_over = False

    def search(self, path: str) -> None:
        """Search below this path, which has no symbolic links in it."""
        tree = FileTree(path, self._values["depth"], self._skipped, self._failed)
        readable = not mounts.is_virtual(path, self._mounts)
        if not readable and self._reads_content():
            self._errors.append(f"{storable(path)}: content is not read there, as the kernel makes it up")
        try:
            for file, entry in tree.files():
                self._counts["files"] += 1
                if self._bounds.over():
                    raise _TimeOver
                if self._is_full():
                    break
                if self._is_wanted(file.name, entry):
                    self._examine(file, readable)
        except _TimeOver:
            self._is_over = True
        except OSError as error:
            self._failed(path, error)
        self._note(tree)

    def answer(self) -> Answer:
        """What was found."""
        found = sorted(self._found.values())
        errors = self._errors
        if self._is_over:
            errors = ["the search ended because its time was over: not everything was searched", *errors]
        complete = not (self._is_over or self._is_full())
        return Answer(
            found=bool(found),
            success=not self._is_over,
            elements=list(map(_shape, found)),
            statistics={**self._counts, "matches": len(found), "complete": complete},
            errors=errors,
        )

    def _is_full(self) -> bool:
        return len(self._found) >= int(self._values["matches"])

    def _reads_content(self) -> bool:
        return bool(self._values["content"] or self._values["sha256"] or self._values["hash"])

    def _is_wanted(self, name: str, entry: "os.DirEntry[str] | None") -> bool:
        """True if name and type do not exclude it; most files are done with here, without a look at them."""
        if not any_match(self._values["name"], name):
            return False
        return entry is None or self._values["type"] != "file" or is_type(entry.is_file)

    def _examine(self, file: TreeFile, readable: bool) -> None:
        try:
            status = file.status()
            found = FoundFile(file.path, status.st_mode, status.st_size, status.st_mtime, status.st_uid)
            if judge(found, self._values, self._now) and (wanted := self._with_content(file, found, readable)):
                self._found[file.path] = wanted
        except FileNotFoundError:  # it was removed meanwhile
            return
        except OSError as error:
            self._failed(file.path, error)

    def _with_content(self, file: TreeFile, found: FoundFile, readable: bool) -> FoundFile | None:
        """The file, if its content is as asked for."""
        if not self._reads_content():
            return found
        tests, digests = self._values["content"], self._values["sha256"]
        if not (readable and found.type == "file"):
            return None if tests or digests else found
        if tests and not matching(self._read(file), tests):
            return None
        if not (digests or self._values["hash"]):
            return found
        found = found._replace(digest=self._digest(file))
        return None if digests and found.digest not in digests else found

    def _digest(self, file: TreeFile) -> str | None:
        """The SHA-256 of the file; ``None``, and an error, if it cannot be read."""
        digest = sha256()
        try:
            for piece in self._read(file):
                digest.update(piece)
        except OSError as error:
            self._failed(file.path, error)
            return None
        return digest.hexdigest()

    def _read(self, file: TreeFile) -> Iterator[bytes]:
        for piece in file_tree.pieces(file):
            if self._bounds.over():
                raise _TimeOver
            self._counts["bytes_read"] += len(piece)
            yield piece

    def _failed(self, path: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._errors.append(f"{storable(path)}: {error.strerror or type(error).__name__}")

    def _note(self, tree: FileTree) -> None:
        self._counts["directories"] += tree.directories
        self._counts["mounts_skipped"] += len(tree.mounts)
        if tree.deeper and self._values["depth"] == DEEPEST:
            more = f", and {len(tree.deeper) - 1} more" if len(tree.deeper) > 1 else ""
            self._errors.append(f"{storable(tree.deeper[0])}{more}: deeper than {DEEPEST} levels, not searched")


def _is_within(path: str, within: Sequence[str]) -> bool:
    real = [os.path.realpath(directory) for directory in within]
    return not real or any(path == top or path.startswith(top.rstrip("/") + "/") for top in real)


def _shape(found: FoundFile) -> dict[str, Any]:
    shape = {
        "path": storable(found.path),
        "type": found.type,
        "size": found.size,
        "mtime": utc(found.modified),
        "mode": f"{stat.S_IMODE(found.mode):04o}",
        "owner": found.owner,
    }
    return shape if found.digest is None else {**shape, "sha256": found.digest}
