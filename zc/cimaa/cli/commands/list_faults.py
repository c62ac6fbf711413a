"""The command that lists the faults of the fleet."""

from typing import TYPE_CHECKING

import click

from ...db import DB
from ...faults import SEVERITIES
from .. import fault_list, filtering, grouping, no_faults
from ..fault_list import UNSQUELCHED, Listed, counted
from ..filtering import OPERATORS, SHELLS
from ..output import View, message, write
from ..params import COUNT, SEVERITY, check_view, complete_agents, examples, listing_options, open_store

if TYPE_CHECKING:
    from ...filters import FaultItem, Filter

_HELP = f"""List the current faults, worst first.

Shows each fault's severity, its age, its agent, name and message, and the squelches that silence it.

A FILTER is one or more terms, all of which must hold.  A term is a word, which is searched for in name and message
in upper or lower case, or KEY, an operator, and a value, without blanks:

\b
  severity   critical, error, warning, info, debug, or a number
  agent, name, message
  age        90s, 15m, 2h, 7d, 1w
  squelched  yes, no
  KEY        any other key that faults have, such as team

{OPERATORS}

A fault without the KEY passes != and !~ only.

{SHELLS}

With --exit-code a typing error must not pass for a fleet without faults.  So there, and wherever a KEY resembles
one of the keys above, put KEY in double quotes within the single ones: '"team"=shop'.  And it is an error (status 1)
if no agent has reported for a day, or, with --agent, if that agent has not: then an empty list does not mean that
there are no faults.  To check for single silent agents, use meta-check.
"""


@click.command(
    help=_HELP,
    epilog=examples(
        "cimaa faults",
        "cimaa faults --severity error --unsquelched --limit 20",
        "cimaa faults severity=warning team=shop 'age>1d'",
        "cimaa faults 'agent!=backup' 'severity>=error' timeout",
        "cimaa faults 'message=~\"disk (sda|sdb) failed\"' 'name!~/test'",
        "cimaa faults --group-by agent",
        "cimaa faults --table --sort agent --columns severity,agent,fault",
        "cimaa faults --match '/disk#' --json",
        "cimaa faults --prometheus > cimaa.new && mv cimaa.new cimaa.prom",
        "cimaa faults --severity critical --exit-code || echo 'something is critical'",
    ),
)
@click.argument("terms", metavar="[FILTER]...", nargs=-1, shell_complete=filtering.complete_fault_terms)
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
    "--group-by",
    type=click.Choice(grouping.GROUPS),
    metavar="KEY",
    help="Count the faults by agent, name or severity instead.",
)
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
@listing_options(fault_list.TITLES, others=grouping.TITLES)
@click.pass_context
def faults(
    ctx: click.Context,
    terms: tuple[str, ...],
    agent: str | None,
    severity: int | None,
    pattern: str | None,
    limit: int | None,
    squelched: bool | None,
    group_by: str | None,
    exit_code: bool,
    prometheus: bool,
    view: View,
) -> None:
    """List the faults; see the help text above."""
    _check_usage(limit, group_by, prometheus, view)
    wanted = filtering.fault_filter(terms, exit_code=exit_code)
    with open_store(ctx) as db:
        # One more than shown, to know whether there are more; without a limit if the squelches filter.
        most = None if limit is None or squelched is not None else limit + 1
        chosen = _with_squelches(filtering.find(db, wanted, agent, severity, pattern, most), squelched)
        if prometheus:
            _expose(db, agent, wanted, chosen)
        shown = chosen[:limit]
        unsquelched = exit_code and fault_list.any_unsquelched(shown)
        fleet = no_faults.AskedAgents(db, agent, wanted) if not chosen or (exit_code and not unsquelched) else None
    if fleet and exit_code:
        fleet.require_reports()
    if fleet and not (chosen or prometheus):
        filtered = (severity, pattern, squelched, wanted) != (None, None, None, None)
        message(fleet.message("No faults match" if filtered else "No faults"))
    _show(shown, group_by, prometheus, view)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if unsquelched:
        ctx.exit(UNSQUELCHED)


def _check_usage(limit: int | None, group_by: str | None, prometheus: bool, view: View) -> None:
    """Refuse options that exclude each other."""
    if prometheus and (view != View() or limit is not None or group_by):
        raise click.UsageError("--prometheus excludes --limit and the options of a listing.")
    if group_by and limit is not None:
        raise click.UsageError("--group-by excludes --limit: it counts all faults.")
    check_view(view, grouping.titles(group_by) if group_by else fault_list.TITLES)


def _show(shown: list[Listed], group_by: str | None, prometheus: bool, view: View) -> None:
    if group_by:
        grouping.show(shown, group_by, view)
    elif not prometheus:
        fault_list.show(shown, view)


def _with_squelches(faults: list[Listed], squelched: bool | None) -> list[Listed]:
    """The faults that are squelched, or those that are not; ``None``: all."""
    return [fault for fault in faults if squelched is None or bool(fault.squelches) is squelched]


def _expose(db: DB, agent: str | None, wanted: "Filter[FaultItem] | None", faults: list[Listed]) -> None:
    """Write the faults' counts, and the heartbeats, in Prometheus' text format."""
    from ...metrics import exposition

    heartbeats = {row["name"]: row["updated"] for row in db.get_agents()}
    heartbeats = no_faults.admitted(heartbeats, agent, wanted)
    counts = [(each.fault["agent"], each.fault["severity"], bool(each.squelches)) for each in faults]
    families = exposition.of_store(counts, heartbeats, len(db.get_squelches()))
    write(exposition.text(families).decode().removesuffix("\n"))
