"""What the command writes: data on standard output, messages on standard error.

On a terminal data is a table for people.  Elsewhere it is a line for each row,
tabs between the columns, and nothing cut.  Text that somebody stored reaches
neither as it is: what would steer a terminal is shown as an escape.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import click
import orjson

from ..text import json_safe, one_line

#: So many rows a table for people may have: what is more they do not read, and drawing takes a millisecond each.
ROWS = 1000


class Styled(NamedTuple):
    """A text, and how rich should show it."""

    text: str
    style: str


Cell: TypeAlias = str | Styled


def message(told: str) -> None:
    """Tell people something."""
    click.echo(one_line(told), err=True)


def write(data: str) -> None:
    """Write data, and the end of its line."""
    sys.stdout.write(data + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write a value as JSON."""
    encoded = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # Within JSON only strings hold such characters, line breaks aside: those are the layout's.
    write("\n".join(map(json_safe, encoded.split("\n"))))


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
        write("\n".join("\t".join(one_line(text(cell)) for cell in row) for row in rows))


def text(cell: Cell) -> str:
    """The text of a cell."""
    return cell.text if isinstance(cell, Styled) else cell
