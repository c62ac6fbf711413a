"""What the daemon knows of each check between its runs."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..checks import host
from ..faults import FaultDict
from . import check_files
from .check_files import Broken, Check
from .config import Settings
from .rules import escalation, results, schedule
from .rules.perfdata import Metric
from .rules.results import Result
from .runner import HOST


@dataclass(eq=False)
class Standing:
    """A check, its faults as they stand, and its run if it is running."""

    check: Check
    faults: list[FaultDict] = field(default_factory=list)
    metrics: Sequence[Metric] = ()
    #: True once it ran since the daemon started.
    ran: bool = False
    #: True once such a run did not fail.
    complete: bool = False
    #: Its run, if it is running; and whether it was still running when it should have run again.
    task: "asyncio.Task[None] | None" = None
    slow: bool = False

    @property
    def interval(self) -> float:
        """How often (seconds) it should run, as it stands."""
        failing = self.ran and escalation.is_failing(self.faults)
        return min(self.check.interval, self.check.retry_interval) if failing else self.check.interval

    def is_due(self, tick: int, base: float) -> bool:
        """True if it should run at this tick; it should at the first it sees."""
        return (not self.ran and self.task is None) or schedule.is_due(tick, base, self.interval)

    def result(self, agent: str) -> Result:
        """Its faults, slowness among them."""
        found = list(self.faults)
        if self.slow:
            text = "it was still running when it should have run again: give it a longer interval, or a shorter timeout"
            found.append(results.monitor(agent, self.check.file, self.check.section, "slow", text))
        return Result(self.check.file, self.check.section, found, self.metrics)


@dataclass(eq=False)
class Unread:
    """A check, or a whole file, that cannot be understood, and what was critical there."""

    broken: Broken
    faults: list[FaultDict] = field(default_factory=list)

    def result(self, agent: str) -> Result:
        """What is told of it, and what stays."""
        result = results.of_broken(agent, self.broken)
        return result._replace(faults=[*result.faults, *self.faults])


def load(settings: Settings) -> list[Check | Broken]:
    """The agent's checks, or the built-in ones (with no command) if it has no directory of its own.

    :raises ConfigurationError: if there is no such directory, or no check in it.
    """
    if settings.directory is not None:
        return check_files.load(settings.directory, settings.timeout, settings.base_interval)
    base = settings.base_interval
    return [Check(HOST, name, (), settings.timeout, Path(), base, 3, base) for name in host.CHECKS]


def renewed(old: Iterable[Standing], found: Iterable[Check | Broken]) -> list[Standing]:
    """The checks that were found, each as it stood if it is not new."""
    by_key = {(standing.check.file, standing.check.section): standing for standing in old}
    renewed = []
    for check in found:
        if isinstance(check, Check):
            standing = by_key.get((check.file, check.section)) or Standing(check)
            standing.check = check
            renewed.append(standing)
    return renewed
