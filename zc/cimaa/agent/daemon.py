"""The daemon: runs checks at their times, reports, and has alerts passed on; none of these waits for another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any

from ..errors import StoreError, StoreUnavailable
from ..faults import CRITICAL, ERROR, FaultDict
from ..naming import fault_name
from ..units import format_duration
from . import check_state as standings
from . import clock
from . import store as link
from .check_files import Broken, Check
from .check_state import Standing, Unread
from .clock import Clock
from .config import Settings
from .notifier import Alerts
from .rules import alerting, escalation, report, results, schedule
from .rules.results import Result
from .rules.results import fault as make_fault
from .store import Link
from .tasks import Errand

#: Runs a check which had these faults before.
Runner = Callable[[str, Check, Iterable[FaultDict]], Awaitable[Result]]

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
        alerts.changed = self._report_again
        self._clock = clock
        self._runner = runner
        self._slots = asyncio.Semaphore(settings.parallel)
        self._standing: list[Standing] = []
        self._unread: list[Unread] = []
        self._outdated: list[FaultDict] = []
        self._recalled = False
        self._ended = False
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
        self._outdated = [] if reason is None else [make_fault(name, ERROR, text)]
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

    async def end(self, *, keep: bool, patience: float = 3) -> None:
        """Kill the checks, wait for alerts that are on their way, and report a last time or remove the agent.

        Before it is removed (not ``keep``), all that alerters triggered is resolved; if
        one of them fails, the agent stays in the store, so that nothing stays open
        unnoticed.  Each step takes at most ``patience`` seconds.
        """
        self._ended = True
        await _cancel([*self._checking(), *self._learning.tasks(), *self._settling.tasks(), *self._reporting.tasks()])
        try:
            await (self._stay(patience) if keep else self._leave(patience))
        except StoreError as error:
            _LOG.error("the agent stays in the store as last reported, as the store cannot be reached: %s", error)
        await _cancel(self.alerts.tasks())

    async def _stay(self, patience: float) -> None:
        await self._finish_alerts(patience)
        await _within(patience, self._report_last())

    async def _leave(self, patience: float) -> None:
        if self.alerts:
            self.alerts.ending = True
            await _within(patience, self._report_last())
            self.alerts.send()
            await self._finish_alerts(patience)
        if alerters := self.alerts.open():
            self.alerts.ending = False
            _LOG.error("the agent stays in the store, as not everything is resolved by: %s", ", ".join(alerters))
            await _within(patience, self._report_last())
        else:
            await _within(patience, self.link.remove())

    async def _finish_alerts(self, patience: float) -> None:
        if tasks := self.alerts.tasks():
            await asyncio.wait(tasks, timeout=patience)
            await _cancel(tasks)

    async def _report_last(self) -> None:
        await self.link.idle()
        await self._report_once()

    def faults(self) -> list[FaultDict]:
        """The report as it stands."""
        name = self.settings.name
        found = [each.result(name) for each in self._known()]
        found.append(Result(alerting.ALERTERS, "", self.alerts.faults()))
        found.append(Result("agent", "", [*self.link.told(), *self._outdated]))
        found.append(Result(alerting.ALERTERS, "over", self.alerts.lingering(_names(found))))
        return report.faults(name, [r._replace(faults=self.alerts.marked(r.faults)) for r in found])

    def standing(self) -> list[Standing]:
        """The checks, as they stand."""
        return list(self._standing)

    def _take(self, found: list[Check | Broken]) -> None:
        name, old, was = self.settings.name, self._standing, self._found()
        self._standing = standings.renewed(old, found)
        checks = [standing.check for standing in self._standing]
        for standing in self._standing:
            if standing not in old:  # it may be that it could not be understood before
                standing.faults = [f for f in was if escalation.owner(name, checks, f) is standing.check]
        for standing in old:
            if standing not in self._standing and standing.task is not None:
                standing.task.cancel()
        broken = [item for item in found if isinstance(item, Broken)]
        self._unread = [Unread(item, escalation.kept(name, item, was)) for item in broken]
        for item in broken:
            _LOG.warning("%s: %s", item.file, item.reason)

    def _known(self) -> "list[Unread | Standing]":
        return [*self._unread, *self._standing]

    def _found(self) -> list[FaultDict]:
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
        standing.faults = escalation.advance(self.settings.name, check, was, result)
        standing.metrics, standing.ran, standing.slow = result.metrics, True, False
        standing.complete |= result.told
        if not self._is_running() or _critical(was) != _critical(standing.faults):
            self._settling.ask()

    async def _settle(self) -> None:
        """Have what came of the checks reported, and alerts sent."""
        if not self._measured and not self._is_running():
            self._measured = True
            self.on_report()
        if self.alerts:
            await self._send_alerts()
        else:
            self._reporting.ask()

    async def _send_alerts(self) -> None:
        """Report that alerts are due, and send them, also if the store is slow: it must not hold them up."""
        start = self._clock.time()
        if self.link.away_since is None:
            await self._learn_briefly()
        self._held = self._holding and not self._recalled
        if self._held:
            self._reporting.ask()
            return
        found = [*self._found(), *self.alerts.faults()]
        due = self.alerts.consider(results.worst(found), self.link.silenced)
        self._reporting.ask()
        if due and self.link.away_since is None:
            await self._wait_briefly(self._reporting, self._clock.time() - start)
        self.alerts.send()

    async def _learn_briefly(self) -> None:
        """Learn what the store knows, if it tells soon."""
        self._learning.ask()
        await self._wait_briefly(self._learning)

    async def _wait_briefly(self, errand: Errand, waited: float = 0.0) -> None:
        left = min(_BRIEFLY, self.settings.base_interval / 4) - waited
        if left > 0:
            await clock.wait(errand.tasks(), self._clock, left)

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
                await self._report_once()
            except StoreError as error:
                failures += 1
                _LOG.warning("not reported: %s", error)
                pause = link.delay(failures, self.settings.base_interval / 2)
                await self._clock.sleep_until(self._clock.time() + pause)
            else:
                return

    async def _report_once(self) -> None:
        await self._recall()
        faults = self.faults()
        self.alerts.reporting(faults)
        await self.link.report(faults)
        self.alerts.stored(faults)

    def _report_again(self) -> None:
        if not self._ended:
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
            own = [fault for fault in stored if escalation.owner(self.settings.name, checks, fault) is standing.check]
            if standing.ran:
                own = escalation.resumed(standing.check, standing.faults, own, standing.metrics, standing.complete)
            standing.faults = own
        for unread in self._unread:
            known = {fault["name"] for fault in unread.faults}
            stayed = escalation.kept(self.settings.name, unread.broken, stored)
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

    def _checking(self) -> list["asyncio.Task[None]"]:
        return [standing.task for standing in self._standing if standing.task is not None]

    def _tasks(self) -> list["asyncio.Task[None]"]:
        return [
            *self._checking(),
            *self._learning.tasks(),
            *self._settling.tasks(),
            *self._reporting.tasks(),
            *self.alerts.tasks(),
        ]


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Wait until the work on the store is done.

    :raises StoreError: if it fails, or takes longer.
    """
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        await _cancel([task])
        raise StoreUnavailable(f"no answer within {format_duration(seconds)}")
    task.result()


async def _cancel(tasks: Collection["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _names(found: Iterable[Result]) -> list[str]:
    return [fault["name"] for result in found for fault in result.faults]


def _critical(faults: Iterable[FaultDict]) -> set[tuple[str, str]]:
    return {(fault["name"], fault["message"]) for fault in faults if fault["severity"] >= CRITICAL}
