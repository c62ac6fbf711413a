"""The cells of a table."""

from typing import NamedTuple, TypeAlias


class Styled(NamedTuple):
    """A text with a style of rich, and a number to sort by in place of the text."""

    text: str
    style: str = ""
    order: float | None = None


Cell: TypeAlias = str | Styled


def text(cell: Cell) -> str:
    """The text of a cell."""
    return cell.text if isinstance(cell, Styled) else cell


def order(cell: Cell) -> tuple[float, str]:
    """The key by which a column is sorted."""
    return (cell.order or 0, cell.text) if isinstance(cell, Styled) else (0, cell)
