"""Reads what the store has of all agents: rows, faults and history, each agent's consistent with each other."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..faults import FaultDict
from ..history import SQUELCHES, Event, Kept
from ..limits import INTEGER_MAX
from . import records
from .agent_reads import AgentReads, is_consistent
from .event_log import AgentSpan, EventLog
from .records import NOTHING, Stored

if TYPE_CHECKING:
    from .requests import Requests


class FleetReads:
    """The reads of a handle.  It may be used from several threads."""

    def __init__(self, requests: "Requests", tables: Mapping[str, str], reads: AgentReads, log: EventLog) -> None:
        """``tables`` are the full names of the tables."""
        self._requests = requests
        self._agents, self._faults = tables["agents"], tables["faults"]
        self._reads = reads
        self._log = log

    def items(self) -> Iterator[tuple[str, Stored]]:
        """All items of agents, also of those that were removed, or whose first report is in progress."""
        for item in self._requests.scan("listing the agents", TableName=self._agents):
            yield records.agent_name(item), records.decode_row(item)

    def faults(self) -> Iterator[tuple[str, FaultDict]]:
        """All faults, each with its agent, in any order."""
        found = self._requests.scan("listing the faults", TableName=self._faults)
        # No agent has the name "_": older tools stored heartbeats under it.
        return ((agent, fault) for agent, fault in map(records.decode_fault, found) if agent != "_")

    def consistent(self) -> tuple[dict[str, Stored], dict[str, list[FaultDict]]]:
        """The items and faults of all agents; of one agent, they belong together."""
        items, found = self._read()
        for agent in items.keys() | found.keys():
            if not is_consistent(items.get(agent, NOTHING), found[agent]):
                items[agent], found[agent] = self._reads.read(agent, f"reading agent {agent!r}")
        return items, found

    def kept(self, moment: int) -> Iterator[tuple[str, Kept]]:
        """What is known of each agent, with its events after ``moment`` (microseconds).

        The digest shows that an agent's row and faults belong together, and the row, up to
        which event its history belongs to them.
        """
        items, found = self._read()
        written = {}
        for agent in items.keys() | found.keys():
            stored = items.get(agent, NOTHING)
            if not is_consistent(stored, found[agent]):
                yield agent, self._reads.kept(agent, moment)
            elif stored.written > moment:
                written[agent] = stored.written
            else:
                yield agent, Kept(stored.row, found[agent], [])
        for span, events in self._log.opened(_spans(written, moment + 1, INTEGER_MAX)):
            yield span.agent, Kept(items[span.agent].row, found[span.agent], [*events])

    def events(self, since: int, until: int) -> Iterator[Event]:
        """The events from ``since`` to before ``until`` (microseconds), the latest first.

        Only the agents that were written since are queried.
        """
        found = self._requests.scan(
            "listing the agents",
            TableName=self._agents,
            ProjectionExpression="#name, written",
            FilterExpression="written >= :since",
            ExpressionAttributeNames={"#name": "name"},  # a reserved word of DynamoDB
            ExpressionAttributeValues={":since": records.number(since)},
        )
        written = {records.agent_name(item): records.decode_row(item).written for item in found}
        yield from self._log.merged(_spans({**written, SQUELCHES: INTEGER_MAX}, since, until))

    def _read(self) -> tuple[dict[str, Stored], dict[str, list[FaultDict]]]:
        items = dict(self.items())
        found: dict[str, list[FaultDict]] = defaultdict(list)
        for agent, fault in self.faults():
            found[agent].append(fault)
        return items, found


def _spans(written: Mapping[str, int], since: int, until: int) -> list[AgentSpan]:
    """What to read of agents that were last written at these times: what is later was written after that."""
    return [AgentSpan(agent, since, min(until, last + 1)) for agent, last in written.items()]
