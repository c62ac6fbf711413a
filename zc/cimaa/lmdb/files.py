"""Questions about the files of an LMDB environment that LMDB itself does not ask."""

import os
import resource
from pathlib import Path

import lmdb


def is_read_only(path: Path) -> bool:
    """True if the directory is there, and its file system is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:  # opening it says what is wrong
        return False


def identity(status: os.stat_result) -> tuple[int, int]:
    """Which file it is, whatever it is called: its device and inode."""
    return status.st_dev, status.st_ino


def is_cut(environment: lmdb.Environment, size: int) -> bool:
    """True if a file of this size lacks pages; the first two are needed to ask LMDB for the others."""
    if size < 2 * resource.getpagesize():
        return True
    pages: int = environment.info()["last_pgno"] + 1
    return bool(size < pages * environment.stat()["psize"])


def allocate(path: str, size: int) -> None:
    """Make the file if it is missing, and allocate ``size`` bytes of disk for it.

    :raises OSError: if there is no room.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
