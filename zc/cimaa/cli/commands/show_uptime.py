"""The command that shows how often faults were there, and for how long."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ...db import DB
from ...errors import HistoryIncomplete
from ...history import SQUELCHES
from ...squelches import searching
from ...units import format_duration, format_local
from ...uptime import Past, Span, Uptime
from .. import past
from ..cells import Cell, Styled
from ..output import View, message, write_json, write_table
from ..params import PAST_TIME, check_view, complete_past_agents, examples, listing_options, open_store

_FIGURES = ("outages", "down", "longest", "mttr", "mtbf", "availability", "unknown", "ended")
_TITLES = ("agent", "fault", *_FIGURES)
_PERIOD = 30 * 24 * 60 * 60


_HELP = """Show how often each fault was there, and for how long.

An outage of a fault lasts from the report that has it first to the one that no longer has it, with any severity;
with --by agent, an outage lasts while the agent has any fault.  Only the time since TIME counts.

\b
  outages       how many there were
  down          how long in all
  longest       the longest one
  mttr          mean time to repair: of those that are over
  mtbf          mean time between failures: the time up, per outage
  availability  the percentage of the known time that was up
  unknown       the time for which the faults are not known
  ended         when the last outage was over, if it is

Unknown is the time in which the agent was silent, before its first report, after its removal, and while no history
was kept; it counts as neither up nor down.  In JSON, times are seconds.
"""


@click.command(
    help=_HELP,
    epilog=examples(
        "cimaa uptime --match '//web1/disk'  # how often it has been",
        "cimaa uptime --since 7d --match '/http$' --without-squelched",
        "cimaa uptime --by agent --since monday --sort availability",
        "cimaa uptime --agent web1.example.com --json",
    ),
)
@click.option(
    "--agent", metavar="AGENT", shell_complete=complete_past_agents, help="Only faults of this agent, even if removed."
)
@click.option(
    "--match", "pattern", metavar="PATTERN", help="Only faults whose name matches this regular expression (RE2)."
)
@click.option(
    "--since",
    type=PAST_TIME,
    metavar="TIME",
    help="From TIME (30d, yesterday, 2026-11-01) until now.  [default: 30d, or as long as history is kept]",
)
@click.option("--without-squelched", is_flag=True, help="Count the time in which a fault was squelched as up.")
@click.option(
    "--by", type=click.Choice(["fault", "agent"]), default="fault", help="A row for each fault, or for each agent."
)
@listing_options(_TITLES)
@click.pass_context
def uptime(
    ctx: click.Context,
    agent: str | None,
    pattern: str | None,
    since: int | None,
    without_squelched: bool,
    by: str,
    view: View,
) -> None:
    """Show the figures; see the help text above."""
    check_view(view, _titles(by))
    with open_store(ctx) as db, past.in_local_time():
        past.require_history(db, since)
        past.require_known(db, agent)
        seen = _seen(db, agent, since)
    wanted = (lambda _: True) if pattern is None else searching(pattern)
    if by == "agent":
        found = [({"agent": name}, figures) for name, figures in seen.by_agent(wanted, squelched=not without_squelched)]
    else:
        found = [
            ({"agent": name, "fault": fault}, figures)
            for name, fault, figures in seen.by_fault(wanted, squelched=not without_squelched)
        ]
    found.sort(key=lambda pair: -pair[1].down)
    start, end = map(format_local, seen.period)
    message(f"From {start} to {end}:" if found else f"No outages from {start} to {end}.")
    _show(found, by, view)


def _seen(db: DB, agent: str | None, since: int | None) -> Past:
    """What happened until now, of all agents or of this one."""
    end = int(time.time()) + 1
    start = max(end - _PERIOD if since is None else since, db.history_start())
    seen = Past(Span(start, end))
    present = {row["name"] for row in db.get_agents()}
    late = db.late_agents()
    seen.add_present(
        present if agent is None else present & {agent},
        db.find_faults(agent),
        (one for one in late if agent in (None, one["name"])),
        db.get_squelch_details(),
    )
    for name in (None,) if agent is None else (agent, SQUELCHES):
        for event in past.events(db, past.Wanted(name), start):
            seen.add(event)
    try:
        db.faults_at(end, agent, limit=0)
    except HistoryIncomplete as error:
        seen.add_incomplete(name for name, earliest in error.agents.items() if earliest is None)
    return seen


def _titles(by: str) -> tuple[str, ...]:
    return tuple(title for title in _TITLES if by == "fault" or title != "fault")


def _show(found: list[tuple[dict[str, str], Uptime]], by: str, view: View) -> None:
    if view.as_json:
        write_json([{**names, **_json(figures)} for names, figures in found])
    else:
        write_table(_titles(by), ([*names.values(), *_cells(figures)] for names, figures in found), view)


def _json(figures: Uptime) -> Mapping[str, Any]:
    named = figures._asdict()
    return {{"repair": "mttr", "between": "mtbf"}.get(key, key): value for key, value in named.items()}


def _cells(figures: Uptime) -> Iterator[Cell]:
    yield Styled(str(figures.outages), order=-figures.outages)
    for seconds in (figures.down, figures.longest, figures.repair):
        yield _duration(seconds, -1)
    yield _duration(figures.between, 1)
    yield _percentage(figures.availability)
    yield _duration(figures.unknown, -1)
    if not figures.outages:
        yield ""
    elif figures.ended is None:
        yield Styled("not over", "bold red", -math.inf)
    else:
        yield Styled(format_local(figures.ended), order=-figures.ended)


def _duration(seconds: float | None, sign: int) -> Cell:
    return "" if seconds is None else Styled(format_duration(seconds), order=sign * seconds)


def _percentage(share: float | None) -> Cell:
    """Rounded down: 100 % is without any outage."""
    return "" if share is None else Styled(f"{math.floor(share * 1000) / 1000:.3f} %", order=share)
