"""The list of faults that several commands show."""

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..db import DB
from ..faults import SEVERITIES, severity_name
from ..squelches import Matcher
from ..types import FoundFault
from ..units import format_duration
from .cells import Cell, Styled
from .output import View, write_json, write_table

#: The columns of a list of faults.
TITLES = ("severity", "for", "agent", "fault", "message", "squelched by")
# The style of faults of at least this severity.
_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow"}


#: The exit status of ``--exit-code`` if a fault is listed that is not squelched.
UNSQUELCHED = 3


class Listed(NamedTuple):
    """A fault, as ``find_faults`` or ``faults_at`` gives it, and the squelches that were in force and match it."""

    fault: FoundFault
    squelches: list[str]


def listed(db: DB, faults: Iterable[FoundFault], at: int | None = None) -> list[Listed]:
    """The faults, each with its squelches: the current ones, or those at an earlier time."""
    in_force = db.get_squelches() if at is None else [squelch["regex"] for squelch in db.squelches_at(at)]
    matching = Matcher(in_force).matching
    return [Listed(fault, matching(fault["name"])) for fault in faults]


def any_unsquelched(faults: Iterable[Listed]) -> bool:
    """True if one of the faults is not squelched."""
    return any(not fault.squelches for fault in faults)


def show(
    faults: Iterable[Listed], view: View | None = None, *, as_json: bool = False, now: float | None = None
) -> None:
    """Write the faults, whose age is that ``now``; in JSON each has ``squelched_by``, the list of the squelches."""
    if as_json or (view and view.as_json):
        write_json([{**fault, "squelched_by": squelches} for fault, squelches in faults])
    else:
        now = time.time() if now is None else now
        write_table(TITLES, (_row(fault, squelches, now) for fault, squelches in faults), view)


def counted(number: int, what: str = "fault") -> str:
    """``1 fault``, ``2 faults``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def ago(seconds: float, now: float) -> str:
    """The age, as ``5m ago``."""
    return f"{format_duration(now - seconds)} ago"


def ago_cell(seconds: float, now: float) -> Styled:
    """The age in a table, sorted with the latest first."""
    return Styled(ago(seconds, now), order=-seconds)


@lru_cache(maxsize=256)
def severity_cell(severity: int, *, squelched: bool = False) -> Styled:
    """A severity, for a table: the worst first."""
    return Styled(severity_name(severity), "dim" if squelched else _style(severity), -severity)


def _row(fault: FoundFault, squelches: list[str], now: float) -> tuple[Cell, ...]:
    return (
        severity_cell(fault["severity"], squelched=bool(squelches)),
        Styled(format_duration(now - fault["since"]), order=-fault["since"]),
        fault["agent"],
        fault["name"],
        fault["message"],
        ", ".join(squelches),
    )


def _style(severity: int) -> str:
    return next((style for name, style in _STYLES.items() if severity >= SEVERITIES[name]), "")
