"""Were files modified recently enough?"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..units import format_duration, parse_seconds
from .items import Item, Measurement, measured
from .ranges import Range, Thresholds, parse
from .states import State

#: For the age of a file in seconds.
THRESHOLDS = ("1d", "2d")


class WrittenFile(NamedTuple):
    """A file, and its modification time (seconds since the epoch), or the reason why it is not known."""

    path: str
    written: float | None
    reason: str = ""


def parse_range(text: str) -> Range:
    """A range of durations (``1d``, ``1h:``), or seconds.

    :raises ValueError: for any other text.
    """
    return parse(text, parse_seconds)


def read(limits: Thresholds, paths: Sequence[str], now: float) -> list[Item]:
    """The ages of these files at ``now``."""
    return judge(map(_file, paths), limits, now)


def judge(files: Iterable[WrittenFile], limits: Thresholds, now: float) -> list[Item]:
    """Judge files by their age at ``now``."""
    return [_item(file, file.written, limits, now) for file in files]


def _item(file: WrittenFile, written: float | None, limits: Thresholds, now: float) -> Item:
    if written is None:
        return Item(file.path, State.CRITICAL, f"{file.path}: {file.reason}")
    age = now - written
    text = f"was written {format_duration(age)} ago" if age >= 0 else f"is dated {format_duration(-age)} ahead"
    return measured(file.path, f"{file.path} {text}", Measurement(file.path, round(age), "s", limits))


def _file(path: str) -> WrittenFile:
    try:
        return WrittenFile(path, Path(path).stat().st_mtime)
    except (OSError, ValueError) as error:
        return WrittenFile(path, None, os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error))
