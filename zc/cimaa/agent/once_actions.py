"""The actions of an agent that runs once."""

import asyncio
import signal
import time
from functools import partial

from ..config import Config
from ..db import DB
from ..errors import Error
from ..faults import FaultDict
from ..masking import mask_urls
from . import action_rules, trial
from .action_outcomes import ActionProblems, ProblemKind, bug
from .action_work import ActionWork
from .clock import SystemClock
from .config import Settings, check_environment
from .store import StoreClient
from .tasks import run_until_signal

# Seconds within which the store takes the answers if a signal ends the process.
_PATIENCE = 3.0


class OnceActions:
    """What an agent that runs once does about actions, by its configuration."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self._settings = settings
        self._rules: action_rules.ActionRules | None = None
        self._problems = ActionProblems(lambda: None)
        run_checks = partial(trial.run_for_module, settings, environment=check_environment(config))
        try:
            self._rules = action_rules.prepare(config, settings, run_checks)
            if self._rules is not None:
                self._rules.journal.prune(time.time())
        except Error as error:
            self._problems.note(ProblemKind.CONFIGURATION, mask_urls(str(error)))
        except Exception as error:  # a module may be foreign code
            self._problems.note(ProblemKind.CONFIGURATION, bug(error))

    def faults(self) -> list[FaultDict]:
        """The fault that reports why no action is run."""
        return self._problems.faults(self._settings.name)

    def run(self, db: DB, woken: bool = False) -> str:
        """Run and answer the commands that the store has for the agent; return what went wrong, if anything did.

        If the agent was ``woken``, also those that it refused are judged again.

        :raises SystemExit: if a signal ends this process; what runs is killed, and answered as stopped.
        """
        return run_until_signal(self._run(db, woken), signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

    async def _run(self, db: DB, woken: bool) -> str:
        clock, name = SystemClock(), self._settings.name
        work = ActionWork(name, StoreClient(name, db, clock), clock, self._problems)
        await work.configure(self._rules, self._problems.text() or None)
        try:
            work.look(woken)
            await work.finish()
        except asyncio.CancelledError:
            await work.end(_PATIENCE)
            raise
        return self._problems.text()
