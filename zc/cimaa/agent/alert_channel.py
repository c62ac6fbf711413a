"""One alerter: what it has sent, what it has to send, and its calls."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ..alerters import RESOLVED, TRIGGERED, Alert, Alerter
from ..errors import AlertError, unexpected
from ..faults import Fault
from ..masking import mask_urls
from ..threads import Call
from ..units import format_duration
from .clock import AsyncClock
from .rules import alerting

_LOG = logging.getLogger("zc.cimaa.agent")

#: A call that has not ended this long (seconds) after its timeout is abandoned, and the alert is sent again.
GIVEN_UP_AFTER = 10 * 60


@dataclass
class Shared:
    """What all channels of an agent share."""

    agent: str
    clock: AsyncClock
    #: Called whenever an alert was sent, or an alerter began or ceased to fail.
    changed: Callable[[], None]
    #: The current faults by name; ``None``: not known yet.
    faults: Mapping[str, Fault] | None = None
    #: True for the names of faults that are squelched.
    silenced: Callable[[str], object] = bool
    #: True if the agent is being removed: everything is resolved, and nothing is triggered.
    ending: bool = False
    #: Seconds after its timeout at which a call counts as hanging: alerters respect the timeout themselves.
    grace: float = 1.0
    #: The number of alerts sent, and of failed attempts.
    sent: int = 0
    failed: int = 0


@dataclass
class _Sending:
    """An alert that is being sent."""

    alert: Alert
    alerter: Alerter
    call: Call[None]
    #: Seconds since the epoch.
    since: float


class AlertChannel:
    """Sends the alerts of one alerter, one at a time."""

    def __init__(self, name: str, alerter: Alerter, shared: Shared, stored: set[str] | None = None) -> None:
        self._name = name
        self._alerter = alerter
        self._shared = shared
        self._removed = False
        #: By the name of each fault that was triggered, the digest of its message.
        self.sent: dict[str, str] = {}
        #: Why the alerter fails; ``None``: it does not.
        self.failing: str | None = None
        # The faults that the store has with a digest.  Their resolutions must not be sent before the store knows that
        # they are due: if the fault came back after a crash, it would never be triggered again.
        self._stored = stored
        # Failed attempts in a row, by event and fault.
        self._failures: Counter[tuple[str, str]] = Counter()
        self._waiting = False
        self._sending: _Sending | None = None
        self._worker: asyncio.Task[None] | None = None

    def replace(self, alerter: Alerter) -> None:
        """Use this alerter from now on."""
        if alerter is not self._alerter:
            self.failing = None
        self._alerter = alerter
        self._failures.clear()

    def remove(self) -> None:
        """Send nothing any more, and ignore the call that is running."""
        self._removed, self._sending = True, None

    def reporting(self, marks: set[str]) -> None:
        """Note that a report is on its way to the store; after an error it may have been stored, too."""
        self._stored = marks | (self._stored or set())

    def stored(self, marks: set[str]) -> None:
        """Note that the store has this report; resolutions that waited for it are sent."""
        self._stored = marks
        if self._waiting:
            self._start()
        self._waiting = False

    def send(self) -> None:
        """Send what is due, failed alerts included."""
        if self._sending is not None or self._may_send():
            self._start()
        elif self.failing is not None and not self._due():
            self.failing = None  # no alert is left by which it could recover
            self._shared.changed()
        self._waiting = len(self._may_send()) < len(self._due())

    def is_open(self) -> bool:
        """True if it has triggered a fault that it has not resolved."""
        return bool(self.sent) or self._sending is not None

    def has_triggers(self, faults: Mapping[str, Fault]) -> bool:
        """True if some of these faults would have to be triggered if nothing was squelched."""
        found = alerting.due(self._shared.agent, self._name, self.sent, faults, lambda _name: False, 0)
        return any(alert.event == TRIGGERED for alert in found)

    def has_due(self) -> bool:
        """True if an alert is due."""
        return bool(self._due())

    def pending(self) -> set[str]:
        """The faults about which an alert is due or being sent."""
        names = {alert.name for alert in self._due()}
        return names if self._sending is None else names | {self._sending.alert.name}

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active task, if there is one."""
        return [] if self._worker is None or self._worker.done() else [self._worker]

    def _due(self) -> list[Alert]:
        shared, now = self._shared, int(self._shared.clock.time())
        if self._removed:
            return []
        if shared.ending:
            return alerting.farewell(shared.agent, self.sent, now)
        if shared.faults is None:
            return []
        return alerting.due(shared.agent, self._name, self.sent, shared.faults, shared.silenced, now)

    def _may_send(self) -> list[Alert]:
        """The alerts that are due and need not wait for the store; those that failed least often first."""
        alerts = [alert for alert in self._due() if alert.event != RESOLVED or self._may_resolve(alert.name)]
        return sorted(alerts, key=lambda alert: self._failures[alert.event, alert.name])

    def _may_resolve(self, name: str) -> bool:
        return self._stored is not None and name not in self._stored

    def _start(self) -> None:
        if not self.tasks():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Send what is due, until nothing is left or an alert fails."""
        going = self._sending is None or await self._finish(self._sending)
        while going and (alerts := self._may_send()):
            call = Call(partial(self._alerter.send, alerts[0]))
            self._sending = _Sending(alerts[0], self._alerter, call, self._shared.clock.time())
            going = await self._finish(self._sending)

    async def _finish(self, sending: _Sending) -> bool:
        """Wait for the alert that is being sent; True if it was sent."""
        timeout = sending.alerter.timeout
        ended = await sending.call.ended(timeout + self._shared.grace)
        if self._sending is not sending:  # the alerter was removed
            return False
        if ended:
            return self._ended(sending)
        self._fail(sending, f"it takes longer than {format_duration(timeout)}")
        given_up = self._shared.clock.time() - sending.since > GIVEN_UP_AFTER + timeout
        if given_up or self._alerter is not sending.alerter:
            self._mark_unknown(sending)  # until then the call may succeed, and the alert must not be sent twice
        return False

    def _ended(self, sending: _Sending) -> bool:
        try:
            sending.call.result()
        except AlertError as error:
            self._sending = None
            self._fail(sending, mask_urls(str(error)))
            return False
        except Exception as error:  # an alerter is foreign code, and must not end the agent
            if unexpected(error):
                _LOG.error("a bug in the alerter %s: %s", self._name, type(error).__name__, exc_info=error)
            self._mark_unknown(sending)
            self._fail(sending, mask_urls(str(error)) or type(error).__name__)
            return False
        self._sending = None
        self._succeed(sending.alert)
        return True

    def _mark_unknown(self, sending: _Sending) -> None:
        """Note that it is unknown whether the alert was sent."""
        self._sending = None
        self.sent[sending.alert.name] = ""
        self._shared.changed()

    def _succeed(self, alert: Alert) -> None:
        self._shared.sent += 1
        if alert.event == RESOLVED:
            self.sent.pop(alert.name, None)
        else:
            self.sent[alert.name] = alerting.digest(alert.message)
        del self._failures[alert.event, alert.name]
        if not any((left.event, left.name) in self._failures for left in self._due()):
            self._failures.clear()
            self.failing = None
        self._shared.changed()

    def _fail(self, sending: _Sending, reason: str) -> None:
        _LOG.error("alerter %s: %s", self._name, reason)
        self._shared.failed += 1
        if self._alerter is not sending.alerter:  # it was replaced
            return
        self._failures[sending.alert.event, sending.alert.name] += 1
        if self.failing is None:  # another reason is not another fault: the other alerters need not send each
            self.failing = f"the alerter {self._name} fails: {reason}"
            self._shared.changed()

    def restore(self, sent: Mapping[str, str], failures: Iterable[str], stored: set[str]) -> None:
        """Take over what an earlier process sent, and the messages of the alerter's faults."""
        self.sent = {**sent, **self.sent}
        for message in failures:
            if self.failing is None:
                self.failing = message
        self._stored = stored
