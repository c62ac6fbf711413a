"""Tables on a terminal, drawn by rich, which is imported only for them.

Names are never wrapped, so that they can be copied.  If that leaves too little room
for the other columns, each row is written on several lines.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .cells import Cell, Styled, text

_Column: TypeAlias = tuple[str, list[Text]]

# The columns that are wrapped, as they contain prose or lists, and the least width of each.
_WRAPPED = frozenset({"message", "reason", "squelched by", "reported by", "description", "meaning", "value", "from"})
_ENOUGH = 24
# The columns whose values do not show what they are, so that a row on several lines names them.
_FIGURES = frozenset(
    {
        *("outages", "down", "longest", "mttr", "mtbf", "availability", "unknown", "ended"),
        *("operation", "signed", "weight", "minimum", "permitted"),
    }
)
# The width of a terminal that does not say it.
_USUAL = 80
# Spaces between the columns, and before the second and later lines of a row.
_GAP = 2
_INDENT = 2


def draw(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Draw rows, whose text contains no control characters; columns without text are left out."""
    console = Console(file=sys.stdout, color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)
    console.width = console.width or _USUAL  # rich takes COLUMNS=0 literally
    columns = [
        (title, [_cell(row[number]) for row in rows])
        for number, title in enumerate(titles)
        if any(text(row[number]) for row in rows)
    ]
    if sum(map(_least, columns)) + _GAP * (len(columns) - 1) <= console.width:
        console.print(_table(columns))
    else:
        for number in range(len(rows)):
            _write_record(console, [(title, cells[number]) for title, cells in columns])


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for title, _ in columns:
        table.add_column(Text(title), no_wrap=title not in _WRAPPED, overflow="fold")
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    return table


def _write_record(console: Console, cells: Sequence[tuple[str, Text]]) -> None:
    """Write a row on several lines: first the columns that are not wrapped, then each of the others."""
    indent = ""
    named = [(title, Text(f"{title} ") + cell if title in _FIGURES else cell) for title, cell in cells if cell.plain]
    for line in _packed([cell for title, cell in named if title not in _WRAPPED], console.width):
        console.print(Text(indent) + line, soft_wrap=True)
        indent = " " * _INDENT
    for title, cell in cells:
        if title in _WRAPPED and cell.plain:
            console.print(Padding(Text(f"{title}: ") + cell, (0, 0, 0, _INDENT)), overflow="fold")


def _packed(cells: Sequence[Text], width: int) -> Iterator[Text]:
    """The cells on as few lines of this width as possible; a wider cell has its own line."""
    line = Text()
    for cell in cells:
        if line and line.cell_len + _GAP + cell.cell_len > width - _INDENT:
            yield line
            line = Text()
        line = line + Text(" " * _GAP) + cell if line else cell
    yield line


def _least(column: _Column) -> int:
    """The least width at which the column is readable."""
    title, cells = column
    width = max(_width(cell) for cell in [Text(title), *cells])
    return min(width, max(_ENOUGH, len(title))) if title in _WRAPPED else width


def _cell(cell: Cell) -> Text:
    return Text(text(cell), cell.style if isinstance(cell, Styled) else "")


def _width(cell: Text) -> int:
    """The width of the longest line."""
    return max(line.cell_len for line in cell.split(allow_blank=True))
