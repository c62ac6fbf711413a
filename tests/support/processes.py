"""Waiting for real processes."""

import time
from collections.abc import Callable
from typing import Any

import psutil


def ended(pid: int, seconds: float = 10) -> bool:
    """Wait until the process has ended (even if it is not reaped), for at most ``seconds``; return whether it has.

    With 0 it must have ended before; what was killed and not waited for may need a moment.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)  # waiting for a real process, with a bound


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until the condition is true, for at most ``seconds``; its last value."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)  # waiting for a real process, with a bound
    return found
