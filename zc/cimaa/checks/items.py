"""The results of a check, and the problems among them.  Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from . import Problem
from .ranges import Thresholds
from .states import State


class Measurement(NamedTuple):
    """A measured value, as in performance data."""

    label: str
    value: float
    #: ``%``, ``s``, ``B``, or empty for a count.
    unit: str = ""
    thresholds: Thresholds = Thresholds()
    minimum: float | None = None
    maximum: float | None = None


class Item(NamedTuple):
    """The result for one item that a check examined."""

    #: The item, such as a mount point; empty if the check has only one.
    name: str
    state: State
    #: One line.  It has whole numbers where possible, so that reports change seldom.
    message: str
    metrics: tuple[Measurement, ...] = ()
    #: True if it is OK only because no alert is wanted: it is still shown on the first line.
    noted: bool = False


def problems(items: Iterable[Item]) -> list[Problem]:
    """The problems among the items."""
    return [Problem(item.name, item.state.severity, item.message) for item in items if item.state is not State.OK]


def measured(name: str, message: str, measurement: Measurement) -> Item:
    """The item whose state follows from one measurement."""
    return Item(name, measurement.thresholds.state(measurement.value), message, (measurement,))


def percent(label: str, value: float, thresholds: Thresholds) -> Measurement:
    """A measurement in percent."""
    return Measurement(label, round(value, 2), "%", thresholds, 0, 100)
