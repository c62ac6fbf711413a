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


def clean(text: str) -> str:
    """The text on one line, with escapes in place of what would steer a terminal."""
    return _STEERING.sub(_escape, text)


def message(text: str) -> None:
    """Tell people something."""
    click.echo(clean(text), err=True)


def write(text: str) -> None:
    """Write data, and the end of its line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write a value as JSON."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # Within JSON only strings hold such characters, line breaks aside: those are the layout's.
    write("\n".join(_STEERING.sub(_json_escape, line) for line in text.split("\n")))


def write_table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write rows, each with a cell for each title: a table for people, or lines for programs."""
    rows = list(rows)
    if not rows:
        return
    if sys.stdout.isatty():
        _write_for_people(titles, rows[:ROWS])
        if len(rows) > ROWS:
            message(f"{len(rows) - ROWS} more are not shown: narrow them down, or send them through a pipe.")
    else:
        write("\n".join("\t".join(clean(_text(cell)) for cell in row) for row in rows))


def _write_for_people(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(_lines(_text(cell)), _style(cell)) for cell in row))
    colours = None if os.environ.get("NO_COLOR") else "auto"
    Console(file=sys.stdout, color_system=colours, highlight=False).print(table)  # type: ignore[arg-type]


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Styled) else cell


def _style(cell: Cell) -> str:
    return cell.style if isinstance(cell, Styled) else ""


def _lines(text: str) -> str:
    """The text, clean but for its line breaks, which a table keeps within the column."""
    return "\n".join(map(clean, text.split("\n")))


def _escape(match: re.Match[str]) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(match[0])
    return short.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
