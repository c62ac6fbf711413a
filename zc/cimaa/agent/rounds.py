"""Runs all checks of an agent once."""

import asyncio
import signal
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ..checks import host
from ..faults import Fault
from . import files, reports, results, runs
from .files import Broken, Check
from .results import Outcome, Result
from .settings import Settings


class Round(NamedTuple):
    """What came of running all checks once."""

    #: How many checks there are.
    checks: int
    #: What they found, as a store takes it.
    faults: list[Fault]


def run(settings: Settings) -> Round:
    """Run the agent's checks, or the built-in ones if it has no directory of its own.

    :raises ConfigurationError: if there is no such directory, or no check in it.
    """
    if settings.directory is None:
        found = [runs.built_in(settings.name, name) for name in host.CHECKS]
    else:
        found = _run_all(settings, files.load(settings.directory, settings.timeout, settings.base_interval))
    return Round(len(found), reports.faults(settings.name, found))


def _run_all(settings: Settings, found: Sequence[Check | Broken]) -> list[Result]:
    broken = [results.of_broken(settings.name, item) for item in found if isinstance(item, Broken)]
    checks = [item for item in found if isinstance(item, Check)]
    ended_by: list[int] = []
    try:
        outcomes = asyncio.run(_outcomes(checks, settings.parallel, ended_by))
    except asyncio.CancelledError:
        raise SystemExit(128 + ended_by[0]) from None
    done = zip(checks, outcomes, strict=True)
    return broken + [results.of_outcome(settings.name, check, outcome) for check, outcome in done]


async def _outcomes(checks: Sequence[Check], parallel: int, ended_by: list[int]) -> list[Outcome]:
    """What each check did; a signal that ends the agent (put into ``ended_by``) ends them all: none outlives it."""
    if threading.current_thread() is threading.main_thread():
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            ended_by.append(number)
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    slots = asyncio.Semaphore(parallel)
    return await asyncio.gather(*(_one(check, slots) for check in checks))


async def _one(check: Check, slots: asyncio.Semaphore) -> Outcome:
    async with slots:
        return await runs.outcome(check)
