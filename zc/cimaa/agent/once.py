"""Runs all checks of an agent once."""

import asyncio
import signal
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ..faults import FaultDict
from . import check_state, runner
from .check_files import Broken, Check
from .config import Settings
from .rules import escalation, report, results
from .rules.results import Result


class Round(NamedTuple):
    """What came of running all checks once."""

    #: How many checks there are.
    checks: int
    #: What they found, as a store takes it.
    faults: list[FaultDict]


def run(settings: Settings) -> Round:
    """Run the agent's checks, or the built-in ones if it has no directory of its own.

    :raises ConfigurationError: if there is no such directory, or no check in it.
    """
    found = check_state.load(settings)
    broken = [results.of_broken(settings.name, item) for item in found if isinstance(item, Broken)]
    checks = [item for item in found if isinstance(item, Check)]
    ended_by: list[int] = []
    try:
        done = asyncio.run(_results(settings, checks, ended_by))
    except asyncio.CancelledError:
        raise SystemExit(128 + ended_by[0]) from None
    return Round(len(found), report.faults(settings.name, broken + done))


async def _results(settings: Settings, checks: Sequence[Check], ended_by: list[int]) -> list[Result]:
    """The checks' results; a signal that ends the agent (put into ``ended_by``) ends them all: none outlives it."""
    if threading.current_thread() is threading.main_thread():
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            ended_by.append(number)
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    slots = asyncio.Semaphore(settings.parallel)
    return await asyncio.gather(*(_one(settings.name, check, slots) for check in checks))


async def _one(agent: str, check: Check, slots: asyncio.Semaphore) -> Result:
    async with slots:
        result = await runner.run(agent, check, ())
    return result._replace(faults=[escalation.owned(agent, check, fault) for fault in result.faults])
