"""The states of the Monitoring Plugins' guidelines, which are also the exit statuses of plugins.  Pure."""

from collections.abc import Iterable
from enum import IntEnum

from ..faults import ERROR, WARNING


class State(IntEnum):
    """The state of an item that a check examined."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    #: The check failed.
    UNKNOWN = 3

    @property
    def severity(self) -> int:
        """The severity of a fault of this state.

        An error, even for CRITICAL: only escalation makes a fault critical.
        """
        return WARNING if self is State.WARNING else ERROR


# From the best to the worst: a known problem is worse than an unknown state.
_ORDER = (State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL)


def worst(states: Iterable[State]) -> State:
    """The worst of the states; OK if there are none."""
    return max(states, key=_ORDER.index, default=State.OK)
