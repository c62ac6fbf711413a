"""Parses the output of a Nagios plugin: its message, and its performance data.  Pure.

The format is that of the Monitoring Plugins guidelines: performance data follows a ``|`` on
the first line, and a second ``|`` further down, after which all lines are performance data.
Ranges are ignored: the plugin has chosen its exit status by them.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Metric(NamedTuple):
    """A value that a check measured."""

    name: str
    value: float
    #: As the check wrote it: ``s``, ``ms``, ``%``, ``B``, ``MB``, ``c`` (a counter), or empty.
    unit: str = ""


_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_METRIC = re.compile(
    rf"""(?: '(?P<quoted>(?:[^']|'')*)' | (?P<plain>[^\s=']+) )
         = (?: U | (?P<value>{_NUMBER}) (?P<unit>[^\s;0-9]*) )
         (?: ;[^\s]* )? (?=\s|$)""",
    re.VERBOSE,
)
# Skips what cannot be parsed; a quoted label may contain spaces.
_UNREADABLE = re.compile(r"'(?:[^']|'')*'\S*|\S+")


def first_line(output: str) -> str:
    """The message: the first line, without performance data."""
    line = output.splitlines()[0] if output else ""
    return line.partition("|")[0].strip()


def performance_data(output: str) -> str:
    """All performance data of the output, on one line."""
    first, _, rest = output.partition("\n")
    return " ".join([first.partition("|")[2], *rest.partition("|")[2].splitlines()]).strip()


def metrics(output: str) -> list[Metric]:
    """The metrics in a plugin's output; of two with the same name the last.

    Invalid performance data is skipped, and so is an unknown value (``U``).
    """
    found = {metric.name: metric for metric in _metrics(performance_data(output))}
    return list(found.values())


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
