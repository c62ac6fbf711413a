"""The command that shows the faults of the fleet."""

import time

import click

from ..db import DB
from ..faults import SEVERITIES
from . import listing
from .listing import UNSQUELCHED, ago, counted
from .output import message
from .parameters import SEVERITY, complete_agents, examples, json_option, open_store, unknown


@click.command(
    epilog=examples(
        "cimaa faults",
        "cimaa faults --severity error --unsquelched --limit 20",
        "cimaa faults --match '/disk#' --json",
        "cimaa faults --severity critical --exit-code || echo 'something is critical'",
    )
)
@click.option("--agent", metavar="AGENT", shell_complete=complete_agents, help="Only those of this agent.")
@click.option(
    "--severity", type=SEVERITY, metavar="SEVERITY", help=f"Only those so severe or worse: {', '.join(SEVERITIES)}."
)
@click.option(
    "--match", "pattern", metavar="PATTERN", help="Only those whose name matches this regular expression (RE2)."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the worst N.")
@click.option("--squelched/--unsquelched", default=None, help="Only those that a squelch silences, or that none does.")
@click.option(
    "-e",
    "--exit-code",
    is_flag=True,
    help=f"Exit with status {UNSQUELCHED} if a fault is listed that is not squelched.",
)
@json_option
@click.pass_context
def faults(
    ctx: click.Context,
    agent: str | None,
    severity: int | None,
    pattern: str | None,
    limit: int | None,
    squelched: bool | None,
    exit_code: bool,
    as_json: bool,
) -> None:
    """List the current faults, worst first.

    A fault's severity, how long it has stood, its agent, name and message, and the squelches that silence it.
    """
    with open_store(ctx) as db:
        # One more than shown tells whether there are more; which are squelched only the whole list can tell.
        most = None if limit is None or squelched is not None else limit + 1
        found = listing.listed(db, db.find_faults(agent, severity, pattern, most))
        chosen = [fault for fault in found if squelched is None or bool(fault.squelches) is squelched]
        if not chosen:
            filtered = (severity, pattern, squelched) != (None, None, None)
            message(_nothing(db, agent, "No faults match" if filtered else "No faults"))
    shown = chosen[:limit]
    listing.show(shown, as_json=as_json)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if exit_code and listing.any_unsquelched(shown):
        ctx.exit(UNSQUELCHED)


def _nothing(db: DB, agent: str | None, none: str) -> str:
    """What to tell when there is nothing to show: that all is well, or that nobody has looked."""
    heartbeats = {row["name"]: row["updated"] for row in db.get_agents()}
    if not heartbeats:
        return f"{none}, but no agent has reported to this store (see: cimaa agent --help, cimaa config)."
    now = time.time()
    if agent is None:
        return f"{none}: {counted(len(heartbeats), 'agent')} reported, the last {ago(max(heartbeats.values()), now)}."
    if agent not in heartbeats:
        return f"{none}, but {unknown('agent', agent, heartbeats, 'cimaa agents')}"
    return f"{none}: {agent} reported {ago(heartbeats[agent], now)}."
