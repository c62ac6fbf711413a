"""What the next agent that runs a check has to know: its faults, and what alerters sent about them."""

from collections.abc import Collection

from ..faults import FaultDict
from .check_state import CheckState
from .notifier import Notifier
from .rules.check import path
from .rules.results import CHECK
from .rules.tenure import Handover


class CheckRecord:
    """The state of a check as the state of its lease, and the other way round."""

    def __init__(self, state: CheckState, notifier: Notifier) -> None:
        self._state = state
        self._notifier = notifier
        # The name of its lease.
        self._lease = state.check.section
        # Its faults, and those that are over and not resolved by every alerter.
        self._names: set[str] = set()

    def owns(self, fault: FaultDict) -> bool:
        """True if the fault is one of the check, or was, and not every alerter has resolved it."""
        return fault["name"] in self._names or fault.get(CHECK) == path(self._state.check)

    def read(self) -> Handover:
        """What has to be kept now."""
        faults = self._state.faults
        current = {fault["name"] for fault in faults}
        self._names = current | (self._names & self._notifier.involved())
        over = [fault for fault in self._notifier.pending_resolutions(current) if fault["name"] in self._names]
        return Handover(self._notifier.marked(faults), over)

    def take(self, known: Handover, stored: Handover) -> None:
        """Take over the check with its faults as ``known``; the lease keeps ``stored``."""
        self._names = known.names()
        self._notifier.leasing(self._lease, stored.all())
        self._notifier.adopt(self._lease, known.all())
        self._state.take(known.faults)

    def lose(self, others: Collection[FaultDict]) -> Handover:
        """Leave the check, and alerts about its faults, to another agent; ``others`` are faults of other checks."""
        last = self.read()
        self._state.lose()
        self._notifier.forget(self._lease, self._names - {fault["name"] for fault in others})
        self._names = set()
        return last

    def writing(self, handover: Handover) -> None:
        """Note that this is on its way to the store; after an error it may have been stored, too."""
        self._notifier.leasing(self._lease, handover.all())

    def written(self, handover: Handover) -> None:
        """Note that the store has this: what waited for it is sent."""
        self._notifier.leased(self._lease, handover.all())
