"""Questions about the files of an LMDB environment that LMDB itself does not ask, and space allocated for them."""

import os
import resource
from pathlib import Path
from typing import Final

import lmdb

# LMDB writes a new copy of each page that it changes, and uses the old one again two transactions later.  So two
# removals or changes in a row need this much (bytes), each of which may copy ten pages for each of three keys.
SPARE: Final = 256 * 1024
#: What must be left for later writes by one that adds an agent or a squelch, and by one that does not.
AFTER_ADDING, AFTER_CHANGING = 3 * SPARE, 2 * SPARE


def is_read_only(path: Path) -> bool:
    """True if the directory is there, and its file system is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:  # opening it says what is wrong
        return False


def identity(status: os.stat_result) -> tuple[int, int]:
    """What identifies a file, also if it is renamed: its device and inode."""
    return status.st_dev, status.st_ino


def is_cut(environment: lmdb.Environment, size: int) -> bool:
    """True if a file of this size lacks pages; the first two are needed to ask LMDB for the others."""
    return size < 2 * resource.getpagesize() or size < _used(environment)


def taken(transaction: "lmdb.Transaction[bytes]") -> int:
    """The size of all pages that hold data (bytes)."""
    status = transaction.stat()
    pages: int = status["branch_pages"] + status["leaf_pages"] + status["overflow_pages"]
    size: int = status["psize"]
    return pages * size


def allocate(data: int, wanted: int) -> None:
    """Allocate disk for the data file, whose descriptor is ``data``, if it is smaller than ``wanted`` (bytes).

    :raises OSError: if there is no room.
    """
    allocated = os.lseek(data, 0, os.SEEK_END)
    if allocated < wanted:
        os.posix_fallocate(data, allocated, wanted + SPARE - allocated)


def _used(environment: lmdb.Environment) -> int:
    """The size of all pages that are or were in use."""
    pages: int = environment.info()["last_pgno"] + 1
    size: int = environment.stat()["psize"]
    return pages * size
