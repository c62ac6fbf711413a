"""Translates LMDB's errors, and the system's about its files, into ours.

LMDB gives the system's errors as text alone, so most are recognized by that.
"""

import errno
import os
import resource
import shutil
from pathlib import Path

import lmdb

from ..errors import StoreDenied, StoreError, StoreFull, StoreIncompatible, StoreUnavailable
from ..units import format_size

# Less free space (bytes) than this makes a failed write a matter of the disk being full.
_HARDLY_ANY = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translate(error: lmdb.Error | OSError, path: Path, map_size: int, readers: int) -> StoreError:
    """The exception to raise for an error of LMDB or the system about the store in the directory ``path``.

    ``map_size`` (bytes) and ``readers`` are the limits that the store was opened with.
    """
    text = str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"the store's path {path} is not a directory, or not in one: give another path")
    if isinstance(error, lmdb.MapFullError):
        return StoreFull(
            f"the store in {path} is full: its map_size is {format_size(map_size)};"
            " set a larger map_size in the [database] section"
        )
    if _is(error, errno.EROFS):
        return read_only(path)
    if isinstance(error, PermissionError) or _is(error, errno.EACCES):
        return StoreDenied(
            f"no permission to use the store in {path}: run as the user who owns it, or give another path"
        )
    if _is_full(error, path):
        return StoreFull(f"there is no room for the store in {path}: the disk is full ({text})")
    if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError | lmdb.PageNotFoundError):
        return StoreIncompatible(
            f"{path / 'data.mdb'} is not an LMDB file, or it is damaged ({text}): move it away, or put back a backup"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return StoreUnavailable(f"more than {readers} readers use the store in {path} at once")
    return StoreUnavailable(f"the store in {path} cannot be used: {text}")


def read_only(path: Path) -> StoreUnavailable:
    """The error of a write to a store on a file system that is mounted read-only."""
    return StoreUnavailable(
        f"the store in {path} can only be read: its file system is mounted read-only; mount it for writing,"
        " or give another path"
    )


def unreadable(path: Path) -> StoreIncompatible:
    """The error of a record that another program wrote, or that the disk damaged."""
    return StoreIncompatible(
        f"the store in {path} has a record that cannot be read: its data.mdb is damaged: move it away, or put back"
        " a backup"
    )


def other_format(path: Path, found: bytes, known: int) -> StoreIncompatible:
    """The error of a store whose format has another version than the one that is ``known``."""
    what = f"the store in {path} has format {found.decode(errors='backslashreplace')}"
    if not (found.isdigit() and len(found) < 10):
        return StoreIncompatible(f"{what}, which is not a version: it is damaged; move it away, or put back a backup")
    if int(found) > known:
        return StoreIncompatible(
            f"{what}, and this version of zc.cimaa reads format {known}: upgrade zc.cimaa on this host, or give"
            " another path"
        )
    return StoreIncompatible(
        f"{what}, of an older version of zc.cimaa, and this one reads format {known} and cannot convert it:"
        " move the directory away (the next reports make a new store), or give another path"
    )


def _is(error: lmdb.Error | OSError, number: int) -> bool:
    return getattr(error, "errno", None) == number or os.strerror(number) in str(error)


def _is_full(error: lmdb.Error | OSError, path: Path) -> bool:
    if any(_is(error, number) for number in _FULL):
        return True
    # A write that was cut short for want of room is an input/output error to LMDB.
    return _is(error, errno.EIO) and _room(path) < _HARDLY_ANY


def _room(path: Path) -> int:
    """How many bytes the data file may still grow by."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    free = shutil.disk_usage(path).free
    return free if limit == resource.RLIM_INFINITY else min(free, limit - (path / "data.mdb").stat().st_size)
