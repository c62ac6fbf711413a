"""How agents, faults and squelches are stored in the file: in one key space, by the first bytes of the key.  Pure.

=================  ==========================================================================
key                value
=================  ==========================================================================
``version``        the format's version, decimal
``a:`` name        the agent's row: heartbeat (microseconds, 16 digits), digest (32), instance
                   (32), and the instances as JSON, a space between each
``f:`` name        the agent's faults as a JSON list, each with ``since``; none if it has none
``s:`` digest      a squelch as JSON; its regular expression may be longer than a key (511
                   bytes), so the key is its digest
=================  ==========================================================================
"""

import functools
from collections.abc import Callable
from hashlib import blake2b
from operator import itemgetter
from typing import TypeVar

from ..agents import Instance, Row, SeenInstance
from ..errors import StoreIncompatible
from ..faults import FaultDict, decode, encode
from ..squelches import StoredSquelch

Stored = TypeVar("Stored", bytes, bytes | None)
T = TypeVar("T")

FORMAT = 1

VERSION_KEY = b"version"
AGENT, FAULTS, SQUELCH = b"a:", b"f:", b"s:"

# What every stored fault has.
_REQUIRED = itemgetter("name", "severity", "message", "since")

_UPDATED = slice(0, 16)
MARK = slice(17, 82)
_INSTANCES = slice(83, None)


def _reading(decoding: Callable[[Stored], T]) -> Callable[[Stored], T]:
    """The function, with a clear error for a record that another program wrote, or that the disk damaged."""

    @functools.wraps(decoding)
    def decoded(stored: Stored) -> T:
        try:
            return decoding(stored)
        except (ValueError, TypeError, KeyError) as error:
            raise StoreIncompatible(
                "the embedded store has a record that cannot be read: its data.mdb is damaged: move it away, or put"
                " back a backup"
            ) from error

    return decoded


@_reading
def name(key: bytes) -> str:
    """The agent's name in a key."""
    return key[2:].decode()


def mark(digest: str, instance: str) -> bytes:
    """What a row holds of the last report; as long as it is the same, a report only has to be touched."""
    return f"{digest} {instance}".encode()


def touched(row: bytes, now: int) -> bytes:
    """The row with the heartbeat set to ``now`` (microseconds)."""
    return b"%016d%b" % (now, row[16:])


def encode_row(row: Row) -> bytes:
    """A row's value."""
    seen = encode([[*s.instance, s.first, s.last] for s in row.instances])
    return b"%016d %b %b" % (row.updated, mark(row.digest, row.instance), seen)


@_reading
def decode_row(value: bytes) -> Row:
    """A row from its value."""
    digest, instance = value[MARK].decode().split()
    seen = tuple(SeenInstance(Instance(*who), first, last) for *who, first, last in decode(value[_INSTANCES]))
    return Row(heartbeat(value), digest, instance, seen)


@_reading
def heartbeat(row: bytes) -> int:
    """The heartbeat (microseconds) in a row's value."""
    return int(row[_UPDATED])


def encode_faults(faults: list[FaultDict]) -> bytes:
    """The value for an agent's faults."""
    return encode(faults)


@_reading
def decode_faults(value: bytes | None) -> list[FaultDict]:
    """An agent's faults from their value."""
    faults: list[FaultDict] = [] if value is None else decode(value)
    list(map(_REQUIRED, faults))  # else a record that is not ours would fail elsewhere
    return faults


def squelch_key(regex: str) -> bytes:
    """The key of the squelch with this regular expression."""
    return SQUELCH + blake2b(regex.encode(), digest_size=32).digest()


def encode_squelch(squelch: StoredSquelch) -> bytes:
    """A squelch's value."""
    return encode(squelch._asdict())


@_reading
def decode_squelch(value: bytes) -> StoredSquelch:
    """A squelch from its value."""
    return StoredSquelch(**decode(value))
