"""Sets and removes squelches, and records it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .. import history
from ..squelches import StoredSquelch
from . import history_records, records, writes
from .event_log import EventLog
from .writes import ConditionFailed

if TYPE_CHECKING:
    from .requests import Requests


class SquelchRows:
    """The squelches of a handle.  It may be used from several threads."""

    def __init__(self, requests: "Requests", tables: Mapping[str, str], log: EventLog, now: Callable[[], int]) -> None:
        """``tables`` are the full names of the tables; ``now`` returns microseconds since the epoch."""
        self._requests = requests
        self._table = tables["squelches"]
        self._log = log
        self._now = now

    def put(self, squelch: StoredSquelch) -> None:
        """Add the squelch, or replace the one with its regular expression."""
        self._write("setting a squelch", squelch.regex, squelch, None)

    def remove(self, regex: str, user: str | None) -> None:
        """Remove the squelch with this regular expression, if there is one."""
        self._write("removing a squelch", regex, None, user)

    def _write(self, doing: str, regex: str, new: StoredSquelch | None, user: str | None) -> None:
        def write(keep: bool) -> None:
            if keep:
                self._write_and_record(doing, regex, new, user)
            else:
                self._requests.transact(doing, [self._entry(regex, new, uuid4().hex, {})])

        self._log.recording(write)

    def _write_and_record(self, doing: str, regex: str, new: StoredSquelch | None, user: str | None) -> None:
        """Replace what is stored, with the events, again if another writer wrote in between."""
        retries, written = None, ""
        while True:
            key = records.squelch_key(regex)
            answer = self._requests.send("get_item", doing, TableName=self._table, Key=key, ConsistentRead=True)
            item = answer.get("Item")
            revision = None if item is None else records.revision(item)
            if revision == written or (item is None and new is None):
                return None  # there is nothing to do, or the first response to this write was lost
            old = None if item is None else records.decode_squelch(item)
            written = uuid4().hex
            events = history.squelched(old, new, user, self._now(), self._log.last(history.SQUELCHES))
            recorded = history_records.encode_events(history.SQUELCHES, events, written, self._log.retention)
            entries = [
                self._entry(regex, new, written, writes.unchanged(revision)),
                *(writes.replace(self._log.table, item) for item in recorded),
            ]
            try:
                return self._requests.transact(doing, entries)
            except ConditionFailed as failed:
                retries = retries or self._requests.retries(doing)
                retries.wait_for_others(failed)

    def _entry(
        self, regex: str, new: StoredSquelch | None, revision: str, condition: Mapping[str, Any]
    ) -> writes.Write:
        item = None if new is None else records.encode_squelch(new, revision)
        return writes.replace(self._table, item, records.squelch_key(regex), condition)
