"""How agents, faults and squelches are stored in the file: one key space, told apart by the key's first bytes.  Pure.

=================  ==========================================================================
key                value
=================  ==========================================================================
``version``        the format's version, decimal
``a:`` name        the agent's row: see below
``f:`` name        the agent's faults; none if it has none.  The worst severity, and the
                   earliest ``since`` among the faults of that severity (8 bytes each), then
                   the faults as a JSON list, each with its ``since``
``s:`` digest      a squelch as JSON; its regular expression may be longer than a key (511
                   bytes), so the key is its digest
``slots``          how many slots the file of heartbeats has in use, decimal
``x:`` slot        a slot that is free again (8 bytes, big-endian)
=================  ==========================================================================

A row begins with (integers are little-endian):

=========  ==================================================================================
bytes
=========  ==================================================================================
0 to 7     the heartbeat (microseconds since the epoch), unless the agent's slot has a newer
8 to 15    the revision: random, drawn with each write of the row
16 to 23   the number of the slot; -1 for none
24         how many instances the row remembers
25 to 26   the length of the condition that follows
27 to ...  the condition: what a report must have in common with the last one to be unchanged.
           Compared as bytes, so that later versions may add to it; it starts with the digest
           and the instance's id
then       the instances as a JSON list
=========  ==================================================================================
"""

import functools
import os
import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple, TypeAlias, TypeVar

import lmdb

from ..agents import Instance, Row, Seen
from ..errors import StoreIncompatible
from ..faults import Fault, decode, encode
from ..squelches import Squelch

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
Stored = TypeVar("Stored", bytes, bytes | None)
T = TypeVar("T")

FORMAT = 2

VERSION_KEY, SLOTS_KEY = b"version", b"slots"
AGENT, FAULTS, SQUELCH, FREE_SLOT = b"a:", b"f:", b"s:", b"x:"

_HEAD = struct.Struct("<q8sqB")
_LENGTH = struct.Struct("<H")
_WORST = struct.Struct("<qq")
_SEVERITY, _SINCE = itemgetter("severity"), itemgetter("since")


class Head(NamedTuple):
    """The start of a row."""

    updated: int
    revision: bytes
    slot: int
    instances: int


#: Of a row that is not there.
NO_HEAD = Head(0, b"", -1, 0)


def _reading(decoding: Callable[[Stored], T]) -> Callable[[Stored], T]:
    """The function, with an error that says what to do if the record is not what a store wrote."""

    @functools.wraps(decoding)
    def decoded(stored: Stored) -> T:
        try:
            return decoding(stored)
        except (ValueError, TypeError, KeyError, struct.error) as error:
            raise StoreIncompatible(
                "the embedded store has a record that cannot be read: its data.mdb is damaged: move it away, or put"
                " back a backup"
            ) from error

    return decoded


def of_kind(transaction: Transaction, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of key and value whose key starts like this, in order."""
    with transaction.cursor() as cursor:
        if cursor.set_range(kind):
            for key, value in cursor:
                if not key.startswith(kind):
                    break
                yield key, value


@_reading
def name(key: bytes) -> str:
    """The agent's name in a key."""
    return key[2:].decode()


def condition(digest: str, instance: str) -> bytes:
    """What :func:`is_unchanged` looks for in a row."""
    text = f"{digest} {instance}".encode()
    return _LENGTH.pack(len(text)) + text


def is_unchanged(row: bytes, wanted: bytes) -> bool:
    """True if the row was left by a report that meets this condition."""
    return row.startswith(wanted, _HEAD.size)


@_reading
def head(row: bytes) -> Head:
    """The start of a row."""
    return Head._make(_HEAD.unpack_from(row))


def touched(row: bytes, updated: int, slot: int) -> bytes:
    """The row with this heartbeat and this slot, and a new revision."""
    return _HEAD.pack(updated, os.urandom(8), slot, row[_HEAD.size - 1]) + row[_HEAD.size :]


def encode_row(row: Row, slot: int) -> bytes:
    """A row's value, with a new revision."""
    seen = encode([[*s.instance, s.first, s.last] for s in row.instances])
    start = _HEAD.pack(row.updated, os.urandom(8), slot, len(row.instances))
    return b"%b%b%b" % (start, condition(row.digest, row.instance), seen)


@_reading
def decode_row(value: bytes) -> Row:
    """A row from its value; the heartbeat is the row's own."""
    digest, instance, encoded = _parts(value)
    seen = tuple(Seen(Instance(*who), first, last) for *who, first, last in decode(encoded))
    return Row(head(value).updated, digest, instance, seen)


def reported(value: bytes, updated: int, digest: str, instance: str, slot: int) -> bytes | None:
    """A row's value after another report of this instance, with a new revision; ``None`` if another reported last."""
    _, last, encoded = _parts(value)
    if last != instance:
        return None
    start = _HEAD.pack(updated, os.urandom(8), slot, value[_HEAD.size - 1])
    return b"%b%b%b" % (start, condition(digest, last), encoded)


@_reading
def _parts(value: bytes) -> tuple[str, str, bytes]:
    """The digest, the instance's id, and the instances as they are stored."""
    start = _HEAD.size + _LENGTH.size
    end = start + _LENGTH.unpack_from(value, _HEAD.size)[0]
    digest, last, *_ = value[start:end].decode().split()
    return digest, last, value[end:]


def encode_faults(faults: list[Fault]) -> bytes:
    """The value for an agent's faults, of which there is one at least, sorted by name."""
    worst = max(map(_SEVERITY, faults))
    since = min(map(_SINCE, [fault for fault in faults if fault["severity"] == worst]))
    return _WORST.pack(worst, since) + encode(faults)


@_reading
def decode_faults(value: bytes | None) -> list[Fault]:
    """An agent's faults from their value, sorted by name."""
    faults: list[Fault] = [] if value is None else decode(value[_WORST.size :])
    return faults


@_reading
def worst(value: bytes) -> tuple[int, int]:
    """The worst severity of an agent's faults, and since when the longest standing of that severity stands."""
    severity, since = _WORST.unpack_from(value)
    return severity, since


def squelch_key(regex: str) -> bytes:
    """The key of the squelch with this regular expression."""
    return SQUELCH + blake2b(regex.encode(), digest_size=32).digest()


def encode_squelch(squelch: Squelch) -> bytes:
    """A squelch's value."""
    return encode(squelch._asdict())


@_reading
def decode_squelch(value: bytes) -> Squelch:
    """A squelch from its value."""
    return Squelch(**decode(value))


@_reading
def slots(value: bytes | None) -> int:
    """How many slots the file of heartbeats has in use."""
    return int(value or 0)


def free_slot_key(slot: int) -> bytes:
    """The key that marks a slot as free."""
    return FREE_SLOT + slot.to_bytes(8, "big")


@_reading
def free_slot(key: bytes) -> int:
    """The slot that a key marks as free."""
    return int.from_bytes(key[len(FREE_SLOT) :], "big")
