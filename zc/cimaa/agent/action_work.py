"""An agent's work on actions: it looks at its commands, and judges, claims, runs and answers each.

What an action may do here is decided by ``action_rules``; what the store has of it is not believed.  A command that was
claimed and not answered is lost: it is never run again.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..actions import documents, entries_of_actions
from ..actions.agent_actions import AgentActions
from ..actions.documents import Document
from ..actions.entries_of_actions import Command, StoredAction
from ..actions.journal import Journal
from ..actions.judging import Decision, Judged
from ..errors import JournalError, StoreError
from ..masking import mask_urls
from . import action_run
from .action_outcomes import ActionAnswers, ActionProblems, ProblemKind, in_thread
from .action_rules import ActionRules
from .action_run import Outcome
from .clock import AsyncClock
from .store import StoreClient
from .tasks import Coalesced, cancel

T = TypeVar("T")

_LOG = logging.getLogger("zc.cimaa.agent")

# How many actions run at the same time.
_PARALLEL = 4
# Seconds after which actions are looked at again that could not be judged or run.
_AGAIN = 60.0
# Seconds for which a store may be unavailable before the end of an agent that runs for a limited time.
_STUCK = 15.0
_NO_ACTIONS = Outcome(
    entries_of_actions.REFUSED, "this agent runs no actions: its configuration has no [actions] with investigators"
)


class ActionWork:
    """The actions of one agent, while its process runs."""

    def __init__(self, agent: str, store: StoreClient, clock: AsyncClock, problems: ActionProblems) -> None:
        self._agent = agent
        self._store = store
        self._clock = clock
        self._problems = problems
        self._rules: ActionRules | None = None
        self._looking = Coalesced(self._look)
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._judging = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Commands that will not be run, because their actions were cancelled, or are over: not to be read again.
        self._past: set[str] = set()
        # When to look again.
        self._again = math.inf
        # True if the configuration is such that no action can be judged.
        self._broken = False
        self._answers = ActionAnswers(agent, store, clock, problems)

    def configure(self, rules: ActionRules | None, problem: str | None = None) -> None:
        """Judge actions by these rules from now on.

        Without rules, all actions are refused; with a ``problem``, none is judged until it is mended.
        """
        self._rules, self._broken, self._past = rules, problem is not None, set()
        self._answers.rules = rules
        self._problems.note(ProblemKind.CONFIGURATION, problem)

    def look(self) -> None:
        """Have the agent's commands looked at."""
        self._looking.request()

    def tick(self) -> None:
        """Look if there is something to look at again."""
        if self._again <= self._clock.time():
            self.look()

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active tasks."""
        return [*self._looking.tasks(), *self._tasks.values()]

    async def finish(self) -> None:
        """Wait until all commands that can be run now are answered, or the store is unavailable for a while."""
        while tasks := self.tasks():
            await asyncio.wait(tasks, timeout=1)
            away = self._store.away_since
            if away is not None and self._clock.time() - away > _STUCK:
                await cancel(tasks)

    async def end(self, patience: float) -> None:
        """Stop what runs, and answer that it was stopped, if the store takes it within ``patience`` seconds."""
        await cancel(self.tasks())
        await self._answers.end(patience)

    async def _look(self) -> None:
        """Start to work on each command that is to be judged."""
        self._again = math.inf
        try:
            if self._broken or not await self._journal_is_usable():
                return
            commands: list[Command] = await self._ask(lambda actions: actions.commands_of(self._agent))
        except StoreError as error:
            self._put_off(f"the commands for this agent cannot be read: {error}")
            return
        self._past.intersection_update(command.id for command in commands)
        for command in commands:
            is_known = command.id in self._past or command.id in self._tasks
            if command.state == entries_of_actions.SENT and not is_known:
                self._tasks[command.id] = task = asyncio.create_task(self._work(command))
                task.add_done_callback(partial(self._tasks.pop, command.id))

    async def _journal_is_usable(self) -> bool:
        """True if the journal does not prevent that actions run; what it need not keep is removed."""
        if self._rules is None:
            return True
        now = self._clock.time()
        async with self._judging:
            problem = await _prune(self._rules.journal, now)
        self._problems.note(ProblemKind.JOURNAL, problem)
        if problem is not None:
            self._look_at(now + _AGAIN)
        return problem is None

    async def _work(self, command: Command) -> None:
        async with self._slots:
            try:
                await self._handle(command)
            except StoreError as error:
                self._put_off(f"action {command.id}: {error}")
            except Exception as error:
                text = f"{type(error).__name__}: {mask_urls(str(error))}"
                _LOG.exception("action %s: a bug in zc.cimaa, please report it: %s", command.id, text)

    async def _handle(self, command: Command) -> None:
        rules = self._rules
        if rules is None:
            if not self._broken:
                await self._answers.store(command, _NO_ACTIONS)
            return
        action = await self._ask(lambda actions: actions.action(command.id))
        if action is None or action.cancelled_by:
            self._past.update(() if action is None else (action.id,))
            return
        claimed, judged = await self._take(rules, command, action)
        if claimed is not None and judged.decision is Decision.RAN:
            self._answers.begin(claimed)
            _LOG.info("action %s runs: %s", command.id, judged.answer.name)
            outcome: Outcome | None = await action_run.run(rules, judged.answer, self._clock)
        else:
            self._look_again(rules, action, judged)
            outcome = _outcome(judged, is_claimed=claimed is not None)
        if outcome is not None:
            await self._answers.store(claimed or command, outcome)

    async def _take(self, rules: ActionRules, command: Command, action: StoredAction) -> tuple[Command | None, Judged]:
        """Judge and claim an action, in a thread; the command as it was claimed in the store, if it was."""
        loop = asyncio.get_running_loop()
        claims: list[Command | None] = [None]

        def claim(_document: Document) -> bool:
            asking = self._ask(lambda actions: actions.claim(command))
            claims.append(asyncio.run_coroutine_threadsafe(asking, loop).result())
            return claims[-1] is not None

        async with self._judging:  # the journal is for one thread of a process
            judged = await in_thread(lambda: rules.take(action.given(), claim, self._clock.time))
        self._problems.note(ProblemKind.VERIFYING, judged.reason if judged.decision is Decision.POSTPONED else None)
        return claims[-1], judged

    def _look_again(self, rules: ActionRules, action: StoredAction, judged: Judged) -> None:
        """Note when to look at an action again that does not run now."""
        if judged.decision is Decision.EARLY:
            self._look_at(documents.parse(action.data, rules.agent.modules).valid_from)
        elif judged.decision in (Decision.POSTPONED, Decision.FAILED):
            self._look_at(self._clock.time() + _AGAIN)
        elif judged.decision is Decision.EXPIRED:
            self._past.add(action.id)

    async def _ask(self, function: Callable[[AgentActions], T]) -> T:
        return await self._store.ask(lambda db: function(AgentActions(db)))

    def _put_off(self, reason: str) -> None:
        """Look again at the next tick."""
        _LOG.warning("%s", reason)
        self._look_at(self._clock.time())

    def _look_at(self, when: float) -> None:
        self._again = min(self._again, when)


async def _prune(journal: Journal, now: float) -> str | None:
    """Remove what the journal need not keep; why it prevents that actions run, or ``None``."""
    try:
        await in_thread(lambda: journal.prune(now))
    except JournalError as error:
        return str(error)
    return None


def _outcome(judged: Judged, *, is_claimed: bool) -> Outcome | None:
    """How a command ends that does not run; ``None``: it does not end now."""
    match judged.decision:
        case Decision.REFUSED:
            return Outcome(entries_of_actions.REFUSED, judged.reason)
        case Decision.FAILED:
            return Outcome(entries_of_actions.FAILED, judged.reason)
        case Decision.EXPIRED if is_claimed:
            return Outcome(entries_of_actions.FAILED, judged.reason)
        case Decision.CLAIMED if is_claimed:
            return Outcome(entries_of_actions.LOST, judged.reason)
    return None
