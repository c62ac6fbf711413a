"""How many faults there are, by agent, name or severity."""

from collections.abc import Iterable, Mapping
from typing import Any

from .cells import Cell, Styled
from .fault_list import Listed, severity_cell
from .output import View, write_json, write_table

#: What faults may be grouped by.
GROUPS = ("agent", "name", "severity")
#: The columns of the tables, for all groups.
TITLES = (*GROUPS, "faults", "squelched", "worst")


def titles(by: str) -> tuple[str, ...]:
    """The columns of a table of faults that are grouped by this."""
    return (by, "faults", "squelched", *(() if by == "severity" else ("worst",)))


def show(faults: Iterable[Listed], by: str, view: View) -> None:
    """Write how many faults each group has: those with the most first, severities worst first."""
    groups: dict[Any, list[Listed]] = {}
    for each in faults:
        fault: Mapping[str, Any] = each.fault
        groups.setdefault(fault[by], []).append(each)
    rows = sorted((_row(by, group, listed) for group, listed in groups.items()), key=lambda row: _order(by, row))
    if view.as_json:
        write_json(rows)
    else:
        write_table(titles(by), ([_cell(title, row[title]) for title in titles(by)] for row in rows), view)


def _row(by: str, group: str | int, faults: list[Listed]) -> dict[str, Any]:
    row = {
        by: group,
        "faults": len(faults),
        "squelched": sum(bool(each.squelches) for each in faults),
        "worst": max(each.fault["severity"] for each in faults),
    }
    return {title: row[title] for title in titles(by)}


def _order(by: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (-row[by],) if by == "severity" else (-row["faults"], -row["worst"], row[by])


def _cell(title: str, value: Any) -> Cell:
    if title in ("severity", "worst"):
        return severity_cell(value)
    return Styled(str(value), order=-value) if isinstance(value, int) else str(value)
