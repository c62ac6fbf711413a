"""The actions of a daemon; an agent without a section ``[actions]`` imports nothing for them until it is woken."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ..config import ACTIONS, Config
from ..errors import Error
from ..faults import FaultDict
from ..masking import mask_urls
from .clock import AsyncClock
from .config import Settings
from .daemon import Daemon
from .store import StoreClient
from .tasks import Coalesced, cancel, in_thread

if TYPE_CHECKING:
    from .action_outcomes import ActionProblems
    from .action_rules import ActionRules
    from .action_work import ActionWork


class ActionDuty:
    """What a daemon does about actions."""

    def __init__(self, daemon: Daemon, store: StoreClient, clock: AsyncClock) -> None:
        self._daemon = daemon
        self._store = store
        self._clock = clock
        self._work: ActionWork | None = None
        self._problems: ActionProblems | None = None
        self._wanted: tuple[Config, Settings] | None = None
        self._loading = Coalesced(self._load)
        # False if the commands are to be looked at although the agent was not woken.
        self._looked = True
        daemon.reporter.on_report = self._reported
        daemon.reporter.contents.others = self.faults

    def configure(self, config: Config, settings: Settings) -> None:
        """Have this configuration read, and judge actions by it; until then, none is judged.  A problem is a fault.

        If this is called again meanwhile, only the last configuration counts.
        """
        if self._work is None and ACTIONS not in config.sections:
            return
        self._looked = False
        self._wanted = config, settings
        self._started().judge.hold()
        self._loading.request()

    def tick(self) -> None:
        """Look at commands that wait for a time."""
        if self._work is not None:
            self._work.tick()

    def faults(self) -> list[FaultDict]:
        """The fault that reports why no action is run."""
        return [] if self._problems is None else self._problems.faults(self._daemon.settings.name)

    async def finish(self) -> None:
        """Wait until the actions that can run now have been answered."""
        while tasks := self._loading.tasks():
            await asyncio.wait(tasks)
        if self._work is not None:
            await self._work.finish()

    async def end(self, patience: float = 3) -> None:
        """Stop the actions that run, and answer that they were stopped."""
        await cancel(self._loading.tasks())
        if self._work is not None:
            await self._work.end(patience)

    async def _load(self) -> None:
        """Read the configuration that is wanted, in a thread: it reads files, and runs ``ssh-keygen``."""
        wanted, work = self._wanted, self._started()
        assert wanted is not None
        from .action_outcomes import bug

        problem = None
        try:
            rules = await in_thread(partial(_prepare, self._daemon, *wanted))
            if wanted is self._wanted:
                await work.configure(rules)
        except Error as error:
            problem = mask_urls(str(error))
        except Exception as error:  # a module may be foreign code
            problem = bug(error)
        if wanted is self._wanted and problem is not None:
            await work.configure(None, problem)
        if wanted is self._wanted:
            work.judge.resume()

    def _reported(self, woken: bool) -> None:
        """Look at the agent's commands if it was woken, or after the first report with a configuration.

        Not before that report: an agent that is not in the store yet is not woken.
        """
        if woken or not self._looked:
            self._looked = True
            self._started().look()

    def _started(self) -> "ActionWork":
        if self._work is None:
            from .action_outcomes import ActionProblems
            from .action_work import ActionWork

            self._problems = ActionProblems(self._daemon.reporter.results_are_in)
            self._work = ActionWork(self._daemon.settings.name, self._store, self._clock, self._problems)
        return self._work


def _prepare(daemon: Daemon, config: Config, settings: Settings) -> "ActionRules | None":
    from . import action_rules, requested_checks

    return action_rules.prepare(config, settings, partial(requested_checks.run, daemon))
