"""What a Nagios plugin wrote, taken apart: its message, and its performance data.  Pure.

The format is that of the Monitoring Plugins' guidelines: behind a ``|`` on the
first line, and behind another one further down, from where all lines belong to it.
The ranges among it are passed over: by them the plugin chose its exit status.
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


_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_METRIC = re.compile(
    rf"""(?: '(?P<quoted>(?:[^']|'')*)' | (?P<plain>[^\s=']+) )
         = (?: U | (?P<value>{_NUMBER}) (?P<unit>[^\s;0-9]*) )
         (?: ;[^\s]* )? (?=\s|$)""",
    re.VERBOSE,
)
# From where to go on behind what cannot be read: a quoted label may hold spaces.
_UNREADABLE = re.compile(r"'(?:[^']|'')*'\S*|\S+")


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
