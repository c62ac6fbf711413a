"""One alerter: its calls, one at a time."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from ..alerters import Alert, Alerter
from ..errors import AlertError, unexpected
from ..masking import mask_urls
from ..threads import Call
from ..units import format_duration
from .alert_outbox import AlertOutbox, Shared

_LOG = logging.getLogger("zc.cimaa.agent")

#: A call that has not ended this long (seconds) after its timeout is abandoned, and the alert is sent again.
GIVEN_UP_AFTER = 10 * 60


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
        self._waiting = False
        self._sending: _Sending | None = None
        self._worker: asyncio.Task[None] | None = None
        self.outbox = AlertOutbox(name, shared, stored)
        #: Why the alerter fails; ``None``: it does not.
        self.failing: str | None = None

    def replace(self, alerter: Alerter) -> None:
        """Use this alerter from now on."""
        if alerter is not self._alerter:
            self.failing = None
        self._alerter = alerter
        self.outbox.forget_failures()

    def remove(self) -> None:
        """Send nothing any more, and ignore the call that is running."""
        self._removed, self._sending = True, None

    def send(self) -> None:
        """Send what is due, failed alerts included."""
        if self._sending is not None or self.outbox.ready():
            self._start()
        elif self.failing is not None and not self.outbox.due():
            self.failing = None  # no alert is left by which it could recover
            self._shared.changed()
        self._waiting = self._has_waiting()

    def stored(self) -> None:
        """Send resolutions that waited for the store: it has a report, or the state of a lease."""
        if self._waiting:
            self._start()
            self._waiting = self._has_waiting()

    def forget(self, lease: str, names: Collection[str]) -> None:
        """Note that another agent sends alerts about these faults from now on; one that is being sent is ignored."""
        self.outbox.forget(lease, names)
        if self._sending is not None and self._sending.alert.name in names:
            self._sending = None

    def is_open(self) -> bool:
        """True if it has triggered a fault that it has not resolved."""
        return bool(self.outbox.sent) or self._sending is not None

    def pending(self) -> set[str]:
        """The faults about which an alert is due or being sent."""
        names = {alert.name for alert in self.outbox.due()}
        return names if self._sending is None else names | {self._sending.alert.name}

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active task, if there is one."""
        return [] if self._worker is None or self._worker.done() else [self._worker]

    def _has_waiting(self) -> bool:
        return len(self.outbox.ready()) < len(self.outbox.due())

    def _start(self) -> None:
        if not self.tasks():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Send what is due, until nothing is left or an alert fails."""
        going = self._sending is None or await self._finish(self._sending)
        while going and not self._removed and (alerts := self.outbox.ready()):
            call = Call(partial(self._alerter.send, alerts[0]))
            self._sending = _Sending(alerts[0], self._alerter, call, self._shared.clock.time())
            going = await self._finish(self._sending)

    async def _finish(self, sending: _Sending) -> bool:
        """Wait for the alert that is being sent; true if it was sent."""
        timeout = sending.alerter.timeout
        ended = await sending.call.ended(timeout + self._shared.grace)
        if self._sending is not sending:  # it is not this agent's any longer
            return True
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
        self._shared.sent += 1
        if self.outbox.was_sent(sending.alert):
            self.failing = None
        self._shared.changed()
        return True

    def _mark_unknown(self, sending: _Sending) -> None:
        """Note that it is unknown whether the alert was sent."""
        self._sending = None
        self.outbox.may_be_sent(sending.alert)
        self._shared.changed()

    def _fail(self, sending: _Sending, reason: str) -> None:
        _LOG.error("alerter %s: %s", self._name, reason)
        self._shared.failed += 1
        if self._alerter is not sending.alerter:  # it was replaced
            return
        self.outbox.failed(sending.alert)
        if self.failing is None:  # another reason is not another fault: the other alerters need not send each
            self.failing = f"the alerter {self._name} fails: {reason}"
            self._shared.changed()
