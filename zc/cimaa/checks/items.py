"""What a check tells of each thing that it looked at, and the findings that follow.  Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from . import Problem
from .ranges import Thresholds
from .states import State


class Measurement(NamedTuple):
    """A figure that a check measured, as performance data has it."""

    label: str
    value: float
    #: ``%``, ``s``, ``B``, or nothing: a number of things.
    unit: str = ""
    thresholds: Thresholds = Thresholds()
    minimum: float | None = None
    maximum: float | None = None


class Item(NamedTuple):
    """One thing that a check looked at."""

    #: Which of them: a mount point, say.  Empty if there is only one.
    name: str
    state: State
    #: What to tell of it, on one line.  It has whole numbers where it can, so that a report changes seldom.
    message: str
    metrics: tuple[Measurement, ...] = ()
    #: True if it is OK only in that nobody is to be alerted: then it is on the first line all the same.
    noted: bool = False


def findings(items: Iterable[Item]) -> list[Problem]:
    """What is wrong among the items."""
    return [Problem(item.name, item.state.severity, item.message) for item in items if item.state is not State.OK]


def measured(name: str, message: str, metric: Measurement) -> Item:
    """The item whose state follows from one metric."""
    return Item(name, metric.thresholds.state(metric.value), message, (metric,))


def percent(label: str, value: float, thresholds: Thresholds) -> Measurement:
    """A metric in percent."""
    return Measurement(label, round(value, 2), "%", thresholds, 0, 100)
