"""By which rules an agent judges actions now: those of its last configuration, with the journal that it has used."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ..actions.documents import Document
from ..actions.entries_of_actions import Command
from ..actions.journal import Journal
from ..actions.judging import Decision, Given, Judged
from ..errors import JournalError
from .action_outcomes import ActionProblems, ProblemKind, bug
from .action_rules import ActionRules
from .clock import AsyncClock
from .tasks import in_thread

_LOG = logging.getLogger("zc.cimaa.agent")


class Taken(NamedTuple):
    """An action that was judged."""

    rules: ActionRules
    #: The command as it was claimed in the store, if it was.
    claimed: Command | None
    judged: Judged


class ActionJudge:
    """Judges and claims actions, one at a time."""

    def __init__(self, clock: AsyncClock, problems: ActionProblems) -> None:
        self._clock = clock
        self._problems = problems
        # The journal is for one thread of a process.
        self._turn = asyncio.Lock()
        # Set while the configuration is known.
        self._ready = asyncio.Event()
        self._ready.set()
        # The journal that was used last.
        self._journal: Journal | None = None
        #: ``None``: no action runs.
        self.rules: ActionRules | None = None
        #: True if the configuration is such that no action can be judged.
        self.is_broken = False

    async def ready(self) -> None:
        """Wait while another configuration is being read."""
        await self._ready.wait()

    def hold(self) -> None:
        """Judge nothing until :meth:`resume` is called: another configuration is being read."""
        self._ready.clear()

    def resume(self) -> None:
        """Judge actions again."""
        self._ready.set()

    async def configure(self, rules: ActionRules | None, problem: str | None) -> None:
        """Judge actions by these rules from now on.

        Without rules, all actions are refused; with a ``problem``, none is judged until it is mended.  If the rules
        have another journal, it takes over what the last one has.
        """
        async with self._turn:
            if rules is not None and problem is None:
                problem = await self._change_journal(rules.journal)
            self.rules, self.is_broken = None if problem else rules, problem is not None
        self._problems.note(ProblemKind.CONFIGURATION, problem)

    async def journal_is_usable(self) -> bool:
        """True if the journal does not prevent that actions run; what it need not keep is removed."""
        now, problem = self._clock.time(), None
        async with self._turn:
            if (rules := self.rules) is not None:
                problem = await _problem(lambda: rules.journal.prune(now))
        self._problems.note(ProblemKind.JOURNAL, problem)
        return problem is None

    async def take(
        self, rules: ActionRules, given: Given, claim: Callable[[], Coroutine[Any, Any, Command | None]]
    ) -> Taken | None:
        """Judge and claim an action, in a thread; ``None``: these rules do not hold any longer.

        ``claim`` claims its command in the store, and returns it, or ``None``.
        """
        loop = asyncio.get_running_loop()
        claims: list[Command | None] = [None]

        def claim_in_store(_document: Document) -> bool:
            claims.append(asyncio.run_coroutine_threadsafe(claim(), loop).result())
            return claims[-1] is not None

        async with self._turn:
            if rules is not self.rules or not self._ready.is_set():
                return None
            judged = await in_thread(lambda: rules.take(given, claim_in_store, self._clock.time))
        self._problems.note(ProblemKind.VERIFYING, judged.reason if judged.decision is Decision.POSTPONED else None)
        return Taken(rules, claims[-1], judged)

    async def _change_journal(self, journal: Journal) -> str | None:
        """Use this journal from now on; why it must not be used, or ``None``."""
        last = self._journal
        if last is not None:
            if problem := await _problem(lambda: journal.take_over(last)):
                return problem
            if last.path != journal.path:
                _LOG.info("the journal %s has taken over what %s has", journal.path, last.path)
        self._journal = journal
        return None


async def _problem(change: Callable[[], None]) -> str | None:
    """Change a journal, in a thread; why it prevents that actions run, or ``None``."""
    try:
        await in_thread(change)
    except JournalError as error:
        return str(error)
    except Exception as error:
        return bug(error)
    return None
