"""The command that shows what happened."""

import time
from collections.abc import Iterator
from itertools import chain

import click

from ... import history as rules
from ...db import DB
from ...types import PastEvent
from ...units import format_local
from .. import event_list, output, past
from ..fault_list import counted
from ..output import View, message
from ..params import COUNT, PAST_TIME, complete_past_agents, examples, listing_options, open_store

_DAY = 24 * 60 * 60

_HELP = f"""Show what happened: faults, alerts, agents, squelches.

Shows, in order of time, when faults began, got worse or better, and ended; which alerts were sent, by which alerter;
when agents appeared, returned after a silence, and were removed; and who set and removed squelches, and why.  Times
are local times.

KIND is one of: {", ".join(rules.KINDS)}.  "alerted" is an alert that was sent, "resolved" the message that it is over;
"started" says that the history of an agent is complete from then on, and not before.

TIME is a duration ('2h ago', 30d), a time (08:00: the last one), a day (yesterday, friday) or both
('yesterday 08:00'), or a date ('2026-11-23 08:00').

A new message of a fault is not an event, nor is an unchanged report.  For the faults at an earlier time, see:
cimaa faults --at; for how often and how long, see: cimaa uptime.
"""


@click.command(
    help=_HELP,
    epilog=examples(
        "cimaa history",
        "cimaa history --since 'yesterday 18:00' --until 'yesterday 20:00'",
        "cimaa history --kind alerted --since 'yesterday 22:00'  # who was woken",
        "cimaa history --agent web1.example.com --match '/disk#' --since 30d",
        "cimaa history --limit 20 --json",
    ),
)
@click.option(
    "--agent", metavar="AGENT", shell_complete=complete_past_agents, help="Only events of this agent, even if removed."
)
@click.option(
    "--match", "pattern", metavar="PATTERN", help="Only events of faults whose name matches this regular expression."
)
@click.option(
    "--since", type=PAST_TIME, metavar="TIME", help="Only events from TIME on.  [default: 1d, or all with --limit]"
)
@click.option("--until", type=PAST_TIME, metavar="TIME", help="Only events up to TIME.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(rules.KINDS),
    multiple=True,
    metavar="KIND",
    help="Only these; may be repeated.",
)
@click.option("--limit", type=COUNT, metavar="N", help=f"Only the latest N.  [default in a table: {output.ROWS}]")
@listing_options(event_list.TITLES)
@click.pass_context
def history(
    ctx: click.Context,
    agent: str | None,
    pattern: str | None,
    since: int | None,
    until: int | None,
    kinds: tuple[str, ...],
    limit: int | None,
    view: View,
) -> None:
    """Show the events; see the help text above."""
    if since is not None and until is not None and since > until:
        raise click.UsageError("--since is later than --until.")
    if since is None and limit is None:
        since = int(time.time() if until is None else until) - _DAY
    wanted = past.Wanted(agent, pattern, kinds or None)
    with open_store(ctx) as db:
        past.require_history(db)
        past.require_known(db, agent)
        if since is not None and (start := past.start_after(db, since)):
            message(f"The history begins at {format_local(start)}.")
        most = output.ROWS if limit is None and view.is_table() else limit
        found = past.events(db, wanted, since or 0, until) if most is None else _latest(db, wanted, since, until, most)
        first = next(found, None)
        event_list.show(found if first is None else chain([first], found), view)
    if first is None:
        message("No events." if since is None else f"No events since {format_local(since)}.")


def _latest(db: DB, wanted: past.Wanted, since: int | None, until: int | None, most: int) -> Iterator[PastEvent]:
    found = wanted.read(db, since, until, most + 1)
    if len(found) > most:
        message(f"Only the latest {counted(most, 'event')} shown; there are more.")
    return iter(found[max(0, len(found) - most) :])
