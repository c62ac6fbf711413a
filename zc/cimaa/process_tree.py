"""Runs programs so that they can be killed together with all their descendants.

A process group or a session does not suffice, as a process can leave both.  Therefore this
process becomes a "subreaper" (:manpage:`PR_SET_CHILD_SUBREAPER(2const)`): a descendant whose
parent exits becomes its child.  Only children are killed, whose process ID cannot have been
reused in the meantime; the children of each killed process become children of this one.

Several programs may run at the same time.  An orphan belongs to the program whose session
it is in, or whose mark is in its environment.  An orphan with neither is not killed, as it
may be a child of other code in this process; the last program that may have left it behind
reports it.
"""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache

from .proc import MARK, ProcessInfo, marks, pids, process, read

#: Seconds that a killed process may take to exit; one in uninterruptible sleep does not exit.
PATIENCE = 5.0

# Variables that systemd sets for this process alone: a program must not notify systemd in its place.
_OWN = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
# The first and the longest pause (seconds) between checks for remaining processes.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.1
# Seconds after which a zombie that no code has reaped is considered an orphan.
_UNCLAIMED = 60
# Linux's number for the option of prctl(2).
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Tree:
    """The processes of a program.  Every tree must be ended with :meth:`end`."""

    def __init__(self) -> None:
        """Prepare for the program, which is started afterwards."""
        _adopt_orphans()
        #: In the mark of each of its processes.
        self.token = secrets.token_hex(8)
        self._began = int(time.clock_gettime(_BOOT) * _TICKS)
        self._pid = 0
        self._runs: Callable[[], bool] = lambda: False
        # Its orphans, by process ID and start time: the environment of a zombie cannot be read.
        self._known: set[tuple[int, int]] = set()
        _trees.append(self)

    def environment(self) -> dict[str, str]:
        """The environment for the program: that of this process, without systemd's variables, and with the mark."""
        inherited = {name: value for name, value in os.environ.items() if name not in _OWN}
        return {**inherited, MARK: f"{os.environ.get(MARK, '')} {self.token}".strip()}

    def started(self, pid: int, runs: Callable[[], bool]) -> None:
        """Note that the program was started as a session leader; ``runs`` is true until it was reaped."""
        self._pid, self._runs = pid, runs

    def is_over(self) -> bool:
        """True if none of its processes is running."""
        return not (self._runs() or [orphan for orphan in _orphans() if self._owns(orphan) and not _reap(orphan)])

    async def end(self) -> list[str]:
        """Kill the remaining processes, and end the tree.

        Returns the names of processes that are left: they cannot be killed, or it is uncertain
        whether they belong to this program.
        """
        others: list[ProcessInfo] = []
        left: list[str] = []
        looked_twice = False
        try:
            for pause in _pauses(PATIENCE):
                runs, found = self._runs(), _orphans()  # in this order: a process that exits now may leave orphans
                own = [orphan for orphan in found if self._owns(orphan)]
                others = [orphan for orphan in found if orphan not in own]
                left = self._kill(own, runs)
                if not (runs or own):
                    if looked_twice or not others:
                        break
                    looked_twice = True  # a process that is just executing a program shows no environment
                await asyncio.sleep(pause)
            return sorted({*left, *self._strays(others)})
        finally:
            _trees.remove(self)

    def _owns(self, orphan: ProcessInfo) -> bool:
        if orphan.session == self._pid != 0 or self.token in marks(orphan.pid):
            self._known.add((orphan.pid, orphan.began))
        return (orphan.pid, orphan.began) in self._known

    def _kill(self, orphans: Iterable[ProcessInfo], runs: bool) -> list[str]:
        """Kill these, and the program if it runs; the names of those that are left."""
        left = []
        if runs:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            left.append(_name(self._pid))
        for orphan in orphans:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(orphan.pid, signal.SIGKILL)
            if not _reap(orphan):
                left.append(orphan.name)
        return left

    def _strays(self, others: Iterable[ProcessInfo]) -> list[str]:
        """The names of those that may belong to this program, and to no other that is running."""
        running = [tree for tree in tuple(_trees) if tree is not self]
        strays = []
        for other in others:
            if any(tree._owns(other) for tree in running):
                continue
            if other.zombie:
                _reap_unclaimed(other)
            elif self._began <= other.began and not any(tree._began <= other.began for tree in running):
                strays.append(other.name)
        return strays


#: The trees that have not ended.
_trees: list[Tree] = []
#: When (by the monotonic clock) each zombie without a program was first seen.
_unclaimed: dict[int, float] = {}


@cache
def _adopt_orphans() -> None:
    """Become a subreaper; where that is not possible, orphans are not found."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans() -> list[ProcessInfo]:
    """The children of this process that it has not started itself."""
    started, own = {tree._pid for tree in tuple(_trees) if tree._runs()}, os.getsid(0)
    return [child for child in _children() if child.pid not in started and child.session != own]


def _children() -> list[ProcessInfo]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case, in which the list is not needed
        return []
    own = os.getpid()
    return [child for child in map(process, _candidates()) if child is not None and child.parent == own]


def _candidates() -> set[int]:
    """Process IDs that include those of this process's children."""
    own, tasks = os.getpid(), os.listdir("/proc/self/task")  # noqa: PTH208  # see proc.read
    if not os.path.exists(f"/proc/self/task/{own}/children"):  # noqa: PTH110  # not every kernel has it
        return pids()
    # A child that exits while a list is read may hide another one: therefore each is read twice.
    lists = [read(own, f"task/{task}/children") for task in [*tasks, *tasks]]
    return {int(number) for numbers in lists for number in numbers.split()}


def _reap(orphan: ProcessInfo) -> bool:
    """Reap the process if it is dead; True if it was."""
    try:
        return os.waitpid(orphan.pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _name(pid: int) -> str:
    found = process(pid)
    return found.name if found else str(pid)


def _reap_unclaimed(zombie: ProcessInfo) -> None:
    """Reap the zombie if it was first seen some time ago: other code in this process reaps its own children."""
    now = time.monotonic()
    if now - _unclaimed.setdefault(zombie.pid, now) > _UNCLAIMED:
        _reap(zombie)
    for pid in [pid for pid, seen in _unclaimed.items() if now - seen > 2 * _UNCLAIMED]:
        del _unclaimed[pid]


def _pauses(seconds: float) -> Iterator[float]:
    """Growing pauses (seconds) between checks, for this many seconds in total."""
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while time.monotonic() < end:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
