"""Reads one agent's row and faults, consistent with each other, and its history."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import backoff, faults
from ..agents import Row
from ..faults import FaultDict
from ..history import REMOVED, Event, Kept
from ..limits import INTEGER_MAX
from . import records
from .event_log import AgentSpan, EventLog
from .records import NOTHING, Stored

if TYPE_CHECKING:
    from .requests import Requests

# How often a row and faults that are inconsistent are read again, and the longest delay (seconds) between.
_READ_ATTEMPTS, _READ_DELAY = 10, 0.1


class AgentReads:
    """The reads of a handle.  It may be used from several threads."""

    def __init__(self, requests: "Requests", tables: Mapping[str, str], log: EventLog) -> None:
        """``tables`` are the full names of the tables."""
        self._requests = requests
        self._agents, self._faults = tables["agents"], tables["faults"]
        self._log = log

    def read(self, agent: str, doing: str, stored: Stored | None = None) -> tuple[Stored, list[FaultDict]]:
        """The agent's row (``stored``, if it was just read) and its faults, consistent with each other.

        A query may see half of a transaction, and a report that is written in batches is incomplete for a while:
        the row's digest shows it, and both are read again.  If they stay inconsistent, the report was interrupted,
        and what is stored is returned.
        """
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                time.sleep(backoff.delay(0, _READ_DELAY, _READ_DELAY))
                stored = self.row(agent, doing)
                if stored.unfinished and attempt < _READ_ATTEMPTS - 1:
                    continue  # do not read the faults: there may be many
            found = self._query(agent, doing)
            if stored is None:
                stored = self.row(agent, doing)
            if stored == NOTHING or is_consistent(stored, found):
                break
        assert stored is not None
        return stored, found

    def row(self, agent: str, doing: str) -> Stored:
        """The agent's row."""
        key = records.agent_key(agent)
        answer = self._requests.send("get_item", doing, TableName=self._agents, Key=key, ConsistentRead=True)
        return records.decode_row(answer["Item"]) if "Item" in answer else NOTHING

    def recorded(self, agent: str, stored: Stored, found: list[FaultDict]) -> tuple[Row | None, list[FaultDict]]:
        """The row, and the faults after the last complete write, to which the history leads.

        They are not those that were found if a write was interrupted.  If they are unknown (an
        older version was interrupted, or another tool wrote), the row's history is incomplete.
        """
        row = stored.row
        if row is None:
            return None, []
        if is_consistent(stored, found):
            return row, found
        before = self._log.undo_log(agent, stored.undo).applied(found) if stored.undo else None
        return (row._replace(recorded=None), found) if before is None else (row, before)

    def latest_event(self, agent: str, stored: Stored) -> Event | None:
        """The latest event of an agent without a row, as far as the next one depends on it."""
        return Event(stored.written, agent, REMOVED) if stored.written else self._log.last(agent)

    def kept(self, agent: str, moment: int) -> Kept:
        """What is known of an agent, with the events after ``moment`` (microseconds)."""
        stored, found = self.read(agent, f"reading agent {agent!r}")
        row, before = self.recorded(agent, stored, found)
        until = stored.written + 1 if stored.written else INTEGER_MAX
        return Kept(row, before, [*self._log.events(AgentSpan(agent, moment + 1, until))])

    def _query(self, agent: str, doing: str) -> list[FaultDict]:
        found = self._requests.query(
            doing,
            TableName=self._faults,
            KeyConditionExpression="#agent = :agent",
            ExpressionAttributeNames={"#agent": "agent"},  # a reserved word of DynamoDB
            ExpressionAttributeValues={":agent": records.text(agent)},
        )
        return [records.decode_fault(item)[1] for item in found]


def is_consistent(stored: Stored, found: list[FaultDict]) -> bool:
    """True if the agent's item was written together with these faults."""
    if stored.row is None:
        return stored.removed and not found
    return stored.row.digest == faults.digest(found)
