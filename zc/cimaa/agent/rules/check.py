"""What a check is, and what its faults are called.  Pure."""

from pathlib import Path
from typing import NamedTuple, Protocol

from ...naming import check_fault_name, fault_name
from .thresholds import Threshold

#: The file part in the names of faults of built-in checks.
HOST = "host"


class Named(Protocol):
    """Anything that a file, and perhaps a section in it, describes."""

    @property
    def file(self) -> str:
        """The name of the file, without ``.cfg``."""

    @property
    def section(self) -> str:
        """The name of the section; empty: the whole file."""


class Check(NamedTuple):
    """A check that can be run."""

    #: The name of its file, without ``.cfg``.
    file: str
    section: str
    #: Empty: a built-in check.
    command: tuple[str, ...]
    #: Seconds.
    timeout: float
    #: Its working directory: that of its file.
    directory: Path
    #: Seconds.
    interval: int = 60
    #: How often a failing check is retried: with one more failure in a row an error becomes critical.
    retry: int = 3
    #: Seconds.
    retry_interval: int = 60
    thresholds: tuple[Threshold, ...] = ()
    #: True if its performance data is read.
    nagios_performance: bool = True
    #: False if its errors never become critical.
    escalates: bool = True
    #: True if only one of the agents that have a check of this name runs it.
    once: bool = False


class Broken(NamedTuple):
    """A check, or (with no ``section``) a whole file, that cannot be read."""

    file: str
    section: str
    reason: str


def path(check: Named) -> str:
    """``FILE/SECTION``, or ``FILE`` for a whole file: how operators name a check."""
    return f"{check.file}/{check.section}" if check.section else check.file


def own_name(agent: str, check: Named) -> str:
    """The start of the names of all faults of the check, except global ones."""
    return fault_name(agent, check.file, check.section)


def name_of(agent: str, check: Named, part: str = "") -> str:
    """The name of a fault that the check found; ``part`` is what the check calls it."""
    return check_fault_name(agent, check.file, check.section, part)
