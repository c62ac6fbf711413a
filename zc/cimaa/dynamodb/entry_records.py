"""How entries are encoded as DynamoDB items, in the tables ``entries`` and ``answers``.  Pure.

Answers to actions have a table of their own: they are much larger than commands, and a scan for the commands of an
action is billed for everything in the table.

``of``, the partition key, is the kind and the owner with a space between, and ``key`` is the sort key.  The other
attributes are ``value`` (JSON), ``revision``, and ``expires`` (seconds), after which DynamoDB deletes the item.
"""

from collections.abc import Mapping
from typing import Any

from ..entries import Entry
from ..faults import decode, encode
from . import records
from .records import Item, number, text

# The kinds that have a table of their own.
_TABLES: Mapping[str, str] = {"answer": "answers"}


def table(kind: str) -> str:
    """The table of the entries of this kind: one of :data:`~zc.cimaa.dynamodb.records.schemas`."""
    return _TABLES.get(kind, "entries")


def partition(kind: str, owner: str) -> str:
    """The partition key of the entries of this kind and owner."""
    return f"{kind} {owner}"


def entry_key(kind: str, owner: str, key: str) -> Item:
    """The key of an entry."""
    return {"of": text(partition(kind, owner)), "key": text(key)}


def encode_entry(entry: Entry) -> Item:
    """An entry as an item."""
    return ({} if entry.expires is None else {"expires": number(entry.expires)}) | {
        **entry_key(entry.kind, entry.owner, entry.key),
        "value": text(encode(entry.value).decode()),
        "revision": text(entry.revision),
    }


@records.reading
def decode_entry(item: Item) -> Entry | None:
    """An entry from its item; ``None`` if it cannot be one.  A value that is not JSON is decoded as ``None``."""
    kind, _, owner = item["of"]["S"].partition(" ")
    revision, expires = records.revision(item), records.decode_value(item.get("expires", {"NULL": True}))
    if revision is None or ("expires" in item and "N" not in item["expires"]):
        return None
    return Entry(kind, owner, item["key"]["S"], _json_value(item.get("value", {}).get("S", "")), revision, expires)


def _json_value(encoded: str) -> Any:
    try:
        return decode(encoded.encode())
    except ValueError:
        return None
