"""Touches, replaces and removes one agent's row and faults, and records what happened."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from .. import history
from ..agents import Instance, Touch
from ..faults import Changes, FaultDict, Report
from . import history_records, records, writes
from .agent_reads import AgentReads
from .event_log import EventLog
from .records import NOTHING, Item, Stored
from .writes import AgentWrites, ConditionFailed, PlannedWrite

if TYPE_CHECKING:
    from .requests import Requests


class AgentRows:
    """The writes of a handle to one agent.  It may be used from several threads."""

    def __init__(
        self,
        requests: "Requests",
        tables: Mapping[str, str],
        reads: AgentReads,
        log: EventLog,
        now: Callable[[], int],
    ) -> None:
        """``tables`` are the full names of the tables; ``now`` returns microseconds since the epoch."""
        self._requests = requests
        self._agents, self._faults = tables["agents"], tables["faults"]
        self._reads = reads
        self._log = log
        self._now = now
        self._last_conflict = threading.local()

    def touch(self, agent: str, touch: Touch) -> bool:
        """Set the heartbeat to now if ``touch`` holds for the row; return whether it did."""
        request = AgentWrites(self._agents, agent).touch(touch, self._now())
        try:
            self._requests.send("update_item", f"reporting for agent {agent!r}", **request)
        except ConditionFailed as failed:
            # The response has the stored item at no cost, so replace() need not read it.
            self._last_conflict.last = agent, records.decode_row(failed.item) if failed.item else NOTHING
            return False
        return True

    def replace(self, agent: str, report: Report, instance: Instance, within: int | None, *, unmark: bool) -> bool:
        """Replace the agent's faults and row by those of the report, and record what changed.

        Return whether one of the attempts removed the row's mark: that of a lost response, too.
        """
        woken = False

        def planned(stored: Stored, found: list[FaultDict], revision: str, keep: bool) -> PlannedWrite:
            nonlocal woken
            now = self._now()
            row, old = self._reads.recorded(agent, stored, found) if keep else (stored.row, found)
            last = self._reads.latest_event(agent, stored) if keep and row is None else None
            new = history.replacement(
                agent, row, old, report, instance, within, now, keep=keep, last=last, unmark=unmark
            )
            woken = woken or new.woken
            item = records.encode_row(agent, new.row, revision, writes.unsettled_until(stored, now))
            return PlannedWrite(item, old, new.changes, new.events, keep)

        conflicting, stored = self._last_conflict.__dict__.pop("last", (None, None))
        self._record(agent, f"reporting for agent {agent!r}", planned, stored if conflicting == agent else None)
        return woken

    def remove(self, agent: str, user: str | None) -> None:
        """Remove the agent's row and faults, and record it; while there is history, an item of the agent remains."""

        def planned(stored: Stored, found: list[FaultDict], revision: str, keep: bool) -> PlannedWrite | None:
            if keep and stored.removed and not found:
                return None
            row, old = self._reads.recorded(agent, stored, found) if keep else (stored.row, found)
            events = history.removal(agent, row, old, user, self._now()) if keep else ()
            written = events[0].time if events else stored.written
            item = _removed(agent, written, revision, self._log.retention) if keep else None
            gone = Changes([], [fault["name"] for fault in old])
            return PlannedWrite(item, old, gone, events, keep)

        self._record(agent, f"removing agent {agent!r}", planned)

    def _record(
        self,
        agent: str,
        doing: str,
        planned: Callable[[Stored, list[FaultDict], str, bool], PlannedWrite | None],
        stored: Stored | None = None,
    ) -> None:
        """Write what is planned, with its events if history is kept."""

        def attempt(keep: bool, stored: Stored, found: list[FaultDict], revision: str) -> None:
            if (plan := planned(stored, found, revision, keep)) is not None:
                self._write(agent, doing, stored.revision, found, plan, revision)

        self._log.recording(lambda keep: self._contend(agent, doing, lambda *read: attempt(keep, *read), stored))

    def _contend(
        self,
        agent: str,
        doing: str,
        attempt: Callable[[Stored, list[FaultDict], str], None],
        stored: Stored | None,
    ) -> None:
        """Read and write, again if another writer wrote in between."""
        retries = None
        while True:
            revision = uuid4().hex
            try:
                stored, found = self._reads.read(agent, doing, stored)
                return attempt(stored, found, revision)
            except ConditionFailed as failed:
                stored = self._reads.row(agent, doing)
                if stored.revision == revision:
                    return None  # this write succeeded, but its first response was lost
                retries = retries or self._requests.retries(doing)
                retries.wait_for_others(failed)

    def _write(
        self, agent: str, doing: str, was: str | None, found: list[FaultDict], plan: PlannedWrite, revision: str
    ) -> None:
        """Write what is planned, if the row still has the revision ``was``."""
        changes = plan.changes if plan.old is found else writes.corrected(found, plan.old, plan.changes)
        planned = writes.changes(agent, found, changes)
        events = history_records.encode_events(agent, plan.events, revision, self._log.retention)
        last = [writes.replace(self._log.table, item) for item in events[-1:]]
        write = AgentWrites(self._agents, agent).write
        if writes.fit(planned, events):
            entries = [change.entry(self._faults) for change in planned]
            self._requests.transact(doing, [write(plan.row, was), *last, *entries])
            return
        undo = None
        if plan.keep:
            undo, log = revision, writes.undo_log(found, plan.old, changes)
            expires = history_records.expiry(self._now(), self._log.retention)
            self._log.put(doing, history_records.encode_undo(agent, log, revision, expires))
        mark = self._mark(agent, doing, was, undo)
        self._log.put(doing, events[:-1])
        mark = self._write_batches(agent, doing, mark, undo, writes.batches(planned))
        self._requests.transact(doing, [write(plan.row, mark), *last])

    def _write_batches(
        self, agent: str, doing: str, mark: str, undo: str | None, batches: Iterable[list[writes.Write]]
    ) -> str:
        """Write the batches while the row has the mark, which is renewed; return the last one."""
        start = time.monotonic()
        for batch in batches:
            if time.monotonic() > start + writes.MARK:
                mark = self._mark(agent, doing, mark, undo)
                start = time.monotonic()
            self._requests.write_batch(doing, self._faults, batch)
        return mark

    def _mark(self, agent: str, doing: str, revision: str | None, undo: str | None) -> str:
        mark = uuid4().hex
        try:
            request = AgentWrites(self._agents, agent).mark(revision, mark, undo)
            self._requests.send("update_item", doing, **request)
        except ConditionFailed as failed:
            if failed.item is None or records.decode_row(failed.item).revision != mark:
                raise
            # The mark was set, but the first response was lost.
        return mark


def _removed(agent: str, written: int, revision: str, retention: int) -> Item | None:
    """The item of an agent that was removed; ``None`` if it has no history."""
    expires = history_records.expiry(written, retention)
    return records.encode_removed(agent, written, expires, revision) if written else None
