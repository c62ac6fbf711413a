"""The actions of a fleet in its store: sent by people, answered by agents.

There is no scheduler.  Who sends an action adds it, with one command for each agent, and wakes the agents; each
agent changes its own commands, and adds its own answers.  See ``entries_of_actions`` for what is stored.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from .. import limits, types
from ..db import ACTIONS
from ..entries import Entry, check
from ..errors import InvalidAction, InvalidInput, StoreDenied
from ..limits import check_text
from ..text import quoted
from . import documents, entries_of_actions
from .agent_actions import ATTEMPTS, AgentActions, contended
from .documents import Document
from .entries_of_actions import ACTION, ANSWER, COMMAND, Command, Counters, SentAnswer, StoredAction

#: How many agents get their commands at once.
PART = 500

_START = re.compile("[0-9a-f]+")


class FleetActions(AgentActions):
    """The actions in a store.  It may be used from several threads, as the store may."""

    # For those who send

    def add(self, data: bytes, signatures: bytes, sender: str) -> StoredAction:
        """Add an action, or further signatures to one that the store has.

        :raises InvalidAction: if the document is faulty, its window is over, or it was cancelled.
        """
        check_text("the sender", sender, InvalidInput, most=limits.USER)
        document = documents.parse(data, None)
        now = self.now()
        documents.check_window(document, now)
        entry = check(entries_of_actions.action_entry(data, signatures, sender, int(now), self._kept_until(document)))
        return self._change_action(
            document.id, lambda was: entry if was is None else entries_of_actions.signed_further(was, entry)
        )

    def agents(self) -> Iterable[types.Agent]:
        """The agents, as ``DB.get_agents`` returns them, in any order, read as they are consumed."""
        return self._db._shown_agents()

    def deliver(self, document: Document, agents: Iterable[str], part: int = PART) -> Iterator[tuple[int, int]]:
        """Give each agent its command, unless it has it, and wake it; a ``part`` at a time.

        For each part, the number of its agents, and of the commands that were added, once its agents are woken; the
        next part is added meanwhile.  All agents are woken, as the last try may have been interrupted before it woke
        them; an agent that has ended its command does not look at it again.
        """
        rest = iter(agents)
        waking: deque[tuple[Future[int], int, int]] = deque()
        with ThreadPoolExecutor(1) as waker:
            while names := list(islice(rest, part)):
                added = self._add_commands(document, names)
                waking.append((waker.submit(self._db.wake, names), len(names), added))
                if len(waking) > 1:
                    yield _woken(*waking.popleft())
            for last in waking:
                yield _woken(*last)

    def cancel(self, document_id: str, user: str) -> StoredAction:
        """Cancel an action: agents that have not claimed it will not run it.

        :raises InvalidAction: if there is none with this id.
        """
        check_text("the user", user, InvalidInput, most=limits.USER)

        def becomes(was: Entry | None) -> Entry:
            if was is None:
                raise InvalidAction(f"there is no action {document_id}; see: cimaa action list")
            return entries_of_actions.cancelled(was, user)

        return self._change_action(document_id, becomes)

    # For those who ask

    def actions(self) -> list[StoredAction]:
        """All actions, the one that was sent last first."""
        found = map(entries_of_actions.stored_action, self._db._entries(ACTION, ""))
        return sorted(found, key=lambda action: (-action.sent, action.id))

    def find(self, start: str) -> StoredAction:
        """The action whose id starts like this, in lower or upper case.

        :raises InvalidAction: if there is none, there are several, or it is not the start of an id.
        """
        given, start = start, start.strip().lower()
        if not _START.fullmatch(start):
            hint = "an id has the digits 0 to 9 and a to f; see: cimaa action list"
            raise InvalidAction(f"{quoted(given)} is not the start of an id: {hint}")
        if len(start) == documents.ID:
            found = [action] if (action := self.action(start)) else []
        else:
            found = [action for action in self.actions() if action.id.startswith(start)]
        if len(found) == 1:
            return found[0]
        several = f"{len(found)} actions have ids that start with" if found else "there is no action"
        raise InvalidAction(f"{several} {start}; see: cimaa action list")

    def scan_units(self, kind: str) -> int | None:
        """About what it costs to read all commands or answers, in units of the store; ``None``: nothing is billed."""
        return self._db._scan_units(kind)

    def is_billed(self) -> bool:
        """True if the store bills what is read."""
        return self._db._read_units(1) is not None

    def counters(self, action: StoredAction) -> Counters:
        """How many commands the action has, in which states; answers are not read."""
        counted = self._db._count_commands(action.id)
        return entries_of_actions.counters(counted, action.document(), bool(action.cancelled_by), self.now())

    def commands(self, action: StoredAction) -> list[Command]:
        """The commands of an action, sorted by agent, in the states of this moment."""
        document, now = action.document(), self.now()
        found = map(entries_of_actions.command, self._db._entries(COMMAND, None, action.id))
        states = entries_of_actions.command_state
        current = (each._replace(state=states(each.state, document, bool(action.cancelled_by), now)) for each in found)
        return sorted(current, key=lambda command: command.agent)

    def answers(self, action: StoredAction) -> Iterator[SentAnswer]:
        """The answers to an action, in any order."""
        return map(entries_of_actions.sent_answer, self._db._entries(ANSWER, None, action.id))

    def answers_of(self, action: StoredAction, agents: Sequence[str]) -> Iterator[SentAnswer]:
        """The answers of these agents to an action."""
        for agent in agents:
            yield from map(entries_of_actions.sent_answer, self._db._entries(ANSWER, agent, action.id))

    def _change_action(self, document_id: str, becomes: Callable[[Entry | None], Entry]) -> StoredAction:
        """Change the action's entry, or leave it if it becomes the same; as often as others write first."""
        tried = None
        for _ in range(ATTEMPTS):
            was = next(iter(self._db._entries(ACTION, "", document_id)), None)
            if was is not None and was.revision == tried:  # PostgreSQL hides rows that may not be changed
                raise StoreDenied(f"there is no permission to change the action {document_id}")
            entry = becomes(was)
            tried = was and was.revision
            if entry is was or self._db._swap(ACTION, "", document_id, tried, entry):
                return entries_of_actions.stored_action(entry)
        raise contended(document_id)

    def _add_commands(self, document: Document, agents: Sequence[str]) -> int:
        now, expires = int(self.now()), self._kept_until(document)
        return self._db._add([entries_of_actions.command_entry(document.id, name, now, expires) for name in agents])

    def _kept_until(self, document: Document) -> int:
        return entries_of_actions.kept_until(document, int(self._db.settings[ACTIONS.name]))


def _woken(waking: Future[int], agents: int, added: int) -> tuple[int, int]:
    """The numbers of a part, once its agents are woken."""
    waking.result()
    return agents, added
