"""One check, run once to see what the agent makes of it; nothing is stored."""

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ConfigurationError
from ..faults import FaultDict
from ..naming import GLOBAL
from ..options import nearest
from . import check_process as processes
from . import check_state, runner
from .check_files import Broken, Check
from .config import Settings
from .rules import escalation, results, thresholds
from .rules.results import Outcome, Result


class Trial(NamedTuple):
    """What a check did, and what follows from it."""

    check: Check
    #: What its command did; ``None``: it is a built-in check.
    outcome: Outcome | None
    seconds: float
    result: Result
    #: The faults that the daemon would report after this as the first run.
    faults: list[FaultDict]


def find(settings: Settings, name: str) -> Check:
    """The agent's check of this name: ``FILE/SECTION``, or the section alone if only one file has it.

    :raises ConfigurationError: if there is none, naming the nearest, or it cannot be read, or there are several.
    """
    checks = check_state.load(settings)
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


def path(check: Check | Broken) -> str:
    """``FILE/SECTION``: how a check is named on the command line."""
    return f"{check.file}/{check.section}" if check.section else check.file


def run(agent: str, check: Check) -> Trial:
    """Run the check as the daemon would.

    :raises SystemExit: if SIGTERM ends it; nothing of the check is left then.
    """
    started = time.monotonic()
    try:
        outcome, result = asyncio.run(_run(agent, check))
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    seconds = time.monotonic() - started
    return Trial(check, outcome, seconds, result, escalation.advance(agent, check, [], result))


def judged(trial: Trial) -> Sequence[tuple[thresholds.Threshold, str]]:
    """Each threshold of the check, and how it came out."""
    wanted, metrics = trial.check.thresholds, trial.result.metrics
    told = {metric.name: "ok" for metric in metrics}
    told |= {crossing.name: crossing.message for crossing in thresholds.crossings(wanted, metrics, {})}
    return [(threshold, told.get(threshold.name, "not measured")) for threshold in wanted]


async def _run(agent: str, check: Check) -> tuple[Outcome | None, Result]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if not check.command:
        return None, await runner.run(agent, check, [])
    outcome = await processes.run(check)
    return outcome, results.of_outcome(agent, check, outcome)


def _near(name: str, known: dict[str, Check | Broken]) -> str:
    """A hint for a name that is not known: by its section if it has no file."""
    sections = {check.section: each for each, check in known.items()}
    if "/" in name and not name.startswith(GLOBAL):
        return nearest(name, known)
    hint = nearest(name, sections)
    return hint if hint.startswith("did you mean") else f"available: {', '.join(known)}"
