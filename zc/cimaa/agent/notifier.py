"""Sends alerts, each alerter for itself, and none at the cost of anything else."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..alerters import RESOLVED, Alert, Alerter
from ..errors import AlertError, unexpected
from ..faults import FaultDict
from ..threads import Call
from ..units import format_duration
from .clock import Clock
from .rules import alerting
from .rules.results import ALERTER

_LOG = logging.getLogger("zc.cimaa.agent")

#: An alerter's call that runs for this long (seconds) is given up, and the alert is sent again.
GIVEN_UP_AFTER = 10 * 60


@dataclass
class _Sending:
    """An alert on its way."""

    alert: Alert
    alerter: Alerter
    call: Call[None]
    #: Seconds since the epoch.
    since: float


class Alerts:
    """The alerters, and what each of them sent."""

    def __init__(
        self, agent: str, alerters: Mapping[str, Alerter], clock: Clock, changed: Callable[[], None] = lambda: None
    ) -> None:
        """``changed`` is called whenever an alert was sent, or an alerter began to fail."""
        self._agent = agent
        self._alerters = alerters
        self._clock = clock
        self.changed = changed
        #: An alerter keeps to its timeout by itself; this long (seconds) after it, the alerter counts as stuck.
        self.grace = 1.0
        self._sent: dict[str, dict[str, str]] = {name: {} for name in alerters}
        # What the store has of that, digests that are not empty: such an alert must not be followed by a resolution
        # before the store knows that one is due, or a fault that is back after a restart would never be sent again.
        self._stored: dict[str, set[str]] | None = None
        self._failing: dict[str, str] = {}
        # How often each alert, by event and fault, failed in a row.
        self._failures: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in alerters}
        # Those with resolutions that wait for the store.
        self._waiting: set[str] = set()
        self._sending: dict[str, _Sending] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._faults: Mapping[str, FaultDict] | None = None
        self._silenced: Callable[[str], object] = bool
        #: True if the agent is to be removed: all that was triggered is resolved, and nothing more is triggered.
        self.ending = False
        #: Figures: alerts sent, and tries that failed.
        self.sent = 0
        self.failed = 0

    def __bool__(self) -> bool:
        return bool(self._alerters)

    def remember(self, stored: Sequence[FaultDict]) -> None:
        """Take over what alerters sent before, and which failed, from the faults that the store has."""
        for alerter, sent in alerting.remembered(self._alerters, stored).items():
            self._sent[alerter] = sent | self._sent[alerter]
        for fault in stored:
            if (name := str(fault.get(ALERTER))) in self._alerters:
                self._failing.setdefault(name, fault["message"])
        self._stored = self._digests(stored)

    def replace(self, alerters: Mapping[str, Alerter]) -> None:
        """Send alerts by these from now on; what one sent counts for the one that has its name now."""
        for name, alerter in self._alerters.items():
            if alerters.get(name) is not alerter:
                self._failing.pop(name, None)
        self._alerters = alerters
        self._sent = {name: self._sent.get(name, {}) for name in alerters}
        self._failures = {name: Counter() for name in alerters}
        self._sending = {name: sending for name, sending in self._sending.items() if name in alerters}

    def consider(self, faults: Mapping[str, FaultDict], silenced: Callable[[str], object]) -> bool:
        """Take these as the faults that stand; True if an alert is due."""
        self._faults, self._silenced = faults, silenced
        return any(self._due(name) for name in self._alerters)

    def send(self) -> None:
        """Send what is due; what failed is tried again with each call."""
        for name in self._alerters:
            if name in self._sending or self._may_send(name):
                self._start(name)
            elif not self._due(name) and self._failing.pop(name, None) is not None:
                self.changed()  # nothing waits for it: nobody would ever try it again
        self._waiting = {name for name in self._alerters if len(self._may_send(name)) < len(self._due(name))}

    def reporting(self, faults: Iterable[FaultDict]) -> None:
        """Note that the store will perhaps have this report: an error does not tell that it has not."""
        before = self._stored or {}
        self._stored = {name: marks | before.get(name, set()) for name, marks in self._digests(faults).items()}

    def stored(self, faults: Iterable[FaultDict]) -> None:
        """Note that the store has this report; resolutions that waited for it are sent."""
        self._stored = self._digests(faults)
        for name in self._waiting & self._alerters.keys():
            self._start(name)
        self._waiting = set()

    def open(self) -> list[str]:
        """The names of the alerters that triggered something, and did not resolve it."""
        return sorted(name for name, sent in self._sent.items() if sent or name in self._sending)

    def marked(self, faults: Iterable[FaultDict]) -> list[FaultDict]:
        """The faults, each with what the alerters sent about it."""
        pending = self._pending()
        return [alerting.marked(fault, self._sent, pending) for fault in faults]

    def lingering(self, names: Iterable[str]) -> list[FaultDict]:
        """What stands for the faults that are over while some alerter must still resolve them."""
        return alerting.lingering(names, self._sent, self._pending())

    def faults(self) -> list[FaultDict]:
        """A critical fault for each alerter that fails."""
        return [alerting.failure(self._agent, name, message) for name, message in sorted(self._failing.items())]

    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is being done now."""
        return [worker for worker in self._workers.values() if not worker.done()]

    def _digests(self, faults: Iterable[FaultDict]) -> dict[str, set[str]]:
        """By alerter, the faults with a digest that is not empty."""
        marks = alerting.remembered(self._alerters, faults)
        return {alerter: {name for name, mark in sent.items() if mark} for alerter, sent in marks.items()}

    def _pending(self) -> dict[str, set[str]]:
        """By alerter, the faults about which an alert is due or on its way."""
        pending = {name: {alert.name for alert in self._due(name)} for name in self._alerters}
        for name, sending in self._sending.items():
            pending[name].add(sending.alert.name)
        return pending

    def _due(self, name: str) -> list[Alert]:
        if name not in self._alerters:  # it was there when its worker began
            return []
        now = int(self._clock.time())
        if self.ending:
            return alerting.farewell(self._agent, self._sent[name], now)
        if self._faults is None:
            return []
        return alerting.due(self._agent, name, self._sent[name], self._faults, self._silenced, now)

    def _may_send(self, name: str) -> list[Alert]:
        """What is due and need not wait for the store, the alerts that failed least often first: none blocks others."""
        stored = None if self._stored is None else self._stored.get(name, set())
        alerts = [a for a in self._due(name) if a.event != RESOLVED or (stored is not None and a.name not in stored)]
        return sorted(alerts, key=lambda alert: self._failures[name][alert.event, alert.name])

    def _start(self, name: str) -> None:
        worker = self._workers.get(name)
        if worker is None or worker.done():
            self._workers[name] = asyncio.create_task(self._work(name))

    async def _work(self, name: str) -> None:
        """Send what is due, until nothing is, or something fails."""
        going = name not in self._sending or await self._finish(name)
        while going and (alerts := self._may_send(name)):
            alerter, alert = self._alerters[name], alerts[0]
            self._sending[name] = _Sending(alert, alerter, Call(partial(alerter.send, alert)), self._clock.time())
            going = await self._finish(name)

    async def _finish(self, name: str) -> bool:
        """Wait for the alert that is on its way; False if it was not sent."""
        sending = self._sending[name]
        timeout = sending.alerter.timeout
        ended = await sending.call.ended(timeout + self.grace)
        if self._sending.get(name) is not sending:  # the alerter was removed
            return False
        if ended:
            return self._ended(name, sending)
        self._fail(name, sending, f"it takes longer than {format_duration(timeout)}")
        given_up = self._clock.time() - sending.since > GIVEN_UP_AFTER + timeout
        if given_up or self._alerters[name] is not sending.alerter:
            self._doubt(name)  # until then it may succeed: to send it again would be one too many
        return False

    def _ended(self, name: str, sending: _Sending) -> bool:
        try:
            sending.call.result()
        except AlertError as error:
            del self._sending[name]
            self._fail(name, sending, str(error))
            return False
        except Exception as error:  # an alerter is foreign code, and must not end the agent
            if unexpected(error):
                _LOG.error("a bug in the alerter %s: %s", name, type(error).__name__, exc_info=error)
            self._doubt(name)
            self._fail(name, sending, str(error) or type(error).__name__)
            return False
        del self._sending[name]
        self._succeed(name, sending.alert)
        return True

    def _doubt(self, name: str) -> None:
        """Note that nobody knows whether the alert was sent."""
        self._sent[name][self._sending.pop(name).alert.name] = ""
        self.changed()

    def _succeed(self, name: str, alert: Alert) -> None:
        self.sent += 1
        if alert.event == RESOLVED:
            self._sent[name].pop(alert.name, None)
        else:
            self._sent[name][alert.name] = alerting.digest(alert.message)
        failures = self._failures[name]
        del failures[alert.event, alert.name]
        if not any((left.event, left.name) in failures for left in self._due(name)):
            failures.clear()
            self._failing.pop(name, None)
        self.changed()

    def _fail(self, name: str, sending: _Sending, reason: str) -> None:
        _LOG.error("alerter %s: %s", name, reason)
        self.failed += 1
        if self._alerters[name] is not sending.alerter:  # another one has its name by now
            return
        self._failures[name][sending.alert.event, sending.alert.name] += 1
        if name not in self._failing:  # a new reason is no new fault: the others need not send each
            self._failing[name] = f"the alerter {name} fails: {reason}"
            self.changed()
