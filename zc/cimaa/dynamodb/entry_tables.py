"""Reads, writes and removes entries, each write on condition of the stored revision."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..agents import MICROSECONDS
from ..entries import Entry
from ..text import quoted
from . import costs, entry_records, records
from .records import Item
from .writes import ConditionFailed

if TYPE_CHECKING:
    from .requests import Requests

# A write is repeated if its answer was lost: so it may find its own revision.  DynamoDB removes items some time after
# they have expired; until then they count as absent.  So do items that another tool wrote.
_ABSENT = (
    "revision = :revision OR NOT attribute_type(revision, :text)"
    " OR (attribute_exists(expires) AND NOT attribute_type(expires, :number)) OR expires <= :now"
)
_TYPES = {":text": records.text("S"), ":number": records.text("N")}
_UNCHANGED = "revision = :revision OR (revision = :was AND (attribute_not_exists(expires) OR expires > :now))"


# How many entries are written at the same time.
_PARALLEL = 16


class EntryTables:
    """The operations of a handle on entries.  It may be used from several threads."""

    def __init__(self, requests: "Requests", tables: Mapping[str, str], now: Callable[[], int]) -> None:
        """``tables`` are the full names of the tables; ``now`` returns microseconds since the epoch."""
        self._requests = requests
        self._tables = tables
        self._now = now

    def read(self, kind: str, owner: str | None, key: str | None) -> Iterable[Entry]:
        """The entries of this kind that have not expired: all, those of an owner, or those with a key."""
        if owner is None:
            found = self._scan(kind)
        elif key is None:
            found = self._query(kind, owner)
        else:
            found = self._get(kind, owner, key)
        now = self._now()
        entries = (entry for entry in map(entry_records.decode_entry, found) if entry is not None)
        return [entry for entry in entries if entry.is_current(now) and entry.is_one_of(kind, owner, key)]

    def write(self, entry: Entry, was: str | None) -> bool:
        """Write the entry if the stored one has the revision ``was`` (``None``: if there is none); return whether."""
        values = {":revision": records.text(entry.revision), ":now": records.number(self._now() // MICROSECONDS)}
        values |= _TYPES if was is None else {":was": records.text(was)}
        return self._send(
            "put_item",
            entry.kind,
            f"writing the {entry.kind} {quoted(entry.key)}",
            Item=entry_records.encode_entry(entry),
            ConditionExpression=_ABSENT if was is None else _UNCHANGED,
            ExpressionAttributeValues=values,
        )

    def add(self, entries: Iterable[Entry]) -> int:
        """Write the entries that are not there yet, several at a time; return how many these were."""
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cimaa-add") as pool:
            return sum(pool.map(lambda entry: self.write(entry, None), entries))

    def remove(self, kind: str, owner: str, key: str, was: str | None) -> bool:
        """Remove the entry if it has the revision ``was``; return whether it did.

        First it is replaced by one that has expired: unlike a removal, this is recognized if its answer was lost.
        """
        mark = Entry(kind, owner, key, None, uuid4().hex, self._now() // MICROSECONDS)
        if not self.write(mark, was):
            return False
        self._send(
            "delete_item",
            kind,
            f"removing the {kind} {quoted(key)}",
            Key=entry_records.entry_key(kind, owner, key),
            ConditionExpression="revision = :revision",
            ExpressionAttributeValues={":revision": records.text(mark.revision)},
        )
        return True

    def scan_units(self, kind: str) -> int:
        """About what a scan for the entries of this kind costs (read units); DynamoDB counts them every six hours."""
        doing = f"estimating what it costs to list entries of the kind {kind}"
        table = self._requests.send("describe_table", doing, TableName=self._table(kind))["Table"]
        # Servers that simulate DynamoDB may only know the number of items.
        return costs.scan_units(max(table.get("TableSizeBytes", 0), table.get("ItemCount", 0) * costs.COMMAND))

    def _get(self, kind: str, owner: str, key: str) -> Iterable[Item]:
        doing, place = f"reading the {kind} {quoted(key)}", entry_records.entry_key(kind, owner, key)
        answer = self._requests.send("get_item", doing, TableName=self._table(kind), Key=place, ConsistentRead=True)
        return [answer["Item"]] if "Item" in answer else []

    def _query(self, kind: str, owner: str) -> Iterable[Item]:
        return self._requests.query(
            f"listing entries of the kind {kind}",
            TableName=self._table(kind),
            KeyConditionExpression="#of = :of",
            ExpressionAttributeNames={"#of": "of"},  # a reserved word of DynamoDB
            ExpressionAttributeValues={":of": records.text(entry_records.partition(kind, owner))},
        )

    def _scan(self, kind: str) -> Iterable[Item]:
        return self._requests.scan(
            f"listing entries of the kind {kind}",
            TableName=self._table(kind),
            FilterExpression="begins_with(#of, :kind)",
            ExpressionAttributeNames={"#of": "of"},
            ExpressionAttributeValues={":kind": records.text(entry_records.partition(kind, ""))},
        )

    def _table(self, kind: str) -> str:
        return self._tables[entry_records.table(kind)]

    def _send(self, operation: str, kind: str, doing: str, **parameters: Any) -> bool:
        """Send a conditional write; return whether its condition held."""
        try:
            self._requests.send(operation, doing, TableName=self._table(kind), **parameters)
        except ConditionFailed:
            return False
        return True
