"""Runs one check: a command, or a built-in check."""

import logging
from collections.abc import Iterable, Mapping

from ..checks import host
from ..errors import unexpected
from ..faults import FaultDict
from ..masking import mask_urls
from ..threads import Call
from ..units import format_duration
from . import check_process
from .rules import results
from .rules.check import Check, path
from .rules.results import Result

_LOG = logging.getLogger("zc.cimaa.agent")

# Built-in checks that exceeded their timeout, by agent and name: threads cannot be killed, and the next run waits.
_hanging: dict[tuple[str, str], Call[Result]] = {}


async def run(
    agent: str, check: Check, before: Iterable[FaultDict], environment: Mapping[str, str] | None = None
) -> Result:
    """The result of a check that had the faults ``before``; one without a command is built in.

    ``environment`` is added to the environment of the command.  All errors are faults in the result.
    """
    try:
        if check.command:
            return results.of_outcome(agent, check, await check_process.run(check, environment), before)
        return await _run_built_in(agent, check)
    except Exception as error:  # a bug must not lose the results of the other checks
        text = f"{type(error).__name__}: {mask_urls(str(error))}"
        _LOG.exception("%s: a bug in zc.cimaa, please report it: %s", path(check), text)
        return results.failed(agent, check, "command", f"a bug in zc.cimaa: {text}")


async def _run_built_in(agent: str, check: Check) -> Result:
    key = agent, check.section
    call = _hanging.pop(key, None) or Call(lambda: _built_in(agent, check))
    if await call.ended(check.timeout):
        return call.result()
    _hanging[key] = call
    return results.failed(agent, check, "timeout", f"it did not end within {format_duration(check.timeout)}")


def _built_in(agent: str, check: Check) -> Result:
    try:
        return results.of_findings(agent, check, list(host.CHECKS[check.section]()))
    except Exception as error:  # the format of /proc differs between systems
        text = f"{type(error).__name__}: {mask_urls(str(error))}"
        if unexpected(error):
            _LOG.error("%s: the check failed: %s", path(check), text, exc_info=error)
        return results.failed(agent, check, "command", f"the check failed: {text}")
