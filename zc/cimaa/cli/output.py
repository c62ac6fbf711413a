"""What the command writes: data on standard output, messages on standard error.

On a terminal, a listing is a table.  Elsewhere it has a line for each row, with
tabs between the columns, and nothing is cut.  All stored text passes through this
module, which replaces the characters that control a terminal by escapes.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click
import orjson

from ..text import json_safe, one_line
from .cells import Cell, Styled, order, text

#: The most rows of a table: drawing one takes a millisecond, and more are rarely read.
ROWS = 1000


class View(NamedTuple):
    """How a listing is written."""

    as_json: bool = False
    #: Write a table even if standard output is not a terminal.
    table: bool = False
    #: The titles of the columns to show, in their order; ``None`` for all.
    columns: tuple[str, ...] | None = None
    #: The title of the column to sort by; ``None`` for the listing's own order.
    sort: str | None = None
    reverse: bool = False

    def is_table(self) -> bool:
        """True if the listing is written as a table."""
        return not self.as_json and (self.table or sys.stdout.isatty())


def message(text: str) -> None:
    """Write a message on standard error, as one line."""
    click.echo(one_line(text), err=True)


def reason(error: Exception) -> str:
    """The text of an error; for one of the operating system the problem and the file, without its number."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def report_traceback(error: BaseException) -> None:
    """Show the traceback of a bug on standard error, if ``CIMAA_DEBUG`` is set."""
    if os.environ.get("CIMAA_DEBUG", "0") in ("", "0"):
        return
    from traceback import format_exception

    for line in "".join(format_exception(error)).splitlines():
        message(line)


def write(data: str) -> None:
    """Write data as it is, and a line break."""
    sys.stdout.write(data + "\n")
    sys.stdout.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Write texts, each as one line."""
    for line in lines:
        write(one_line(line))


def write_json(value: Any) -> None:
    """Write a value as JSON."""
    encoded = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # The line breaks are of the layout; within JSON only strings can contain other control characters.
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
    """Write rows, which have a cell for each title: as a table, or as lines with tabs between the columns."""
    view = view or View()
    if view.sort is not None or view.reverse:
        rows = _sorted(titles, rows, view)
    if view.columns is not None:
        shown = [titles.index(title) for title in view.columns]
        titles, rows = view.columns, ([row[number] for number in shown] for row in rows)
    if view.is_table():
        _draw(titles, list(rows))
    else:  # row by row: there may be more than fit into memory
        sys.stdout.writelines(map(_line, rows))
        sys.stdout.flush()


def _line(row: Sequence[Cell]) -> str:
    texts = [text(cell) for cell in row]
    if not "".join(texts).isprintable():
        texts = list(map(one_line, texts))
    return "\t".join(texts) + "\n"


def _draw(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    if not rows:
        return
    from . import terminal

    terminal.draw(titles, [list(map(_clean, row)) for row in rows[:ROWS]])
    if len(rows) > ROWS:
        message(f"{len(rows) - ROWS} more are not shown: use a filter, or a pipe.")


def _clean(cell: Cell) -> Cell:
    """The cell with escapes; its line breaks are kept."""
    lines = "\n".join(map(one_line, text(cell).split("\n")))
    return cell._replace(text=lines) if isinstance(cell, Styled) else lines


def _sorted(titles: Sequence[str], rows: Iterable[Sequence[Cell]], view: View) -> list[Sequence[Cell]]:
    rows = list(rows)
    if view.sort is not None:
        column = titles.index(view.sort)
        rows.sort(key=lambda row: order(row[column]))
    return rows[::-1] if view.reverse else rows
