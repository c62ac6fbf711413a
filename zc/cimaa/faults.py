"""What a fault is, what a report is, and what a report changes.  Pure: no input or output.

A fault is a ``dict`` with ``name``, ``severity`` and ``message``, and any extra
keys that its agent adds.  A store keeps one thing more with each: ``since``,
the time (whole seconds since the epoch) when this string of failures began.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import itemgetter, ne
from typing import Any, NamedTuple

import orjson

from . import limits
from .errors import InvalidFault
from .limits import check_text, is_plain
from .text import hex_digest, quoted

#: A fault as the rules and the backends handle it.  :mod:`zc.cimaa.types` has the types of what a store returns.
FaultDict = dict[str, Any]

#: Severities are levels of Python's ``logging``.
CRITICAL, ERROR, WARNING, INFO, DEBUG = 50, 40, 30, 20, 10

#: The severities that have a name, worst first.
SEVERITIES = {"critical": CRITICAL, "error": ERROR, "warning": WARNING, "info": INFO, "debug": DEBUG}

_Path = tuple[str | int, ...]
_Columns = tuple[list[str], list[int], list[str]]

# What may be in a fault that a caller passes although it is not stored: get_faults adds the one, find_faults both.
_NOT_STORED = ("agent", "since")

#: The key by which lists of one agent's faults are sorted.
by_name: Callable[[Mapping[str, Any]], str] = itemgetter("name")

_SEVERITY = itemgetter("severity")
_MESSAGE = itemgetter("message")
_SINCE = itemgetter("since")
# The types whose values have encodings of their own, all of them.
_EXACT = frozenset({str, int, bool, type(None)})
# From this number of faults on, two lists are first compared as a whole.
_MANY = 8
# The size of a report's digest (bytes).
_DIGEST = 16
# How many keys a stored fault has without extras: name, severity, message and since.
_PLAIN = 4


@dataclass(slots=True)
class Report:
    """A checked report: the complete list of an agent's faults at one moment."""

    #: The faults as canonical JSON: sorted by name, keys sorted, in UTF-8.
    encoded: bytes
    #: 32 hexadecimal digits; two reports have the same exactly if they hold the same faults.
    digest: str
    #: The names, the severities and the messages, sorted by name, if no fault has more than these.
    columns: _Columns | None = field(default=None, compare=False, repr=False)

    def faults(self) -> list[FaultDict]:
        """The faults, sorted by name; a copy that shares nothing with what the caller passed."""
        if self.columns is None:
            listed: list[FaultDict] = decode(self.encoded)
            return listed
        return [*map(_fault, *self.columns)]


class Changes(NamedTuple):
    """What has to be written so that a stored list of faults becomes another one."""

    #: Faults that are new or different, each with ``since``, sorted by name.
    put: list[FaultDict]
    #: Names of faults that are over, sorted.
    removed: list[str]


def report(agent: str, faults: Iterable[Mapping[str, Any]], unvalidated: Report | None = None) -> Report:
    """Check what ``agent`` reports; ``unvalidated`` is what :func:`encode_unvalidated` made of it.

    ``agent`` and ``since`` may be among a fault's keys, so that what a store gave
    can be reported again: the one must be this agent's name, the other is ignored.

    :raises InvalidFault: naming the fault and the rule that it breaks.
    """
    if unvalidated is not None and _keeps_rules(unvalidated):
        return unvalidated
    listed = _listed(faults)
    if len(listed) > limits.FAULTS:
        raise InvalidFault(f"the report has {len(listed)} faults; at most {limits.FAULTS} are allowed")
    checked: dict[str, Mapping[str, Any]] = {}
    for fault in listed:
        if not _is_plain(fault):
            _check_fault(agent, fault)
        name = fault["name"]
        if name in checked:
            raise InvalidFault(f"the report has two faults named {quoted(name)}")
        checked[name] = fault
    made = unvalidated or _encoded([_stored_part(checked[name]) for name in sorted(checked)])
    if len(made.encoded) > limits.FAULT:
        _check_sizes(made)
    return made


def encode_unvalidated(faults: list[FaultDict], last: Report | None = None) -> Report | None:
    """The report that :func:`report` would make of these faults if they keep the rules; ``None`` if only it can decide.

    No rule need be checked to compare the digest with that of what a store holds:
    that was checked when it came, and every rule speaks of what is encoded.
    (So values that are not simple are decoded again: this distinguishes values without
    an encoding of their own, like a tuple or ``NaN``, from those with the same one.)

    If the faults are those of ``last``, a valid report, it is returned.
    """
    if not faults:
        return _NO_FAULTS
    try:
        listed = sorted(faults, key=by_name)
        encoded = encode(listed)
        if last is not None and encoded == last.encoded and _is_exact(listed):
            return last
    except (KeyError, TypeError):
        return None
    if columns := _columns(listed):
        return Report(encoded, hex_digest(encoded, _DIGEST), columns)
    if b'"agent":' in encoded or b'"since":' in encoded:
        return None  # not all of it is stored, perhaps
    exact = _is_exact(listed) or decode(encoded) == listed
    return Report(encoded, hex_digest(encoded, _DIGEST)) if exact else None


def digest(stored: Iterable[FaultDict]) -> str:
    """The digest of the report that left these faults, as stored."""
    return _encoded([_stored_part(fault) for fault in sorted(stored, key=by_name)]).digest


def changes(old: Iterable[FaultDict], new: Report | Iterable[FaultDict], now: int) -> Changes:
    """What has to be written so that ``old``, as stored, becomes ``new``, as reported at ``now``.

    A fault keeps its ``since`` for as long as every report has one of its name;
    a fault of a new name has failed since ``now``.
    """
    old, new = _different([*old], new)
    was = {fault["name"]: fault for fault in old}
    put = []
    for fault in new:
        before = was.pop(fault["name"], None)
        after = {**fault, "since": now if before is None else before["since"]}
        if before is None or not _same(before, after):
            put.append(after)
    return Changes(sorted(put, key=by_name), sorted(was))


def shown(agent: str, fault: FaultDict) -> FaultDict:
    """A stored fault as ``get_faults`` and ``dump`` give it: with its agent, without ``since``."""
    shape = {"agent": agent, **fault}
    del shape["since"]
    return shape


def worst_first(stored: Iterable[tuple[str, list[FaultDict]]], limit: int | None = None) -> list[FaultDict]:
    """Stored faults as ``find_faults`` gives them: the most severe first, the longest standing first among equals.

    Faults of the same standing come sorted by agent and name.  The dicts are changed: each gets its ``agent``.
    """
    by_agent: dict[str, list[FaultDict]] = {}
    for agent, faults in stored:
        for fault in faults:
            fault["agent"] = agent
        by_agent[agent] = by_agent[agent] + faults if agent in by_agent else faults
    listed: list[FaultDict] = []
    for agent in sorted(by_agent):
        faults = by_agent[agent]
        if len(faults) > 1:
            faults.sort(key=by_name)
        listed += faults
    return ranked(listed)[:limit]


def ranked(listed: list[FaultDict]) -> list[FaultDict]:
    """Faults, sorted by agent and name before, as :func:`worst_first` gives them; sorted in place."""
    # One key at a time, the weightiest last: sorting is stable, and quick where there is little to move.
    listed.sort(key=_SINCE)
    listed.sort(key=_SEVERITY, reverse=True)
    return listed


def parse_severity(text: str) -> int:
    """A severity from its name, in upper or lower case, or its number.

    :raises ValueError: if it is neither.
    """
    try:
        return SEVERITIES[text.lower()] if text.lower() in SEVERITIES else int(text)
    except ValueError:
        raise ValueError(f"invalid severity {text!r}: give a number or one of {', '.join(SEVERITIES)}") from None


def severity_name(severity: int) -> str:
    """The name of a severity, or its number where it has none."""
    return next((name for name, level in SEVERITIES.items() if level == severity), str(severity))


def encode(value: Any) -> bytes:
    """Canonical JSON in UTF-8: equal values, and only those, have equal encodings."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def decode(encoded: bytes) -> Any:
    """What :func:`encode` encoded."""
    return orjson.loads(encoded)


def _encoded(faults: list[FaultDict]) -> Report:
    encoded = encode(faults)
    return Report(encoded, hex_digest(encoded, _DIGEST))


_NO_FAULTS = _encoded([])


def _listed(faults: Iterable[Any]) -> list[Any]:
    if isinstance(faults, Iterable) and not isinstance(faults, str | bytes | Mapping):
        return list(faults)
    raise InvalidFault(f"a report must be a list of faults, not {type(faults).__name__}")


def _different(old: list[FaultDict], new: Report | Iterable[FaultDict]) -> tuple[list[FaultDict], list[FaultDict]]:
    """The faults of two lists, as far as possible without those that are in both.

    That is quick for many faults without extra values (only these can be equal and yet of different types), if they
    have the same names as before, as in nearly all reports.
    """
    if not isinstance(new, Report):
        return old, [*new]
    if (
        new.columns is None
        or len(old) < _MANY
        or {*map(len, old)} != {_PLAIN}
        or [*map(by_name, old)] != new.columns[0]
    ):
        return old, new.faults()
    names, severities, messages = new.columns
    indexes = range(len(old))
    others = {*compress(indexes, map(ne, map(_SEVERITY, old), severities))}
    others.update(compress(indexes, map(ne, map(_MESSAGE, old), messages)))
    different = sorted(others)
    return [old[at] for at in different], [_fault(names[at], severities[at], messages[at]) for at in different]


def _is_exact(listed: list[FaultDict]) -> bool:
    """True if all values are of types that have encodings of their own."""
    return _EXACT.issuperset(map(type, chain.from_iterable(map(dict.values, listed))))


def _fault(name: str, severity: int, message: str) -> FaultDict:
    return {"name": name, "severity": severity, "message": message}


def _same(one: FaultDict, other: FaultDict) -> bool:
    # Python takes True for 1 and 1.0; a store must not.  Only extra values can be of more than one kind.
    return one == other and (len(one) == _PLAIN or encode(one) == encode(other))


def _stored_part(fault: Mapping[str, Any]) -> FaultDict:
    return {key: value for key, value in fault.items() if key not in _NOT_STORED}


def _columns(faults: list[Any]) -> _Columns | None:
    """The names, severities and messages, if each fault is a dict of these, with values of exactly these types."""
    if {*map(type, faults)} != {dict} or {*map(len, faults)} != {_PLAIN - 1}:
        return None
    try:
        names, severities, messages = [*map(by_name, faults)], [*map(_SEVERITY, faults)], [*map(_MESSAGE, faults)]
    except KeyError:
        return None
    exact = {*map(type, names)} == {str} == {*map(type, messages)} and {*map(type, severities)} == {int}
    return (names, severities, messages) if exact else None


def _keeps_rules(report: Report) -> bool:
    """True if looking at all faults together shows that they keep the rules; else they may, or may not.

    That they could be encoded shows that there is no text with half of a surrogate pair.  No text is longer than the
    encoding, and a character has at most four bytes.
    """
    if report.columns is None or len(report.encoded) > limits.FAULT:
        return False
    if b"\\" in report.encoded and b"\\u0000" in report.encoded:
        return False
    names, severities, messages = report.columns
    levels = {*severities}
    return (
        len(names) <= limits.FAULTS
        and names[0] != ""  # they are sorted
        and len({*names}) == len(names)
        and max(map(len, names)) <= limits.FAULT_NAME // 4
        and (len(report.encoded) <= limits.MESSAGE or max(map(len, messages)) <= limits.MESSAGE // 4)
        and min(levels) >= limits.INTEGER_MIN
        and max(levels) <= limits.INTEGER_MAX
    )


def _is_plain(fault: Any) -> bool:
    """True if a glance shows a fault as most are, which :func:`_check_fault` would pass."""
    return (
        isinstance(fault, dict)
        and len(fault) == 3
        and is_plain(fault.get("name"), limits.FAULT_NAME)
        and is_plain(fault.get("message"), limits.MESSAGE)
        and type(severity := fault.get("severity")) is int
        and limits.INTEGER_MIN <= severity <= limits.INTEGER_MAX
    )


def _check_fault(agent: str, fault: Any) -> None:
    """Raise an error that names what is wrong with the fault, if anything is."""
    if not isinstance(fault, Mapping):
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


def _check_extras(agent: str, name: str, fault: Mapping[Any, Any]) -> None:
    if "agent" in fault and fault["agent"] != agent:
        raise InvalidFault(f"fault {quoted(name)} is of agent {quoted(str(fault['agent']))}, in a report of {agent!r}")
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


def _check_sizes(report: Report) -> None:
    for fault in report.faults():
        if (size := len(encode(fault))) > limits.FAULT:
            raise InvalidFault(f"fault {quoted(fault['name'])} has {size} bytes; at most {limits.FAULT} are allowed")
    if len(report.encoded) > limits.REPORT:
        raise InvalidFault(f"the report has {len(report.encoded)} bytes; at most {limits.REPORT} are allowed")
