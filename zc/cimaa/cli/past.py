"""What the commands that look back share: reading long histories in parts, and errors with local times."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..agents import MICROSECONDS
from ..db import DB, HISTORY
from ..errors import HistoryIncomplete, InvalidInput, StoreDenied
from ..history import REMOVED, RETURNED, SQUELCHES
from ..types import PastEvent
from ..units import format_local
from .output import message
from .params import unknown

#: The most events that are in memory at the same time, unless more happened in one second.
MOST = 10_000
# The first part of a history (seconds); the next ones are longer or shorter, depending on how much happened.
_FIRST = 60 * 60
# By how much (seconds) a time may be before the history without an error.
_SLACK = 60
# The number of agents that a message names.
_SHOWN = 5


class Wanted(NamedTuple):
    """Arguments of ``get_history``, besides the time and the limit."""

    agent: str | None = None
    pattern: str | None = None
    kinds: Sequence[str] | None = None

    def read(self, db: DB, since: int | None, until: int | None, limit: int | None = None) -> list[PastEvent]:
        """What ``get_history`` returns."""
        return db.get_history(self.agent, self.pattern, since, until, self.kinds, limit)


def events(db: DB, wanted: Wanted, since: int, until: int | None = None) -> Iterator[PastEvent]:
    """The wanted events, in order of time, read in parts."""
    start, length = max(since, db.history_start()), _FIRST
    last = int(time.time()) if until is None else until
    while start <= last or until is None:
        end = start + length - 1
        bound = until if end >= last else end
        found = wanted.read(db, start, bound, MOST)
        if len(found) == MOST and length > 1:
            length = max(1, length // 4)
            continue
        yield from found if len(found) < MOST else wanted.read(db, start, bound)
        if end >= last:
            return
        start = end + 1
        length *= 2 if len(found) < MOST // 4 else 1


@contextmanager
def in_local_time() -> Iterator[None]:
    """Have the error for a history that begins too late show the earliest time as a local time."""
    try:
        yield
    except HistoryIncomplete as error:
        if error.earliest is None:
            raise
        of = next((f" of agent {agent!r}" for agent, time in error.agents.items() if time == error.earliest), "")
        text = f"the history{of} begins at {format_local(error.earliest)}: ask for that time or later"
        raise HistoryIncomplete(text, error.earliest, error.agents) from error


def require_history(db: DB, since: int | None = None) -> None:
    """Refuse to look back in a store that keeps no history, or further than it does.

    :raises HistoryIncomplete: naming the setting, or the earliest time.
    """
    if db.settings.get(HISTORY.name) == 0:
        raise HistoryIncomplete(f"this store keeps no history: {HISTORY.name} in [database] is 0s")
    if since is not None and (start := start_after(db, since)):
        raise HistoryIncomplete(f"the history begins at {start}", start)


def start_after(db: DB, since: int) -> int | None:
    """The time at which the history begins, if that is later than this time (both in seconds since the epoch).

    A minute does not count: with --since 90d, some time passes until the history of 90 days is read.
    """
    start = db.history_start()
    return start if start > since + _SLACK else None


def require_known(db: DB, agent: str | None) -> None:
    """Refuse the name of an agent that neither reports nor has a history, as far as these credentials may know.

    :raises InvalidInput: naming the most similar agent.
    """
    if agent is None:
        return
    try:
        known = [row["name"] for row in db.get_agents()]
    except StoreDenied:
        return
    if agent not in (*known, SQUELCHES) and not db.get_history(agent, limit=1):
        raise InvalidInput(unknown("agent", agent, known, "cimaa agents, cimaa history"))


def silent_at(db: DB, moment: int, agent: str | None) -> list[str]:
    """The agents, sorted, that had stopped reporting by then, and returned or were removed later, or are silent now."""
    found = {
        event["agent"]
        for event in events(db, Wanted(agent, kinds=(RETURNED, REMOVED)), moment + 1)
        if event.get("since", event["time"] // MICROSECONDS) <= moment
    }
    try:
        found.update(late["name"] for late in db.late_agents() if late["updated"] + late["within"] < moment)
    except StoreDenied:
        message("These credentials may not read which agents are silent.")
    return sorted(name for name in found if agent in (None, name))


def named(agents: Sequence[str]) -> str:
    """The first few of the names."""
    return ", ".join(agents[:_SHOWN]) + ", ..." * (len(agents) > _SHOWN)
