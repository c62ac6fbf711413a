"""Metrics sinks, which receive the metrics of checks and of the agent: a ``[metrics:NAME]`` section each.

To write a sink, derive a class from :class:`Sink`, declare its options, and register it as
an entry point in the group ``zc.cimaa.metrics``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..faults import SEVERITIES
from ..options import Option

#: The entry points' group; a name in it is what ``class`` names.
GROUP = "zc.cimaa.metrics"


class Sample(NamedTuple):
    """The value of a metric at some time."""

    #: Seconds since the epoch.
    time: float
    agent: str
    #: The check that measured it, as ``FILE/SECTION``; empty: a metric of the agent itself.
    check: str
    name: str
    value: float
    #: As the check wrote it.
    unit: str = ""


def severity_level(severity: int) -> str:
    """The name of the severity, or the next lower name for a number between the names."""
    return next((name for name, level in SEVERITIES.items() if severity >= level), "debug")


class Sink(ABC):
    """Receives metrics once per interval.  Its methods are called in a thread."""

    #: The settings of the section, besides ``class``.
    options: ClassVar[Sequence[Option]] = ()
    COMMON: ClassVar[Sequence[Option]] = ()

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """``settings`` has the value of each option.  Nothing is opened yet: the configuration may only be checked.

        :raises ConfigurationError: if the settings are not valid together.
        """
        self.settings = settings

    def start(self) -> None:  # noqa: B027  # most sinks need not override it
        """Open what is needed; if that is open already, do nothing.

        :raises ConfigurationError: if that fails.
        """

    def close(self) -> None:  # noqa: B027
        """Release all resources: no more metrics follow."""

    @abstractmethod
    def write(self, samples: Sequence[Sample]) -> None:
        """Write all metrics of this interval.

        :raises OSError: if that fails; the metrics are lost, and the failure is logged.
        """
