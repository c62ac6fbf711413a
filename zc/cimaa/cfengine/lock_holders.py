"""The processes of this host, as far as locks need them."""

import os
import time
from functools import cache

from .locks import LockProcess

_TICKS = os.sysconf("SC_CLK_TCK")


def find(pid: int) -> LockProcess | None:
    """The process that has this number now."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # as short as it gets: there may be thousands
            before, _, after = file.read().rpartition(b")")
    except OSError:
        return LockProcess() if _exists(pid) else None
    fields = after.split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):  # it ended
        return None
    return LockProcess(before.partition(b"(")[2].decode(errors="replace"), int(fields[19]) // _TICKS)


@cache
def booted() -> float:
    """When this machine was started (seconds since the epoch), to a second or two."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _exists(pid: int) -> bool:
    """True if there is such a process, though this user may not see it."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
