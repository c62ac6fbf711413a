"""Translates the errors of LMDB and of the system."""

import errno
import os
import resource
import shutil
from pathlib import Path
from typing import Final

import lmdb

from ..errors import StoreDenied, StoreError, StoreFull, StoreIncompatible, StoreUnavailable
from ..units import format_size

# Less free space (bytes) than this makes a failed write a matter of the disk being full.
_HARDLY_ANY: Final = 1024 * 1024
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DAMAGED = lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError | lmdb.PageNotFoundError


def translated(error: lmdb.Error | OSError, path: Path, map_size: int) -> StoreError:
    """The error that says what is wrong with the store in this directory, and what to do about it."""
    text, data = str(error), path / "data.mdb"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"the store's path {path} is no directory, or not in one: give another path")
    if isinstance(error, lmdb.MapFullError):
        return StoreFull(
            f"the store in {path} is full: its map_size is {format_size(map_size)};"
            " set a larger map_size in the [database] section"
        )
    if isinstance(error, PermissionError) or os.strerror(errno.EACCES) in text:
        return StoreDenied(
            f"no permission to use the store in {path}: run as the user who owns it, or give another path"
        )
    if _is_full(error, path):
        return StoreFull(f"there is no room for the store in {path}: the disk is full ({text})")
    if isinstance(error, _DAMAGED):
        return StoreIncompatible(
            f"{data} is no LMDB file, or a damaged one ({text}): move it away, or put back a backup"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return StoreUnavailable(f"too many readers use the store in {path} at once")
    return StoreUnavailable(f"the store in {path} cannot be used: {text}")


def _is_full(error: lmdb.Error | OSError, path: Path) -> bool:
    if getattr(error, "errno", None) in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
        return True
    # A write that was cut short for want of room is an input/output error to LMDB.
    return os.strerror(errno.EIO) in str(error) and _room(path) < _HARDLY_ANY


def _room(path: Path) -> int:
    """How many bytes the data file may still grow by."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    free = shutil.disk_usage(path).free
    return free if limit == resource.RLIM_INFINITY else min(free, limit - (path / "data.mdb").stat().st_size)
