"""Lists of faults, the same wherever a command shows some."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from ..db import DB
from ..faults import SEVERITIES, severity_name
from ..squelches import Matcher
from ..types import FoundFault
from ..units import format_duration
from .output import Cell, Styled, write_json, write_table

_TITLES = ("severity", "for", "agent", "fault", "message", "squelched by")
# The style of everything at least so severe.
_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow"}


class Listed(NamedTuple):
    """A current fault, as ``find_faults`` gives it, and the squelches in force that match it."""

    fault: FoundFault
    squelches: list[str]


def listed(db: DB, faults: Iterable[FoundFault]) -> list[Listed]:
    """The faults, each with its squelches."""
    matching = Matcher(db.get_squelches()).matching
    return [Listed(fault, matching(fault["name"])) for fault in faults]


def show(faults: Iterable[Listed], *, as_json: bool) -> None:
    """Write the faults; in JSON each has ``squelched_by``, the list of the squelches."""
    if as_json:
        write_json([{**fault, "squelched_by": squelches} for fault, squelches in faults])
    else:
        now = time.time()
        write_table(_TITLES, (_row(fault, squelches, now) for fault, squelches in faults))


def counted(number: int, what: str = "fault") -> str:
    """``1 fault``, ``2 faults``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def ago(seconds: float, now: float) -> str:
    """How long ago that was."""
    return f"{format_duration(now - seconds)} ago"


def _row(fault: FoundFault, squelches: list[str], now: float) -> tuple[Cell, ...]:
    severity = fault["severity"]
    return (
        Styled(severity_name(severity), "dim" if squelches else _style(severity)),
        format_duration(now - fault["since"]),
        fault["agent"],
        fault["name"],
        fault["message"],
        ", ".join(squelches),
    )


def _style(severity: int) -> str:
    return next((style for name, style in _STYLES.items() if severity >= SEVERITIES[name]), "")
