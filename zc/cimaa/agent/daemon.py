"""The daemon: runs checks at their times, and has their results reported.  No check waits for another or the store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from ..alerters import Alerter
from ..errors import StoreUnavailable
from ..faults import FaultDict
from ..masking import mask_urls
from . import check_files, shutdown
from .check_state import CheckState, CheckStates
from .clock import AsyncClock
from .config import Settings
from .reporter import Reporter
from .rules import escalation, results, schedule
from .rules.check import Broken, Check, path
from .rules.results import Result
from .store import StoreClient
from .tasks import cancel

#: Runs a check; the faults are those that it had before.
Runner = Callable[[str, Check, Iterable[FaultDict]], Awaitable[Result]]

_LOG = logging.getLogger("zc.cimaa.agent")


class Daemon:
    """An agent that runs until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        store: StoreClient,
        alerters: Mapping[str, Alerter],
        clock: AsyncClock,
        runner: Runner,
        *,
        on_tick: Callable[[int], None] = lambda _tick: None,
        on_results: Callable[["Daemon"], None] = lambda _daemon: None,
    ) -> None:
        """Call ``on_tick`` when a tick's checks have started, and ``on_results`` when they have ended, once a tick.

        :raises ConfigurationError: if there are no checks.
        """
        self.settings = settings
        self.states = CheckStates(settings.name, _found(settings))
        self.reporter = Reporter(settings, self.states, store, alerters, clock)
        #: The number of ticks that passed while the daemon, or the whole machine, was suspended.
        self.missed = 0
        self._clock = clock
        self._runner = runner
        self._on_tick = on_tick
        self._on_results = on_results
        self._slots = asyncio.Semaphore(settings.parallel)
        self._passed_on = False
        self.reporter.exclusive.context.taken = self.start

    def reload(self, settings: Settings) -> None:
        """Read the checks again, with these settings; checks that are still there keep their state.

        :raises ConfigurationError: if they cannot be read; then nothing changes.
        """
        found = _found(settings)
        self.reporter.exclusive.leave(found)
        self.states.replace(found)
        self.reporter.exclusive.sync()
        self.settings = settings

    async def run(self, count: int | None = None) -> None:
        """Run for ``count`` ticks, or until cancelled; then call :meth:`end`.

        :raises StoreUnavailable: if the store is unavailable after the last tick.
        """
        await self.reporter.read_briefly()
        last: int | None = None
        tick = self._next_tick()
        while count is None or count > 0:
            tick = min(tick, self._next_tick())  # the clock may have been set back
            await self._clock.sleep_until(self._time_of(tick))
            now = self._next_tick() - 1
            if now < tick:
                continue
            tick = now  # the last, if several passed
            if last is not None:
                self.missed += max(0, tick - last - 1)
                self.reporter.hold.release()  # what was held back is considered with this tick's results
            last = tick
            self._tick(tick)
            if count is not None:
                count -= 1
            if count != 0:
                await self._half_time(tick)
            tick += 1
        await self.finish()

    async def end(self, *, keep: bool, patience: float = 3) -> None:
        """Kill the checks, and stay in the store or remove the agent: see :func:`zc.cimaa.agent.shutdown.end`."""
        await cancel(self.states.tasks())
        await shutdown.end(self.reporter, keep=keep, patience=patience)

    async def finish(self) -> None:
        """Wait for the running checks, their report, and their alerts; :meth:`run` does this after the last tick.

        :raises StoreUnavailable: if the store is unavailable, so that the last report is not stored.
        """
        self.reporter.release_alerts()
        while tasks := [*self.states.tasks(), *self.reporter.tasks(), *self.reporter.notifier.tasks()]:
            if self.reporter.is_stuck() and tasks == self.reporter.tasks():
                await cancel(tasks)
                raise StoreUnavailable("the last report is not stored: the store is unavailable")
            await asyncio.wait(tasks, timeout=1)
        await self.reporter.exclusive.give_up()

    def _tick(self, tick: int) -> None:
        if self.states.tasks():
            self._pass_on()
        self._passed_on = False
        self.reporter.exclusive.tick()
        for state in self.states:
            if state.is_due(tick, self.settings.base_interval):
                self.start(state)
        if not self.states.tasks():
            self._results_are_in()
        self._on_tick(tick)

    async def _half_time(self, tick: int) -> None:
        """Report in the middle of the interval if checks are running: slow ones must not make the agent look silent."""
        start = min(self._time_of(tick), self._clock.time())
        await self._clock.sleep_until(start + self.settings.base_interval / 2)
        if self.states.tasks():
            self.reporter.results_are_in()

    def _next_tick(self) -> int:
        return schedule.next_tick(self.settings.name, self.settings.base_interval, self._clock.time())

    def _time_of(self, tick: int) -> float:
        return schedule.time_of(self.settings.name, self.settings.base_interval, tick)

    def start(self, state: CheckState) -> None:
        """Start a run of the check; if it is still running, it is slow."""
        if state.task is None:
            state.task = asyncio.create_task(self._run(state))
        elif not state.slow:
            state.slow = True
            _LOG.warning("%s is slow", path(state.check))

    async def _run(self, state: CheckState) -> None:
        agent, check = self.settings.name, state.check
        try:
            async with self._slots:
                result = await self._runner(agent, check, state.faults)
        except Exception as error:  # it must end neither the check nor the agent
            text = f"a bug in zc.cimaa: {type(error).__name__}: {mask_urls(str(error))}"
            _LOG.exception("%s: %s", path(check), text)
            result = results.failed(agent, check, "command", text)
        finally:
            state.task = None
        before = _critical(state.faults)
        state.advance(agent, result)
        if not self.states.tasks():
            self._results_are_in()
        elif _critical(state.faults) != before:
            self.reporter.results_are_in()

    def _results_are_in(self) -> None:
        self._pass_on()
        self.reporter.results_are_in()

    def _pass_on(self) -> None:
        if not self._passed_on:
            self._passed_on = True
            self._on_results(self)


def _found(settings: Settings) -> Sequence[Check | Broken]:
    found = check_files.of_agent(settings)
    for item in found:
        if isinstance(item, Broken):
            _LOG.warning("%s: %s", item.file, item.reason)
    return found


def _critical(faults: Iterable[FaultDict]) -> set[tuple[str, str]]:
    return {(fault["name"], fault["message"]) for fault in faults if fault["severity"] >= escalation.CRITICAL}
