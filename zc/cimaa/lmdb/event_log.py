"""The history in the file: a record for each write that has events, in order of time, and an index by agent.

=======================  ====================================================================
key                      value
=======================  ====================================================================
``z:`` time agent        the events of one write as JSON: for each a list of its fields, from the
                         kind on.  The time: microseconds in 8 bytes, big-endian
``h:`` agent NUL time    nothing: the record with this time and agent exists
``z:``                   the time before which events were dropped, in 8 bytes; none if none were
=======================  ====================================================================

The records come last in the key space.  They are appended there, and LMDB fills pages only at the end of the file's
keys; what is dropped are whole pages at their start.  So the keys are written where the pages are in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from .. import limits
from ..faults import decode, encode
from ..history import Event
from . import files
from .records import Transaction, UnreadableRecord, decodes

LOG, INDEX = b"z:", b"h:"

# Returns what a function returns for a snapshot of the file.
Run: TypeAlias = "Callable[[Callable[[Transaction], list[EventRecord]]], list[EventRecord]]"

_TIME: Final = 8
# The first fields of an event are in the key.  Later versions may add fields at the end.
_SHARED: Final = 2
_STORED: Final = len(Event._fields) - _SHARED
# How many records are read at a time: more with each page, and fewer if they have many bytes.
_FIRST_PAGE: Final = 16
_LARGEST_PAGE: Final = 1024
_PAGE_BYTES: Final = 1 << 20
# How many records past their time a write drops: more than it adds, and so few that it takes hardly longer.
_FEW: Final = 4
# How many records a write drops at most if the map is crowded.
_CROWDED: Final = 1000


class EventRecord(NamedTuple):
    """A record."""

    key: bytes
    encoded: bytes

    @decodes
    def events(self) -> list[Event]:
        """The events, in order."""
        start = len(LOG) + _TIME
        time, agent = _time(self.key), self.key[start:].decode()
        return [Event(time, agent, *fields[:_STORED]) for fields in decode(self.encoded)]


# Writing


def encode_events(events: Sequence[Event]) -> bytes:
    """The value of a record."""
    return encode([event[_SHARED:] for event in events])


def append(transaction: Transaction, events: Sequence[Event]) -> None:
    """Store the events of one write."""
    if events:
        time, agent = events[0].time.to_bytes(_TIME, "big"), events[0].agent.encode()
        transaction.put(LOG + time + agent, encode_events(events))
        transaction.put(INDEX + agent + b"\0" + time, b"")


def prune(transaction: Transaction, until: int) -> None:
    """Drop a few records that are older than this time (microseconds), if there are any."""
    _drop(transaction, until, _FEW)


def drop(transaction: Transaction, records: int) -> int:
    """Drop the oldest records, at most this number; return how many."""
    return _drop(transaction, None, records)


def settle(transaction: Transaction) -> None:
    """Write something after a :func:`drop`: LMDB uses the dropped pages in the next transaction but one."""
    transaction.put(LOG, start(transaction).to_bytes(_TIME, "big"))


def give_way(transaction: Transaction, map_size: int) -> int:
    """Drop the oldest records while the data takes more than three quarters of the map; return its size (bytes)."""
    taken = files.taken(transaction)
    for _ in range(_CROWDED):
        if 4 * taken <= 3 * map_size or not _drop(transaction, None, 1):
            break
        taken = files.taken(transaction)
    return taken


def forget(transaction: Transaction, until: int, limit: int) -> int:
    """Delete at most ``limit`` events before ``until`` (microseconds), the earliest first; return how many."""
    left = limit
    while left and (key := _oldest(transaction, until)):
        events = EventRecord(key, transaction.get(key) or b"[]").events()
        if len(events) <= left:
            _drop(transaction, until, 1)
        else:
            transaction.put(key, encode_events(events[left:]))
            _mark(transaction, events[0].time)
        left -= min(left, len(events))
    return limit - left


def _drop(transaction: Transaction, until: int | None, limit: int) -> int:
    dropped = time = 0
    while dropped < limit and (key := _oldest(transaction, until)):
        transaction.delete(key)
        stamp, agent = key[len(LOG) : len(LOG) + _TIME], key[len(LOG) + _TIME :]
        transaction.delete(INDEX + agent + b"\0" + stamp)
        time = _time(key)
        dropped += 1
    if dropped:
        _mark(transaction, time)
    return dropped


def _oldest(transaction: Transaction, until: int | None) -> bytes | None:
    """The key of the oldest record, if it is older than this time."""
    with transaction.cursor() as cursor:
        if not cursor.set_range(LOG + b"\0"):
            return None
        key = cursor.key()
    return key if key.startswith(LOG) and (until is None or _time(key) < until) else None


def _mark(transaction: Transaction, dropped: int) -> None:
    if dropped >= start(transaction):
        transaction.put(LOG, (dropped + 1).to_bytes(_TIME, "big"))


# Reading


def start(transaction: Transaction) -> int:
    """The time (microseconds) before which events were dropped."""
    return int.from_bytes(transaction.get(LOG) or b"", "big")


def last(transaction: Transaction, agent: str) -> Event | None:
    """The latest event of an agent."""
    found = next(read(lambda work: work(transaction), agent, 0, limits.INTEGER_MAX), None)
    return found.events()[-1] if found else None


def read(run: Run, agent: str | None, since: int, until: int) -> Iterator[EventRecord]:
    """The records from ``since`` to before ``until`` (microseconds), the latest first; of one agent, or of all.

    They are read page by page, each by one call of ``run``, so that no transaction lasts for as long as the caller
    takes to consume them.
    """
    prefix = LOG if agent is None else INDEX + agent.encode() + b"\0"
    first, end = (prefix + max(time, 0).to_bytes(_TIME, "big") for time in (since, until))
    size = _FIRST_PAGE
    while found := run(partial(_page, first=first, end=end, size=size)):
        yield from found
        last = found[-1].key
        end = last if agent is None else prefix + last[len(LOG) : len(LOG) + _TIME]
        size = min(4 * size, _LARGEST_PAGE)


def _page(transaction: Transaction, first: bytes, end: bytes, size: int) -> list[EventRecord]:
    """The last records whose keys (of the log, or of the index) are from ``first`` to before ``end``."""
    found: list[EventRecord] = []
    with transaction.cursor() as cursor:
        if cursor.prev() if cursor.set_range(end) else cursor.last():
            left = _PAGE_BYTES
            for key, value in islice(cursor.iterprev(), size):
                if key < first or left < 0:
                    break
                stored = EventRecord(key, value) if key.startswith(LOG) else _indexed(transaction, key)
                left -= len(stored.encoded)
                found.append(stored)
    return found


def _indexed(transaction: Transaction, key: bytes) -> EventRecord:
    """The record of an entry of the index.

    :raises UnreadableRecord: if there is none.
    """
    record = LOG + key[-_TIME:] + key[len(INDEX) : -_TIME - 1]
    encoded = transaction.get(record)
    if encoded is None:
        raise UnreadableRecord("an entry of the index has no record")
    return EventRecord(record, encoded)


def _time(key: bytes) -> int:
    return int.from_bytes(key[len(LOG) : len(LOG) + _TIME], "big")
