"""What one alerter has sent, and what it has to send."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..alerters import RESOLVED, TRIGGERED, Alert
from ..faults import FaultDict
from .clock import AsyncClock
from .rules import alerting


@dataclass
class Shared:
    """What the alerters of an agent share."""

    agent: str
    clock: AsyncClock
    #: Called whenever an alert was sent, or an alerter began or ceased to fail.
    changed: Callable[[], None]
    #: The current faults by name; ``None``: not known yet.
    faults: Mapping[str, FaultDict] | None = None
    #: True for the names of faults that are squelched.
    silenced: Callable[[str], object] = bool
    #: True if the agent is being removed: everything is resolved, and nothing is triggered.
    ending: bool = False
    #: Seconds after its timeout at which a call counts as hanging: alerters respect the timeout themselves.
    grace: float = 1.0
    #: The number of alerts sent, and of failed attempts.
    sent: int = 0
    failed: int = 0


class AlertOutbox:
    """The alerts of one alerter: those that it has sent, and those that are due."""

    def __init__(self, name: str, shared: Shared, stored: set[str] | None = None) -> None:
        self._name = name
        self._shared = shared
        # The faults that the store has with a digest.  Their resolutions must not be sent before the store knows that
        # they are due: if the fault came back after a crash, it would never be triggered again.
        self._stored = stored
        # The same for each lease in whose state faults with a digest are kept.
        self._leased: dict[str, set[str]] = {}
        # Failed attempts in a row, by event and fault.
        self._failures: Counter[tuple[str, str]] = Counter()
        #: By the name of each fault that was triggered, the digest of its message.
        self.sent: dict[str, str] = {}

    def restore(self, sent: Mapping[str, str], stored: set[str]) -> None:
        """Take over what an earlier process sent, and the faults that the store has with a digest."""
        self.sent = {**sent, **self.sent}
        self._stored = stored

    def reporting(self, marks: set[str]) -> None:
        """Note that a report is on its way to the store; after an error it may have been stored, too."""
        self._stored = marks | (self._stored or set())

    def stored(self, marks: set[str]) -> None:
        """Note that the store has this report."""
        self._stored = marks

    def adopt(self, sent: Mapping[str, str], lease: str, stored: set[str]) -> None:
        """Take over what another agent sent, and the faults that the lease's state has with a digest."""
        self.sent = {**sent, **self.sent}
        self.leasing(lease, stored)

    def leasing(self, lease: str, marks: set[str]) -> None:
        """Note that a lease's state is on its way to the store; after an error it may have been stored, too."""
        self._leased[lease] = marks | self._leased.get(lease, set())

    def leased(self, lease: str, marks: set[str]) -> None:
        """Note that the store has this state of a lease."""
        self._leased[lease] = marks

    def forget(self, lease: str, names: Collection[str]) -> None:
        """Note that another agent sends alerts about these faults from now on."""
        self._leased.pop(lease, None)
        for name in names:
            self.sent.pop(name, None)

    def has_triggers(self, faults: Mapping[str, FaultDict]) -> bool:
        """True if some of these faults would have to be triggered if nothing was squelched."""
        found = alerting.due(self._shared.agent, self._name, self.sent, faults, lambda _name: False, 0)
        return any(alert.event == TRIGGERED for alert in found)

    def due(self) -> list[Alert]:
        """The alerts that are due."""
        shared, now = self._shared, int(self._shared.clock.time())
        if shared.ending:
            return alerting.farewell(shared.agent, self.sent, now)
        if shared.faults is None:
            return []
        return alerting.due(shared.agent, self._name, self.sent, shared.faults, shared.silenced, now)

    def ready(self) -> list[Alert]:
        """The alerts that are due and need not wait for the store; those that failed least often first."""
        alerts = [alert for alert in self.due() if alert.event != RESOLVED or self._may_resolve(alert.name)]
        return sorted(alerts, key=lambda alert: self._failures[alert.event, alert.name])

    def was_sent(self, alert: Alert) -> bool:
        """Note that the alert was sent; true if no alert that is still due has failed."""
        if alert.event == RESOLVED:
            self.sent.pop(alert.name, None)
        else:
            self.sent[alert.name] = alerting.digest(alert.message)
        del self._failures[alert.event, alert.name]
        if any((left.event, left.name) in self._failures for left in self.due()):
            return False
        self._failures.clear()
        return True

    def may_be_sent(self, alert: Alert) -> None:
        """Note that it is unknown whether the alert was sent."""
        self.sent[alert.name] = ""

    def failed(self, alert: Alert) -> None:
        """Note that sending the alert failed."""
        self._failures[alert.event, alert.name] += 1

    def forget_failures(self) -> None:
        """Note that another alerter sends from now on."""
        self._failures.clear()

    def _may_resolve(self, name: str) -> bool:
        known = self._stored is not None and name not in self._stored
        return known and not any(name in marks for marks in self._leased.values())
