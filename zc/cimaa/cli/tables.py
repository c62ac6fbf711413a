"""Tables for people, drawn by rich, which is imported only where there are any."""

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..text import one_line
from .output import Cell, Styled, text

# Blanks between the columns, and the least that the widest column is given before the others are wrapped too.
_GAP = 2
_ENOUGH = 24


def draw(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Draw a table of these rows, no wider than the terminal, without the columns that are empty."""
    console = Console(file=sys.stdout, color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)
    shown = [column for column in range(len(titles)) if any(text(row[column]) for row in rows)]
    cells = [[_cell(row[column]) for column in shown] for row in rows]
    headings = [Text(titles[column]) for column in shown]
    widths = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for heading, whole in zip(headings, _kept_whole(widths, console.width), strict=True):
        table.add_column(heading, no_wrap=whole, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _kept_whole(widths: Sequence[int], room: int) -> list[bool]:
    """Which columns need not be wrapped: all but the widest, if that leaves enough for the widest."""
    widest = max(range(len(widths)), key=widths.__getitem__)
    left = room - sum(widths) + widths[widest] - _GAP * len(widths)
    return [column != widest and left >= _ENOUGH for column in range(len(widths))]


def _cell(cell: Cell) -> Text:
    """The cell, clean but for its line breaks, which stay within the column."""
    lines = "\n".join(map(one_line, text(cell).split("\n")))
    return Text(lines, cell.style if isinstance(cell, Styled) else "")


def _width(cell: Text) -> int:
    """How wide the longest line is."""
    return max(line.cell_len for line in cell.split(allow_blank=True))
