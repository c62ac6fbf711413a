"""The states of the Monitoring Plugins' guidelines, which are a plugin's exit statuses too.  Pure."""

from collections.abc import Iterable
from enum import IntEnum

from ..faults import ERROR, WARNING


class State(IntEnum):
    """What something that a check looked at is in."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    #: The check could not tell.
    UNKNOWN = 3

    @property
    def severity(self) -> int:
        """The severity of a fault of this state.

        It is not for a single check to say that a fault is critical, even where Nagios calls its state so.
        """
        return WARNING if self is State.WARNING else ERROR


# From the least to the worst: what is known to be bad comes before what is not known.
_ORDER = (State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL)


def worst(states: Iterable[State]) -> State:
    """The worst of the states; of none, all is well."""
    return max(states, key=_ORDER.index, default=State.OK)
