"""Where figures go: those that checks measured, and the agent's own; a ``[metrics:NAME]`` section each.

Whoever writes a sink derives from :class:`Sink`, declares its options, and registers
the class in the group ``zc.cimaa.metrics``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..faults import SEVERITIES
from ..options import Option

#: The entry points' group; a name in it is what ``class`` names.
GROUP = "zc.cimaa.metrics"


class Sample(NamedTuple):
    """A figure, as it was at some time."""

    #: Seconds since the epoch.
    time: float
    agent: str
    #: The check that measured it, as ``FILE/SECTION``; empty: it is a figure of the agent's own.
    check: str
    name: str
    value: float
    #: As the check wrote it.
    unit: str = ""


def severity_level(severity: int) -> str:
    """The name of the severity, or the next lower name for a number between the names."""
    return next((name for name, level in SEVERITIES.items() if severity >= level), "debug")


class Sink(ABC):
    """Takes figures, once an interval, in a thread."""

    #: The keys that the section may have, besides ``class``.
    options: ClassVar[Sequence[Option]] = ()
    COMMON: ClassVar[Sequence[Option]] = ()

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """``settings`` has the value of each option.  Nothing is opened yet: it may be only looked at.

        :raises ConfigurationError: if they do not fit together.
        """
        self.settings = settings

    def start(self) -> None:  # noqa: B027  # few have anything to do
        """Get ready; once ready, it does nothing.

        :raises ConfigurationError: if something that the settings name cannot be had.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of everything: no more figures come."""

    @abstractmethod
    def write(self, samples: Sequence[Sample]) -> None:
        """Take the agent's figures of this interval, all of them.

        :raises OSError: if they could not be passed on; they are lost, and that is logged.
        """
