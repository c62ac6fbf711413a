"""How agents and faults lie in the tables' columns, and back.  Pure.

What a fault has besides its columns is ``jsonb``, which keeps numbers as
decimals and forgets how they were written: ``1e125`` would come back as an
integer.  So floats are written without an exponent and with a fraction
(``10000000000000000.0`` for ``1e16``): then they come back as what they were.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from ..agents import Instance, Row, Seen
from ..faults import Fault, decode, encode

_COLUMNS = ("name", "severity", "since", "message")
_column_values = itemgetter(*_COLUMNS)


class StoredRow(NamedTuple):
    """A row of the table ``agents``, but for the name."""

    updated: int
    digest: UUID
    instance: UUID

    def row(self, instances: Iterable[Seen]) -> Row:
        """The agent's row, with these of its instances."""
        return Row(self.updated, self.digest.hex, self.instance.hex, tuple(instances))


def fault(columns: Sequence[Any]) -> tuple[str, Fault]:
    """The agent's name, and a fault of it as stored, from the columns agent, name, severity, since, message, extras."""
    agent, name, severity, since, message, extras = columns
    stored: Fault = {"message": message, "name": name, "severity": severity, "since": since}
    return agent, stored if extras == "{}" else dict(sorted((stored | decode(extras)).items()))


def fault_columns(faults: Iterable[Fault]) -> list[list[Any]]:
    """The faults as columns: names, severities, sinces, messages, extras."""
    rows = [(*_column_values(fault), _encode_extras(fault)) for fault in faults]
    return [list(column) for column in zip(*rows, strict=True)]


def seen(columns: Sequence[Any]) -> Seen:
    """An instance from the columns id, host, pid, version, os, first, last."""
    _, host, pid, version, system, first, last = columns
    return Seen(Instance(host, pid, version, system), first, last)


def seen_columns(instances: Iterable[Seen]) -> list[list[Any]]:
    """The instances as columns: ids, hosts, pids, versions, operating systems, firsts, lasts."""
    rows = [(s.instance.id, *s.instance, s.first, s.last) for s in instances]
    return [list(column) for column in zip(*rows, strict=True)]


def _encode_extras(fault: Fault) -> str:
    if len(fault) == len(_COLUMNS):
        return "{}"
    return encode({key: _exact(value) for key, value in fault.items() if key not in _COLUMNS}).decode()


def _exact(value: Any) -> Any:
    """The value with each float as the decimal that ``jsonb`` gives back as the same float."""
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value


def _decimal(number: float) -> float | orjson.Fragment:
    text = repr(number)
    if "e" not in text:
        return number
    digits = format(Decimal(text), "f")
    return orjson.Fragment(digits if "." in digits else f"{digits}.0")
