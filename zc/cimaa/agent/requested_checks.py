"""Runs checks of a daemon when an action asks for them."""

import asyncio
from collections.abc import Sequence

from ..actions.modules import CheckRun
from ..options import nearest
from .check_state import CheckState
from .daemon import Daemon
from .rules.check import path
from .tasks import cancel


async def run(daemon: Daemon, names: Sequence[str]) -> Sequence[CheckRun]:
    """Run these checks now, and have their results reported; a run that is active already is waited for.

    When this is cancelled, the runs that it started are killed.
    """
    found = [_find(daemon, name) for name in names]
    states = [each for each in found if isinstance(each, CheckState)]
    started: list[asyncio.Task[None]] = []
    for state in states:
        if state.task is None:
            daemon.start(state)
            started += [] if state.task is None else [state.task]
    running = [state.task for state in states if state.task is not None]
    try:
        if running:
            await asyncio.wait(running)
    except asyncio.CancelledError:
        await cancel(started)
        raise
    daemon.reporter.results_are_in()
    return [CheckRun(path(each.check), each.faults) if isinstance(each, CheckState) else each for each in found]


def _find(daemon: Daemon, name: str) -> CheckState | CheckRun:
    """The check with this name, ``FILE/SECTION`` or the section alone; or why it cannot be run."""
    matching = [state for state in daemon.states if name in (path(state.check), state.check.section)]
    if len(matching) == 1:
        here = matching[0].active
        return matching[0] if here else CheckRun(path(matching[0].check), error="another agent runs it")
    paths = [path(state.check) for state in matching or daemon.states]
    several = f"there are several checks of this name: {', '.join(paths)}"
    return CheckRun(name, error=several if matching else f"there is no such check; {nearest(name, paths)}")
