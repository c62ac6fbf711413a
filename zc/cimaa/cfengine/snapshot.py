"""The child process that copies one moment of each file into memory, and finds out whether the copy is whole.

CFEngine's processes write meanwhile, and are not to notice: the file is opened for reading alone, LMDB's lock file is
not opened at all, and nothing is mapped.  Without a lock, LMDB's writers may use the pages of a state again, but not
before the third transaction after it.  So a copy is of one moment if at most one transaction was completed while it was
made; else it is made again.

The process runs without site-packages: it imports nothing but the standard library, and :mod:`pages`.
"""

import json
import os
import resource
import stat
import struct
import sys
from collections.abc import Sequence
from typing import Any

from . import pages
from .pages import Cut, Damaged, Meta

#: How often a file is copied before it is said to change too fast.
ATTEMPTS = 10
#: Bytes that are copied at most.  CFEngine's files end at 100 MiB.
LARGEST = 128 * 1024**2
# Bytes of address space for this process: far more than it needs, as it reads a page at a time.
_ADDRESS_SPACE = 512 * 1024**2
_CHUNK = 1024**2
_START = 128 * 1024
_KINDS = {
    stat.S_ISDIR: "a directory",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class Refused(Exception):
    """A file that is not read: the kind of the reason, and the reason."""

    def __init__(self, kind: str, reason: str = "") -> None:
        """``kind`` is one of :data:`zc.cimaa.cfengine.state_files.KINDS`."""
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


class _Changed(Exception):
    """The file changed while it was copied."""


def main(arguments: Sequence[str]) -> None:
    """Copy files: for each argument ``DESCRIPTOR:PATH`` write the outcome to standard output, a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for argument in arguments:
        descriptor, _, path = argument.partition(":")
        sys.stdout.write(json.dumps(outcome(path, int(descriptor))) + "\n")
        sys.stdout.flush()


def outcome(path: str, copy: int) -> dict[str, Any]:
    """What became of copying the file to the descriptor: its figures, or ``kind`` and ``reason`` of a refusal."""
    try:
        return _copied(path, copy)
    except Refused as refused:
        return {"kind": refused.kind, "reason": refused.reason}
    except OSError as error:
        return {"kind": "system", "errno": error.errno, "reason": error.strerror}
    except MemoryError:
        return {"kind": "damaged", "reason": "reading it takes more memory than a file of CFEngine can need"}
    except Exception as error:
        return {"kind": "bug", "reason": f"{type(error).__name__}: {error}"}


def _copied(path: str, copy: int) -> dict[str, Any]:
    for _ in range(ATTEMPTS):
        # Before it is opened: opening a FIFO or a device does something to it.
        _require_regular(os.stat(path))  # noqa: PTH116  # pathlib takes a third of the time to start
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return _attempt(path, descriptor, copy)
        except _Changed:
            continue
        finally:
            os.close(descriptor)
    raise Refused("busy")


def _require_regular(status: os.stat_result) -> None:
    for is_it, name in _KINDS.items():
        if is_it(status.st_mode):
            raise Refused("other", f"it is {name}")


def _attempt(path: str, descriptor: int, copy: int) -> dict[str, Any]:
    """One copy, with its figures.

    :raises _Changed: if the copy may not be of one moment; damage is only reported of one that is.
    """
    status = os.fstat(descriptor)
    try:
        meta, first, second = _state(descriptor)
    except Refused:
        _require_same(path, descriptor)
        raise
    try:
        length = _copy(descriptor, copy, meta, first if meta.transaction % 2 == 0 else second)
        _require_moment(path, descriptor, meta)
        found = pages.check(lambda offset, count: os.pread(copy, count, offset), meta, length)
    except Damaged as damage:
        raise Refused("cut" if isinstance(damage, Cut) else "damaged", str(damage)) from None
    return {
        "entries": found.entries,
        "pages": meta.last_page + 1,
        "free_pages": found.free_pages,
        "page_size": meta.page_size,
        "map_size": meta.map_size,
        "transaction": meta.transaction,
        "size": status.st_size,
        "modified": status.st_mtime,
    }


def _state(descriptor: int) -> tuple[Meta, bytes, bytes]:
    """The latest state of the file, and both meta pages.

    :raises _Changed: if a writer is at them all the time.
    """
    start = _settled(descriptor)
    _require_lmdb(start)
    try:
        size = pages.page_size(start)
        if len(start) < 2 * size:
            raise Refused("cut", f"it has {len(start)} bytes, which is less than its first two pages")
        first, second = start[:size], start[size : 2 * size]
        meta = pages.latest(first, second)
    except Damaged as damage:
        raise Refused("damaged", str(damage)) from None
    if meta.size > LARGEST:
        raise Refused("large", f"{meta.size} bytes of it are in use")
    return meta, first, second


def _settled(descriptor: int) -> bytes:
    """The start of the file, read twice: if the meta pages are the same both times, they are of one moment."""
    for _ in range(ATTEMPTS):
        start = os.pread(descriptor, _START, 0)
        again = os.pread(descriptor, _START, 0)
        if _metas(start) == _metas(again):
            return start
    raise _Changed


def _metas(start: bytes) -> bytes:
    """The first two pages; all of it where their size is not known."""
    try:
        return start[: 2 * pages.page_size(start)]
    except (Damaged, struct.error):
        return start


def _require_lmdb(start: bytes) -> None:
    """Refuse what is not LMDB's format 1 of a 64-bit program with this byte order."""
    if not start:
        raise Refused("empty")
    native = pages.MAGIC.to_bytes(4, sys.byteorder)
    other = native[::-1]
    magic = {offset: start[offset : offset + 4] for offset in (12, 16, 24)}
    if magic[16] == native:
        version = int.from_bytes(start[20:24], sys.byteorder)
        if version == pages.FORMAT and len(start) < pages.META_SIZE:
            raise Refused("cut", f"it has {len(start)} bytes, which is less than its first page")
        if version != pages.FORMAT:
            raise Refused("newer", f"its format is {version}")
    elif magic[16] == other:
        raise Refused("foreign", "of a computer with the other byte order")
    elif magic[12] in (native, other):
        raise Refused("foreign", "of a 32-bit program")
    elif magic[24] in (native, other):
        raise Refused("newer", "its format is 2 or later")
    elif any(start[size + 16 : size + 20] == native for size in pages.PAGE_SIZES):
        raise Refused("damaged", "page 0: it is not a meta page")
    elif len(start) < pages.META_SIZE:
        raise Refused("other", f"it has only {len(start)} bytes")
    else:
        raise Refused("other")


def _copy(descriptor: int, copy: int, meta: Meta, page: bytes) -> int:
    """Copy all pages, and make the state's meta page both of the copy's; the bytes that the file had."""
    os.ftruncate(copy, 0)
    done = 0
    while done < meta.size:
        data = os.pread(descriptor, min(_CHUNK, meta.size - done), done)
        if not data:
            break
        _write(copy, data, done)
        done += len(data)
    os.ftruncate(copy, meta.size)
    for number in (0, 1):
        _write(copy, pages.same_for_both(page, number), number * meta.page_size)
    return done


def _write(copy: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(copy, data, offset)
        data, offset = data[written:], offset + written


def _require_moment(path: str, descriptor: int, meta: Meta) -> None:
    """Require that the copy is of one moment, and that its path still leads to the file."""
    _require_same(path, descriptor)
    try:
        now = _state(descriptor)[0].transaction
    except Refused:  # a writer is at it: the next attempt says what is wrong
        raise _Changed from None
    if not meta.transaction <= now <= meta.transaction + 1:
        raise _Changed


def _require_same(path: str, descriptor: int) -> None:
    opened, there = os.fstat(descriptor), os.stat(path)  # noqa: PTH116  # see above
    if (opened.st_dev, opened.st_ino) != (there.st_dev, there.st_ino):
        raise _Changed
