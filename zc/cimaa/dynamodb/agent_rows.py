"""Touches, reads, replaces and removes one agent's row and faults."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from .. import agents, backoff, faults
from ..agents import Instance, Row
from ..faults import Changes, FaultDict, Report
from . import records, writes
from .records import NOTHING, Item, Stored
from .writes import ConditionFailed

if TYPE_CHECKING:
    from .requests import Requests

# How often a row and faults that are inconsistent are read again, and the longest delay (seconds) between.
_READ_ATTEMPTS, _READ_DELAY = 10, 0.1


class AgentRows:
    """The operations of a handle on one agent.  It may be used from several threads."""

    def __init__(self, requests: "Requests", tables: Mapping[str, str], now: Callable[[], int]) -> None:
        """``tables`` are the full names of the tables; ``now`` returns microseconds since the epoch."""
        self._requests = requests
        self._agents, self._faults = tables["agents"], tables["faults"]
        self._now = now
        self._last_conflict = threading.local()

    def touch(self, agent: str, digest: str, instance: str) -> bool:
        """Set the heartbeat to now if the row still has this digest and instance; return whether it did."""
        request = writes.AgentWrites(self._agents, agent).touch(digest, instance, self._now())
        try:
            self._requests.send("update_item", f"reporting for agent {agent!r}", **request)
        except ConditionFailed as failed:
            # The response has the stored item at no cost, so replace() need not read it.
            self._last_conflict.last = agent, records.decode_row(failed.item) if failed.item else NOTHING
            return False
        return True

    def replace(self, agent: str, report: Report, instance: Instance) -> None:
        """Replace the agent's faults and row by those of the report."""
        doing = f"reporting for agent {agent!r}"

        def replace(stored: Stored, old: list[FaultDict], revision: str) -> None:
            now = self._now()
            row = agents.reported(stored.row, report.digest, instance, now)
            changes = faults.changes(old, report, now // agents.MICROSECONDS)
            item = records.encode_row(agent, row, revision, writes.unsettled_until(stored, now))
            self._write(agent, doing, stored.revision, item, old, changes)

        conflicting, stored = self._last_conflict.__dict__.pop("last", (None, None))
        self._contend(agent, doing, replace, stored if conflicting == agent else None)

    def remove(self, agent: str) -> None:
        """Remove the agent's row and faults."""
        doing = f"removing agent {agent!r}"

        def remove(stored: Stored, old: list[FaultDict], _revision: str) -> None:
            gone = Changes([], [fault["name"] for fault in old])
            self._write(agent, doing, stored.revision, None, old, gone)

        self._contend(agent, doing, remove)

    def read(self, agent: str, doing: str, stored: Stored | None = None) -> tuple[Stored, list[FaultDict]]:
        """The agent's row (``stored``, if it was just read) and its faults, consistent with each other.

        A query may see half of a transaction, and a report that is written in batches is incomplete for a while:
        the row's digest shows it, and both are read again.  If they stay inconsistent, the report was interrupted,
        and what is stored is returned.
        """
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                time.sleep(backoff.delay(0, _READ_DELAY, _READ_DELAY))
                stored = self._row(agent, doing)
                if stored.unfinished and attempt < _READ_ATTEMPTS - 1:
                    continue  # do not read the faults: there may be many
            found = self._query(agent, doing)
            if stored is None:
                stored = self._row(agent, doing)
            if stored == NOTHING or (stored.row is not None and is_consistent(stored.row, found)):
                break
        assert stored is not None
        return stored, found

    def _row(self, agent: str, doing: str) -> Stored:
        key = records.agent_key(agent)
        answer = self._requests.send("get_item", doing, TableName=self._agents, Key=key, ConsistentRead=True)
        return records.decode_row(answer["Item"]) if "Item" in answer else NOTHING

    def _query(self, agent: str, doing: str) -> list[FaultDict]:
        found = self._requests.query(
            doing,
            TableName=self._faults,
            KeyConditionExpression="#agent = :agent",
            ExpressionAttributeNames={"#agent": "agent"},  # a reserved word of DynamoDB
            ExpressionAttributeValues={":agent": records.text(agent)},
        )
        return [records.decode_fault(item)[1] for item in found]

    def _contend(
        self,
        agent: str,
        doing: str,
        attempt: Callable[[Stored, list[FaultDict], str], None],
        stored: Stored | None = None,
    ) -> None:
        """Read and write, again if another writer wrote in between."""
        retries = None
        while True:
            revision = uuid4().hex
            try:
                stored, old = self.read(agent, doing, stored)
                return attempt(stored, old, revision)
            except ConditionFailed as failed:
                stored = self._row(agent, doing)
                if stored.revision == revision:
                    return None  # this write succeeded, but its first response was lost
                retries = retries or self._requests.retries(doing)
                retries.wait_for_others(failed)

    def _write(
        self, agent: str, doing: str, revision: str | None, row: Item | None, old: Iterable[FaultDict], changes: Changes
    ) -> None:
        """Write the changes and the new row (``None``: delete it), if the row is still as it was read."""
        planned = writes.changes(agent, old, changes)
        write = writes.AgentWrites(self._agents, agent).write
        if writes.fit(planned):
            entries = [change.entry(self._faults) for change in planned]
            self._transact(doing, [write(row, revision), *entries])
        else:
            mark = self._write_batches(agent, doing, revision, writes.batches(planned))
            self._transact(doing, [write(row, mark)])

    def _write_batches(
        self, agent: str, doing: str, revision: str | None, batches: Iterable[list[writes.Write]]
    ) -> str:
        """Mark the row, if it still has this revision, and write the batches; return the mark."""
        mark = self._mark(agent, doing, revision)
        start = time.monotonic()
        for batch in batches:
            if time.monotonic() > start + writes.MARK:
                mark = self._mark(agent, doing, mark)
                start = time.monotonic()
            self._requests.write_batch(doing, self._faults, batch)
        return mark

    def _mark(self, agent: str, doing: str, revision: str | None) -> str:
        mark = uuid4().hex
        try:
            self._requests.send("update_item", doing, **writes.AgentWrites(self._agents, agent).mark(revision, mark))
        except ConditionFailed as failed:
            if failed.item is None or records.decode_row(failed.item).revision != mark:
                raise
            # The mark was set, but the first response was lost.
        return mark

    def _transact(self, doing: str, entries: list[writes.Write]) -> None:
        if len(entries) > 1:
            token = uuid4().hex
            self._requests.send("transact_write_items", doing, TransactItems=entries, ClientRequestToken=token)
        else:  # a single write costs half as much without a transaction
            [(operation, write)] = entries[0].items()
            self._requests.send(f"{operation.lower()}_item", doing, **write)


def is_consistent(row: Row, found: list[FaultDict]) -> bool:
    """True if the row was written together with these faults."""
    return row.digest == faults.digest(found)
