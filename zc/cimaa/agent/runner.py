"""Runs one check, whatever it is, and whatever goes wrong."""

import logging
from collections.abc import Iterable

from ..checks import host
from ..errors import unexpected
from ..faults import FaultDict
from ..threads import Call
from ..units import format_duration
from . import check_process as processes
from .check_files import Check
from .rules import results
from .rules.results import Result

_LOG = logging.getLogger("zc.cimaa.agent")

# Built-in checks that took too long, by agent and name: their threads cannot be ended, and the next run waits for them.
_hanging: dict[tuple[str, str], Call[Result]] = {}

#: What stands for the file in the names of the built-in checks' faults.
HOST = "host"


async def run(agent: str, check: Check, before: Iterable[FaultDict]) -> Result:
    """The result of a check that had these faults before; one with no command is built in.

    Whatever goes wrong is a fault in the result.
    """
    try:
        return await _run(agent, check, before)
    except Exception as error:  # a bug must not take the other checks' results along
        text = f"{type(error).__name__}: {error}"
        _LOG.exception("%s/%s: a bug in zc.cimaa, please report it: %s", check.file, check.section, text)
        return _failed(agent, check.file, check.section, f"what it did could not be understood: {text}")


async def _run(agent: str, check: Check, before: Iterable[FaultDict]) -> Result:
    if check.command:
        return results.of_outcome(agent, check, await processes.run(check), before)
    key = agent, check.section
    call = _hanging.pop(key, None) or Call(lambda: built_in(agent, check.section))
    if await call.ended(check.timeout):
        return call.result()
    _hanging[key] = call
    text = f"it did not end within {format_duration(check.timeout)}"
    return _failed(agent, HOST, check.section, text, "timeout")


def built_in(agent: str, name: str) -> Result:
    """What a built-in check found."""
    try:
        return results.of_findings(agent, HOST, name, host.CHECKS[name]())
    except Exception as error:  # what /proc says differs from system to system
        text = f"{type(error).__name__}: {error}"
        if unexpected(error):
            _LOG.error("%s/%s: the check failed: %s", HOST, name, text, exc_info=error)
        return _failed(agent, HOST, name, f"the check failed: {text}")


def _failed(agent: str, file: str, section: str, text: str, kind: str = "command") -> Result:
    return Result(file, section, [results.monitor(agent, file, section, kind, text)], told=False)
