"""What a history must show: the present, and every earlier state, computed in another way than the contract does."""

from collections.abc import Iterable
from typing import Any

from ..db import DB
from ..errors import HistoryIncomplete
from ..types import FoundFault, PastEvent

#: What of a fault the history keeps exactly: by agent and name, the severity and ``since``.
State = dict[tuple[str, str], tuple[int, int]]


def state(found: Iterable[FoundFault]) -> State:
    """What ``find_faults`` or ``faults_at`` returned, as far as the history keeps it exactly."""
    return {(one["agent"], one["name"]): (one["severity"], one["since"]) for one in found}


def replayed(events: Iterable[PastEvent]) -> State:
    """The present, from all events that ever were, the first first."""
    present: State = {}
    for event in events:
        key = event["agent"], event.get("fault", "")
        if event["kind"] == "began":
            assert key not in present
            present[key] = event["after"], event["since"]
        elif event["kind"] in ("worse", "better"):
            assert present[key] == (event["before"], event["since"])
            assert (event["kind"] == "worse") == (event["after"] > event["before"])
            present[key] = event["after"], event["since"]
        elif event["kind"] == "ended":
            assert present.pop(key) == (event["before"], event["since"])
    return present


class Recorder:
    """Records an agent's faults after each write, and compares them with what the history says later.

    The clock may be set back, so the time of an agent's state is that of its last event.
    """

    def __init__(self, db: DB) -> None:
        self._db = db
        self._last: dict[str, State] = {}
        self._states: dict[str, dict[int, State]] = {}

    def record(self, agents: Iterable[str]) -> None:
        """Read what the store has of these agents now."""
        for agent in agents:
            present = state(self._db.find_faults(agent=agent))
            if present != self._last.get(agent, {}):
                [latest] = self._db.get_history(agent=agent, limit=1)
                self._states.setdefault(agent, {})[latest["time"] // 1_000_000] = present
                self._last[agent] = present

    def check(self) -> None:
        """Compare all that was recorded with ``faults_at``."""
        seconds = sorted({second for states in self._states.values() for second in states})
        for second in seconds:
            if (found := self._asked(second)) is not None:
                assert found == {
                    key: value for states in self._states.values() for key, value in _by(states, second).items()
                }
        for agent, states in self._states.items():
            for second in [*states][:: max(1, len(states) // 3)]:
                found = self._asked(second, agent)
                assert found in (None, _by(states, second))

    def _asked(self, second: int, agent: str | None = None) -> State | None:
        """The answer, unless the history does not reach back that far any more."""
        try:
            return state(self._db.faults_at(second, agent=agent))
        except HistoryIncomplete:
            return None  # it became too old while the clock advanced


def _by(states: dict[int, State], second: int) -> State:
    """The state at the end of the second."""
    before = [one for one in states if one <= second]
    return states[max(before)] if before else {}


def kinds(events: Iterable[PastEvent]) -> list[tuple[Any, ...]]:
    """Kind and fault of each event."""
    return [(event["kind"], *((event["fault"],) if "fault" in event else ())) for event in events]
