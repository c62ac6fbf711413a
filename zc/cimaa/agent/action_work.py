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

from .. import backoff
from ..actions import documents, entries_of_actions
from ..actions.documents import Document
from ..actions.entries_of_actions import Command, StoredAction
from ..actions.fleet_actions import FleetActions
from ..actions.judging import Decision, Judged
from ..errors import JournalError, SigningError, StoreError, StoreUnavailable
from ..masking import mask_urls
from ..threads import Call
from . import action_run
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
# Delays (seconds) before an answer is stored again.
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0
# Seconds for which a store may be unavailable before the end of an agent that runs for a limited time.
_STUCK = 15.0
_NO_ACTIONS = "this agent runs no actions: its configuration has no [actions] with investigators"
_STOPPED = "the agent was stopped while it ran"
# Kinds of problems.
_CONFIGURATION, _JOURNAL, _JUDGING, _SIGNING = "configuration", "journal", "judging", "signing"


class ActionWork:
    """The actions of one agent, while its process runs."""

    def __init__(self, agent: str, store: StoreClient, clock: AsyncClock, changed: Callable[[], None]) -> None:
        """``changed`` is called when :attr:`problem` changes."""
        self._agent = agent
        self._store = store
        self._clock = clock
        self._changed = changed
        self._rules: ActionRules | None = None
        self._looking = Coalesced(self._look)
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._judging = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Claimed commands, and how each ends if the agent is stopped now.
        self._open: dict[str, tuple[Command, Outcome]] = {}
        # When to look again.
        self._again = math.inf
        # True if the configuration is such that no action can be judged.
        self._broken = False
        # What prevents that actions are run or answers are signed, by its kind.
        self._problems: dict[str, str] = {}

    def configure(self, rules: ActionRules | None, problem: str | None = None) -> None:
        """Judge actions by these rules from now on.

        Without rules, all actions are refused; with a ``problem``, none is judged until it is mended.
        """
        self._rules, self._broken = rules, problem is not None
        self._problems.clear()
        self._note(_CONFIGURATION, problem)

    @property
    def problem(self) -> str | None:
        """Why no action is run, or no answer signed; ``None``: there is no such problem."""
        return "; ".join(self._problems.values()) or None

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
        if left := [asyncio.create_task(self._store_outcome(*each)) for each in self._open.values()]:
            await asyncio.wait(left, timeout=patience)
            await cancel(left)

    async def _look(self) -> None:
        """Start to work on each command that is to be judged."""
        self._again = math.inf
        try:
            if self._broken or not await self._journal_is_usable():
                return
            commands: list[Command] = await self._ask(lambda fleet: fleet.commands_of(self._agent))
        except StoreError as error:
            self._put_off(f"the commands for this agent cannot be read: {error}")
            return
        for command in commands:
            if command.state == entries_of_actions.SENT and command.id not in self._tasks:
                self._tasks[command.id] = task = asyncio.create_task(self._work(command))
                task.add_done_callback(partial(self._ended, command.id))

    def _ended(self, document_id: str, _task: "asyncio.Task[None]") -> None:
        del self._tasks[document_id]

    async def _journal_is_usable(self) -> bool:
        """True if the journal does not prevent that actions run; what it need not keep is removed."""
        if self._rules is None:
            return True
        journal, now = self._rules.journal, self._clock.time()
        try:
            async with self._judging:
                await _in_thread(lambda: journal.prune(now))
        except JournalError as error:
            self._note(_JOURNAL, str(error))
            self._look_at(now + _AGAIN)
            return False
        self._note(_JOURNAL)
        return True

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
            await self._store_outcome(command, Outcome(entries_of_actions.REFUSED, _NO_ACTIONS))
            return
        action = await self._ask(lambda fleet: fleet.action(command.id))
        if action is None or action.cancelled_by:
            return
        claimed, judged = await self._take(rules, command, action)
        if claimed is not None and judged.decision is Decision.RAN:
            command = claimed
            self._open[command.id] = command, Outcome(entries_of_actions.FAILED, _STOPPED)
            _LOG.info("action %s runs: %s", command.id, judged.answer.name)
            self._note(_JUDGING)
            outcome: Outcome | None = await action_run.run(rules, judged.answer, self._clock)
        else:
            outcome = self._outcome(rules, action, judged, is_claimed=claimed is not None)
        if outcome is not None:
            command = claimed or command
            self._open[command.id] = command, outcome
            await self._store_outcome(command, outcome)
            self._open.pop(command.id)

    async def _take(self, rules: ActionRules, command: Command, action: StoredAction) -> tuple[Command | None, Judged]:
        """Judge and claim an action, in a thread; the command as it was claimed in the store, if it was."""
        loop = asyncio.get_running_loop()
        claims: list[Command | None] = [None]

        def claim(_document: Document) -> bool:
            asking = self._ask(lambda fleet: fleet.claim(command))
            claims.append(asyncio.run_coroutine_threadsafe(asking, loop).result())
            return claims[-1] is not None

        async with self._judging:  # the journal is for one thread of a process
            judged = await _in_thread(lambda: rules.take(action.given(), claim, self._clock.time))
        return claims[-1], judged

    def _outcome(self, rules: ActionRules, action: StoredAction, judged: Judged, *, is_claimed: bool) -> Outcome | None:
        """How a command ends that does not run; ``None``: it does not end now."""
        self._note(_JUDGING, judged.reason if judged.decision is Decision.POSTPONED else None)
        match judged.decision:
            case Decision.REFUSED:
                return Outcome(entries_of_actions.REFUSED, judged.reason)
            case Decision.EARLY:
                self._look_at(documents.parse(action.data, rules.agent.modules).valid_from)
            case Decision.POSTPONED:
                self._look_at(self._clock.time() + _AGAIN)
            case Decision.FAILED:
                self._note(_JOURNAL, judged.reason)
                self._look_at(self._clock.time() + _AGAIN)
                return Outcome(entries_of_actions.FAILED, judged.reason)
            case Decision.EXPIRED if is_claimed:
                return Outcome(entries_of_actions.FAILED, judged.reason)
            case Decision.CLAIMED if is_claimed:
                return Outcome(entries_of_actions.LOST, judged.reason)
        return None

    async def _store_outcome(self, command: Command, outcome: Outcome) -> None:
        """Store how a command ended; try again until the store has it."""
        text = outcome.text(command.id, self._agent, self._clock.time())
        signature = await self._signature(text) if text else ""

        def store(fleet: FleetActions) -> Command | None:
            if text:
                fleet.answer(command, text, signature)
            return fleet.finish(command, outcome.state, outcome.reason, outcome.found)

        failures = 0
        while True:
            try:
                stored = await self._ask(store)
                break
            except StoreUnavailable as error:
                failures += 1
                _LOG.warning("action %s is not answered yet: %s", command.id, error)
                pause = backoff.delay(failures, _FIRST_DELAY, _LONGEST_DELAY, least=0.5)
                await self._clock.sleep_until(self._clock.time() + pause)
        how = outcome.state if stored is not None else f"{outcome.state}, but the store has another answer"
        _LOG.info("action %s: %s", command.id, f"{how}: {outcome.reason}" if outcome.reason else how)

    async def _signature(self, text: str) -> str:
        """The agent's signature of an answer; empty if it has no key, or cannot sign with it."""
        rules = self._rules
        if rules is None or rules.key is None:
            return ""
        keygen, key = rules.keygen, rules.key
        try:
            signature = await _in_thread(lambda: keygen.sign_answer(text.encode(), key))
        except SigningError as error:
            self._note(_SIGNING, f"answers are not signed: {error}")
            return ""
        self._note(_SIGNING)
        return signature.decode()

    async def _ask(self, function: Callable[[FleetActions], T]) -> T:
        return await self._store.ask(lambda db: function(FleetActions(db)))

    def _put_off(self, reason: str) -> None:
        """Look again at the next tick."""
        _LOG.warning("%s", reason)
        self._look_at(self._clock.time())

    def _look_at(self, when: float) -> None:
        self._again = min(self._again, when)

    def _note(self, kind: str, problem: str | None = None) -> None:
        """Note a problem, or that there is none of this kind any more."""
        if problem == self._problems.get(kind):
            return
        if problem is None:
            del self._problems[kind]
        else:
            _LOG.error("actions: %s", problem)
            self._problems[kind] = problem
        self._changed()


async def _in_thread(function: Callable[[], T]) -> T:
    call = Call(function)
    await call.ended()
    return call.result()
