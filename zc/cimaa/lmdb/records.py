"""How agents, faults, squelches and entries are stored in the file: in one key space, with prefixes of the keys.

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
``e:`` digests     an entry as a JSON list; the digests of its kind and its owner (8 bytes each)
                   and of its key (16 bytes), so that those of a kind or an owner are together
``slots``          how many slots the file of heartbeats has in use, decimal
``x:`` slot        a slot that is free again (8 bytes, big-endian)
``z:``, ``h:``     the history: see :mod:`zc.cimaa.lmdb.event_log`
=================  ==========================================================================

A row begins with (integers are little-endian):

=========  ==================================================================================
bytes
=========  ==================================================================================
0 to 7     the heartbeat (microseconds since the epoch), unless the agent's slot has a newer
8 to 15    the revision: random, drawn with each write of the row
16 to 23   the number of the slot; -1 for none
24         how many instances the row remembers
25 to 32   the time of the last write that was not a mere heartbeat (microseconds)
33 to 40   since when the agent's history is complete (microseconds); -1 if a program that keeps
           none wrote last
41 to 48   the latest time at which a fault may have got another message without an event
49 to 50   the length of the condition that follows
51 to ...  the condition: what a report must have in common with the last one to be unchanged.
           Compared as bytes, so that later versions may add to it: the digest, the instance's
           id, within how many seconds the next report comes (``-``: unknown), and ``marked`` if the
           agent was woken; an unknown time at the end is left out
then       the instances as a JSON list
=========  ==================================================================================
"""

import os
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from hashlib import blake2b
from itertools import islice
from operator import itemgetter
from typing import Any, ParamSpec, TypeAlias, TypeVar

import lmdb

from ..agents import Instance, Row, SeenInstance, Touch
from ..entries import Entry
from ..faults import FaultDict, decode, encode
from ..squelches import StoredSquelch

Transaction: TypeAlias = "lmdb.Transaction[bytes]"

#: The start of a row: its own heartbeat, its revision, its slot, and how many instances it remembers.
Head: TypeAlias = tuple[int, bytes, int, int]

#: What the condition of a row must be, or each that it may be.
Condition: TypeAlias = bytes | tuple[bytes, ...]

_P = ParamSpec("_P")
_T = TypeVar("_T")

FORMAT = 3

VERSION_KEY, SLOTS_KEY = b"version", b"slots"
AGENT, FAULTS, SQUELCH, ENTRY, FREE_SLOT = b"a:", b"f:", b"s:", b"e:", b"x:"

_HEAD = struct.Struct("<q8sqB")
_TIMES = struct.Struct("<qqq")
_CONDITION = _HEAD.size + _TIMES.size
# More than any file of heartbeats has.
_SLOTS = 1 << 40
_INCOMPLETE = -1
_UNKNOWN, _MARKED = "-", "marked"
_LENGTH = struct.Struct("<H")
_WORST = struct.Struct("<qq")
_SEVERITY, _SINCE = itemgetter("severity"), itemgetter("since")
# What every stored fault has.
_REQUIRED = itemgetter("name", "severity", "message", "since")


class UnreadableRecord(Exception):
    """A record that another program wrote, or that the disk damaged."""


def decodes(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a function that only decodes a record raise :class:`UnreadableRecord` for one that it cannot decode.

    The same exceptions of other code are bugs: an operator must not discard a good store because of them.
    """

    @wraps(function)
    def decoding(*given: _P.args, **named: _P.kwargs) -> _T:
        try:
            return function(*given, **named)
        except (ValueError, TypeError, KeyError, OverflowError, struct.error) as error:
            raise UnreadableRecord from error

    return decoding


def of_kind(transaction: Transaction, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of key and value whose key starts like this, in order."""
    with transaction.cursor() as cursor:
        if cursor.set_range(kind):
            for key, value in cursor:
                if not key.startswith(kind):
                    break
                yield key, value


def name(key: bytes) -> str:
    """The agent's name in a key."""
    try:  # not by the decorator, which lists of all agents would be slower with; so also below
        return key[2:].decode()
    except UnicodeDecodeError as error:
        raise UnreadableRecord from error


@lru_cache(maxsize=1024)
def condition(touch: Touch) -> Condition:
    """What :func:`is_unchanged` looks for in a row."""
    digest, instance, within, unmarked = touch
    plain = _condition(digest, instance, within)
    return plain if unmarked else (plain, _condition(digest, instance, within, marked=True))


def _condition(digest: str, instance: str, within: int | None, *, marked: bool = False) -> bytes:
    if marked:
        text = f"{digest} {instance} {_UNKNOWN if within is None else within} {_MARKED}"
    else:
        text = f"{digest} {instance}" if within is None else f"{digest} {instance} {within}"
    return _LENGTH.pack(len(text)) + text.encode()


def is_unchanged(row: bytes, wanted: Condition) -> bool:
    """True if the row was left by a report that meets this condition."""
    return row.startswith(wanted, _CONDITION)


def head(row: bytes) -> Head:
    """The start of a row."""
    try:
        found: Head = _HEAD.unpack_from(row)
    except struct.error as error:
        raise UnreadableRecord from error
    if found[2] >= _SLOTS:
        raise UnreadableRecord
    return found


def touched(row: bytes, updated: int, slot: int) -> bytes:
    """The row with this heartbeat and this slot, and a new revision."""
    return _HEAD.pack(updated, os.urandom(8), slot, row[_HEAD.size - 1]) + row[_HEAD.size :]


@decodes
def marked(row: bytes) -> bytes:
    """The row with a mark.  Its revision stays the same, so that the heartbeat in its slot still counts."""
    digest, instance, *more = _condition_of(row)
    text = " ".join([digest, instance, *(more[:1] or [_UNKNOWN]), _MARKED, *more[2:]]).encode()
    return row[:_CONDITION] + _LENGTH.pack(len(text)) + text + encoded_instances(row)


def encode_row(row: Row, slot: int, *, reworded: int) -> bytes:
    """A row's value, with a new revision."""
    seen = encode([_seen_parts(s) for s in row.instances])
    return encode_row_start(row, slot, len(row.instances), reworded=reworded) + seen


def encode_row_start(row: Row, slot: int, instances: int, *, reworded: int) -> bytes:
    """As :func:`encode_row`, without the instances, of which there is this number."""
    recorded = _INCOMPLETE if row.recorded is None else row.recorded
    return (
        _HEAD.pack(row.updated, os.urandom(8), slot, instances)
        + _TIMES.pack(row.written, recorded, reworded)
        + _condition(row.digest, row.instance, row.within, marked=row.marked)
    )


@decodes
def decode_row(value: bytes, updated: int) -> Row:
    """A row from its value, with this heartbeat."""
    row = decode_row_start(value, updated)
    seen = [
        SeenInstance(Instance(host, pid, version, system, tuple("".join(tags).split())), first, last)
        for host, pid, version, system, first, last, *tags in decode(encoded_instances(value))
    ]
    return row._replace(instances=tuple(seen))


@decodes
def decode_row_start(value: bytes, updated: int) -> Row:
    """As :func:`decode_row`, without the instances."""
    digest, instance, *more = _condition_of(value)
    written, recorded, _ = _TIMES.unpack_from(value, _HEAD.size)
    within = int(more[0]) if more and more[0].isdigit() else None
    complete = None if recorded == _INCOMPLETE else recorded
    return Row(updated, digest, instance, (), within, written, complete, more[1:2] == [_MARKED])


@decodes
def encoded_instances(value: bytes) -> bytes:
    """The instances of a row, as they are stored."""
    return value[_condition_end(value) :]


@decodes
def remembers(instances: bytes, instance: Instance) -> bool:
    """True if the instance is among the encoded ones, with the same tags."""
    return _instance_parts(instance) in [(*seen[:4], *seen[6:]) for seen in decode(instances)]


@decodes
def reworded(value: bytes) -> int:
    """The latest time (microseconds) at which a fault may have got another message without an event."""
    times: tuple[int, int, int] = _TIMES.unpack_from(value, _HEAD.size)
    return times[2]


@decodes
def only_instance(value: bytes) -> tuple[str, int | None, str, str, int, str]:
    """Host, pid, version, operating system, first report and tags of the only instance that a row remembers."""
    [(host, pid, version, system, first, _, *tags)] = decode(encoded_instances(value))
    return host, pid, version, system, first, "".join(tags)


def _seen_parts(seen: SeenInstance) -> list[Any]:
    host, pid, version, system, *its_tags = _instance_parts(seen.instance)
    return [host, pid, version, system, seen.first, seen.last, *its_tags]


def _instance_parts(instance: Instance) -> tuple[Any, ...]:
    """What is stored of an instance, besides its times."""
    host, pid, version, system, tags = instance
    return (host, pid, version, system, " ".join(tags)) if tags else (host, pid, version, system)


def _condition_of(value: bytes) -> list[str]:
    """The parts of a row's condition."""
    return value[_CONDITION + _LENGTH.size : _condition_end(value)].decode().split()


def _condition_end(value: bytes) -> int:
    length: int = _LENGTH.unpack_from(value, _CONDITION)[0]
    return _CONDITION + _LENGTH.size + length


def encode_faults(faults: list[FaultDict]) -> bytes:
    """The value for an agent's faults, of which there is one at least, sorted by name."""
    worst = max(map(_SEVERITY, faults))
    since = min(map(_SINCE, [fault for fault in faults if fault["severity"] == worst]))
    return _WORST.pack(worst, since) + encode(faults)


@decodes
def decode_faults(value: bytes | None) -> list[FaultDict]:
    """An agent's faults from their value, sorted by name."""
    faults: list[FaultDict] = [] if value is None else decode(value[_WORST.size :])
    list(map(_REQUIRED, faults))  # else a record that is not ours would fail elsewhere
    return faults


def worst(value: bytes) -> tuple[int, int]:
    """The worst severity of an agent's faults, and the time when the oldest fault of that severity began."""
    try:
        severity, since = _WORST.unpack_from(value)
    except struct.error as error:
        raise UnreadableRecord from error
    return severity, since


def squelch_key(regex: str) -> bytes:
    """The key of the squelch with this regular expression."""
    return SQUELCH + _digest(regex, 32)


def encode_squelch(squelch: StoredSquelch) -> bytes:
    """A squelch's value."""
    return encode(squelch._asdict())


@decodes
def decode_squelch(value: bytes) -> StoredSquelch:
    """A squelch from its value."""
    return StoredSquelch(**decode(value))


def entry_key(kind: str, owner: str | None = None, key: str | None = None) -> bytes:
    """The key of an entry, or how the keys begin of all entries of a kind, or of an owner."""
    start = ENTRY + _digest(kind, 8)
    if owner is None:
        return start
    start += _digest(owner, 8)
    return start if key is None else start + _digest(key, 16)


def encode_entry(entry: Entry) -> bytes:
    """An entry's value."""
    return encode(list(entry))


@decodes
def decode_entry(value: bytes) -> Entry:
    """An entry from its value."""
    return Entry(*decode(value))


def expired_entries(transaction: Transaction, now: int, limit: int) -> list[bytes]:
    """The keys of at most ``limit`` entries that have expired at ``now`` (microseconds)."""
    found = of_kind(transaction, ENTRY)
    return list(islice((key for key, value in found if not decode_entry(value).is_current(now)), limit))


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


@decodes
def slots(value: bytes | None) -> int:
    """How many slots the file of heartbeats has in use."""
    return int(value or 0)


def free_slot_key(slot: int) -> bytes:
    """The key that marks a slot as free."""
    return FREE_SLOT + slot.to_bytes(8, "big")


def free_slot(key: bytes) -> int:
    """The slot that a key marks as free."""
    return int.from_bytes(key[len(FREE_SLOT) :], "big")
