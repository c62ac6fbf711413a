"""The table ``history``: reads the events of one agent or of the fleet, and decides whether a write records any."""

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreDenied, StoreNotSetUp
from ..history import Event
from ..limits import INTEGER_MAX
from . import history_records, records
from .history_records import UndoLog, time_key, undo_key
from .records import Item

if TYPE_CHECKING:
    from .requests import Requests

logger = logging.getLogger("zc.cimaa.dynamodb")

# How many agents are queried at the same time, and how many items a page then has.
_PARALLEL, _PAGE = 16, 100
# After all characters of a key.
_AFTER = "~"


class AgentSpan(NamedTuple):
    """An agent, and a time from ``since`` to before ``until`` (microseconds)."""

    agent: str
    since: int
    until: int


class EventLog:
    """The events in a store.  It may be used from several threads."""

    def __init__(self, requests: "Requests", table: str, now: Callable[[], int], retention: int) -> None:
        """``table`` is the table's full name; ``now`` returns microseconds since the epoch.

        ``retention`` (seconds) is how long events are kept; 0 keeps none.
        """
        self._requests = requests
        self.table = table
        self._now = now
        self.retention = retention
        self._warned = False

    def recording(self, write: Callable[[bool], None]) -> None:
        """Write something, and its history (``write(True)``), or without it if none is kept (``write(False)``).

        It is also written without if the table, or the permission to write to it, is missing:
        current faults are more important.  The agent's row then shows that the history is incomplete.
        """
        if not self.retention:
            return write(False)
        try:
            write(True)
        except (StoreNotSetUp, StoreDenied) as error:
            write(False)  # fails, too, if something else is missing
            if not self._warned:
                missing = f"the table {self.table} is missing: run setup-dynamodb CONFIG, which creates it"
                reason = missing if isinstance(error, StoreNotSetUp) else error
                logger.warning("no history is recorded: %s", reason)
            self._warned = True
        else:
            self._warned = False
        return None

    def events(self, span: AgentSpan, page: int | None = None) -> Iterator[Event]:
        """The events of one agent, the latest first, in pages of this many items, read as they are consumed."""
        if span.since >= span.until:
            return iter(())
        limit = {} if page is None else {"Limit": page}
        return history_records.decode_events(
            self._query(span.agent, time_key(span.since), time_key(span.until), ScanIndexForward=False, **limit),
            self._now(),
        )

    def put(self, doing: str, items: Iterable[Item]) -> None:
        """Write items, one by one: the permission for batches would include deletions."""
        for item in items:
            self._requests.send("put_item", doing, TableName=self.table, Item=item)

    def last(self, agent: str) -> Event | None:
        """The agent's latest event."""
        return next(self.events(AgentSpan(agent, 0, INTEGER_MAX), page=1), None)

    def undo_log(self, agent: str, revision: str) -> UndoLog:
        """The undo log of the write with this revision."""
        start = undo_key(revision)
        return history_records.decode_undo(self._query(agent, start, start + _AFTER))

    def opened(self, spans: Iterable[AgentSpan]) -> Iterator[tuple[AgentSpan, Iterator[Event]]]:
        """Each span with its events; the first pages of several agents are read at the same time."""
        spans = iter(spans)
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cimaa-history") as pool:
            while some := [*islice(spans, _PARALLEL)]:
                yield from zip(some, pool.map(self._started, some), strict=True)

    def merged(self, spans: Iterable[AgentSpan]) -> Iterator[Event]:
        """The events of all spans, the latest first, and in descending order of the agents' names at equal times.

        An agent is queried only when those before ``until`` are wanted: so the first events
        of many agents cost only a few queries.
        """
        heads: list[_Head] = []
        for span, events in self.opened(sorted(spans, key=lambda span: span.until, reverse=True)):
            while heads and heads[0].event.time >= span.until:
                yield _taken(heads)
            if (first := next(events, None)) is not None:
                heapq.heappush(heads, _Head(first, events))
        while heads:
            yield _taken(heads)

    def _started(self, span: AgentSpan) -> Iterator[Event]:
        events = self.events(span, _PAGE)
        first = [*islice(events, 1)]  # reads the first page
        return chain(first, events)

    def _query(self, agent: str, first: str, last: str, **more: object) -> Iterator[Item]:
        return self._requests.query(
            "reading the history",
            TableName=self.table,
            KeyConditionExpression="#agent = :agent AND #at BETWEEN :first AND :last",
            ExpressionAttributeNames={"#agent": "agent", "#at": "at"},  # reserved words of DynamoDB
            ExpressionAttributeValues={
                ":agent": records.text(agent),
                ":first": records.text(first),
                ":last": records.text(last),
            },
            **more,
        )


class _Head(NamedTuple):
    """The next event of an agent, and those after it."""

    event: Event
    rest: Iterator[Event]

    def __lt__(self, other: tuple[object, ...]) -> bool:
        """In a heap, the latest comes first."""
        assert isinstance(other, _Head)
        return (self.event.time, self.event.agent) > (other.event.time, other.event.agent)


def _taken(heads: list[_Head]) -> Event:
    """The latest event, replaced by the next one of its agent."""
    event, rest = heads[0]
    following = next(rest, None)
    if following is None:
        heapq.heappop(heads)
    else:
        heapq.heapreplace(heads, _Head(following, rest))
    return event
