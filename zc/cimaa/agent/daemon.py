"""The daemon: runs checks at their times, reports, and has alerts passed on; none of these waits for another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ..errors import StoreError, StoreUnavailable
from ..faults import SEVERITIES, Fault
from . import alerting, clock, link, reports, results, schedule, states
from . import standing as standings
from .alerts import Alerts
from .clock import Clock
from .errands import Errand
from .files import Broken, Check
from .link import Link
from .naming import fault_name
from .results import Result
from .results import fault as make_fault
from .settings import Settings
from .standing import Standing, Unread

#: Runs a check which had these faults before.
Runner = Callable[[str, Check, Iterable[Fault]], Awaitable[Result]]

_LOG = logging.getLogger("zc.cimaa.agent")

# So long (seconds) alerts wait for the store to tell what is squelched: less, if ticks follow each other fast.
_BRIEFLY = 2.0


class Daemon:
    """An agent that runs until it is told to end."""

    def __init__(self, settings: Settings, link: Link, alerts: Alerts, clock: Clock, runner: Runner) -> None:
        """Get ready.

        :raises ConfigurationError: if there are no checks.
        """
        self.settings = settings
        self.link = link
        self.alerts = alerts
        alerts.changed = self._reported_anew
        self._clock = clock
        self._runner = runner
        self._slots = asyncio.Semaphore(settings.parallel)
        self._standing: list[Standing] = []
        self._unread: list[Unread] = []
        self._outdated: list[Fault] = []
        self._recalled = False
        # Alerts wait for the store to tell which were sent already: until the second tick at the latest.
        self._holding = True
        self._held = False
        self._learning = Errand(self._learn)
        self._settling = Errand(self._settle)
        self._reporting = Errand(self._report)
        #: What is called, with the number of the tick, when a tick's checks were started.
        self.on_tick: Callable[[int], None] = lambda _tick: None
        #: What is called when a tick's results are in, once a tick.
        self.on_report: Callable[[], None] = lambda: None
        self._measured = False
        #: Ticks that passed while the daemon, or the whole machine, was asleep.
        self.missed = 0
        self._take(standings.load(settings))

    def reload(self, settings: Settings) -> None:
        """Read the checks anew, by these settings; those that are still there stand as they stood.

        :raises ConfigurationError: if they cannot be read; all stays as it is.
        """
        self._take(standings.load(settings))
        self.settings = settings

    def tell_outdated(self, reason: str | None) -> None:
        """Have the report tell that the configuration cannot be read anew, and why; ``None``: it was read."""
        name = fault_name(self.settings.name, "agent", "configuration")
        text = f"it stays as it was, as it cannot be read: {reason}"
        self._outdated = [] if reason is None else [make_fault(name, SEVERITIES["error"], text)]
        self._reporting.ask()

    async def run(self, count: int | None = None) -> None:
        """Run for so many ticks, or until it is cancelled; see :meth:`end` for what is to be done then.

        :raises StoreUnavailable: if the store is away after the last tick.
        """
        name, base = self.settings.name, self.settings.base_interval
        await self._learn_briefly()
        last: int | None = None
        tick = self._next_tick()
        while count is None or count > 0:
            tick = min(tick, self._next_tick())  # somebody may have set the clock back
            await self._clock.sleep_until(schedule.time_of(name, base, tick))
            now = self._next_tick() - 1
            if now < tick:
                continue
            tick = now  # the last, if several passed
            if last is not None and tick > last + 1:
                self.missed += tick - last - 1
            self._holding = last is None
            last = tick
            self._tick(tick)
            if count is not None:
                count -= 1
            if count != 0:
                at = min(schedule.time_of(name, base, tick), self._clock.time())
                await self._clock.sleep_until(at + base / 2)
                self._settle_anyway()
            tick += 1
        await self._finish()

    async def end(self, *, keep: bool, patience: float = 5) -> None:
        """Kill what runs, and remove the agent from the store, if that can be done within so many seconds."""
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not keep:
            try:
                await asyncio.wait_for(self.link.remove(), patience)
            except (StoreError, TimeoutError) as error:
                _LOG.error("the agent stays in the store, which cannot be reached: %s", error)

    def faults(self) -> list[Fault]:
        """The report as it stands."""
        name = self.settings.name
        found = [each.result(name) for each in self._known()]
        found.append(Result(alerting.ALERTERS, "", self.alerts.faults()))
        found.append(Result("agent", "", [*self.link.told(), *self._outdated]))
        found.append(Result(alerting.ALERTERS, "over", self.alerts.lingering(_names(found))))
        return reports.faults(name, [r._replace(faults=self.alerts.marked(r.faults)) for r in found])

    def standing(self) -> list[Standing]:
        """The checks, as they stand."""
        return list(self._standing)

    def _take(self, found: list[Check | Broken]) -> None:
        name, old, was = self.settings.name, self._standing, self._found()
        self._standing = standings.renewed(old, found)
        checks = [standing.check for standing in self._standing]
        for standing in self._standing:
            if standing not in old:  # it may be that it could not be understood before
                standing.faults = [f for f in was if states.owner(name, checks, f) is standing.check]
        for standing in old:
            if standing not in self._standing and standing.task is not None:
                standing.task.cancel()
        broken = [item for item in found if isinstance(item, Broken)]
        self._unread = [Unread(item, states.kept(name, item, was)) for item in broken]
        for item in broken:
            _LOG.warning("%s: %s", item.file, item.reason)

    def _known(self) -> "list[Unread | Standing]":
        return [*self._unread, *self._standing]

    def _found(self) -> list[Fault]:
        """The checks' faults, as they stand."""
        return [fault for each in self._known() for fault in each.faults]

    def _tick(self, tick: int) -> None:
        lagging = self._is_running()
        if lagging and not self._measured:
            self.on_report()
        self._measured = False
        for standing in self._standing:
            if standing.is_due(tick, self.settings.base_interval):
                self._start(standing)
        if not self._is_running():
            self._settling.ask()
        self.on_tick(tick)

    def _settle_anyway(self) -> None:
        """A check that takes long must not make the agent look silent."""
        if self._is_running():
            self._settling.ask()

    def _next_tick(self) -> int:
        return schedule.next_tick(self.settings.name, self.settings.base_interval, self._clock.time())

    def _is_running(self) -> bool:
        return any(standing.task for standing in self._standing)

    def _start(self, standing: Standing) -> None:
        if standing.task is None:
            standing.task = asyncio.create_task(self._run(standing))
        elif not standing.slow:
            standing.slow = True
            _LOG.warning("%s/%s is slow", standing.check.file, standing.check.section)

    async def _run(self, standing: Standing) -> None:
        check = standing.check
        try:
            async with self._slots:
                result = await self._runner(self.settings.name, check, standing.faults)
        except Exception as error:  # whatever it is, it must end neither the check nor the agent
            text = f"what it did could not be understood: {type(error).__name__}: {error}"
            _LOG.exception("%s/%s: %s", check.file, check.section, text)
            fault = results.monitor(self.settings.name, check.file, check.section, "command", text)
            result = Result(check.file, check.section, [fault], told=False)
        finally:
            standing.task = None
        was = standing.faults
        standing.faults = states.advance(self.settings.name, check, was, result)
        standing.metrics, standing.ran, standing.slow = result.metrics, True, False
        if not self._is_running() or _critical(was) != _critical(standing.faults):
            self._settling.ask()

    async def _settle(self) -> None:
        """Have what came of the checks reported, and alerts passed on."""
        self._reporting.ask()
        if not self._measured and not self._is_running():
            self._measured = True
            self.on_report()
        if not self.alerts:
            return
        if self.link.away_since is None:
            await self._learn_briefly()
        self._held = self._holding and not self._recalled
        if self._held:
            return
        found = [*self._found(), *self.alerts.faults()]
        self.alerts.dispatch({fault["name"]: fault for fault in found}, self.link.silenced)

    async def _learn_briefly(self) -> None:
        """Learn what the store knows, if it tells soon; a store that is slow must not hold up alerts."""
        self._learning.ask()
        await clock.wait(self._learning.tasks(), self._clock, min(_BRIEFLY, self.settings.base_interval / 4))

    async def _learn(self) -> None:
        """Learn what an earlier process knew, and what is squelched."""
        try:
            await self._recall()
            if self.alerts:
                await self.link.refresh_squelches()
        except StoreError as error:
            _LOG.warning("what the store last told counts: %s", error)

    async def _report(self) -> None:
        """Report, as often as it takes."""
        failures = 0
        while True:
            try:
                await self._recall()
                await self.link.report(self.faults())
            except StoreError as error:
                failures += 1
                _LOG.warning("not reported: %s", error)
                pause = link.delay(failures, self.settings.base_interval / 2)
                await self._clock.sleep_until(self._clock.time() + pause)
            else:
                return

    def _reported_anew(self) -> None:
        self._reporting.ask()

    async def _recall(self) -> None:
        """Take over from the store, once, what an earlier process of this agent's knew."""
        if self._recalled:
            return
        stored = await self.link.faults()
        if self._recalled:  # meanwhile
            return
        self._recalled = True
        self.alerts.remember(stored)
        checks = [standing.check for standing in self._standing]
        for standing in self._standing:
            own = [fault for fault in stored if states.owner(self.settings.name, checks, fault) is standing.check]
            standing.faults = states.mended(standing.faults, own) if standing.ran else own
        for unread in self._unread:
            known = {fault["name"] for fault in unread.faults}
            stayed = states.kept(self.settings.name, unread.broken, stored)
            unread.faults += [fault for fault in stayed if fault["name"] not in known]
        if self._held:
            self._settling.ask()

    async def _finish(self) -> None:
        """Wait for the checks that run, their report, and their alerts.

        :raises StoreUnavailable: if the store is away; then nobody learns of the last report.
        """
        self._holding = False
        if self._held:
            self._settling.ask()
        while tasks := self._tasks():
            if self.link.away_since is not None and tasks == self._reporting.tasks():
                tasks[0].cancel()
                raise StoreUnavailable("the last report is not stored: the store is away")
            await asyncio.wait(tasks, timeout=1)

    def _tasks(self) -> list["asyncio.Task[None]"]:
        running = [standing.task for standing in self._standing if standing.task is not None]
        return [
            *running,
            *self._learning.tasks(),
            *self._settling.tasks(),
            *self._reporting.tasks(),
            *self.alerts.tasks(),
        ]


def _names(found: Iterable[Result]) -> list[str]:
    return [fault["name"] for result in found for fault in result.faults]


def _critical(faults: Iterable[Fault]) -> set[tuple[str, str]]:
    return {(fault["name"], fault["message"]) for fault in faults if fault["severity"] >= states.CRITICAL}
