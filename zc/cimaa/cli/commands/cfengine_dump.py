"""The entries of files of CFEngine, as ``cimaa cfengine dump`` shows them: one by one, so that memory does not grow."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from ...cfengine import records
from ...cfengine.records import StateEntry, Value
from ...cfengine.state_files import FileSnapshot
from ...text import json_safe, one_line, storable
from ...units import format_time
from ..output import ROWS, message, write_table


def report_unknown(name: str, count: int, how: str = "left out: 'cimaa cfengine dump' shows them.") -> None:
    """Say how many entries of a file fit no layout, if any do."""
    if count:
        entries = "1 entry" if count == 1 else f"{count} entries"
        message(f"{name}: {entries} of an unknown layout, {how}")


def dump_entries(snapshot: FileSnapshot, file: str | None, keys: bool, as_json: bool) -> None:
    """Write the entries of a file; with its path where that is given."""
    unknown = 0

    def counted() -> Iterator[StateEntry]:
        nonlocal unknown
        for entry in records.decode(snapshot.name, snapshot.entries()):
            unknown += not entry.known
            yield entry

    if as_json:
        _dump_json(counted(), file, keys)
    else:
        _dump_rows(counted(), file, keys)
    sys.stdout.flush()
    report_unknown(snapshot.path, unknown, "shown as bytes.")


def _dump_json(entries: Iterable[StateEntry], file: str | None, keys: bool) -> None:
    write, dumps = sys.stdout.write, orjson.dumps
    first = {"file": storable(file)} if file is not None else {}
    for key, value, known in entries:
        entry: dict[str, Any] = {**first, "key": key}
        if not keys:
            entry["value"] = value
        if not known:
            entry["unknown"] = True
        write(json_safe(dumps(entry, _as_hex).decode()) + "\n")


def _as_hex(value: bytes) -> dict[str, str]:
    return {"hex": value.hex()}


def _dump_rows(entries: Iterable[StateEntry], file: str | None, keys: bool) -> None:
    """Write a table for people, of which a terminal gets the first rows; else each row as it comes."""
    shown = slice(0 if file is not None else 1, 2 if keys else 3)
    rows = ((file or "", _shown(key), "" if keys else _shown(value))[shown] for key, value, _ in entries)
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(map(one_line, row)) + "\n")
        return
    write_table(("file", "key", "value")[shown], islice(rows, ROWS))
    if left := sum(1 for _ in rows):
        message(f"{left} more are not shown: send them through a pipe.")


def _shown(value: Value) -> str:
    """A key or a value for people."""
    if isinstance(value, bytes):
        return f"bytes of an unknown layout: {value.hex()}"
    if isinstance(value, str):
        return value
    return " ".join(f"{name}={_field(name, field)}" for name, field in value.items())


def _field(name: str, field: Any) -> str:
    if name in ("time", "expires"):
        return format_time(field).replace(" ", "T")
    return str(field).lower() if isinstance(field, bool) else str(field)
