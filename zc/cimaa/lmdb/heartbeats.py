"""Heartbeats that wait for no disk: a file of fixed slots beside ``data.mdb``, written and never synced.

An agent's row names its slot and carries a revision, eight random bytes drawn
with each write of the row.  A slot counts only for the row whose revision it
holds; its time is then the agent's heartbeat.  A slot that is missing, zeroed,
damaged, or left by an earlier life of an agent matches no row, and the time in
the row itself counts.

=======  ========================================================
bytes    of a slot
=======  ========================================================
0 to 7   the revision of the row
8 to 15  the time of the report (microseconds since the epoch)
16 to 19 the CRC-32 of the bytes before
20 to 27 a digest of the system's boot id when it was written
28 to 31 zero
=======  ========================================================

Every touch, replacement and removal of an agent holds the agent's lock: a byte
range of this file, for processes, and a lock of this process for its threads.
"""

import errno
import fcntl
import os
import struct
import threading
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final
from zlib import crc32

from ..errors import StoreUnavailable
from . import files
from .waiting import wait

#: The size of a slot (bytes); no slot crosses the border of a page.
SLOT: Final = 32
#: The slot of a row that has none: its heartbeats are written to the row.
NO_SLOT: Final = -1

# The file grows by this many bytes at a time.
_CHUNK: Final = 64 * 1024
_BODY = struct.Struct("<8sq")
_CHECKSUM = struct.Struct("<I8s4x")
_RECORD = struct.Struct("<8sqI")
_BOOT: Final = slice(20, 28)
# struct flock: type, whence, start, length, pid (0 for locks of the open file description).
_FLOCK = struct.Struct("hhqqi4x")
# Agents that share a lock wait for each other's changes.
_STRIPES: Final = 1024


def encode(revision: bytes, updated: int) -> bytes:
    """A slot's bytes for the row with this revision."""
    body = _BODY.pack(revision, updated)
    return body + _CHECKSUM.pack(crc32(body), boot())


@lru_cache(maxsize=1)
def boot() -> bytes:
    """8 bytes that are different after the system was started again: what a slot has may be older than what it had."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        text = os.urandom(16)
    return blake2b(text, digest_size=8).digest()


def find(slots: bytes, slot: int, revision: bytes) -> int | None:
    """The heartbeat, if the slot has one for the row with this revision.

    :raises TornError: if it was being written.
    """
    start = slot * SLOT
    return decode(slots, start) if slot >= 0 and slots.startswith(revision, start) else None


def decode(slots: bytes, start: int) -> int:
    """The time in the slot that begins here.

    :raises TornError: if it was being written.
    """
    _, updated, checksum = _RECORD.unpack_from(slots, start)
    if checksum != crc32(slots[start : start + _BODY.size]):
        raise TornError
    return int(updated)


def _whole(slots: bytes) -> bytes:
    """Without the last slot if it was cut short."""
    return slots[: len(slots) // SLOT * SLOT]


class TornError(Exception):
    """A slot was copied while it was being written, or it is damaged."""


class Heartbeats:
    """The open file.  It is closed when nothing refers to it any more: a thread may still hold a lock in it."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open the file, and make it if it is missing and ``writable``.

        :raises OSError: if it cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        #: The device and the inode.
        self.identity = files.identity(os.fstat(self._descriptor))
        self._lock_kind = fcntl.F_WRLCK if writable else fcntl.F_RDLCK
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()

    def close(self) -> None:
        """Close the file, and with it the locks that are held in it; closing it twice is allowed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def lock(self, agent: bytes) -> "AgentLock":
        """The lock of the agent with this name, to be held in a ``with`` statement."""
        position = crc32(agent)
        return AgentLock(self, self._stripes[position % _STRIPES], position)

    def write(self, slot: int, revision: bytes, updated: int) -> bool:
        """Write a heartbeat, without waiting for the disk; False if there is no slot, or no room for it."""
        if slot < 0:
            return False
        try:
            return os.pwrite(self._descriptor, encode(revision, updated), slot * SLOT) == SLOT
        except OSError:  # no space on a file system that copies on write, or a failing disk
            return False

    def read(self, slot: int, revision: bytes) -> int | None:
        """The heartbeat in a slot, if it has one for the row with this revision.  The agent's lock must be held."""
        return self._read(slot, revision)[0]

    def latest(self, row: tuple[int, bytes, int, int]) -> tuple[int, bool]:
        """The heartbeat of the row with this head, and whether it is certain that there was no later one.

        It is not if a power failure may have lost what was in the slot.  The agent's lock must be held.
        """
        stored, revision, slot, _ = row
        updated, same_boot = self._read(slot, revision)
        return (stored, slot == NO_SLOT) if updated is None else (updated, same_boot)

    def _read(self, slot: int, revision: bytes) -> tuple[int | None, bool]:
        if slot < 0:
            return None, False
        found = os.pread(self._descriptor, SLOT, slot * SLOT)
        try:
            return find(_whole(found), 0, revision), found[_BOOT] == boot()
        except TornError:
            return None, False

    def copy(self) -> bytes:
        """All slots, as they are while they are copied.  To be taken before the rows are read."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        return _whole(os.pread(self._descriptor, size, 0))

    def allocate(self, slot: int) -> bool:
        """See to it that the slot has space on disk; False if there is none."""
        end = (slot + 1) * SLOT
        if os.lseek(self._descriptor, 0, os.SEEK_END) >= end:
            return True
        try:
            os.posix_fallocate(self._descriptor, 0, -(-end // _CHUNK) * _CHUNK)
        except OSError:
            return False
        return True


class AgentLock:
    """Keeps every other thread and process from writing for one agent.  Freed by the kernel if the process dies."""

    def __init__(self, file: Heartbeats, stripe: threading.Lock, position: int) -> None:
        self.heartbeats = file
        self._stripe = stripe
        self._position = position

    def attempt(self) -> bool:
        """Take the lock; False if another thread or process holds it."""
        if not self._stripe.acquire(blocking=False):
            return False
        taken = False
        try:
            taken = self._set(self.heartbeats._lock_kind)
        finally:
            if not taken:
                self._stripe.release()
        return taken

    def release(self) -> None:
        """Release the lock, which must be held."""
        try:
            self._set(fcntl.F_UNLCK)
        finally:
            self._stripe.release()

    def __enter__(self) -> Heartbeats:
        self._stripe.acquire()
        try:
            kind = self.heartbeats._lock_kind
            if not self._set(kind):
                wait(lambda: self._set(kind), "another process has been writing for this agent")
        except BaseException:
            self._stripe.release()
            raise
        return self.heartbeats

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _set(self, kind: int) -> bool:
        """Take the lock, or release it; False if another process holds it."""
        # Locks of the open file description: those of the process would be lost when any of its threads closes the
        # file.  fcntl.fcntl releases the interpreter.
        record = _FLOCK.pack(kind, os.SEEK_SET, self._position, 1, 0)
        try:
            fcntl.fcntl(self.heartbeats._descriptor, fcntl.F_OFD_SETLK, record)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise StoreUnavailable(f"the agent's lock cannot be taken: {error}") from error
        return True
