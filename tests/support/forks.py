"""Forked children for tests."""

import os
from collections.abc import Callable


def in_fork(work: Callable[[], object]) -> int:
    """Start a forked child that does the work, and nothing else; its exit status is 0 if that raised nothing."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:
        os.write(2, f"in the child: {error!r}\n".encode())
    finally:
        os._exit(status)


def finished(pid: int) -> int:
    """The exit status of a child, once it has ended; negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
