"""How agents, faults and squelches lie in DynamoDB's items, as they go over the wire.  Pure.

=============  ====================  =============================================================
table          key                   attributes besides the key
=============  ====================  =============================================================
``agents``     ``name``              ``updated`` (microseconds), ``digest``, ``instance`` (an id),
                                     ``instances`` (JSON), ``revision`` (another with each write but
                                     a touch).  No ``digest``: a report or a removal is going on, or
                                     was interrupted; no ``updated``: the agent's first one is.
                                     ``doubt``: until then (microseconds) the faults may change yet
``faults``     ``agent``, ``name``   ``severity``, ``message``, ``since``, and the extra keys
``squelches``  ``regex``             ``reason``, ``user``, ``time``, ``permanent``, ``expires``
=============  ====================  =============================================================

A fault's extra keys are attributes of their own, so that other tools can read
them and filter by them.  (None can be taken for an attribute of ours: ``agent``
and ``since`` are never among them.)  A text, an integer, a truth value, null and
a float with a fraction lie there as DynamoDB has them.  What it would not give
back as it was set (a float without a fraction would be an integer), and what
nests, lies there as JSON: in a set of one string, which nothing else here uses.

Anything can be read.  Whoever may write an agent's items could otherwise write one that
nobody can read, and with that keep everybody from listing the others'.

An agent's row must stay below 1 KB to be touched for one write unit, with as many
instances as are remembered.  So their parts that repeat are kept once, and times
as differences.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..agents import Instance, Row, Seen
from ..errors import ConfigurationError, StoreUnavailable
from ..faults import Fault, decode, encode
from ..limits import INTEGER_MAX, INTEGER_MIN
from ..squelches import Squelch

#: A value, and an item, as they go over the wire: ``{"S": "text"}``, ``{"name": {"S": "text"}}``.
Value = Mapping[str, Any]
Item = Mapping[str, Value]
T = TypeVar("T")

#: Each table's key, as boto3 writes it: the partition key and, for the faults, the sort key.
schemas: Mapping[str, Sequence[Mapping[str, str]]] = {
    "agents": [{"AttributeName": "name", "KeyType": "HASH"}],
    "faults": [{"AttributeName": "agent", "KeyType": "HASH"}, {"AttributeName": "name", "KeyType": "RANGE"}],
    "squelches": [{"AttributeName": "regex", "KeyType": "HASH"}],
}

# What an item that another tool wrote may lack, or have as something else.  (Once, no store of DynamoDB's kept an
# empty text.)
_FAULT: Fault = {"severity": 40, "message": "", "since": 0}
_SQUELCH: dict[str, Any] = {"reason": "", "user": "", "time": 0, "permanent": False}


class Stored(NamedTuple):
    """An agent's item in ``agents``: what a write is conditional on, and the row."""

    #: ``None`` if there is no item, or none of ours.
    revision: str | None
    #: ``None`` if there is none, or only the mark of a first report that is going on.
    row: Row | None
    #: Until when (microseconds) a batch may still come of a report that was overtaken.
    doubt: int | None = None

    @property
    def unfinished(self) -> bool:
        """True if there is a mark: a report or a removal is going on, or was interrupted."""
        return self.revision is not None and (self.row is None or not self.row.digest)


NOTHING = Stored(None, None)


def _reading(decoding: Callable[[Item], T]) -> Callable[[Item], T]:
    """The function, with a clear error for what cannot be an item of DynamoDB."""

    @functools.wraps(decoding)
    def decoded(item: Item) -> T:
        try:
            return decoding(item)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                "DynamoDB's response has an item that is not one of DynamoDB's: see endpoint_url, and the proxy"
            ) from error

    return decoded


def check_prefix(prefix: str) -> str:
    """The prefix, if tables can be named with it.

    :raises ConfigurationError: if they cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", prefix):
        raise ConfigurationError(
            f"[database] prefix: {prefix!r} cannot begin a table's name:"
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


def encode_row(agent: str, row: Row, revision: str, doubt: int | None = None) -> Item:
    """The agent's row as an item."""
    return ({} if doubt is None else {"doubt": number(doubt)}) | {
        "name": text(agent),
        "updated": number(row.updated),
        "digest": text(row.digest),
        "instance": text(row.instance),
        "instances": text(encode(_packed(row.instances)).decode()),
        "revision": text(revision),
    }


@_reading
def decode_row(item: Item) -> Stored:
    """The agent's row from its item.  While there is no digest, the row has an empty one, which no report has."""
    revision, digest, instance, packed = (
        item.get(key, {}).get("S") for key in ("revision", "digest", "instance", "instances")
    )
    updated, doubt = _time(item, "updated"), _time(item, "doubt")
    if updated is None or instance is None or packed is None:
        return Stored(revision, None, doubt)
    return Stored(revision, Row(updated, digest or "", instance, _unpacked(packed)), doubt)


@_reading
def heartbeat(item: Item) -> tuple[str, int | None]:
    """The agent's name and its heartbeat (microseconds), if there is one, from the agent's item."""
    return item["name"]["S"], _time(item, "updated")


@_reading
def agent_name(item: Item) -> str:
    """The agent's name from its item in ``agents``."""
    name: str = item["name"]["S"]
    return name


def _time(item: Item, key: str) -> int | None:
    number = _number(item.get(key, {}).get("N", ""))
    return number if isinstance(number, int) else None


def encode_fault(agent: str, fault: Fault) -> Item:
    """A fault, with its ``since``, as an item."""
    return {"agent": text(agent)} | {key: _encoded(value) for key, value in fault.items()}


@_reading
def decode_fault(item: Item) -> tuple[str, Fault]:
    """The agent's name, and its fault with its keys in order, from an item."""
    fault = _with_defaults(_FAULT, {key: _decoded(value) for key, value in item.items() if key != "agent"})
    return item["agent"]["S"], dict(sorted(fault.items()))


def encode_squelch(squelch: Squelch) -> Item:
    """A squelch as an item."""
    return {key: _encoded(value) for key, value in squelch.details().items()}


@_reading
def decode_squelch(item: Item) -> Squelch:
    """A squelch from its item.  One that ends at nobody knows when has ended."""
    found = {key: _decoded(value) for key, value in item.items() if key in Squelch._fields}
    expires = {"expires": 0} if found.get("expires") is not None else {"expires": None}
    return Squelch(**_with_defaults(_SQUELCH | expires, found))


def _with_defaults(defaults: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, where it is of its default's kind."""
    kept = {key: value for key, value in found.items() if type(value) is type(defaults.get(key, value))}
    return {**defaults, **kept}


def size(item: Item) -> int:
    """The item's size on the wire (bytes); DynamoDB counts no more than that."""
    return len(encode(item))


def _encoded(value: Any) -> Value:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int) or (isinstance(value, float) and not value.is_integer()):
        return number(value)
    return {"NULL": True} if value is None else {"SS": [encode(value).decode()]}


def _decoded(value: Value) -> Any:
    [(kind, held)] = value.items()
    if kind == "N":
        return _number(held)
    if kind == "NULL":
        return None
    if kind == "SS" and len(held) == 1:
        return _from_json(held[0])
    # The rest is not ours, but another tool's.
    if kind == "L":
        return [_decoded(item) for item in held]
    if kind == "M":
        return {key: _decoded(item) for key, item in held.items()}
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


def _packed(instances: tuple[Seen, ...]) -> list[Any]:
    hosts = list(dict.fromkeys((who.host, who.version, who.os) for who, _, _ in instances))
    start = min((first for _, first, _ in instances), default=0)
    seen = [
        [hosts.index((who.host, who.version, who.os)), who.pid, first - start, last - start]
        for who, first, last in instances
    ]
    return [hosts, start, seen]


def _unpacked(packed: str) -> tuple[Seen, ...]:
    """The instances; none if they are not ours."""
    try:
        hosts, start, seen = decode(packed.encode())
        found = tuple(
            Seen(Instance(host, pid, version, os), start + first, start + last)
            for (host, version, os), pid, first, last in ((hosts[index], *rest) for index, *rest in seen)
        )
        return found if all(map(_is_seen, found)) else ()
    except (ValueError, TypeError, LookupError):
        return ()


def _is_seen(seen: Seen) -> bool:
    (host, pid, version, os), first, last = seen
    return (
        type(host) is type(version) is type(os) is str
        and type(first) is type(last) is int
        and (pid is None or type(pid) is int)
    )
