"""What an agent knows of the lease of a check: whether it has it, until when, and when to ask again.  Pure.

Times are seconds of the agent's own monotonic clock.  A tenure is counted from before the
agent asked, so that it is over for the agent before it is over for the others.
"""

import math
import random
from typing import Any, NamedTuple

from ... import limits
from ...backoff import Random
from ...errors import InvalidFault
from ...faults import FaultDict, encode
from ...faults import report as checked
from ...leases import Lease

# How many ticks a lease lasts.
_TICKS = 3
# The part of a lease's length within which the agents that wait ask again, each at a random time.
_SPREAD = 1 / 6
# A waiting agent asks again after this many times the length of its own lease, even if another has it for longer.
_PATIENCE = 10


class Tenure(NamedTuple):
    """What the agent knows."""

    #: The token of its last tenure; 0 if there was none, or if another had the lease since then.
    token: int = 0
    #: When its tenure ends or has ended.
    until: float = -math.inf

    def holds(self, now: float) -> bool:
        """True if the agent has the lease."""
        return now < self.until

    def continues(self, lease: Lease) -> bool:
        """True if no other agent had the lease between this tenure and ``lease``, which the agent has now."""
        return self.token > 0 and lease.token - self.token in (0, 1)


class Handover(NamedTuple):
    """What the next holder has to know of a check: a lease keeps it as its state."""

    #: The check's faults, each with what alerters sent about it.
    faults: list[FaultDict]
    #: The same of faults that are over, and that not every alerter has resolved.
    over: list[FaultDict]

    def all(self) -> list[FaultDict]:
        """Both."""
        return [*self.faults, *self.over]

    def names(self) -> set[str]:
        """The names of all these faults."""
        return {fault["name"] for fault in self.all()}


NOTHING = Handover([], [])


def length(base_interval: float, timeout: float = 0.0) -> int:
    """How long (seconds) the lease of a check lasts: three ticks, and at least a run with this timeout."""
    return min(limits.LEASE, math.ceil(max(_TICKS * base_interval, timeout)))


def pause(lease: Lease, seconds: float, chance: Random = random.random) -> float:
    """After how many seconds an agent that waits for the lease asks again."""
    return min(max(1, lease.remaining), _PATIENCE * seconds) + chance() * _SPREAD * seconds


def fits(faults: list[FaultDict]) -> bool:
    """True if a lease can keep the faults, and what alerters sent about them."""
    return len(encode(faults)) <= limits.ENTRY_VALUE // 2


def read(agent: str, state: Any) -> Handover | None:
    """The handover in a lease's state; ``None`` if there is none that this agent could report."""
    try:
        lists = [list(checked(agent, state[part]).faults()) for part in Handover._fields]
    except (InvalidFault, TypeError, KeyError):
        return None
    return Handover(*lists)
