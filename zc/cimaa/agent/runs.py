"""Runs one check, whatever it is, and whatever goes wrong."""

from collections.abc import Iterable

from ..checks import host
from ..faults import Fault
from ..threads import Call
from . import processes, results
from .files import Check
from .results import NotStarted, Outcome, Result

#: What stands for the file in the names of the built-in checks' faults.
HOST = "host"


async def run(agent: str, check: Check, before: Iterable[Fault]) -> Result:
    """What came of a check that had these faults before; one with no command is built in."""
    if check.command:
        return results.of_outcome(agent, check, await outcome(check), before)
    call = Call(lambda: built_in(agent, check.section))
    if await call.ended(check.timeout):
        return call.result()
    return results.of_outcome(agent, check, results.TimedOut(check.timeout))


async def outcome(check: Check) -> Outcome:
    """What a check's command did."""
    try:
        return await processes.run(check)
    except Exception as error:  # whatever it is, it must not take the other checks' results along
        return NotStarted(f"cannot run {check.command[0]!r}: {type(error).__name__}: {error}")


def built_in(agent: str, name: str) -> Result:
    """What a built-in check found."""
    try:
        return results.of_findings(agent, HOST, name, host.CHECKS[name]())
    except Exception as error:  # what /proc says differs from system to system
        text = f"the check failed: {type(error).__name__}: {error}"
        return Result(HOST, name, [results.monitor(agent, HOST, name, "command", text)], told=False)
