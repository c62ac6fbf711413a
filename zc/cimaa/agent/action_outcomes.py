"""Stores how the commands of an agent ended, with its answers."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto

from .. import backoff
from ..actions import entries_of_actions
from ..actions.agent_actions import AgentActions
from ..actions.entries_of_actions import Command
from ..actions.signers import ANSWERS
from ..errors import SigningError, StoreDenied, StoreFull, StoreNotSetUp, StoreUnavailable
from ..faults import SEVERITIES, FaultDict
from ..masking import mask_urls
from ..naming import fault_name
from .action_rules import ActionRules
from .action_run import Outcome
from .clock import AsyncClock
from .rules.results import make_fault
from .store import StoreClient
from .tasks import cancel, in_thread

_LOG = logging.getLogger("zc.cimaa.agent")

# Delays (seconds) before an answer is stored again.
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0
_STOPPED = Outcome(entries_of_actions.FAILED, "the agent was stopped while it ran")


class ProblemKind(Enum):
    """What prevents that an agent runs actions, or signs answers."""

    CONFIGURATION = auto()
    JOURNAL = auto()
    #: Signatures cannot be verified.
    VERIFYING = auto()
    #: Answers cannot be signed.
    SIGNING = auto()


class ActionProblems:
    """The current problems, one of each kind at most."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called when a problem appears, changes, or is over."""
        self._changed = changed
        self._found: dict[ProblemKind, str] = {}

    def note(self, kind: ProblemKind, problem: str | None = None) -> None:
        """Note a problem; ``None``: there is none of this kind any more."""
        if problem == self._found.get(kind):
            return
        if problem is None:
            del self._found[kind]
        else:
            _LOG.error("actions: %s", problem)
            self._found[kind] = problem
        self._changed()

    def text(self) -> str:
        """All problems; empty: there are none."""
        return "; ".join(self._found.values())

    def faults(self, agent: str) -> list[FaultDict]:
        """The fault that reports them, if there are any."""
        text = self.text()
        return [make_fault(fault_name(agent, "agent", "actions"), SEVERITIES["error"], text)] if text else []


def bug(error: Exception) -> str:
    """Log an unexpected error; the problem that it is."""
    problem = f"a bug in zc.cimaa, or in a module: {type(error).__name__}: {mask_urls(str(error))}"
    _LOG.error("actions: %s", problem, exc_info=error)
    return problem


class ActionAnswers:
    """The commands that an agent has claimed, until the store has how they ended."""

    def __init__(self, agent: str, store: StoreClient, clock: AsyncClock, problems: ActionProblems) -> None:
        self._agent = agent
        self._store = store
        self._clock = clock
        self._problems = problems
        # How each ends if the agent is stopped now.
        self._open: dict[str, tuple[Command, Outcome]] = {}
        #: By which key answers are signed.
        self.rules: ActionRules | None = None

    def begin(self, claimed: Command) -> None:
        """Note that a claimed command runs: if the agent is stopped, that is the answer."""
        self._open[claimed.id] = claimed, _STOPPED

    async def store(self, command: Command, outcome: Outcome) -> None:
        """Store how a command ended; try again until the store has it."""
        self._open[command.id] = command, outcome
        text = outcome.text(command.id, self._agent, self._clock.time())
        signature = await self._signature(text) if text else ""

        def write(store: AgentActions) -> Command | None:
            reason = outcome.reason
            if text:
                try:
                    store.answer(command, text, signature)
                except (StoreDenied, StoreFull, StoreNotSetUp) as error:  # the command may still be ended
                    reason = mask_urls(f"it ran, but its answer is not stored: {error}")
            return store.finish(command, outcome.state, reason, outcome.found)

        failures = 0
        while True:
            try:
                stored = await self._store.ask(lambda db: write(AgentActions(db)))
                break
            except StoreUnavailable as error:
                failures += 1
                _LOG.warning("action %s is not answered yet: %s", command.id, error)
                pause = backoff.delay(failures, _FIRST_DELAY, _LONGEST_DELAY, least=0.5)
                await self._clock.sleep_until(self._clock.time() + pause)
        del self._open[command.id]
        if stored is None and not failures:
            _LOG.warning("action %s: the command was changed by others; it ended as: %s", command.id, outcome.state)
        _LOG.info("action %s: %s", command.id, ": ".join(filter(None, (outcome.state, outcome.reason))))

    async def end(self, patience: float) -> None:
        """Store how the rest ends, as far as the store takes it within ``patience`` seconds."""
        if left := [asyncio.create_task(self.store(*each)) for each in self._open.values()]:
            await asyncio.wait(left, timeout=patience)
            await cancel(left)

    async def _signature(self, text: str) -> str:
        """The agent's signature of an answer; empty if it has no key, or cannot sign with it."""
        if self.rules is None or self.rules.key is None:
            return ""
        keygen, key = self.rules.keygen._replace(namespace=ANSWERS), self.rules.key
        try:
            signature = await in_thread(lambda: keygen.sign(text.encode(), key, alone=True))
        except SigningError as error:
            self._problems.note(ProblemKind.SIGNING, f"answers are not signed: {error}")
            return ""
        self._problems.note(ProblemKind.SIGNING)
        return signature.decode()
