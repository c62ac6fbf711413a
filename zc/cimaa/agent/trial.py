"""Runs one check to show its result; nothing is stored."""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..actions.modules import CheckRun
from ..errors import ConfigurationError
from ..faults import FaultDict
from ..naming import GLOBAL
from ..options import nearest
from ..outcomes import Outcome
from . import check_files, check_process, runner
from .config import Settings
from .rules import escalation, results, thresholds
from .rules.check import Broken, Check, path
from .rules.results import Result
from .tasks import run_until_signal


class Trial(NamedTuple):
    """A run of a check, and its result."""

    check: Check
    #: The outcome of its command; ``None``: it is a built-in check.
    outcome: Outcome | None
    seconds: float
    result: Result
    #: The faults that the daemon would report after this run if it was the first.
    faults: list[FaultDict]


def find(settings: Settings, name: str) -> Check:
    """The agent's check with this name: ``FILE/SECTION``, or the section alone if only one file has it.

    :raises ConfigurationError: if there is no such check, it cannot be read, or the name is ambiguous.
    """
    checks = check_files.of_agent(settings)
    by_path = {path(check): check for check in checks}
    matching = [check for check in checks if name in (path(check), check.section)]
    if not matching and isinstance(file := by_path.get(name.partition("/")[0]), Broken):
        matching = [file]
    if not matching:
        raise ConfigurationError(f"there is no check {name!r}; {_near(name, by_path)}")
    if len(matching) > 1:
        raise ConfigurationError(f"there are several checks {name!r}: write {' or '.join(map(path, matching))}")
    if isinstance(found := matching[0], Broken):
        raise ConfigurationError(f"{path(found)}: {found.reason}")
    return found


def run(agent: str, check: Check, environment: Mapping[str, str] | None = None) -> Trial:
    """Run the check as the daemon does; ``environment`` is added to the environment of its command.

    :raises SystemExit: if SIGTERM ends this process; the check is killed.
    """
    started = time.monotonic()
    outcome, result = run_until_signal(_run(agent, check, environment), signal.SIGTERM)
    return Trial(
        check=check,
        outcome=outcome,
        seconds=time.monotonic() - started,
        result=result,
        faults=escalation.advance(agent, check, [], result),
    )


async def run_for_module(
    settings: Settings, names: Sequence[str], environment: Mapping[str, str] | None = None
) -> Sequence[CheckRun]:
    """Run these checks of the agent for the module ``check``; what they find is not reported."""
    parallel = asyncio.Semaphore(settings.parallel)

    async def run_one(name: str) -> CheckRun:
        try:
            check = find(settings, name)
        except ConfigurationError as error:
            return CheckRun(name, error=str(error))
        async with parallel:
            _, result = await _run(settings.name, check, environment)
        return CheckRun(path(check), escalation.advance(settings.name, check, [], result))

    return await asyncio.gather(*map(run_one, names))


def judged(trial: Trial) -> Sequence[tuple[thresholds.Threshold, str]]:
    """Each threshold of the check, and whether it was crossed."""
    wanted, metrics = trial.check.thresholds, trial.result.metrics
    judged = {metric.name: "ok" for metric in metrics}
    judged |= {crossing.name: crossing.message for crossing in thresholds.crossings(wanted, metrics, {})}
    return [(threshold, judged.get(threshold.name, "not measured")) for threshold in wanted]


async def _run(agent: str, check: Check, environment: Mapping[str, str] | None) -> tuple[Outcome | None, Result]:
    if not check.command:
        return None, await runner.run(agent, check, [])
    outcome = await check_process.run(check, environment)
    return outcome, results.of_outcome(agent, check, outcome)


def _near(name: str, known: dict[str, Check | Broken]) -> str:
    """A hint for an unknown name: the nearest one, or all."""
    sections = {check.section: each for each, check in known.items()}
    if "/" in name and not name.startswith(GLOBAL):
        return nearest(name, known)
    hint = nearest(name, sections)
    return hint if hint.startswith("did you mean") else f"available: {', '.join(known)}"
