"""The command that lists the faults of the fleet."""

import time

import click

from ...db import DB
from ...errors import InvalidInput, StoreDenied, StoreError
from ...faults import SEVERITIES
from ...units import format_duration
from .. import fault_list
from ..fault_list import UNSQUELCHED, Listed, ago, counted
from ..output import View, message, write
from ..params import COUNT, SEVERITY, complete_agents, examples, listing_options, open_store, unknown

# With --exit-code, agents that have been silent for longer (seconds) are not taken for agents without faults.
_SILENT = 24 * 60 * 60
_NEVER = "no agent has reported to this store (see: cimaa agent --help, cimaa config)"


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
@click.option("--limit", type=COUNT, metavar="N", help="Only the N worst faults.")
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
    help="Write metrics for node_exporter's textfile collector: counts by agent and severity.",
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

    With --exit-code, it is an error (status 1) if no agent has reported for a day, or, with --agent, if that agent has
    not: then an empty list does not mean that there are no faults.  To check for single silent agents, use meta-check.
    """
    if prometheus and (view != View() or limit is not None):
        raise click.UsageError("--prometheus excludes --limit and the options of a listing.")
    with open_store(ctx) as db:
        # One more than shown, to know whether there are more; without a limit if the squelches filter.
        most = None if limit is None or squelched is not None else limit + 1
        chosen = _with_squelches(fault_list.listed(db, db.find_faults(agent, severity, pattern, most)), squelched)
        if prometheus:
            _expose(db, agent, chosen)
        shown = chosen[:limit]
        unsquelched = fault_list.any_unsquelched(shown)
        heartbeats = _heartbeats(db) if not chosen or (exit_code and not unsquelched) else {}
    if exit_code and not unsquelched:
        _require_reports(heartbeats, agent)
    if not (chosen or prometheus):
        filtered = (severity, pattern, squelched) != (None, None, None)
        message(_nothing(heartbeats, agent, "No faults match" if filtered else "No faults"))
    if not prometheus:
        fault_list.show(shown, view)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if exit_code and unsquelched:
        ctx.exit(UNSQUELCHED)


def _with_squelches(faults: list[Listed], squelched: bool | None) -> list[Listed]:
    """The faults that are squelched, or those that are not; ``None``: all."""
    return [fault for fault in faults if squelched is None or bool(fault.squelches) is squelched]


def _expose(db: DB, agent: str | None, faults: list[Listed]) -> None:
    """Write the faults' counts, and the heartbeats, in Prometheus' text format."""
    from ...metrics import exposition

    heartbeats = {row["name"]: row["updated"] for row in db.get_agents() if agent in (None, row["name"])}
    counted = [(each.fault["agent"], each.fault["severity"], bool(each.squelches)) for each in faults]
    families = exposition.of_store(counted, heartbeats, len(db.get_squelches()))
    write(exposition.text(families).decode().removesuffix("\n"))


def _heartbeats(db: DB) -> dict[str, int] | None:
    """The time of each agent's last report; ``None`` if these credentials may not list the agents."""
    try:
        return {row["name"]: row["updated"] for row in db.get_agents()}
    except StoreDenied:
        return None


def _nothing(heartbeats: dict[str, int] | None, agent: str | None, none: str) -> str:
    """The message for an empty list: it differs between agents without faults and agents that do not report.

    :raises InvalidInput: for an agent that the store does not have.
    """
    if heartbeats is None:
        return f"{none}; these credentials may not read when agents reported."
    if not heartbeats:
        return f"{none}, but {_NEVER}."
    last = ago(_last_report(heartbeats, agent), time.time())
    if agent is None:
        return f"{none}: {counted(len(heartbeats), 'agent')} reported, the last {last}."
    return f"{none}: {agent} reported {last}."


def _require_reports(heartbeats: dict[str, int] | None, agent: str | None) -> None:
    """Refuse to say that there are no faults if there are no recent reports, as far as these may be read.

    :raises InvalidInput: for an agent that the store does not have.
    :raises StoreError: if all agents are silent, or the one that was asked for.
    """
    if heartbeats is None:
        return
    if not heartbeats:
        raise StoreError(_NEVER)
    if (silent := time.time() - _last_report(heartbeats, agent)) > _SILENT:
        subject = "no agent has" if agent is None else f"{agent} has not"
        raise StoreError(f"{subject} reported for {format_duration(silent)}: the faults are not known")


def _last_report(heartbeats: dict[str, int], agent: str | None) -> int:
    if agent is None:
        return max(heartbeats.values())
    if agent not in heartbeats:
        raise InvalidInput(unknown("agent", agent, heartbeats, "cimaa agents"))
    return heartbeats[agent]
