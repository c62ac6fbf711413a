"""The command that shows the faults of the fleet."""

import time

import click

from ...db import DB
from ...errors import InvalidInput, StoreError
from ...faults import SEVERITIES
from .. import fault_list
from ..fault_list import UNSQUELCHED, Listed, ago, counted
from ..output import View, message, write
from ..params import SEVERITY, complete_agents, examples, listing_options, open_store, unknown


@click.command(
    epilog=examples(
        "cimaa faults",
        "cimaa faults --severity error --unsquelched --limit 20",
        "cimaa faults --table --sort agent --columns severity,agent,fault",
        "cimaa faults --match '/disk#' --json",
        "cimaa faults --prometheus > cimaa.new && mv cimaa.new cimaa.prom",
        "cimaa faults --severity critical --exit-code || echo 'something is critical'",
    )
)
@click.option("--agent", metavar="AGENT", shell_complete=complete_agents, help="Only faults of this agent.")
@click.option(
    "--severity",
    type=SEVERITY,
    metavar="SEVERITY",
    help=f"Only faults at least this severe: {', '.join(SEVERITIES)}.",
)
@click.option(
    "--match", "pattern", metavar="PATTERN", help="Only faults whose name matches this regular expression (RE2)."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the N worst faults.")
@click.option("--squelched/--unsquelched", default=None, help="Only faults that are squelched, or that are not.")
@click.option(
    "-e",
    "--exit-code",
    is_flag=True,
    help=f"Exit with status {UNSQUELCHED} if a fault is listed that is not squelched.",
)
@click.option(
    "--prometheus",
    is_flag=True,
    help="Write counts by agent and severity, as node_exporter's textfile collector reads.",
)
@listing_options(fault_list.TITLES)
@click.pass_context
def faults(
    ctx: click.Context,
    agent: str | None,
    severity: int | None,
    pattern: str | None,
    limit: int | None,
    squelched: bool | None,
    exit_code: bool,
    prometheus: bool,
    view: View,
) -> None:
    """List the current faults, worst first.

    Shows each fault's severity, its age, its agent, name and message, and the squelches that silence it.
    """
    if prometheus and (view != View() or limit is not None):
        raise click.UsageError("--prometheus is not for use with the options of a listing.")
    with open_store(ctx) as db:
        # One more than shown tells whether there are more; which are squelched only the whole list can tell.
        most = None if limit is None or squelched is not None else limit + 1
        found = fault_list.listed(db, db.find_faults(agent, severity, pattern, most))
        chosen = [fault for fault in found if squelched is None or bool(fault.squelches) is squelched]
        if prometheus:
            _expose(db, agent, chosen)
        elif not chosen:
            filtered = (severity, pattern, squelched) != (None, None, None)
            message(_nothing(db, agent, "No faults match" if filtered else "No faults", exit_code))
    shown = chosen[:limit]
    if not prometheus:
        fault_list.show(shown, view)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if exit_code and fault_list.any_unsquelched(shown):
        ctx.exit(UNSQUELCHED)


def _expose(db: DB, agent: str | None, faults: list[Listed]) -> None:
    """Write the faults' counts, and the heartbeats, in Prometheus' text format."""
    from ...metrics import exposition

    heartbeats = {row["name"]: row["updated"] for row in db.get_agents() if agent in (None, row["name"])}
    counted = [(each.fault["agent"], each.fault["severity"], bool(each.squelches)) for each in faults]
    families = exposition.of_store(counted, heartbeats, len(db.get_squelches()))
    write(exposition.text(families).decode().removesuffix("\n"))


def _nothing(db: DB, agent: str | None, none: str, exit_code: bool) -> str:
    """The message for an empty list, which tells a fleet without faults from one that does not report.

    :raises InvalidInput: for an agent that the store does not have.
    :raises StoreError: if a script wants to know whether there are faults, and no agent has ever reported.
    """
    heartbeats = {row["name"]: row["updated"] for row in db.get_agents()}
    if not heartbeats:
        text = "no agent has reported to this store (see: cimaa agent --help, cimaa config)"
        if exit_code:
            raise StoreError(text)
        return f"{none}, but {text}."
    now = time.time()
    if agent is None:
        return f"{none}: {counted(len(heartbeats), 'agent')} reported, the last {ago(max(heartbeats.values()), now)}."
    if agent not in heartbeats:
        raise InvalidInput(unknown("agent", agent, heartbeats, "cimaa agents"))
    return f"{none}: {agent} reported {ago(heartbeats[agent], now)}."
