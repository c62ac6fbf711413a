"""When an agent's checks run.  Pure.

Ticks are the multiples of the agent's interval since the epoch, all shifted by a
phase of the agent's own, so that the agents of a fleet do not strike at once.  An
interval of a check is as many whole ticks as it takes.
"""

import math

from ...text import hex_digest


def phase(agent: str, interval: float) -> float:
    """By how many seconds this agent's ticks come after the multiples of the interval: always the same."""
    return interval * (int(hex_digest(agent, 8), 16) / 2**64)


def next_tick(agent: str, interval: float, now: float) -> int:
    """The number of the agent's first tick that comes after ``now`` (seconds since the epoch)."""
    # The quotient is rounded: this may be the last tick, the one before it, or already the next one.
    number = math.floor((now - phase(agent, interval)) / interval)
    while time_of(agent, interval, number) <= now:
        number += 1
    return number


def time_of(agent: str, interval: float, tick: int) -> float:
    """When the agent's tick of this number comes (seconds since the epoch)."""
    return tick * interval + phase(agent, interval)


def is_due(tick: int, base: float, interval: float) -> bool:
    """True if a check with this interval runs at this tick, where ticks are ``base`` seconds apart."""
    return tick % max(1, math.ceil(interval / base)) == 0
