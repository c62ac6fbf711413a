"""What the command writes: data on standard output, messages on standard error.

On a terminal data is a table for people.  Elsewhere it is a line for each row,
tabs between the columns, and nothing cut.  Stored text is written with escapes in
place of the characters that control a terminal.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import click
import orjson

from ..text import json_safe, one_line

#: The most rows of a table: nobody reads more, and drawing one takes a millisecond.
ROWS = 1000


class Styled(NamedTuple):
    """A text, how rich should show it, and its place among others where that is not the text's."""

    text: str
    style: str = ""
    order: float | None = None


class View(NamedTuple):
    """How a listing is to be written."""

    as_json: bool = False
    #: A table for people, whether or not standard output is a terminal.
    table: bool = False
    #: The titles of the columns to show, in their order; ``None`` for all.
    columns: tuple[str, ...] | None = None
    #: The title of the column to sort by; ``None`` for the listing's own order.
    sort: str | None = None
    reverse: bool = False


Cell: TypeAlias = str | Styled


def message(text: str) -> None:
    """Write a message for people on standard error."""
    click.echo(one_line(text), err=True)


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
    write("\n".join(map(json_safe, encoded.split("\n"))))


def write_json_list(values: Iterable[Any]) -> None:
    """Write a list as JSON, one value after the other: memory does not grow with it."""
    before = "[\n  "
    for value in values:
        encoded = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        sys.stdout.write(before + "\n  ".join(map(json_safe, encoded.split("\n"))))
        before = ",\n  "
    write("[]" if before.startswith("[") else "\n]")


def write_table(titles: Sequence[str], rows: Iterable[Sequence[Cell]], view: View | None = None) -> None:
    """Write rows, each with a cell for each title: a table for people, or lines for programs."""
    view = view or View()
    if view.sort is not None or view.reverse:
        rows = _sorted(titles, rows, view)
    if view.columns is not None:
        shown = [titles.index(title) for title in view.columns]
        titles, rows = view.columns, ([row[number] for number in shown] for row in rows)
    if view.table or sys.stdout.isatty():
        _draw(titles, list(rows))
    else:  # row by row, as there may be more than memory is to hold
        sys.stdout.writelines(map(_line, rows))
        sys.stdout.flush()


def _line(row: Sequence[Cell]) -> str:
    texts = [cell.text if isinstance(cell, Styled) else cell for cell in row]
    if not "".join(texts).isprintable():
        texts = list(map(one_line, texts))
    return "\t".join(texts) + "\n"


def _draw(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    if not rows:
        return
    from . import tables

    tables.draw(titles, rows[:ROWS])
    if len(rows) > ROWS:
        message(f"{len(rows) - ROWS} more are not shown: narrow them down, or send them through a pipe.")


def _sorted(titles: Sequence[str], rows: Iterable[Sequence[Cell]], view: View) -> list[Sequence[Cell]]:
    rows = list(rows)
    if view.sort is not None:
        column = titles.index(view.sort)
        rows.sort(key=lambda row: _order(row[column]))
    return rows[::-1] if view.reverse else rows


def _order(cell: Cell) -> tuple[float, str]:
    return (cell.order or 0, cell.text) if isinstance(cell, Styled) else (0, cell)


def text(cell: Cell) -> str:
    """The text of a cell."""
    return cell.text if isinstance(cell, Styled) else cell
