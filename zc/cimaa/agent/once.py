"""Runs all checks of an agent once."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..faults import FaultDict
from . import check_files, runner
from .config import Settings
from .rules import escalation, report, results
from .rules.check import Broken, Check
from .rules.results import Result
from .tasks import run_until_signal


class RunSummary(NamedTuple):
    """What running all checks once yielded."""

    #: The number of checks.
    checks: int
    #: Their faults, as a store accepts them.
    faults: list[FaultDict]


def run(settings: Settings, environment: Mapping[str, str] | None = None) -> RunSummary:
    """Run the agent's checks; ``environment`` is added to the environment of their commands.

    :raises ConfigurationError: if there are no checks.
    :raises SystemExit: if a signal ends this process; the running checks are killed.
    """
    found = check_files.of_agent(settings)
    broken = [results.of_broken(settings.name, item) for item in found if isinstance(item, Broken)]
    checks = [item for item in found if isinstance(item, Check)]
    signals = signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT
    done = run_until_signal(_results(settings, checks, environment), *signals)
    return RunSummary(len(found), report.faults(settings.name, broken + done))


async def _results(settings: Settings, checks: Sequence[Check], environment: Mapping[str, str] | None) -> list[Result]:
    slots = asyncio.Semaphore(settings.parallel)

    async def result(check: Check) -> Result:
        async with slots:
            done = await runner.run(settings.name, check, (), environment)
        return done._replace(faults=[escalation.owned(settings.name, check, fault) for fault in done.faults])

    return await asyncio.gather(*map(result, checks))
