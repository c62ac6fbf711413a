"""How agents, faults and entries are stored in the tables' columns.  Pure.

What a fault has besides its columns, and an entry's value, are ``jsonb``, which
keeps numbers as decimals and forgets how they were written: ``1e125`` would come
back as an integer.  So floats are written without an exponent and with a fraction
(``10000000000000000.0`` for ``1e16``): then they come back as what they were.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson

from ..agents import Instance, Row, SeenInstance
from ..entries import Entry
from ..faults import FaultDict, decode, encode
from ..history import Event

_COLUMNS = ("name", "severity", "since", "message")
# The types of most values, none of which JSON could change.
_AS_THEY_ARE = frozenset((str, int, bool))


def row(columns: Sequence[Any], instances: Iterable[SeenInstance]) -> Row:
    """An agent's row, with these of its instances.

    The columns are updated, digest, instance, since version 5 of the tables within, written, recorded, and since
    version 6 marked.
    """
    updated, digest, instance, *more = columns
    check_numbers(updated, *more)
    return Row(updated, _hexadecimal(digest), _hexadecimal(instance), tuple(instances), *more)


def fault(columns: Sequence[Any]) -> tuple[str, FaultDict]:
    """The agent's name, and a fault of it as stored, from the columns agent, name, severity, since, message, extras."""
    agent, name, severity, since, message, extras = columns
    stored: FaultDict = {"message": message, "name": name, "severity": severity, "since": since}
    return agent, stored if extras == "{}" else dict(sorted((stored | decode(extras)).items()))


def plain_faults(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, FaultDict]]:
    """Each agent's name, and a fault without extra keys, from the columns agent, name, severity, since, message."""
    for column in (2, 3):
        check_numbers(*map(itemgetter(column), rows))
    for agent, name, severity, since, message in rows:
        yield agent, {"name": name, "severity": severity, "since": since, "message": message}


def encode_faults(faults: Iterable[FaultDict]) -> bytes:
    """The faults as JSON objects, whose keys are columns."""
    return encode([_record(fault) for fault in faults])


def events(rows: Sequence[Sequence[Any]]) -> list[Event]:
    """Events from rows of their fields, in their order, and the column number."""
    for field in ("time", "before", "after", "since", "until"):
        check_numbers(*map(itemgetter(Event._fields.index(field)), rows))
    return [Event._make(columns[:-1]) for columns in rows]


def seen(columns: Sequence[Any]) -> SeenInstance:
    """An instance from the columns id, host, pid, version, os, first, last, and since version 7 of the tables tags."""
    _, host, pid, version, system, first, last, *tags = columns
    check_numbers(pid, first, last)
    return SeenInstance(Instance(host, pid, version, system, tuple("".join(filter(None, tags)).split())), first, last)


def encode_seen(instances: Iterable[SeenInstance]) -> bytes:
    """The instances as JSON objects, whose keys are columns."""
    return encode([_seen_record(seen) for seen in instances])


def entry(columns: Sequence[Any]) -> Entry:
    """An entry from the columns kind, owner, key, value, revision, expires."""
    kind, owner, key, value, revision, expires = columns
    check_numbers(expires)
    return Entry(kind, owner, key, decode(value), _hexadecimal(revision), expires)


def encode_value(value: Any) -> str:
    """An entry's value as JSON."""
    return encode(_exact(value)).decode()


def encode_entries(entries: Iterable[Entry]) -> str:
    """The entries as JSON objects, whose keys are columns."""
    records = [
        {"kind": kind, "owner": owner, "key": key, "revision": revision, "value": _exact(value), "expires": expires}
        for kind, owner, key, value, revision, expires in entries
    ]
    return encode(records).decode()


def check_numbers(*values: int | None) -> None:
    """Do nothing if the values are numbers, or missing.

    :raises TypeError: if one is something else: the response was damaged on its way.
    """
    sum(filter(None, values))


def _hexadecimal(uuid: UUID | str) -> str:
    return str(uuid).replace("-", "")


def _record(fault: FaultDict) -> dict[str, Any]:
    extras = {key: _exact(value) for key, value in fault.items() if key not in _COLUMNS}
    return {**{key: fault[key] for key in _COLUMNS}, "extras": extras}


def _seen_record(seen: SeenInstance) -> dict[str, Any]:
    instance = seen.instance
    tags = " ".join(instance.tags) or None
    return {"id": instance.id, **instance._asdict(), "tags": tags, "first": seen.first, "last": seen.last}


def _exact(value: Any) -> Any:
    """The value with each float as the decimal that ``jsonb`` gives back as the same float."""
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, dict):
        return {key: item if type(item) in _AS_THEY_ARE else _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value


def _decimal(number: float) -> float | orjson.Fragment:
    text = repr(number)
    if "e" not in text:
        return number
    digits = format(Decimal(text), "f")
    return orjson.Fragment(digits if "." in digits else f"{digits}.0")
