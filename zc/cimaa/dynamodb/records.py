"""How agents, faults and squelches are encoded as DynamoDB items.  Pure.

=============  ====================  =============================================================
table          key                   attributes besides the key
=============  ====================  =============================================================
``agents``     ``name``              ``updated`` (microseconds), ``digest``, ``instance`` (an id),
                                     ``instances`` (JSON), ``revision`` (changed by every write except
                                     a touch); ``within``, ``written``, ``recorded``: see
                                     :class:`~zc.cimaa.agents.Row`, missing if there is none.
                                     Without ``digest``: a report or removal is in progress, or was
                                     interrupted (``undo``: the revision of its undo log); without
                                     ``updated``: the agent's first report.
                                     ``doubt``: the row is unsettled until this time (microseconds).
                                     ``woken``: the row is marked, see :meth:`zc.cimaa.db.DB.wake`.
                                     With ``removed`` (the revision): the agent was removed, and the
                                     item remains until ``expires`` (seconds), for its history
``faults``     ``agent``, ``name``   ``severity``, ``message``, ``since``, and the extra keys
``squelches``  ``regex``             ``reason``, ``user``, ``time``, ``permanent``, ``expires``,
                                     ``revision`` (changed by every write)
``entries``    ``of``, ``key``       see :mod:`~zc.cimaa.dynamodb.entry_records`
``answers``    ``of``, ``key``       the same
``history``    ``agent``, ``at``     see :mod:`~zc.cimaa.dynamodb.history_records`
=============  ====================  =============================================================

Each extra key of a fault is an attribute, so that other tools can read it and
filter by it.  (``agent`` and ``since`` are never extra keys.)  Texts, integers,
booleans, null and floats with a fraction have DynamoDB's types.  Floats without a
fraction, which DynamoDB would return as integers, and nested values are stored as
JSON, in a set of one string, which is not used otherwise.

Every item that DynamoDB can store is decoded without an error: an agent that may
write its own items must not be able to break the listing of others.

An agent's row must stay below 1 KB, with the maximum number of instances, so that a
touch costs one write unit.  So repeated parts are stored once, and times as
differences.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..agents import Instance, Row, SeenInstance
from ..errors import ConfigurationError, StoreUnavailable
from ..faults import ERROR, FaultDict, decode, encode
from ..limits import INTEGER_MAX, INTEGER_MIN
from ..squelches import StoredSquelch

#: A value and an item as DynamoDB encodes them: ``{"S": "text"}``, ``{"name": {"S": "text"}}``.
Value = Mapping[str, Any]
Item = Mapping[str, Value]
T = TypeVar("T")

#: The key of each table (the partition key and, for some, the sort key), as boto3 expects it.
schemas: Mapping[str, Sequence[Mapping[str, str]]] = {
    "agents": [{"AttributeName": "name", "KeyType": "HASH"}],
    "faults": [{"AttributeName": "agent", "KeyType": "HASH"}, {"AttributeName": "name", "KeyType": "RANGE"}],
    "squelches": [{"AttributeName": "regex", "KeyType": "HASH"}],
    "entries": [{"AttributeName": "of", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
    "answers": [{"AttributeName": "of", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
    "history": [{"AttributeName": "agent", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
}

#: The tables of which DynamoDB deletes items, and the attribute with the time (seconds since the epoch).
EXPIRING: Mapping[str, str] = dict.fromkeys(("agents", "entries", "answers", "history"), "expires")

#: What a marked row has as ``woken``; an unmarked one does not have the attribute.
WOKEN: Value = {"BOOL": True}

# The defaults for items of other tools, in which an attribute is missing or has another type.  (Early versions of
# DynamoDB did not store empty texts.)
_FAULT: FaultDict = {"severity": ERROR, "message": "", "since": 0}
_SQUELCH: dict[str, Any] = {"reason": "", "user": "", "time": 0, "permanent": False}


class Stored(NamedTuple):
    """An agent's item in ``agents``: the revision, on which writes are conditional, and the row."""

    #: ``None`` if there is no item, or another tool wrote it.
    revision: str | None
    #: ``None`` if there is none, or only the mark of a first report in progress.
    row: Row | None
    #: The time (microseconds) until which a batch of another writer may still arrive.
    unsettled_until: int | None = None
    #: The time (microseconds) of the last write that was not a mere heartbeat, even if there is no row.
    written: int = 0
    #: True if the agent was removed: then there is no row.
    removed: bool = False
    #: The revision of the undo log of a write in batches that is in progress, or was interrupted.
    undo: str | None = None

    @property
    def unfinished(self) -> bool:
        """True if there is a mark: a report or a removal is in progress, or was interrupted."""
        return self.revision is not None and not self.removed and (self.row is None or not self.row.digest)


NOTHING = Stored(None, None)


def reading(decoding: Callable[[Item], T]) -> Callable[[Item], T]:
    """The function, with a clear error for a value that is not a DynamoDB item."""

    @functools.wraps(decoding)
    def decoded(item: Item) -> T:
        try:
            return decoding(item)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                "DynamoDB's response has an invalid item: check endpoint_url and the proxy"
            ) from error

    return decoded


def check_prefix(prefix: str) -> str:
    """The prefix, if it is valid.

    :raises ConfigurationError: if it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", prefix):
        raise ConfigurationError(
            f"[database] prefix: {prefix!r} is not a valid prefix of a table name:"
            " use 1 to 200 letters, digits, dots, hyphens and underscores"
        )
    return prefix


def full_name(prefix: str, table: str) -> str:
    """A table's name in DynamoDB."""
    return f"{prefix}.{table}"


def text(value: str) -> Value:
    """A text's value."""
    return {"S": value}


def number(value: float) -> Value:
    """A number's value."""
    return {"N": repr(value)}


def agent_key(agent: str) -> Item:
    """The key of the agent's row."""
    return {"name": {"S": agent}}


def fault_key(agent: str, name: str) -> Item:
    """The key of a fault."""
    return {"agent": {"S": agent}, "name": {"S": name}}


def encode_row(agent: str, row: Row, revision: str, unsettled_until: int | None = None) -> Item:
    """The agent's row as an item."""
    times = {
        "doubt": unsettled_until,
        "within": row.within,
        "written": row.written or None,
        "recorded": row.recorded,
    }
    mark = {"woken": WOKEN} if row.marked else {}
    return (
        mark
        | {key: number(time) for key, time in times.items() if time is not None}
        | {
            "name": text(agent),
            "updated": number(row.updated),
            "digest": text(row.digest),
            "instance": text(row.instance),
            "instances": text(encode(_packed(row.instances)).decode()),
            "revision": text(revision),
        }
    )


def encode_removed(agent: str, written: int, expires: int, revision: str) -> Item:
    """The item of an agent that was removed at ``written`` (microseconds), until ``expires`` (seconds)."""
    return {
        "name": text(agent),
        "written": number(written),
        "expires": number(expires),
        "revision": text(revision),
        "removed": text(revision),  # an older version that writes to this item changes only the revision
    }


@reading
def decode_row(item: Item) -> Stored:
    """The agent's row from its item.  Without a digest in the item, that of the row is empty, unlike any report's."""
    revision, digest, instance, packed, removed, undo = (
        item.get(key, {}).get("S") for key in ("revision", "digest", "instance", "instances", "removed", "undo")
    )
    updated, written = _time(item, "updated"), _time(item, "written") or 0
    row = None
    if updated is not None and instance is not None and packed is not None:
        row = Row(
            updated=updated,
            digest=digest or "",
            instance=instance,
            instances=_unpacked(packed),
            within=_time(item, "within"),
            written=written,
            recorded=_time(item, "recorded"),
            marked="woken" in item,
        )
    gone = row is None and revision is not None and removed == revision
    return Stored(revision, row, _time(item, "doubt"), written, gone, undo)


@reading
def heartbeat(item: Item) -> tuple[str, int | None]:
    """The agent's name and its heartbeat (microseconds), if there is one, from the agent's item."""
    return item["name"]["S"], _time(item, "updated")


@reading
def agent_name(item: Item) -> str:
    """The agent's name from its item in ``agents``."""
    name: str = item["name"]["S"]
    return name


@reading
def revision(item: Item) -> str | None:
    """The revision of an item; older versions write squelches without one."""
    return item.get("revision", {}).get("S")


def _time(item: Item, key: str) -> int | None:
    number = _number(item.get(key, {}).get("N", ""))
    return number if isinstance(number, int) else None


def encode_fault(agent: str, fault: FaultDict) -> Item:
    """A fault, with its ``since``, as an item."""
    return {"agent": text(agent)} | {key: _encoded(value) for key, value in fault.items()}


@reading
def decode_fault(item: Item) -> tuple[str, FaultDict]:
    """The agent's name, and its fault with its keys in order, from an item."""
    fault = complete({key: decode_value(value) for key, value in item.items() if key != "agent"})
    return item["agent"]["S"], dict(sorted(fault.items()))


def complete(fault: Mapping[str, Any]) -> FaultDict:
    """The fault with defaults for what is missing or has another type."""
    return _with_defaults(_FAULT, fault)


def squelch_key(regex: str) -> Item:
    """The key of a squelch."""
    return {"regex": {"S": regex}}


def encode_squelch(squelch: StoredSquelch, revision: str) -> Item:
    """A squelch as an item."""
    return {key: _encoded(value) for key, value in squelch.details().items()} | {"revision": text(revision)}


@reading
def decode_squelch(item: Item) -> StoredSquelch:
    """A squelch from its item.  One with an invalid end has ended."""
    found = {key: decode_value(value) for key, value in item.items() if key in StoredSquelch._fields}
    expires = {"expires": 0} if found.get("expires") is not None else {"expires": None}
    return StoredSquelch(**_with_defaults(_SQUELCH | expires, found))


def _with_defaults(defaults: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, replaced by the values that were found, if they have the same type."""
    kept = {key: value for key, value in found.items() if type(value) is type(defaults.get(key, value))}
    return {**defaults, **kept}


def size(item: Item) -> int:
    """The encoded size of the item (bytes); DynamoDB counts at most this."""
    return len(encode(item))


def _encoded(value: Any) -> Value:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int) or (isinstance(value, float) and not value.is_integer()):
        return number(value)
    return {"NULL": True} if value is None else {"SS": [encode(value).decode()]}


def decode_value(value: Value) -> Any:
    """The Python value of an attribute."""
    [(kind, held)] = value.items()
    if kind == "N":
        return _number(held)
    if kind == "NULL":
        return None
    if kind == "SS" and len(held) == 1:
        return _from_json(held[0])
    # The other types are only written by other tools.
    if kind == "L":
        return [decode_value(item) for item in held]
    if kind == "M":
        return {key: decode_value(item) for key, item in held.items()}
    if kind == "NS":
        return [_number(digits) for digits in held]
    return held


def _from_json(held: str) -> Any:
    try:
        return decode(held.encode())
    except ValueError:
        return [held]


def _number(digits: str) -> int | float | None:
    try:
        number = int(digits)
    except ValueError:
        return float(digits) if digits else None
    return number if INTEGER_MIN <= number <= INTEGER_MAX else float(number)


def _packed(instances: tuple[SeenInstance, ...]) -> list[Any]:
    hosts = list(dict.fromkeys(_host(who) for who, _, _ in instances))
    start = min((first for _, first, _ in instances), default=0)
    seen = [[hosts.index(_host(who)), who.pid, first - start, last - start] for who, first, last in instances]
    return [hosts, start, seen]


def _host(who: Instance) -> tuple[str, ...]:
    """What instances of a host share; the tags only where there are some."""
    return (who.host, who.version, who.os, *([" ".join(who.tags)] if who.tags else []))


def _unpacked(packed: str) -> tuple[SeenInstance, ...]:
    """The instances; none if the value was not written by :func:`_packed`."""
    try:
        hosts, start, seen = decode(packed.encode())
        found = tuple(
            SeenInstance(Instance(host, pid, version, os, tuple("".join(tags).split())), start + first, start + last)
            for (host, version, os, *tags), pid, first, last in ((hosts[index], *rest) for index, *rest in seen)
        )
        return found if all(map(_is_seen, found)) else ()
    except (ValueError, TypeError, LookupError):
        return ()


def _is_seen(seen: SeenInstance) -> bool:
    (host, pid, version, os, _), first, last = seen
    return (
        type(host) is type(version) is type(os) is str
        and type(first) is type(last) is int
        and (pid is None or type(pid) is int)
    )
