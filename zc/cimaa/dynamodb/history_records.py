"""How history is encoded as DynamoDB items, in the table ``history``.  Pure.

=====================  ===============================  ======================================================
item                   ``at``, the sort key             attributes besides the key ``agent``, ``at``
=====================  ===============================  ======================================================
events of one write    ``TIME.REVISION.PART``           ``events`` (JSON), ``parts`` (only the last part)
undo log of one write  ``undo.REVISION.PART``           ``faults`` (JSON: pairs of a name, and the fault or
                                                        null), ``digest`` (of all faults)
=====================  ===============================  ======================================================

Every item has ``expires`` (seconds), after which DynamoDB deletes it.  TIME is the time of
the events (microseconds) with 19 digits, so that keys sort by time; an undo log sorts after
all events.  REVISION is that of the agent's row after the write.

The events of a write are one item, or several if they are too large for one.  The last part
is written in the same transaction as the agent's row.  So the events of a write that was
interrupted have no last part, and do not count.

A write in batches first stores the undo log, and its revision in the agent's row: how the
faults that it changes were before it.  The report that follows an interrupted one computes
its events from these.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from .. import faults, history
from ..agents import MICROSECONDS
from ..faults import FaultDict
from ..history import BETTER, ENDED, WORSE, Event
from . import records
from .records import Item, number, text

T = TypeVar("T")

# The largest content of an item (bytes): DynamoDB's limit is 400 KB, including the keys.
_CONTENT = 350_000
_KEY = re.compile(r"(?P<write>(?P<time>[0-9]{19})\.[0-9a-f]+)\.[0-9]+")
_TEXTS = ("kind", "fault", "message", "who", "why")
_NUMBERS = ("before", "after", "since", "until")
# What an event must have so that it can be undone.
_NEEDED = {WORSE: ("before",), BETTER: ("before",), ENDED: ("before", "since")}


class UndoLog(NamedTuple):
    """How the faults that a write in batches changes were before it."""

    #: The digest of all faults before the write.
    digest: str
    #: By name; ``None`` for those that were not there.
    before: Mapping[str, FaultDict | None]

    def applied(self, found: Iterable[FaultDict]) -> list[FaultDict] | None:
        """The faults before the write, of which some may have been written; ``None`` if that is unknown."""
        restored = {**{fault["name"]: fault for fault in found}, **self.before}
        before = [fault for fault in restored.values() if fault is not None]
        return before if faults.digest(before) == self.digest else None


NO_LOG = UndoLog("", {})


def expiry(time: int, retention: int) -> int:
    """When (seconds since the epoch) what happened at ``time`` (microseconds) is deleted."""
    return -(-time // MICROSECONDS) + retention


def time_key(time: int) -> str:
    """The text before which the keys of earlier events sort, and after which those of later ones."""
    return f"{max(0, time):019d}"


def undo_key(revision: str) -> str:
    """The text with which the keys of an undo log begin."""
    return f"undo.{revision}."


def encode_events(agent: str, events: Iterable[Event], revision: str, retention: int) -> list[Item]:
    """The items of the events of one write, which all have the same time; none if there are no events."""
    parts = [*_parts([*events], history.encode)]
    if not parts:
        return []
    time = parts[0][0][0].time
    items = [
        _item(agent, f"{time_key(time)}.{revision}.{part:04d}", expiry(time, retention), events=encoded)
        for part, (_, encoded) in enumerate(parts)
    ]
    return [*items[:-1], {**items[-1], "parts": number(len(items))}]


def encode_undo(agent: str, log: UndoLog, revision: str, expires: int) -> list[Item]:
    """The items of an undo log."""
    pairs = [[name, fault] for name, fault in log.before.items()]
    return [
        _item(agent, f"{undo_key(revision)}{part:04d}", expires, faults=encoded) | {"digest": text(log.digest)}
        for part, (_, encoded) in enumerate(_parts(pairs, faults.encode))
    ]


def decode_events(items: Iterable[Item], now: int) -> Iterator[Event]:
    """The events of one agent's items, which come in descending order, without what expired (``now``: microseconds).

    Items that no version of this program writes are ignored: an agent may write its own.
    """
    complete = ""
    for part in map(_decode_part, items):
        if part is None or part.expires * MICROSECONDS < now:
            continue
        if part.is_last:
            complete = part.write
        if part.write == complete:
            yield from reversed(_events(part))


def decode_undo(items: Iterable[Item]) -> UndoLog:
    """An undo log from its items; one that cannot be applied if they are invalid."""
    digest, before = "", {}
    for item in items:
        try:
            digest, encoded = _decode_undo_part(item)
            for name, fault in faults.decode(encoded):
                before[str(name)] = None if fault is None else {**records.complete(fault), "name": str(name)}
        except (TypeError, ValueError, AttributeError):
            return NO_LOG
    return UndoLog(digest, before)


class _Part(NamedTuple):
    """An item with events."""

    agent: str
    time: int
    #: The part of the key that all parts of a write have in common.
    write: str
    is_last: bool
    expires: int
    encoded: bytes


@records.reading
def _decode_part(item: Item) -> _Part | None:
    """The part, or ``None`` if its key is not that of a part."""
    agent, key = item["agent"]["S"], _KEY.fullmatch(item["at"]["S"])
    expires, encoded = item.get("expires", {}).get("N", ""), item.get("events", {}).get("S", "")
    if key is None or not expires.isdecimal():
        return None
    return _Part(agent, int(key["time"]), key["write"], "parts" in item, int(expires), encoded.encode())


@records.reading
def _decode_undo_part(item: Item) -> tuple[str, bytes]:
    """The digest, and the encoded faults."""
    return item.get("digest", {}).get("S", ""), item.get("faults", {}).get("S", "").encode()


def _item(agent: str, at: str, expires: int, **encoded: bytes) -> dict[str, Any]:
    contents = {key: text(content.decode()) for key, content in encoded.items()}
    return {"agent": text(agent), "at": text(at), "expires": number(expires), **contents}


def _parts(listed: list[T], encode: Callable[[list[T]], bytes]) -> Iterator[tuple[list[T], bytes]]:
    """The list in parts, each with its encoding; halved until each fits into an item."""
    if not listed:
        return
    encoded = encode(listed)
    if len(encoded) <= _CONTENT or len(listed) == 1:
        yield listed, encoded
    else:
        middle = len(listed) // 2
        yield from _parts(listed[:middle], encode)
        yield from _parts(listed[middle:], encode)


def _events(part: _Part) -> list[Event]:
    try:
        events = history.decode(part.time, part.agent, part.encoded)
    except (TypeError, ValueError, AttributeError):
        return []
    return events if all(map(_is_valid, events)) else []


def _is_valid(event: Event) -> bool:
    needed = _NEEDED.get(event.kind, ()) if isinstance(event.kind, str) else ()
    return (
        all(isinstance(getattr(event, field), str) for field in _TEXTS)
        and all(type(getattr(event, field)) in (int, type(None)) for field in _NUMBERS)
        and all(getattr(event, field) is not None for field in needed)
    )
