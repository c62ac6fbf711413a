"""The time, as the daemon takes it; tests give it another."""

import asyncio
import time
from typing import Protocol

# The longest sleep (seconds) in one piece: a clock that somebody sets is noticed so soon.
_PIECE = 10


class Clock(Protocol):
    """What the daemon knows the time by."""

    def time(self) -> float:
        """Seconds since the epoch."""

    async def sleep_until(self, when: float) -> None:
        """Return when that time has come."""


class SystemClock:
    """The system's clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep_until(self, when: float) -> None:
        """Return when that time has come, also if the clock is set meanwhile."""
        while (left := when - time.time()) > 0:
            await asyncio.sleep(min(left, _PIECE))
