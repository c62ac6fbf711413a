"""An agent's part of the actions in a store: it reads them, claims its own commands, and answers."""

from ..agents import MICROSECONDS
from ..db import DB
from ..entries import check
from ..errors import StoreUnavailable
from . import entries_of_actions
from .entries_of_actions import ACTION, ANSWER, COMMAND, Command, StoredAction

#: How often a change is tried if others write at the same time.
ATTEMPTS = 20


class AgentActions:
    """The actions in a store, as an agent uses them.  It may be used from several threads, as the store may."""

    def __init__(self, db: DB) -> None:
        self._db = db

    def now(self) -> float:
        """The store's time (seconds since the epoch)."""
        return self._db._now() / MICROSECONDS

    def action(self, document_id: str) -> StoredAction | None:
        """What the store gives as the action with this id, if it gives something."""
        found = next(iter(self._db._entries(ACTION, "", document_id)), None)
        # With the id that was asked for, so that another action is not taken for it.
        return None if found is None else entries_of_actions.stored_action(found)._replace(id=document_id)

    def commands_of(self, agent: str) -> list[Command]:
        """The agent's commands, in the order in which they were sent or changed."""
        found = map(entries_of_actions.command, self._db._entries(COMMAND, agent))
        return sorted(found, key=lambda command: (command.time, command.id))

    def claim(self, command: Command) -> Command | None:
        """Claim a command that is ``sent`` or ``refused``, so that it is ``running``.

        ``None``: another process changed it, or it was removed.
        """
        return self._change(command, entries_of_actions.RUNNING)

    def finish(self, command: Command, state: str, reason: str = "", found: bool = False) -> Command | None:
        """End a command, as ``claim`` returned it, or refuse one that is not claimed; ``None``: another changed it.

        ``state`` is one of :data:`~zc.cimaa.actions.entries_of_actions.ENDINGS`; ``found`` says that a module found
        something.  Call :meth:`answer` before.
        """
        return self._change(command, state, reason, found)

    def answer(self, command: Command, text: str, signature: str = "") -> None:
        """Store what the agent answers: a text of ``entries_of_actions.answer_text``, and its signature."""
        entry = entries_of_actions.answer_entry(command.id, command.agent, text, signature, command.expires)
        check(entry)
        was = None  # most often there is none
        for _ in range(ATTEMPTS):
            if self._db._swap(ANSWER, command.agent, command.id, was and was.revision, entry):
                return
            was = next(iter(self._db._entries(ANSWER, command.agent, command.id)), None)
        raise contended(command.id)

    def _change(self, command: Command, state: str, reason: str = "", found: bool = False) -> Command | None:
        entry = entries_of_actions.changed(command, state, int(self.now()), reason, found)
        if entry is None or not self._db._swap(COMMAND, command.agent, command.id, command.revision, entry):
            return None
        return entries_of_actions.command(entry)


def contended(document_id: str) -> StoreUnavailable:
    """The error of a change that others prevented each time."""
    return StoreUnavailable(f"the action {document_id} is changed too often by others: try again")
