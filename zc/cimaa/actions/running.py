"""Runs a module on this host, within limits of time and output, and ends it with all its children."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import child_process
from ..child_process import Execution
from ..outcomes import Finished, Flooded, NotStarted, Outcome, TimedOut
from ..units import format_duration, format_size
from . import answers, modules
from .answers import ANSWER, Answer, failed
from .module_process import request
from .modules import Bounds, Host, Inspector, Module, Operator
from .parameters import ParameterValues

#: Seconds that a module may take, if the action's window does not end before.
LIMIT = 300.0

SUCCESS = "success"
FAILED = "failed"
TIMEOUT = "timeout"

# Of the time, what a module has for looking, and the seconds that it leaves at most for its answer.
_LOOKING, _ANSWERING = 0.8, 5.0
_ROOM = Path(__file__).parents[3]
_CHILD = "import sys; sys.path.append(sys.argv[1]); from zc.cimaa.actions.module_process import main; main()"


class ModuleRun(NamedTuple):
    """How a module ended, and its answer."""

    #: ``success``, ``failed`` or ``timeout``.
    status: str
    answer: Answer


def seconds_left(limit: float, window_end: float, now: float) -> float:
    """Seconds that a module may take: at most ``limit``, and not beyond the end of the action's window.

    Times are seconds since the epoch; the result is 0 once the window has ended.
    """
    return max(0.0, min(limit, window_end - now))


async def run(name: str, parameters: object, host: Host, seconds: float = LIMIT) -> ModuleRun:
    """Run a module for at most ``seconds``; with 0, nothing is started.

    When this returns or is cancelled, all processes of the module have been killed; the
    answer names those that could not be.

    :raises ConfigurationError: if there is no such module.
    :raises InvalidParameters: if its parameters are invalid; nothing was started.
    """
    return await run_module(modules.load(name), parameters, host, seconds)


async def run_module(module: type[Module], parameters: object, host: Host, seconds: float) -> ModuleRun:
    """Run this module; see :func:`run`."""
    values = module.check(parameters)
    started = time.monotonic()
    ran = await _run(module, parameters, values, host, seconds) if seconds > 0 else _timed_out(seconds)
    statistics = {**ran.answer.statistics, "seconds": round(time.monotonic() - started, 3)}
    return ran._replace(answer=answers.bounded(ran.answer._replace(statistics=statistics)))


async def _run(
    module: type[Module], parameters: object, values: ParameterValues, host: Host, seconds: float
) -> ModuleRun:
    if issubclass(module, Inspector):
        return await _inspect(module, parameters, host, seconds)
    assert issubclass(module, Operator)
    try:
        async with asyncio.timeout(seconds):
            answer = await module.operate(values, host)
    except TimeoutError:
        return _timed_out(seconds)
    return ModuleRun(SUCCESS if answer.success else FAILED, answer)


async def _inspect(module: type[Inspector], parameters: object, host: Host, seconds: float) -> ModuleRun:
    looking = max(_LOOKING * seconds, seconds - _ANSWERING)
    bounds = Bounds(time.monotonic() + looking, host.within)
    with _file(request(module, parameters, bounds)) as stdin:
        # Without the directory from which the agent was started, and without the user's own packages.
        command = [sys.executable, "-P", "-s", "-c", _CHILD, os.fspath(_ROOM)]
        return judge(await child_process.run(Execution(command, seconds, ANSWER, "/", stdin=stdin)))


def judge(outcome: Outcome) -> ModuleRun:
    """How a child process with this outcome ended, and its answer."""
    match outcome:
        case NotStarted():
            return ModuleRun(FAILED, failed(outcome.reason))
        case TimedOut():
            return _timed_out(outcome.timeout, outcome.left)
        case Flooded():
            reason = f"it was killed because it wrote more than {format_size(outcome.limit)}"
            return ModuleRun(FAILED, failed(reason, *_left(outcome.left)))
        case Finished():
            return _finished(outcome)


def _finished(outcome: Finished) -> ModuleRun:
    left = _left(outcome.left)
    if outcome.status:
        ending = f"signal {-outcome.status}" if outcome.status < 0 else f"status {outcome.status}"
        return ModuleRun(FAILED, failed(f"its process ended with {ending}", *left))
    try:
        answer = answers.decode(outcome.output)
    except ValueError:
        return ModuleRun(FAILED, failed("its process did not write an answer", *left))
    return ModuleRun(SUCCESS if answer.success else FAILED, answer._replace(errors=[*answer.errors, *left]))


def _timed_out(seconds: float, left: tuple[str, ...] = ()) -> ModuleRun:
    how = f"it was killed after {format_duration(seconds)}" if seconds > 0 else "it was not run: no time was left"
    return ModuleRun(TIMEOUT, failed(how, *_left(left)))


def _left(left: tuple[str, ...]) -> list[str]:
    return [f"processes are left that could not be killed: {', '.join(left)}"] if left else []


@contextmanager
def _file(content: bytes) -> Iterator[int]:
    """The descriptor of a file in memory that has this content, to be read from its start."""
    descriptor = os.memfd_create("cimaa", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
