"""The time, as the daemon takes it; tests give it another."""

import asyncio
import math
import time
from collections.abc import Collection
from typing import Protocol

# The longest sleep (seconds) in one piece: a clock that somebody sets is noticed so soon.
_PIECE = 10


class Clock(Protocol):
    """What the daemon knows the time by."""

    def time(self) -> float:
        """Seconds since the epoch."""

    async def sleep_until(self, when: float) -> None:
        """Return when that time has come, or when somebody set the clock back."""


class SystemClock:
    """The system's clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep_until(self, when: float) -> None:
        """Return when that time has come, or when somebody set the clock back by more than some seconds."""
        before = math.inf
        while 0 < (left := when - time.time()) <= before:
            before = left
            await asyncio.sleep(min(left, _PIECE))


async def wait(tasks: Collection["asyncio.Task[None]"], clock: Clock, seconds: float) -> None:
    """Return when the tasks are done, or when so many seconds are over; then they go on."""
    if not tasks:
        return
    timer = asyncio.ensure_future(clock.sleep_until(clock.time() + seconds))
    done = asyncio.ensure_future(asyncio.wait(tasks))
    try:
        await asyncio.wait([done, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        done.cancel()
