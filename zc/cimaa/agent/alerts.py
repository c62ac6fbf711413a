"""Passes alerts on, each alerter for itself, and none at the cost of anything else."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

from ..alerters import RESOLVED, Alert, Alerter
from ..errors import unexpected
from ..faults import Fault
from ..units import format_duration
from . import alerting, threads
from .clock import Clock
from .results import fault as make_fault

_LOG = logging.getLogger("zc.cimaa.agent")


class Alerts:
    """The alerters, and what each was told."""

    def __init__(
        self, agent: str, alerters: Mapping[str, Alerter], clock: Clock, changed: Callable[[], None] = lambda: None
    ) -> None:
        """``changed`` is called whenever an alerter was told something, or began to fail."""
        self._agent = agent
        self._alerters = alerters
        self._clock = clock
        self.changed = changed
        #: An alerter keeps its own time; so many seconds later it counts as stuck.
        self.grace = 1.0
        self._told: dict[str, dict[str, str]] = {name: {} for name in alerters}
        self._failing: dict[str, str] = {}
        self._late: dict[str, tuple[Alert, Future[None]]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._faults: Mapping[str, Fault] = {}
        self._silenced: Callable[[str], object] = bool
        #: Figures: alerts passed on, and tries that failed.
        self.sent = 0
        self.failed = 0

    def __bool__(self) -> bool:
        return bool(self._alerters)

    def remember(self, stored: Sequence[Fault]) -> None:
        """Take over what alerters were told before, and which failed, by the faults that the store has."""
        for alerter, told in alerting.remembered(self._alerters, stored).items():
            self._told[alerter] = told | self._told[alerter]
        reports = {fault["name"]: fault["message"] for fault in stored if fault["severity"] >= alerting.CRITICAL}
        for name in self._alerters:
            if message := reports.get(alerting.own_name(self._agent, name)):
                self._failing.setdefault(name, message.removeprefix(_failure(name, "")))

    def replace(self, alerters: Mapping[str, Alerter]) -> None:
        """Pass alerts on by these from now on; what one was told counts for the one that has its name now."""
        for name, alerter in self._alerters.items():
            if alerters.get(name) is not alerter:
                self._late.pop(name, None)
                self._failing.pop(name, None)
        self._alerters = alerters
        self._told = {name: self._told.get(name, {}) for name in alerters}

    def dispatch(self, faults: Mapping[str, Fault], silenced: Callable[[str], object]) -> None:
        """Pass on what follows from these faults; what failed is tried again with each call."""
        self._faults, self._silenced = faults, silenced
        for name in self._alerters:
            worker = self._workers.get(name)
            if worker is not None and not worker.done():
                continue
            if name in self._late or self._due(name):
                self._workers[name] = asyncio.create_task(self._work(name))
            elif self._failing.pop(name, None) is not None:  # nothing waits for it: nobody would ever try it again
                self.changed()

    def marked(self, faults: Iterable[Fault]) -> list[Fault]:
        """The faults, each with what the alerters were told of it."""
        return [alerting.marked(fault, self._told) for fault in faults]

    def lingering(self, names: Iterable[str]) -> list[Fault]:
        """What stands for the faults that are over while some alerter must still learn of it."""
        return alerting.lingering(names, self._told)

    def faults(self) -> list[Fault]:
        """A critical fault for each alerter that fails."""
        return [
            make_fault(alerting.own_name(self._agent, name), alerting.CRITICAL, _failure(name, reason))
            for name, reason in sorted(self._failing.items())
        ]

    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is being done now."""
        return [worker for worker in self._workers.values() if not worker.done()]

    def _due(self, name: str) -> list[Alert]:
        if name not in self._alerters:  # it was, when its worker began
            return []
        now = int(self._clock.time())
        return alerting.due(self._agent, name, self._told[name], self._faults, self._silenced, now)

    async def _work(self, name: str) -> None:
        """Pass on what is due, until nothing is, or something fails."""
        late = self._late.pop(name, None)
        going = late is None or await self._send(name, *late)
        while going and (alerts := self._due(name)):
            going = await self._send(name, alerts[0], threads.start(self._alerters[name].send, alerts[0]))

    async def _send(self, name: str, alert: Alert, call: "Future[None]") -> bool:
        """Wait for the alert to be passed on; False if it was not."""
        alerter = self._alerters[name]
        try:
            await threads.bounded(call, alerter.timeout + self.grace)
        except TimeoutError:
            if self._fail(name, alerter, f"it takes longer than {format_duration(alerter.timeout)}"):
                self._late[name] = alert, call  # it may still succeed: to send it again would be one too many
            return False
        except Exception as error:  # an alerter is somebody else's code, and must not end the agent
            if unexpected(error):
                _LOG.error("a bug in the alerter %s: %s", name, type(error).__name__, exc_info=error)
            self._fail(name, alerter, str(error) or type(error).__name__)
            return False
        self._tell(name, alert)
        return True

    def _tell(self, name: str, alert: Alert) -> None:
        self.sent += 1
        if name not in self._told:  # it was, when the alert left
            return
        if alert.event == RESOLVED:
            self._told[name].pop(alert.name, None)
        else:
            self._told[name][alert.name] = alerting.digest(alert.message)
        self._failing.pop(name, None)
        self.changed()

    def _fail(self, name: str, alerter: Alerter, reason: str) -> bool:
        """Note that it fails; False if another has its place by now."""
        _LOG.error("alerter %s: %s", name, reason)
        self.failed += 1
        if self._alerters.get(name) is not alerter:
            return False
        if name not in self._failing:  # a new reason is no new fault: the others need not tell of each
            self._failing[name] = reason
            self.changed()
        return True


def _failure(name: str, reason: str) -> str:
    return f"the alerter {name} fails: {reason}"
