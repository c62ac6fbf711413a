"""The runtime state of checks: what the daemon knows of each between its runs."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..faults import FaultDict
from .rules import escalation, results, schedule, tenure
from .rules.check import Broken, Check
from .rules.perfdata import Metric
from .rules.results import Result


@dataclass(eq=False)
class CheckState:
    """A check, its current faults, and its run if it is running."""

    check: Check
    faults: list[FaultDict] = field(default_factory=list)
    metrics: Sequence[Metric] = ()
    #: True if it has run since the daemon started.
    ran: bool = False
    #: True if one of these runs was complete.
    completed: bool = False
    #: Its run, if it is running; and whether it was still running when its next run was due.
    task: "asyncio.Task[None] | None" = None
    slow: bool = False
    #: For a check that one agent of several runs: true if it is this agent; and why it is possibly none of them.
    held: bool = False
    unknown: str | None = None

    @property
    def active(self) -> bool:
        """True if this agent is to run it."""
        return self.held or not self.check.once

    @property
    def interval(self) -> float:
        """Seconds from one run to the next: the shorter retry interval while the check fails."""
        failing = self.ran and escalation.is_failing(self.faults)
        return min(self.check.interval, self.check.retry_interval) if failing else self.check.interval

    def is_due(self, tick: int, base: float) -> bool:
        """True if the check runs at this tick.  Every check runs at the first tick."""
        return self.active and ((not self.ran and self.task is None) or schedule.is_due(tick, base, self.interval))

    def advance(self, agent: str, result: Result) -> None:
        """Take over the result of a run."""
        if self.check.once and not tenure.fits(result.faults):
            text = f"its {len(result.faults)} faults are too large to be handed over to another agent"
            result = results.failed(agent, self.check, "size", text)
        self.faults = escalation.advance(agent, self.check, self.faults, result)
        self.metrics, self.ran, self.slow = result.metrics, True, False
        self.completed |= result.complete

    def merge_stored(self, stored: list[FaultDict]) -> None:
        """Take over the check's faults that the store has from an earlier process."""
        if self.ran:
            stored = escalation.merge_stored(self.check, self.faults, stored, self.metrics, self.completed)
        self.faults = stored

    def take(self, faults: list[FaultDict]) -> None:
        """Note that this agent is to run the check, and what its faults are."""
        self.faults, self.held, self.unknown = faults, True, None
        self.ran = self.completed = self.slow = False

    def lose(self) -> None:
        """Note that this agent is not to run the check any longer; a run is killed."""
        self.faults, self.metrics, self.held, self.slow = [], (), False, False
        if self.task is not None:
            self.task.cancel()

    def result(self, agent: str) -> Result:
        """Its current faults; one of them reports if it is slow, and one if it is unknown which agent runs it."""
        found = list(self.faults)
        if self.slow:
            text = "it was still running when its next run was due: increase its interval, or reduce its timeout"
            found.append(results.check_failure(agent, self.check, "slow", text))
        if self.unknown and not self.active:
            found += results.unleased(agent, self.check, self.unknown).faults
        return Result(self.check.file, self.check.section, found, self.metrics)


@dataclass(eq=False)
class BrokenState:
    """A check, or a whole file, that cannot be read, and the faults that persist meanwhile."""

    broken: Broken
    faults: list[FaultDict] = field(default_factory=list)

    def merge_stored(self, stored: Iterable[FaultDict]) -> None:
        """Take over the faults that the store has from an earlier process."""
        known = {fault["name"] for fault in self.faults}
        self.faults += [fault for fault in stored if fault["name"] not in known]

    def result(self, agent: str) -> Result:
        """The fault that reports the problem, and those that persist."""
        result = results.of_broken(agent, self.broken)
        return result._replace(faults=[*result.faults, *self.faults])


class CheckStates:
    """The states of all checks of an agent."""

    def __init__(self, agent: str, found: Iterable[Check | Broken]) -> None:
        self._agent = agent
        self._states: list[CheckState] = []
        self._broken: list[BrokenState] = []
        self.replace(list(found))

    def __iter__(self) -> Iterator[CheckState]:
        """The states of the checks that can be run."""
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def replace(self, found: Sequence[Check | Broken]) -> None:
        """Use these checks from now on; those that were there before keep their state, and removed ones are killed."""
        before, old = self.faults(), self._states
        self._states = _renewed(old, found)
        checks = [state.check for state in self._states]
        for state in self._states:
            if state not in old and state.active:  # it may have been unreadable before
                state.faults = self._owned(before, checks, state)
        for state in old:
            if state not in self._states and state.task is not None:
                state.task.cancel()
        broken = [item for item in found if isinstance(item, Broken)]
        self._broken = [BrokenState(item, escalation.kept(self._agent, item, before)) for item in broken]

    def merge_stored(self, stored: Sequence[FaultDict]) -> None:
        """Take over the faults that the store has from an earlier process of the agent."""
        checks = [state.check for state in self._states]
        for state in filter(lambda state: not state.check.once, self._states):
            state.merge_stored(self._owned(stored, checks, state))
        for broken in self._broken:
            broken.merge_stored(escalation.kept(self._agent, broken.broken, stored))

    def results(self) -> list[Result]:
        """The current results of all checks."""
        return [each.result(self._agent) for each in self._all()]

    def faults(self) -> list[FaultDict]:
        """The current faults of all checks, except slowness and unreadable checks."""
        return [fault for each in self._all() for fault in each.faults]

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The runs of the checks that are running."""
        return [state.task for state in self._states if state.task is not None]

    def _all(self) -> list[BrokenState | CheckState]:
        return [*self._broken, *self._states]

    def _owned(self, faults: Iterable[FaultDict], checks: list[Check], state: CheckState) -> list[FaultDict]:
        return [fault for fault in faults if escalation.owner(self._agent, checks, fault) is state.check]


def _renewed(old: Iterable[CheckState], found: Iterable[Check | Broken]) -> list[CheckState]:
    by_key = {(state.check.file, state.check.section): state for state in old}
    renewed = []
    for check in found:
        if isinstance(check, Check):
            state = by_key.get((check.file, check.section)) or CheckState(check)
            state.check = check
            renewed.append(state)
    return renewed
