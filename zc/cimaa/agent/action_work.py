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
from ..actions.entries_of_actions import Command, StoredAction
from ..actions.judging import Decision, Judged
from ..errors import StoreError
from ..masking import mask_urls
from . import action_run
from .action_judge import ActionJudge, Taken
from .action_outcomes import ActionAnswers, ActionProblems
from .action_rules import ActionRules
from .action_run import Outcome
from .clock import AsyncClock
from .rules.pending_commands import PendingCommands
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
        self.judge = ActionJudge(clock, problems)
        self._looking = Coalesced(self._look)
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pending = PendingCommands()
        # When to look again.
        self._again = math.inf
        self._answers = ActionAnswers(agent, store, clock, problems)

    async def configure(self, rules: ActionRules | None, problem: str | None = None) -> None:
        """Judge actions by these rules from now on: see :meth:`ActionJudge.configure`."""
        await self.judge.configure(rules, problem)
        self._answers.rules = self.judge.rules
        self._pending.reset()

    def look(self, woken: bool = True) -> None:
        """Have the agent's commands looked at; if it was ``woken``, also those that it refused."""
        if woken:
            self._pending.wake()
        self._looking.request()

    def tick(self) -> None:
        """Look if there is something to look at again."""
        if self._again <= self._clock.time():
            self._looking.request()

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
        self.judge.hold()
        await cancel(self.tasks())
        await self._answers.end(patience)

    async def _look(self) -> None:
        """Start to work on each command that is to be judged."""
        await self.judge.ready()
        self._again = math.inf
        if self.judge.is_broken:
            return
        if not await self.judge.journal_is_usable():
            self._look_at(self._clock.time() + _AGAIN)
            return
        try:
            commands: list[Command] = await self._ask(lambda actions: actions.commands_of(self._agent))
        except StoreError as error:
            self._put_off(f"the commands for this agent cannot be read: {error}")
            return
        for command in self._pending.choose(commands, self._tasks):
            self._tasks[command.id] = task = asyncio.create_task(self._work(command))
            task.add_done_callback(partial(self._ended, command.id))

    def _ended(self, command: str, _task: "asyncio.Task[None]") -> None:
        del self._tasks[command]
        if self._pending.ended(command):
            self._looking.request()

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
        await self.judge.ready()
        if (rules := self.judge.rules) is None:
            if not self.judge.is_broken and command.state == entries_of_actions.SENT:
                await self._answers.store(command, _NO_ACTIONS)
            return
        action = await self._ask(lambda actions: actions.action(command.id))
        if action is None:
            return
        if action.cancelled_by:
            self._pending.is_over(action.id)
            return
        taken = await self.judge.take(rules, action.given(), lambda: self._ask(lambda actions: actions.claim(command)))
        if taken is None:
            self._put_off(f"action {action.id}: the configuration has changed")
        else:
            await self._act(command, action, taken)

    async def _act(self, command: Command, action: StoredAction, taken: Taken) -> None:
        """Run an action if that was decided, and store how its command ends, if it does."""
        rules, claimed, judged = taken
        if claimed is not None and judged.decision is Decision.RAN:
            self._answers.begin(claimed)
            _LOG.info("action %s runs: %s", command.id, judged.answer.name)
            outcome: Outcome | None = await action_run.run(rules, judged.answer, self._clock)
        else:
            self._look_again(action, taken)
            outcome = _outcome(judged, command, is_claimed=claimed is not None)
        if outcome is not None:
            await self._answers.store(claimed or command, outcome)

    def _look_again(self, action: StoredAction, taken: Taken) -> None:
        """Note when to look at an action again that does not run now."""
        match taken.judged.decision:
            case Decision.EARLY:
                self._look_at(documents.parse(action.data, taken.rules.agent.modules).valid_from)
            case Decision.POSTPONED | Decision.FAILED:
                self._look_at(self._clock.time() + _AGAIN)
            case Decision.REFUSED if self._clock.time() < taken.judged.until:
                self._pending.is_refused(action.id)
            case Decision.REFUSED | Decision.EXPIRED:
                self._pending.is_over(action.id)

    async def _ask(self, function: Callable[[AgentActions], T]) -> T:
        return await self._store.ask(lambda db: function(AgentActions(db)))

    def _put_off(self, reason: str) -> None:
        """Look again at the next tick."""
        _LOG.warning("%s", reason)
        self._look_at(self._clock.time())

    def _look_at(self, when: float) -> None:
        self._again = min(self._again, when)


def _outcome(judged: Judged, command: Command, *, is_claimed: bool) -> Outcome | None:
    """How a command ends that does not run; ``None``: it does not end now, or the store has that."""
    match judged.decision:
        case Decision.REFUSED:
            reason = entries_of_actions.stored_reason(judged.reason)
            is_known = command.state == entries_of_actions.REFUSED and command.reason == reason
            return None if is_known and not is_claimed else Outcome(entries_of_actions.REFUSED, reason)
        case Decision.FAILED:
            return Outcome(entries_of_actions.FAILED, judged.reason)
        case Decision.EXPIRED if is_claimed:
            return Outcome(entries_of_actions.FAILED, judged.reason)
        case Decision.CLAIMED if is_claimed:
            return Outcome(entries_of_actions.LOST, judged.reason)
    return None
