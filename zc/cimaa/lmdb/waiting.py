"""Waits for a lock that another process holds, for a bounded time."""

import time
from collections.abc import Callable
from typing import Final

from ..errors import StoreUnavailable

# How long (seconds) to wait for a process that holds a lock: it is stopped, or waits for a disk.
PATIENCE: Final = 10.0
_LONGEST_PAUSE: Final = 0.05


def wait(attempt: Callable[[], bool], problem: str) -> None:
    """Return once an attempt succeeds.

    :raises StoreUnavailable: with this ``problem``, after 10 seconds.
    """
    end, pause = time.monotonic() + PATIENCE, 0.0005
    while not attempt():
        if time.monotonic() > end:
            raise StoreUnavailable(f"{problem} for more than {PATIENCE:.0f} s: is it stopped?")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
