"""Brings a file of an older format up to date: a new file is written, and takes the place of the old one.

How to write the next migration: a function below that gives the records of the
new format for those of the one before, and an entry in ``_MIGRATIONS``; the
steps run one after the other.  The bytes of each older format are pinned by the
tests, so take care to read them here alone, and not through ``records``, which
knows only the current format.

Older programs may use the store meanwhile.  Their writes wait for LMDB's write
lock, which is held while the new file is made.  At their next transaction they
find their file replaced, open the new one, and refuse its format.  One that
waited for the lock itself would write to a file that has no name any more: it
is made unusable, so that LMDB refuses to begin a transaction there.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import lmdb

from ..durable import sync_directory
from ..errors import StoreIncompatible
from ..faults import decode, encode
from . import errors, records
from .waiting import wait

Records: TypeAlias = Iterable[tuple[bytes, bytes]]

_LATEST = 2**63 - 1
_ASIDE = "upgrade"
_VERSION = b"%d" % records.FORMAT
# How many records one transaction writes to the new file.
_PART = 10_000
# Where in a meta page the number of the last page is: after the page's header (16 bytes), the magic number, the
# version, the address, the map's size (24 bytes together) and two databases (48 bytes each).
_LAST_PAGE = 136


@contextlib.contextmanager
def exclusion(path: Path) -> Iterator[None]:
    """Keeps other processes from opening the store in this directory at the same time, one of which may migrate it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def attempt() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        wait(attempt, f"another process has been opening or upgrading the store in {path}")
        if (path / _ASIDE).exists():  # left by an upgrade that was interrupted
            shutil.rmtree(path / _ASIDE)
        yield
    finally:
        os.close(descriptor)


def is_needed(environment: lmdb.Environment, path: Path, *, read_only: bool = False) -> bool:
    """True if the file has an older format.  An empty one gets the version of the current format.

    :raises StoreIncompatible: if the format is not known, or the file is not a store.
    """
    with environment.begin() as transaction:
        version = transaction.get(records.VERSION_KEY)
        empty = not transaction.stat()["entries"]
    if version is None and not empty:
        raise StoreIncompatible(f"{path} holds an LMDB file that is not a store of zc.cimaa")
    if version is None:
        if not read_only:
            with environment.begin(write=True) as transaction:
                transaction.put(records.VERSION_KEY, _VERSION, overwrite=False)
        return False
    if version in [b"%d" % older for older in _MIGRATIONS]:
        return True
    if version != _VERSION:
        raise errors.other_format(path, version, records.FORMAT)
    return False


def create(path: Path, map_size: int) -> None:
    """Make an empty store in this directory.  The process holds the exclusion.

    If this is interrupted, there is none, or all of it.
    """
    aside = _write(path, (), map_size)
    (path / "lock.mdb").unlink(missing_ok=True)  # it may be of a file that was deleted, and in use
    (aside / "data.mdb").rename(path / "data.mdb")
    sync_directory(path)
    with contextlib.suppress(PermissionError):  # who may write to a directory need not be able to list its parent
        sync_directory(path.parent)
    shutil.rmtree(aside)


def migrate(path: Path, map_size: int) -> None:
    """Bring the file in this directory up to date.  The process must not have it open, and holds the exclusion.

    If this is interrupted, the old file is in place, whole, or the new one.
    """
    with lmdb.open(os.fsencode(path), map_size=map_size, mode=0o600) as old, old.begin(write=True) as transaction:
        stored: Records = transaction.cursor()
        for version in range(int(transaction.get(records.VERSION_KEY) or 0), records.FORMAT):
            stored = _MIGRATIONS[version](stored)
        aside = _write(path, stored, max(map_size, old.info()["map_size"]))
        with (path / "data.mdb").open("r+b") as replaced:
            (path / "lock.mdb").unlink()  # what it says of the old file would be wrong of the new one
            (aside / "data.mdb").rename(path / "data.mdb")
            sync_directory(path)
            _make_unusable(replaced.fileno(), old.stat()["psize"])
        transaction.abort()
    shutil.rmtree(aside)


def _write(path: Path, stored: Records, map_size: int) -> Path:
    """Write a new file in a directory aside, in parts that need not fit into memory together."""
    aside = path / _ASIDE
    aside.mkdir(mode=0o700)
    with lmdb.open(os.fsencode(aside), map_size=map_size, mode=0o600, sync=False, lock=False) as new:
        remaining = iter(stored)
        while part := _converted(path, remaining):
            with new.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(part)
        with new.begin(write=True) as transaction:
            transaction.put(records.VERSION_KEY, _VERSION)
        new.sync(True)
    return aside


def _converted(path: Path, stored: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The next part of the records, decoded from the older format here."""
    try:
        return list(islice(stored, _PART))
    except records.UnreadableRecord as error:
        raise errors.unreadable(path) from error


def _make_unusable(data: int, page_size: int) -> None:
    """Let both of LMDB's meta pages say that the file is larger than any map; LMDB checks that in each transaction."""
    for page in range(2):
        os.pwrite(data, (1 << 48).to_bytes(8, sys.byteorder), page * page_size + _LAST_PAGE)


def _from_1(stored: Records) -> Records:
    """Format 2: heartbeats are kept beside the file, rows have a revision and a slot, faults begin with the worst."""
    slots = 0
    for key, value in stored:
        if key.startswith(b"a:"):
            yield key, _row_2(value, slots)
            slots += 1
        elif key.startswith(b"f:"):
            yield key, _faults_2(value)
        elif key != records.VERSION_KEY:
            yield key, value
    yield b"slots", b"%d" % slots


@records.decodes
def _row_2(value: bytes, slot: int) -> bytes:
    # 16 digits, a space, digest and instance (65), a space, the instances.
    condition, seen = value[17:82], value[83:]
    head = struct.pack("<q8sqBH", int(value[:16]), os.urandom(8), slot, len(decode(seen)), len(condition))
    return head + condition + seen


@records.decodes
def _faults_2(value: bytes) -> bytes:
    faults = sorted(decode(value), key=lambda fault: fault["name"])
    worst = max(fault["severity"] for fault in faults)
    since = min(fault["since"] for fault in faults if fault["severity"] == worst)
    return struct.pack("<qq", worst, since) + encode(faults)


def _from_2(stored: Records) -> Records:
    """Format 3: rows have the times that the history needs, which is complete from the next change on."""
    times = struct.pack("<qqq", 0, -1, _LATEST)
    for key, value in stored:
        if key != records.VERSION_KEY:
            yield key, value[:25] + times + value[25:] if key.startswith(b"a:") else value


#: What makes the records of the next format of those of each older one.
_MIGRATIONS: dict[int, Callable[[Records], Records]] = {1: _from_1, 2: _from_2}
