"""How the values of keys are read and compared, one function for each kind of value.

Each gets a positive operator (``=``, ``=~``, ``<``, ``<=``, ``>``, ``>=``) and the text of a value, and returns a test
of an item's value.  It raises :exc:`ValueError` for a text that it cannot read, and for an operator that it does not
have.  ``!=`` and ``!~`` are the negation of ``=`` and ``=~`` and need none of their own.
"""

import operator
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from .. import faults, squelches
from ..errors import InvalidSquelch
from ..text import quoted
from ..units import parse_duration

Test: TypeAlias = Callable[[Any], object]
Kind: TypeAlias = Callable[[str, str], Test]

# The order of two values, from the side of the filter's: ``value > bound`` is ``lt(bound, value)``.
_COMPARED: dict[str, Callable[[Any, Any], object]] = {
    "=": operator.eq,
    "<": operator.gt,
    "<=": operator.ge,
    ">": operator.lt,
    ">=": operator.le,
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
# Integers that are longer are beyond all that can be stored, and slow to convert.
_DIGITS = 40
_FLAGS = {"yes": True, "true": True, "no": False, "false": False}


def text(op: str, value: str) -> Test:
    """Text: the same, matching, or before or after in the order of code points."""
    return _searching(value) if op == "=~" else partial(_COMPARED[op], value)


def severity(op: str, value: str) -> Test:
    """A severity, by name or number; ``=~`` matches its name, or its number where it has none."""
    if op == "=~":
        search = _searching(value)
        return lambda severity: search(faults.severity_name(severity))
    return partial(_COMPARED[op], faults.parse_severity(value))


def duration(op: str, value: str) -> Test:
    """Seconds, compared with a duration such as ``90s`` or ``2h``."""
    return partial(_ordered(op, "a duration"), parse_duration(value))


def integer(op: str, value: str) -> Test:
    """A number."""
    if (number := _number(value)) is None:
        raise ValueError(f"invalid number {quoted(value)}")
    return partial(_ordered(op, "a number"), number)


def flag(op: str, value: str) -> Test:
    """``yes`` or ``no``."""
    if op != "=":
        raise ValueError("it is yes or no: use = or !=")
    if value not in _FLAGS:
        raise ValueError(f"invalid value {quoted(value)}: write yes or no")
    return partial(operator.eq, _FLAGS[value])


def version(op: str, value: str) -> Test:
    """A version of Python packages (PEP 440): 0.10 is after 0.9.  One that is none compares with nothing."""
    if op == "=~":
        return _searching(value)
    from packaging.version import InvalidVersion, Version

    compare = _COMPARED[op]
    try:
        bound = Version(value)
    except InvalidVersion:
        raise ValueError(f"invalid version {quoted(value)}: write it like 0.2 or 1.10.3") from None

    def test(version: str) -> bool:
        try:
            return bool(compare(bound, Version(version)))
        except InvalidVersion:
            return False

    return test


def word(_op: str, value: str) -> Test:
    """A text that holds this one, in upper or lower case."""
    folded = value.casefold()
    return lambda text: folded in text.casefold()


def member(op: str, value: str) -> Test:
    """A list of texts, which passes if one of them does."""
    test = text(op, value)
    return lambda texts: any(map(test, texts))


def extra(op: str, value: str) -> Test:
    """Any value of JSON.  A list passes if one of its elements does."""
    test = _extra(op, value)
    return lambda found: any(map(test, _scalars(found))) if isinstance(found, list) else test(found)


def _extra(op: str, value: str) -> Test:
    """The test of a value that is not a list.

    Two numbers are compared as numbers.  Otherwise ``=`` and ``=~`` look at the
    value's text.  The order with a number holds for numbers only, those in texts
    included; that with another text holds for texts only.
    """
    number = _number(value)
    if op == "=~":
        search = _searching(value)
        return lambda found: search(_text(found))
    if op == "=":
        return lambda found: found == number if _is_number(found) and number is not None else _text(found) == value
    compare = _COMPARED[op]
    if number is None:
        return lambda found: isinstance(found, str) and compare(value, found)

    def test(found: Any) -> object:
        other: Any = _number(found) if isinstance(found, str) else found
        return _is_number(other) and compare(number, other)

    return test


def _scalars(values: list[Any]) -> Iterator[Any]:
    """The elements of a list, and of the lists in it."""
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        else:
            yield value


def _text(value: Any) -> str:
    """A text itself; any other value in JSON."""
    return value if isinstance(value, str) else faults.encode(value).decode()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> int | float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(text) if match[1] or match[2] or len(text) > _DIGITS else int(text)


def _ordered(op: str, what: str) -> Callable[[Any, Any], object]:
    if op == "=~":
        raise ValueError(f"it is {what}: use =, !=, <, <=, > or >=")
    return _COMPARED[op]


def _searching(regex: str) -> Test:
    try:
        return squelches.searching(squelches.check_regex(regex))
    except InvalidSquelch as error:
        raise ValueError(str(error).removeprefix("the squelch's ")) from error
