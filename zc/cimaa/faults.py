"""What a fault is, what a report is, and what a report changes.  Pure: no input or output.

A fault is a ``dict`` with ``name``, ``severity`` and ``message``, and whatever
extra keys its agent adds.  A store keeps one thing more with each: ``since``,
the time (whole seconds since the epoch) when this string of failures began.
"""

import heapq
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from . import limits
from .errors import InvalidFault
from .limits import check_text, is_plain, quoted

Fault = dict[str, Any]

#: Python's logging levels, worst first, under the names that people use.
SEVERITIES = {"critical": 50, "error": 40, "warning": 30, "info": 20, "debug": 10}

_Path = tuple[str | int, ...]

# What may be in a fault that a caller passes although it is not stored: get_faults adds the one, find_faults both.
_NOT_STORED = ("agent", "since")

_NAME = itemgetter("name")


class Report(NamedTuple):
    """A checked report: the complete list of an agent's faults at one moment."""

    #: The faults as canonical JSON: sorted by name, keys sorted, in UTF-8.
    encoded: bytes
    #: 32 hexadecimal digits; two reports have the same exactly if they hold the same faults.
    digest: str

    def faults(self) -> list[Fault]:
        """The faults, sorted by name; a copy that shares nothing with what the caller passed."""
        listed: list[Fault] = decode(self.encoded)
        return listed


class Changes(NamedTuple):
    """What has to be written so that a stored list of faults becomes another one."""

    #: Faults that are new or different, each with ``since``, sorted by name.
    put: list[Fault]
    #: Names of faults that are over, sorted.
    removed: list[str]


def report(agent: str, faults: Iterable[Mapping[str, Any]]) -> Report:
    """Check what ``agent`` reports.

    ``agent`` and ``since`` may be among a fault's keys, so that what a store gave
    can be reported again: the one must be this agent's name, the other is ignored.

    :raises InvalidFault: naming the fault and the rule that it breaks.
    """
    listed = _listed(faults)
    if len(listed) > limits.FAULTS:
        raise InvalidFault(f"the report has {len(listed)} faults; at most {limits.FAULTS} are allowed")
    checked: dict[str, Fault] = {}
    for fault in listed:
        name = _check_fault(agent, fault)
        if name in checked:
            raise InvalidFault(f"the report has two faults named {quoted(name)}")
        checked[name] = {key: value for key, value in fault.items() if key not in _NOT_STORED}
    encoded = encode([checked[name] for name in sorted(checked)])
    if len(encoded) > limits.FAULT:
        _check_sizes(encoded, checked)
    return Report(encoded, _digest(encoded))


def digest(faults: list[Fault]) -> str | None:
    """The digest that :func:`report` would find for these faults; ``None`` if only it can tell.

    Nothing is checked, and nothing need be to compare it with the digest of what a
    store holds: that was checked when it came, and every rule speaks of what is
    encoded.  (Hence the way back: what has no encoding of its own, like a tuple, or
    ``NaN``, is told from what has the same.)
    """
    try:
        listed = sorted(faults, key=_NAME)
        encoded = encode(listed)
    except (KeyError, TypeError):
        return None
    return _digest(encoded) if decode(encoded) == listed else None


def changes(old: Iterable[Fault], new: Iterable[Fault], now: int) -> Changes:
    """What has to be written so that ``old``, as stored, becomes ``new``, as reported at ``now``.

    A fault keeps its ``since`` for as long as every report has one of its name;
    a fault of a new name has failed since ``now``.
    """
    was = {fault["name"]: fault for fault in old}
    put = []
    for fault in new:
        before = was.pop(fault["name"], None)
        after = {**fault, "since": now if before is None else before["since"]}
        if before is None or not _same(before, after):
            put.append(after)
    return Changes(sorted(put, key=by_name), sorted(was))


def shown(agent: str, fault: Fault) -> Fault:
    """A stored fault as ``get_faults`` and ``dump`` give it: with its agent, without ``since``."""
    shape = {"agent": agent, **fault}
    del shape["since"]
    return shape


def worst_first(faults: Iterable[Fault], limit: int | None = None) -> list[Fault]:
    """The faults, the most severe first, the longest standing first among equals; at most ``limit``.

    The faults are as ``find_faults`` gives them: each with its ``agent`` and ``since``.
    """
    return sorted(faults, key=_badness) if limit is None else heapq.nsmallest(limit, faults, key=_badness)


def by_name(fault: Fault) -> str:
    """The key by which lists of one agent's faults are sorted."""
    return str(fault["name"])


def parse_severity(text: str) -> int:
    """A severity from its name, whatever the case, or its number.

    :raises ValueError: if it is neither.
    """
    try:
        return SEVERITIES[text.lower()] if text.lower() in SEVERITIES else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no severity: give a number or one of {', '.join(SEVERITIES)}") from None


def severity_name(severity: int) -> str:
    """The name of a severity, or its number where it has none."""
    return next((name for name, level in SEVERITIES.items() if level == severity), str(severity))


def encode(value: Any) -> bytes:
    """Canonical JSON in UTF-8: equal values, and only those, have equal encodings."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def decode(encoded: bytes) -> Any:
    """What :func:`encode` encoded."""
    return orjson.loads(encoded)


def _digest(encoded: bytes) -> str:
    return blake2b(encoded, digest_size=16).hexdigest()


def _listed(faults: Iterable[Any]) -> list[Any]:
    if isinstance(faults, Iterable) and not isinstance(faults, str | bytes | Mapping):
        return list(faults)
    raise InvalidFault(f"a report must be a list of faults, not {type(faults).__name__}")


def _badness(fault: Fault) -> tuple[int, int, str, str]:
    return -fault["severity"], fault["since"], fault["agent"], fault["name"]


def _same(one: Fault, other: Fault) -> bool:
    # Python takes True for 1 and 1.0; a store must not.
    return one == other and encode(one) == encode(other)


def _check_fault(agent: str, fault: Any) -> str:
    """The fault's name, if the fault keeps the rules."""
    if not isinstance(fault, dict):
        raise InvalidFault(f"a fault must be a dict, not {type(fault).__name__}")
    if "name" not in fault:
        raise InvalidFault(f"a fault has no name; its keys are {quoted(', '.join(map(str, fault)))}")
    name = check_text("the fault's name", fault["name"], InvalidFault, most=limits.FAULT_NAME)
    for key in ("severity", "message"):
        if key not in fault:
            raise InvalidFault(f"fault {quoted(name)} has no {key}")
    severity = fault["severity"]
    if not isinstance(severity, int) or isinstance(severity, bool):
        kind = type(severity).__name__
        raise InvalidFault(f"fault {quoted(name)}: severity must be an integer (50 is critical), not {kind}")
    _check_value((name, "severity"), severity)
    if not is_plain(fault["message"], limits.MESSAGE):
        check_text(_where((name, "message")), fault["message"], InvalidFault, most=limits.MESSAGE, empty=True)
    if len(fault) > 3:
        _check_extras(agent, name, fault)
    return name


def _check_extras(agent: str, name: str, fault: Mapping[Any, Any]) -> None:
    if "agent" in fault and fault["agent"] != agent:
        raise InvalidFault(f"fault {quoted(name)} is of agent {fault['agent']!r}, in a report of {agent!r}")
    for key, value in fault.items():
        if key not in ("name", "severity", "message", "agent", "since"):
            _check_key((name,), key)
            _check_value((name, key), value)


def _check_key(path: _Path, key: object) -> None:
    if not is_plain(key, limits.EXTRA_KEY):
        check_text(f"{_where(path)}: a key", key, InvalidFault, most=limits.EXTRA_KEY)


def _check_value(path: _Path, value: object) -> None:
    """Check a value; ``path`` leads to it: the fault's name, then keys and indexes."""
    if len(path) > limits.NESTING + 2:
        raise InvalidFault(f"{_where(path[:3])} is nested deeper than {limits.NESTING} levels")
    if isinstance(value, str):
        if not is_plain(value, limits.FAULT):
            check_text(_where(path), value, InvalidFault, empty=True)
    elif isinstance(value, int):
        if not limits.INTEGER_MIN <= value <= limits.INTEGER_MAX:
            raise InvalidFault(f"{_where(path)} does not fit in 64 bits")
    elif isinstance(value, float):
        if value != 0 and not limits.FLOAT_MIN <= abs(value) <= limits.FLOAT_MAX:
            low, high = limits.FLOAT_MIN, limits.FLOAT_MAX
            raise InvalidFault(f"{_where(path)} is {value}; a float must be 0 or from {low} to {high}, either sign")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value((*path, index), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_key(path, key)
            _check_value((*path, key), item)
    elif value is not None:
        raise InvalidFault(f"{_where(path)} is a {type(value).__name__}, which JSON does not have")


def _where(path: _Path) -> str:
    name, *steps = path
    return f"fault {quoted(str(name))}" + "".join(f": {quoted(str(step))[1:-1]}" for step in steps)


def _check_sizes(encoded: bytes, checked: Mapping[str, Mapping[str, Any]]) -> None:
    for name, fault in checked.items():
        if (size := len(encode(fault))) > limits.FAULT:
            raise InvalidFault(f"fault {quoted(name)} has {size} bytes; at most {limits.FAULT} are allowed")
    if len(encoded) > limits.REPORT:
        raise InvalidFault(f"the report has {len(encoded)} bytes; at most {limits.REPORT} are allowed")
