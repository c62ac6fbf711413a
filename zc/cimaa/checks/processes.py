"""Does the expected number of processes run?"""

import os
from collections.abc import Iterable
from typing import NamedTuple

import psutil

from ..masking import mask_text
from .items import Item, Measurement, measured
from .ranges import Thresholds


class Process(NamedTuple):
    """A process; fields that this user may not read are empty."""

    pid: int
    name: str
    user: str
    #: As psutil names it: ``running``, ``sleeping``, ``zombie``.
    state: str
    command: str


class ProcessFilter(NamedTuple):
    """Which processes are counted: those that match all fields that are not ``None``."""

    name: str | None = None
    user: str | None = None
    state: str | None = None
    #: A part of the command line.
    command: str | None = None

    def includes(self, process: Process) -> bool:
        """True if the process is counted."""
        same = (self.name, process.name), (self.user, process.user), (self.state, process.state)
        return all(wanted in (None, found) for wanted, found in same) and (self.command or "") in process.command

    def __str__(self) -> str:
        asked = [f"{field} {mask_text(value)}" for field, value in self._asdict().items() if value is not None]
        return f" with {', '.join(asked)}" if asked else ""


def read(limits: Thresholds, wanted: ProcessFilter) -> list[Item]:
    """The number of running processes that match, without this one."""
    fields = ["pid", "name", "username", "status", "cmdline"]
    running = (process.info for process in psutil.process_iter(fields) if process.pid != os.getpid())
    processes = (
        Process(p["pid"], p["name"] or "", p["username"] or "", p["status"] or "", " ".join(p["cmdline"] or ()))
        for p in running
    )
    return judge(processes, limits, wanted)


def judge(processes: Iterable[Process], limits: Thresholds, wanted: ProcessFilter) -> list[Item]:
    """Judge the number of these processes that match."""
    count = sum(map(wanted.includes, processes))
    message = f"{count} process{'' if count == 1 else 'es'}{wanted}"
    return [measured("", message, Measurement("processes", count, thresholds=limits, minimum=0))]
