"""Whether processes are there."""

import time

import psutil


def ended(pid: int, seconds: float = 10) -> bool:
    """Wait at most that long until the process has ended, reaped or not; False if it has not."""
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
