"""Runs all checks of an agent once."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..db import DB
from ..errors import StoreError
from ..faults import FaultDict
from ..leases import Lease
from . import check_files, runner
from .clock import monotonic
from .config import Settings
from .rules import escalation, report, results, tenure
from .rules.check import Broken, Check
from .rules.results import Result
from .tasks import in_thread, run_until_signal


class RunSummary(NamedTuple):
    """What running all checks once yielded."""

    #: The number of checks that ran, or could not be read.
    checks: int
    #: The number of checks that another agent runs.
    elsewhere: int
    #: Their faults, as a store accepts them.
    faults: list[FaultDict]


def run(settings: Settings, environment: Mapping[str, str] | None = None, db: DB | None = None) -> RunSummary:
    """Run the agent's checks; ``environment`` is added to the environment of their commands.

    Checks with ``once = yes`` run if this agent gets their leases from the store.

    :raises ConfigurationError: if there are no checks.
    :raises SystemExit: if a signal ends this process; the running checks are killed.
    """
    found = check_files.of_agent(settings)
    broken = [results.of_broken(settings.name, item) for item in found if isinstance(item, Broken)]
    checks = [item for item in found if isinstance(item, Check)]
    signals = signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT
    results_of_all = run_until_signal(_results(settings, checks, environment, db), *signals)
    done = [result for result in results_of_all if result is not None]
    return RunSummary(len(broken) + len(done), len(checks) - len(done), report.faults(settings.name, broken + done))


async def _results(
    settings: Settings, checks: Sequence[Check], environment: Mapping[str, str] | None, db: DB | None
) -> list[Result | None]:
    slots = asyncio.Semaphore(settings.parallel)

    async def result(check: Check) -> Result | None:
        async with slots:
            if check.once and db is not None:
                asked = monotonic()
                try:
                    if (await _lease(settings, check, db)).holder != settings.name:
                        return None
                except StoreError as error:
                    return results.unleased(settings.name, check, str(error))
                left = asked + _length(settings, check) - monotonic()
                if left <= 0:
                    return results.unleased(settings.name, check, "the store took too long to answer")
                check = check._replace(timeout=min(check.timeout, left))
            done = await runner.run(settings.name, check, (), environment)
        return done._replace(faults=[escalation.owned(settings.name, check, fault) for fault in done.faults])

    return await asyncio.gather(*map(result, checks))


async def _lease(settings: Settings, check: Check, db: DB) -> Lease:
    """The check's lease.  If this agent gets it, it keeps it: otherwise the others would run the check after it."""
    return await in_thread(lambda: db.lease(check.section, settings.name, _length(settings, check)))


def _length(settings: Settings, check: Check) -> int:
    return tenure.length(settings.base_interval, check.timeout)
