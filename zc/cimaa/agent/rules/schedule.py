"""When an agent's checks run.  Pure.

Ticks are the multiples of the agent's interval since the epoch, shifted by a phase that
depends on the agent's name, so that the agents of a fleet do not report all at once.  The
interval of a check is rounded up to whole ticks.
"""

import math
from hashlib import blake2b


def phase(agent: str, interval: float) -> float:
    """Seconds by which this agent's ticks come after the multiples of the interval; constant for an agent."""
    part: int = int.from_bytes(blake2b(agent.encode(), digest_size=8).digest(), "big")
    return interval * (part / 2**64)


def next_tick(agent: str, interval: float, now: float) -> int:
    """The number of the agent's first tick after ``now`` (seconds since the epoch)."""
    # The quotient is rounded: this may be the last tick, the one before it, or already the next one.
    number = math.floor((now - phase(agent, interval)) / interval)
    while time_of(agent, interval, number) <= now:
        number += 1
    return number


def time_of(agent: str, interval: float, tick: int) -> float:
    """The time (seconds since the epoch) of the agent's tick with this number."""
    return tick * interval + phase(agent, interval)


def is_due(tick: int, base: float, interval: float) -> bool:
    """True if a check with this interval runs at this tick, where ticks are ``base`` seconds apart."""
    return tick % max(1, math.ceil(interval / base)) == 0
