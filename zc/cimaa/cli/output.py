"""What the command writes: data on standard output, messages on standard error.

On a terminal data is a table for people.  Elsewhere it is a line for each row,
tabs between the columns, and nothing cut.  Text that somebody stored reaches
neither as it is: what would steer a terminal is shown as an escape.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import click
import orjson

#: So many rows a table for people may have: what is more they do not read, and drawing takes a millisecond each.
ROWS = 1000

# What steers a terminal: control characters, separators of lines, and what turns the direction of writing.
_STEERING = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Styled(NamedTuple):
    """A text, and how rich should show it."""

    text: str
    style: str


Cell: TypeAlias = str | Styled


def clean(stored: str) -> str:
    """The text on one line, with escapes in place of what would steer a terminal."""
    return _STEERING.sub(_escape, stored)


def message(told: str) -> None:
    """Tell people something."""
    click.echo(clean(told), err=True)


def report_traceback(error: BaseException) -> None:
    """Show the traceback of a bug on standard error, if ``CIMAA_DEBUG`` is set."""
    if os.environ.get("CIMAA_DEBUG", "0") in ("", "0"):
        return
    from traceback import format_exception

    for line in "".join(format_exception(error)).splitlines():
        message(line)


def write(data: str) -> None:
    """Write data, and the end of its line."""
    sys.stdout.write(data + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write a value as JSON."""
    encoded = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # Within JSON only strings hold such characters, line breaks aside: those are the layout's.
    write("\n".join(_STEERING.sub(_json_escape, line) for line in encoded.split("\n")))


def write_table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write rows, each with a cell for each title: a table for people, or lines for programs."""
    rows = list(rows)
    if not rows:
        return
    if sys.stdout.isatty():
        from . import tables

        tables.draw(titles, rows[:ROWS])
        if len(rows) > ROWS:
            message(f"{len(rows) - ROWS} more are not shown: narrow them down, or send them through a pipe.")
    else:
        write("\n".join("\t".join(clean(text(cell)) for cell in row) for row in rows))


def text(cell: Cell) -> str:
    """The text of a cell."""
    return cell.text if isinstance(cell, Styled) else cell


def _escape(match: re.Match[str]) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(match[0])
    return short.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
