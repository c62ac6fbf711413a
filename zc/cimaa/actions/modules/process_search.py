"""Which processes run?"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...masking import mask_text
from ...text import storable
from ..answers import Answer, cut_text, utc
from ..parameters import PATTERNS, REGEXES, TEXTS, Parameter, ParameterValues, integer
from . import Bounds, Inspector, any_match, matched

if TYPE_CHECKING:
    import psutil

# Bytes of a command line in the answer.
_COMMAND = 4096


class RunningProcess(NamedTuple):
    """A process; what this user may not read is empty."""

    pid: int
    parent: int
    name: str
    user: str
    executable: str
    command: str
    #: Seconds since the epoch.
    started: float


class Module(Inspector):
    """Searches for processes."""

    name = "process"
    summary = "search for running processes by name, executable, command line and user"
    parameters = (
        Parameter("name", PATTERNS, "patterns for the process's name, as in a shell; one must match"),
        Parameter("executable", PATTERNS, "patterns for the path of its program; one must match"),
        Parameter("command", REGEXES, "RE2 for its command line; all must match", ()),
        Parameter("user", TEXTS, "its user's name; one must be the same"),
        Parameter("matches", integer(1, 1000), "the most processes in the answer", 100),
    )

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:  # noqa: ARG003  # it takes no long time
        """Look at /proc, but not at this process itself."""
        return judge([process for process in read() if process.pid != os.getpid()], values)


def read() -> Iterator[RunningProcess]:
    """The processes that run now."""
    import psutil

    # Not psutil.process_iter: it skips a process whose id belonged to another at its last call.
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            yield _read(psutil.Process(pid))


def _read(process: "psutil.Process") -> RunningProcess:
    info = process.as_dict(["pid", "ppid", "name", "username", "exe", "cmdline", "create_time"])
    return RunningProcess(
        info["pid"],
        info["ppid"] or 0,
        storable(info["name"] or ""),
        info["username"] or "",
        storable(info["exe"] or ""),
        storable(" ".join(info["cmdline"] or ())),
        info["create_time"] or 0,
    )


def judge(running: Sequence[RunningProcess], values: ParameterValues) -> Answer:
    """The processes that were asked for."""
    found = sorted(process for process in running if _is_wanted(process, values))
    return matched(found, _shape, values["matches"], processes=len(running))


def _is_wanted(process: RunningProcess, values: ParameterValues) -> bool:
    return (
        any_match(values["name"], process.name)
        and any_match(values["executable"], process.executable)
        and all(matches(process.command) for matches in values["command"])
        and (values["user"] is None or process.user in values["user"])
    )


def _shape(process: RunningProcess) -> dict[str, Any]:
    """The process as the answer has it: credentials on its command line are masked."""
    command = cut_text(mask_text(process.command), _COMMAND)
    return {**process._asdict(), "command": command, "started": utc(process.started)}
