"""Reports the current faults of an agent to its store, and has alerts about them sent."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from .. import backoff
from ..alerters import Alerter
from ..errors import StoreError
from . import clock
from .alert_hold import AlertHold, HoldState
from .check_state import CheckStates
from .clock import AsyncClock
from .config import Settings
from .exclusive import Context, ExclusiveChecks
from .notifier import Notifier
from .report_contents import ReportContents
from .store import StoreClient
from .tasks import Coalesced

_LOG = logging.getLogger("zc.cimaa.agent")

# The longest time (seconds) that alerts wait for the store; less, if the interval is short.
_ALERTS_WAIT = 2.0
# The number of intervals within which the agent promises the next report.
_LATE = 5
# The first delay (seconds) before a report is sent again.
_FIRST_DELAY = 1.0


class Reporter:
    """Reports the current faults of an agent's checks, and sends alerts, independent of each other's delays."""

    def __init__(
        self,
        settings: Settings,
        states: CheckStates,
        store: StoreClient,
        alerters: Mapping[str, Alerter],
        clock: AsyncClock,
    ) -> None:
        self._base_interval = settings.base_interval
        self._states = states
        self._clock = clock
        self._restored = False
        self._reading = Coalesced(self._read)
        self._sending = Coalesced(self._send_alerts)
        self._reporting = Coalesced(self._report)
        #: Called after each report, with whether the agent was woken: there may be an action for it.
        self.on_report: Callable[[bool], None] = lambda _woken: None
        self.store = store
        self.hold = AlertHold()
        self.notifier = Notifier(settings.name, alerters, clock, self._alerts_changed)
        self.exclusive = ExclusiveChecks(
            Context(settings.name, settings.base_interval, store, clock, self.notifier, states, self.results_are_in)
        )
        self.contents = ReportContents(settings.name, states, store, self.notifier, self.exclusive)

    def report_outdated(self, reason: str | None) -> None:
        """Report that the configuration could not be read again, and why; ``None``: it was read."""
        self.contents.outdated = reason
        self._reporting.request()

    def results_are_in(self) -> None:
        """Have the results of checks reported, and alerts about them sent."""
        if self.notifier:
            self._sending.request()
        else:
            self._record()

    def release_alerts(self) -> None:
        """Hold no alerts back any longer; those held back are sent."""
        if self.hold.release():
            self._sending.request()

    def end(self) -> None:
        """Start no work any more, except :meth:`report_once`."""
        self.hold.end()

    async def read_briefly(self) -> None:
        """Read from the store what an earlier process stored, and the squelches; wait a short time for it."""
        self._reading.request()
        await self._wait_briefly(self._reading.tasks())

    async def report_once(self) -> None:
        """Store the current report, or raise a ``StoreError``."""
        await self._restore()
        faults = self.contents.faults()
        self.notifier.reporting(faults)
        woken = await self.store.report(faults, _LATE * self._base_interval)
        self.notifier.stored(faults)
        self.on_report(woken)

    def is_stuck(self) -> bool:
        """True if only a report is left to be done, and the store is unavailable."""
        return self.store.away_since is not None and self.tasks() == self._reporting.tasks()

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active tasks, except those of alerters."""
        own = [*self._reading.tasks(), *self._sending.tasks(), *self._reporting.tasks()]
        return [*own, *self.exclusive.tasks()]

    def _record(self) -> None:
        """Have the store record what is known: the report, and the state of leases."""
        self._reporting.request()
        self.exclusive.save()

    async def _send_alerts(self) -> None:
        """Report that alerts are due, then send them; a slow store delays them only briefly."""
        start = self._clock.time()
        await self._refresh()
        if not self.hold.may_send():
            self._record()
            return
        due = self.notifier.consider(self.contents.critical(), self.store.silenced)
        self._record()
        if due and self.store.away_since is None:
            recording = [*self._reporting.tasks(), *self.exclusive.tasks()]
            await self._wait_briefly(recording, self._clock.time() - start)
        self.notifier.send()

    async def _refresh(self) -> None:
        """Read what alerts depend on from the store: squelches only if one may apply, and now and then."""
        if self.store.away_since is not None:
            return
        if not self._restored or self.notifier.has_triggers(self.contents.critical()):
            await self.read_briefly()
        elif self.store.squelches_are_stale():
            self._reading.request()

    async def _wait_briefly(self, tasks: "Collection[asyncio.Task[None]]", waited: float = 0.0) -> None:
        left = min(_ALERTS_WAIT, self._base_interval / 4) - waited
        if left > 0:
            await clock.wait(tasks, self._clock, left)

    async def _read(self) -> None:
        try:
            await self._restore()
            if self.notifier:
                await self.store.read_squelches()
        except StoreError as error:
            _LOG.warning("using the squelches last read: %s", error)

    async def _report(self) -> None:
        """Store the current report; try again until that succeeds."""
        failures = 0
        while True:
            try:
                await self.report_once()
            except StoreError as error:
                failures += 1
                _LOG.warning("not reported: %s", error)
                pause = backoff.delay(failures, _FIRST_DELAY, self._base_interval / 2, least=0.5)
                await self._clock.sleep_until(self._clock.time() + pause)
            else:
                return

    def _alerts_changed(self) -> None:
        if self.hold.state is not HoldState.ENDED:
            self._record()

    async def _restore(self) -> None:
        """Take over, once, what an earlier process of this agent stored."""
        if self._restored:
            return
        stored = await self.store.faults()
        if self._restored:  # meanwhile
            return
        self._restored = True
        stored = self.exclusive.restore(stored)
        self.notifier.restore(stored)
        self._states.merge_stored(stored)
        self.release_alerts()
