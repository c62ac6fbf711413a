"""The actions of a daemon; an agent without a section ``[actions]`` imports nothing for them until it is woken."""

from typing import TYPE_CHECKING

from ..config import Config
from ..errors import Error
from ..faults import SEVERITIES, FaultDict
from ..masking import mask_urls
from ..naming import fault_name
from .clock import AsyncClock
from .config import Settings
from .daemon import Daemon
from .rules.results import make_fault
from .store import StoreClient

if TYPE_CHECKING:
    import asyncio

    from .action_work import ActionWork

# The section that turns actions on.
_SECTION = "actions"


class ActionDuty:
    """What a daemon does about actions."""

    def __init__(self, daemon: Daemon, store: StoreClient, clock: AsyncClock) -> None:
        self._daemon = daemon
        self._store = store
        self._clock = clock
        self._work: ActionWork | None = None
        daemon.reporter.woken = self.woken
        daemon.reporter.other_faults = self.faults

    def configure(self, config: Config, settings: Settings) -> None:
        """Judge actions by this configuration from now on, and look at those that wait.  A problem is a fault."""
        if self._work is None and _SECTION not in config.sections:
            return
        from . import action_rules

        work = self._started()
        try:
            rules = action_rules.prepare(config, settings, self._daemon.run_checks)
        except Error as error:
            work.configure(None, mask_urls(str(error)))
        else:
            work.configure(rules)

    def woken(self) -> None:
        """Look at the agent's commands."""
        self._started().look()

    def tick(self) -> None:
        """Look at commands that wait for a time."""
        if self._work is not None:
            self._work.tick()

    def faults(self) -> list[FaultDict]:
        """The fault that reports why no action is run."""
        problem = None if self._work is None else self._work.problem
        if problem is None:
            return []
        name = fault_name(self._daemon.settings.name, "agent", "actions")
        return [make_fault(name, SEVERITIES["error"], problem)]

    async def finish(self) -> None:
        """Wait until the actions that can run now have been answered."""
        if self._work is not None:
            await self._work.finish()

    async def end(self, patience: float = 3) -> None:
        """Stop the actions that run, and answer that they were stopped."""
        if self._work is not None:
            await self._work.end(patience)

    def _started(self) -> "ActionWork":
        if self._work is None:
            from .action_work import ActionWork

            changed = self._daemon.reporter.results_are_in
            self._work = ActionWork(self._daemon.settings.name, self._store, self._clock, changed)
        return self._work
