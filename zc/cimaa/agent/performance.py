"""What a Nagios plugin wrote, taken apart: its message, and its performance data.  Pure.

The format is that of the Monitoring Plugins' guidelines: behind a ``|`` on the
first line, and behind another one further down, from where all lines belong to it.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Metric(NamedTuple):
    """A figure that a check measured."""

    name: str
    value: float
    #: As the check wrote it: ``s``, ``ms``, ``%``, ``B``, ``MB``, ``c`` (a counter), or nothing.
    unit: str = ""


class Range(NamedTuple):
    """A range of the guidelines: ``10``, ``10:``, ``~:10``, ``10:20``, ``@10:20``."""

    low: float
    high: float
    #: True if values within the range, its ends included, are the bad ones; else those outside of it.
    inside: bool

    def is_bad(self, value: float) -> bool:
        """True if the range calls for an alert."""
        return (self.low <= value <= self.high) == self.inside


_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_METRIC = re.compile(
    rf"""(?: '(?P<quoted>(?:[^']|'')*)' | (?P<plain>[^\s=']+) )
         = (?: U | (?P<value>{_NUMBER}) (?P<unit>[^\s;0-9]*) )
         (?: ;[^\s]* )? (?=\s|$)""",
    re.VERBOSE,
)
# From where to go on behind what cannot be read: a quoted label may hold spaces.
_UNREADABLE = re.compile(r"'(?:[^']|'')*'\S*|\S+")
_RANGE = re.compile(rf"(?P<inside>@?)(?:(?P<low>~|{_NUMBER})?(?P<colon>:))?(?P<high>{_NUMBER})?")


def message(output: str) -> str:
    """The message: the first line, without performance data."""
    line = output.splitlines()[0] if output else ""
    return line.partition("|")[0].strip()


def performance_data(output: str) -> str:
    """All performance data of the output, on one line."""
    first, _, rest = output.partition("\n")
    return " ".join([first.partition("|")[2], *rest.partition("|")[2].splitlines()]).strip()


def metrics(output: str) -> list[Metric]:
    """The metrics in what a plugin wrote; of two with one name the last.

    What is no performance data is passed over, as is a value that the plugin could
    not tell (``U``): whether a metric is missed is for thresholds to say.
    """
    found = {metric.name: metric for metric in _metrics(performance_data(output))}
    return list(found.values())


def parse_range(text: str) -> Range:
    """The range of a text.

    :raises ValueError: if it is none.
    """
    match = _RANGE.fullmatch(text.strip())
    if not match or (match["low"] is None and match["high"] is None):
        raise ValueError(f"{text!r} is no range: write it like 10, 10:, ~:10, 10:20 or @10:20")
    low = -math.inf if match["low"] == "~" else float(match["low"] or 0)
    high = math.inf if match["high"] is None else float(match["high"])
    if low > high:
        raise ValueError(f"{text!r} is no range: it starts above its end")
    return Range(low, high, bool(match["inside"]))


def _metrics(text: str) -> Iterator[Metric]:
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif match := _METRIC.match(text, position):
            position = match.end()
            label = match["plain"] or (match["quoted"] or "").replace("''", "'")
            if match["value"] is not None and label and math.isfinite(value := float(match["value"])):
                yield Metric(label, value, match["unit"])
        elif unreadable := _UNREADABLE.match(text, position):
            position = unreadable.end()
