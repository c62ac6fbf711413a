"""Runs an action that was judged and claimed, and words its answer."""

import logging
from typing import NamedTuple

from ..actions import answers, entries_of_actions, running
from ..actions.documents import Document, Operation
from ..actions.entries_of_actions import FAILED, SUCCESS
from ..actions.running import ModuleRun
from .action_rules import ActionRules
from .clock import AsyncClock

_LOG = logging.getLogger("zc.cimaa.agent")


class Outcome(NamedTuple):
    """How a command ends."""

    #: One of :data:`~zc.cimaa.actions.entries_of_actions.ENDINGS`.
    state: str
    reason: str = ""
    #: Of each operation the module, and how it ran; empty: nothing ran.
    runs: tuple[tuple[str, ModuleRun], ...] = ()

    @property
    def found(self) -> bool:
        """True if a module found something."""
        return any(run.answer.found for _, run in self.runs)

    def text(self, document_id: str, agent: str, now: float) -> str:
        """The answer of the agent, as it is signed and stored; empty if nothing ran."""
        operations = [(module, run.status, run.answer) for module, run in self.runs]
        return entries_of_actions.answer_text(document_id, agent, int(now), operations) if operations else ""


async def run(rules: ActionRules, document: Document, clock: AsyncClock) -> Outcome:
    """Run the operations of an action, one after the other; each ends when the window does.

    When this is cancelled, all processes of the modules have been killed.
    """
    runs = [(each.module, await _operate(rules, each, document.expires, clock)) for each in document.operations]
    state = entries_of_actions.ended(ran.status for _, ran in runs)
    first = next(ran for _, ran in runs if ran.status == state)
    reason = "" if state == SUCCESS else next(iter(first.answer.errors), "")
    return Outcome(state, reason, tuple(runs))


async def _operate(rules: ActionRules, operation: Operation, until: float, clock: AsyncClock) -> ModuleRun:
    seconds = running.seconds_left(running.LIMIT, until, clock.time())
    try:
        return await running.run(operation.module, operation.parameters, rules.host_of(operation), seconds)
    except Exception as error:  # a module may be foreign code
        _LOG.exception("the module %s failed: %s", operation.module, type(error).__name__)
        return ModuleRun(FAILED, answers.failed(f"the module failed: {type(error).__name__}"))
