"""The clock of the daemon, which tests replace."""

import asyncio
import math
import time
from collections.abc import Collection
from typing import Protocol

# The longest sleep (seconds) in one piece, after which a change of the system clock is noticed.
_PIECE = 10


class AsyncClock(Protocol):
    """A clock that can be slept by."""

    def time(self) -> float:
        """Seconds since the epoch."""

    async def sleep_until(self, when: float) -> None:
        """Sleep until that time; return early if the clock was set back."""


class SystemClock:
    """The system clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep_until(self, when: float) -> None:
        """Sleep until that time; return early if the clock was set back by more than a few seconds."""
        before = math.inf
        while 0 < (left := when - time.time()) <= before:
            before = left
            await asyncio.sleep(min(left, _PIECE))


async def wait(tasks: Collection["asyncio.Task[None]"], clock: AsyncClock, seconds: float) -> None:
    """Wait until the tasks are done, for at most ``seconds``; they are not cancelled."""
    if not tasks:
        return
    timer = asyncio.ensure_future(clock.sleep_until(clock.time() + seconds))
    done = asyncio.ensure_future(asyncio.wait(tasks))
    try:
        await asyncio.wait([done, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        done.cancel()
