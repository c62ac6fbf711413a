"""How long to wait before something that failed is tried again: exponential backoff with jitter.  Pure.

Before the n-th try again (n = 1, 2, ...), the longest delay is

    longest(n) = min(cap, base * 2 ** n)

and the delay is drawn evenly from ``[least * longest(n), longest(n)]``, where ``least`` is a fraction: 0 for full
jitter, 0.5 where some delay must be kept.

The delay doubles so that a service in trouble gets ever fewer requests.  It is random because clients that fail
together would else come back together, again and again: with full jitter the tries of a fleet are spread evenly,
and the whole fleet gets through with the fewest tries.
"""

import random
from collections.abc import Callable

#: Gives a number from 0 up to 1, evenly distributed, as :func:`random.random` does.
Random = Callable[[], float]

# 2 ** 60 times any base is beyond any cap; a float would overflow later.
_DOUBLINGS = 60


def longest(attempt: int, base: float, cap: float) -> float:
    """The longest delay (seconds) before try number ``attempt`` is made again; the first try is number 1."""
    return min(cap, base * 2.0 ** min(attempt, _DOUBLINGS))


def delay(attempt: int, base: float, cap: float, *, least: float = 0.0, chance: Random = random.random) -> float:
    """The delay (seconds) before the next try, after ``attempt`` of them failed.

    ``base`` and ``cap`` are seconds, ``least`` is the fraction of the longest delay that is always waited, and
    ``chance`` the source of random numbers.
    """
    return longest(attempt, base, cap) * (least + (1 - least) * chance())
