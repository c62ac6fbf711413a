"""Whether alerts are held back.

A daemon that starts does not know which alerts an earlier process of the agent sent.  It
holds alerts back until the store has answered that, but not beyond its second tick.
"""

from enum import Enum, auto


class HoldState(Enum):
    """Whether alerts are held back."""

    #: Alerts are held back if one is due; none was yet.
    READY = auto()
    #: Alerts are held back.
    HOLDING = auto()
    #: Alerts are sent.
    RELEASED = auto()
    #: The daemon stops: no alert is sent any more, except those by which it resolves its faults.
    ENDED = auto()


class HoldEvent(Enum):
    """What happens to an :class:`AlertHold`."""

    #: Checks have ended: alerts may be due.
    RESULTS = auto()
    #: The alerts that an earlier process sent are known, or need not be waited for any longer.
    RELEASE = auto()
    #: The daemon stops.
    END = auto()


TRANSITIONS = {
    (HoldState.READY, HoldEvent.RESULTS): HoldState.HOLDING,
    (HoldState.READY, HoldEvent.RELEASE): HoldState.RELEASED,
    (HoldState.HOLDING, HoldEvent.RELEASE): HoldState.RELEASED,
    (HoldState.READY, HoldEvent.END): HoldState.ENDED,
    (HoldState.HOLDING, HoldEvent.END): HoldState.ENDED,
    (HoldState.RELEASED, HoldEvent.END): HoldState.ENDED,
}


class AlertHold:
    """Whether alerts are held back; an event without a transition changes nothing."""

    def __init__(self, state: HoldState = HoldState.READY) -> None:
        self.state = state

    def may_send(self) -> bool:
        """True if alerts may be sent now; if not, they are held back."""
        self._enter(HoldEvent.RESULTS)
        return self.state is HoldState.RELEASED

    def release(self) -> bool:
        """Let alerts be sent from now on; True if some were held back, and have to be considered again."""
        return self._enter(HoldEvent.RELEASE) is HoldState.HOLDING

    def end(self) -> None:
        """Let no alert be sent any more."""
        self._enter(HoldEvent.END)

    def _enter(self, event: HoldEvent) -> HoldState:
        """Take over the state after the event; the state before it."""
        before = self.state
        self.state = TRANSITIONS.get((before, event), before)
        return before
