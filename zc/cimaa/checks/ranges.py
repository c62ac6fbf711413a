"""The ranges of the Monitoring Plugins' guidelines, by which measured values are judged.  Pure.

A range contains the good values: ``10`` is 0 to 10, ``10:`` 10 or more, ``~:10`` 10 or
less, ``10:20`` 10 to 20.  ``@10:20`` contains the bad values.  The ends are included.
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from .states import State

_RANGE = re.compile(r"(?P<at>@?)(?:(?P<start>[^:]*)(?P<colon>:))?(?P<end>[^:]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_NOTHING = "write it like 10 (bad above 10), 10: (bad below), 10:20 (bad outside), @10:20 (bad inside) or ~:10"


class Range(NamedTuple):
    """A range, both ends included."""

    start: float
    end: float
    #: True if the values inside are bad.
    inside: bool = False

    def is_bad(self, value: float) -> bool:
        """True if the value is bad."""
        return (self.start <= value <= self.end) == self.inside

    def __str__(self) -> str:
        at = "@" if self.inside else ""
        start = "~" if self.start == -math.inf else number(self.start)
        end = "" if self.end == math.inf else number(self.end)
        return f"{at}{end}" if start == "0" and end else f"{at}{start}:{end}"


class Thresholds(NamedTuple):
    """The ranges for a warning and for a critical state; ``None``: no value is bad."""

    warning: Range | None = None
    critical: Range | None = None

    def state(self, value: float) -> State:
        """The state of the value."""
        if self.critical is not None and self.critical.is_bad(value):
            return State.CRITICAL
        return State.WARNING if self.warning is not None and self.warning.is_bad(value) else State.OK


def parse(text: str, read: Callable[[str], float] | None = None) -> Range:
    """The range that a text describes; ``read`` parses one of its ends, by default a plain number.

    :raises ValueError: for any other text, or if the start is above the end.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match["start"] or match["end"]):
        raise ValueError(f"{text!r} is not a range: {_NOTHING}")
    read = read or _plain
    try:
        start = -math.inf if match["start"] == "~" else read(match["start"]) if match["start"] else 0.0
        end = read(match["end"]) if match["end"] else math.inf
    except ValueError as error:
        raise ValueError(f"{text!r} is not a range: {error}") from None
    if start > end:
        raise ValueError(f"{text!r} is not a range: it starts above its end; {_NOTHING}")
    return Range(start, end, bool(match["at"]))


def parse_percent(text: str) -> Range:
    """A range of percentages: :func:`parse`, with or without percent signs.

    :raises ValueError: for any other text.
    """
    return parse(text, lambda end: _plain(end.removesuffix("%")))


def thresholds(warning: str | None, critical: str | None) -> Thresholds:
    """The thresholds of two texts.

    :raises ValueError: if one is not a range.
    """
    return Thresholds(warning and parse(warning), critical and parse(critical))  # type: ignore[arg-type]


def number(value: float) -> str:
    """The number as in performance data: exact, without an exponent, and without a zero fraction."""
    text = format(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _plain(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number; {_NOTHING}")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return value
