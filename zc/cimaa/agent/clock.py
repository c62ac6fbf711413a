"""The clock of the daemon, which tests replace."""

import asyncio
import math
import time
from collections.abc import Callable, Collection
from typing import Protocol

# The longest sleep (seconds) in one piece, after which a change of the system clock is noticed.
_PIECE = 10
# Linux's CLOCK_MONOTONIC stops while the machine is suspended, so that leases would seem to last.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds since some moment: a clock that is never set, and goes on while the machine is suspended."""
    return time.clock_gettime(_BOOT)


class AsyncClock(Protocol):
    """A clock that can be slept by."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some moment; never set, and going on while the machine is suspended."""

    async def sleep_until(self, when: float) -> None:
        """Sleep until that time; return early if the clock was set back."""


class SystemClock:
    """The system clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """See :func:`monotonic`."""
        return monotonic()

    async def sleep_until(self, when: float) -> None:
        """Sleep until that time; return early if the clock was set back by more than a few seconds."""
        before = math.inf
        while 0 < (left := when - time.time()) <= before:
            before = left
            await asyncio.sleep(min(left, _PIECE))


class Alarm:
    """Calls a function at a time of the monotonic clock."""

    def __init__(self, clock: AsyncClock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._task: asyncio.Task[None] | None = None

    def set(self, seconds: float, latest: float = math.inf) -> None:
        """Ring after ``seconds``, and not after ``latest`` (by the monotonic clock); forget the time set before."""
        self.cancel()
        self._task = asyncio.create_task(self._wait(min(self._clock.monotonic() + seconds, latest)))

    def cancel(self) -> None:
        """Do not ring."""
        if self._task is not None:
            self._task.cancel()

    def is_set(self) -> bool:
        """True if it is going to ring."""
        return self._task is not None and not self._task.done()

    async def _wait(self, when: float) -> None:
        while (left := when - self._clock.monotonic()) > 0:
            await self._clock.sleep_until(self._clock.time() + left)
        self._ring()


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
