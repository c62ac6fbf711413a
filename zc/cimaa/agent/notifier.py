"""Passes alerts to all alerters, each independent of the others."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ..alerters import Alerter
from ..faults import FaultDict
from .alert_channel import AlertChannel
from .alert_outbox import Shared
from .clock import AsyncClock
from .rules import alerting
from .rules.results import ALERTER


class Notifier:
    """The alerters of an agent, and what each of them has sent."""

    def __init__(
        self, agent: str, alerters: Mapping[str, Alerter], clock: AsyncClock, changed: Callable[[], None]
    ) -> None:
        """``changed`` is called whenever an alert was sent, or an alerter began or ceased to fail."""
        self.shared = Shared(agent, clock, changed)
        self._channels = {name: AlertChannel(name, alerter, self.shared) for name, alerter in alerters.items()}
        self._knows_store = False

    def __bool__(self) -> bool:
        return bool(self._channels)

    def restore(self, stored: Sequence[FaultDict]) -> None:
        """Take over what alerters sent before, and which of them failed, from the faults that the store has."""
        sent, marks = alerting.remembered(self._channels, stored), self._marks(stored)
        for name, channel in self._channels.items():
            channel.outbox.restore(sent[name], marks[name])
        for fault in stored:
            failing = self._channels.get(str(fault.get(ALERTER)))
            if failing is not None and failing.failing is None:
                failing.failing = fault["message"]
        self._knows_store = True

    def replace(self, alerters: Mapping[str, Alerter]) -> None:
        """Send alerts by these from now on; what an alerter has sent is kept under its name."""
        for name in self._channels.keys() - alerters.keys():
            self._channels.pop(name).remove()
        for name, alerter in alerters.items():
            if name in self._channels:
                self._channels[name].replace(alerter)
            else:
                stored: set[str] | None = set() if self._knows_store else None
                self._channels[name] = AlertChannel(name, alerter, self.shared, stored)

    def has_triggers(self, faults: Mapping[str, FaultDict]) -> bool:
        """True if some of these faults are to be triggered, or would be if they were not squelched."""
        return any(channel.outbox.has_triggers(faults) for channel in self._channels.values())

    def consider(self, faults: Mapping[str, FaultDict], silenced: Callable[[str], object]) -> bool:
        """Take these as the current faults; True if an alert is due."""
        self.shared.faults, self.shared.silenced = faults, silenced
        return any(channel.outbox.due() for channel in self._channels.values())

    def send(self) -> None:
        """Send what is due, failed alerts included."""
        for channel in self._channels.values():
            channel.send()

    def resolve_all(self) -> None:
        """Resolve everything that was triggered, before the agent is removed."""
        self.shared.ending = True

    def keep_open(self) -> None:
        """Undo :meth:`resolve_all`."""
        self.shared.ending = False

    def reporting(self, faults: Iterable[FaultDict]) -> None:
        """Note that a report is on its way to the store; after an error it may have been stored, too."""
        marks = self._marks(faults)
        for name, channel in self._channels.items():
            channel.outbox.reporting(marks[name])
        self._knows_store = True

    def stored(self, faults: Iterable[FaultDict]) -> None:
        """Note that the store has this report; resolutions that waited for it are sent."""
        marks = self._marks(faults)
        for name, channel in self._channels.items():
            channel.outbox.stored(marks[name])
            channel.stored()

    def adopt(self, lease: str, faults: Sequence[FaultDict]) -> None:
        """Take over what alerters of another agent sent, from the faults in the state of a lease."""
        sent, marks = alerting.remembered(self._channels, faults), self._marks(faults)
        for name, channel in self._channels.items():
            channel.outbox.adopt(sent[name], lease, marks[name])

    def leasing(self, lease: str, faults: Iterable[FaultDict]) -> None:
        """Note that these faults are on their way to the store as the state of a lease."""
        marks = self._marks(faults)
        for name, channel in self._channels.items():
            channel.outbox.leasing(lease, marks[name])

    def leased(self, lease: str, faults: Iterable[FaultDict]) -> None:
        """Note that the store has this state of a lease; resolutions that waited for it are sent."""
        marks = self._marks(faults)
        for name, channel in self._channels.items():
            channel.outbox.leased(lease, marks[name])
            channel.stored()

    def forget(self, lease: str, names: Collection[str]) -> None:
        """Note that another agent sends alerts about these faults from now on."""
        if self.shared.faults is not None:
            self.shared.faults = {name: f for name, f in self.shared.faults.items() if name not in names}
        for channel in self._channels.values():
            channel.forget(lease, names)

    def involved(self) -> set[str]:
        """The names of the faults about which an alert was sent, is being sent, or is due."""
        return {name for known in [*self._sent().values(), *self._pending().values()] for name in known}

    def open(self) -> list[str]:
        """The names of the alerters that have triggered faults and not resolved them."""
        return sorted(name for name, channel in self._channels.items() if channel.is_open())

    def marked(self, faults: Iterable[FaultDict]) -> list[FaultDict]:
        """The faults, each with what the alerters have sent about it."""
        sent, pending = self._sent(), self._pending()
        return [alerting.marked(fault, sent, pending) for fault in faults]

    def pending_resolutions(self, names: Iterable[str]) -> list[FaultDict]:
        """A fault for each one that is over (not among ``names``) and that not every alerter has resolved."""
        return alerting.pending_resolutions(names, self._sent(), self._pending())

    def faults(self) -> list[FaultDict]:
        """A critical fault for each alerter that fails."""
        failing = {name: channel.failing for name, channel in self._channels.items()}
        return [alerting.failure(self.shared.agent, name, text) for name, text in sorted(failing.items()) if text]

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active tasks."""
        return [task for channel in self._channels.values() for task in channel.tasks()]

    def _sent(self) -> dict[str, dict[str, str]]:
        return {name: channel.outbox.sent for name, channel in self._channels.items()}

    def _pending(self) -> dict[str, set[str]]:
        return {name: channel.pending() for name, channel in self._channels.items()}

    def _marks(self, faults: Iterable[FaultDict]) -> dict[str, set[str]]:
        """By alerter, the faults with a digest that is not empty."""
        marks = alerting.remembered(self._channels, faults)
        return {alerter: {name for name, mark in sent.items() if mark} for alerter, sent in marks.items()}
