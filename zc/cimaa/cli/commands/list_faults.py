"""The command that shows the faults of the fleet."""

import time
from typing import TYPE_CHECKING

import click

from ...db import DB
from ...errors import InvalidInput, StoreError
from ...faults import SEVERITIES
from .. import fault_list, filtering, grouping
from ..fault_list import UNSQUELCHED, Listed, ago, counted
from ..output import View, message, write
from ..params import SEVERITY, check_view, complete_agents, examples, listing_options, open_store, unknown

if TYPE_CHECKING:
    from ...filters import FaultItem, Filter


@click.command(
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
    )
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
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the N worst faults.")
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
    help="Write counts by agent and severity, as node_exporter's textfile collector reads.",
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
    """List the current faults, worst first.

    Shows each fault's severity, its age, its agent, name and message, and the squelches that silence it.

    A FILTER is one or more terms, all of which must hold.  A term is a word, which is searched for in name and message
    in upper or lower case, or KEY, an operator, and a value, without blanks:

    \b
      severity   critical, error, warning, info, debug, or a number
      agent, name, message
      age        90s, 15m, 2h, 7d, 1w
      squelched  yes, no
      KEY        any other key that faults have, such as team

    \b
      =  !=        the same, or not
      =~ !~        matches a regular expression (RE2) anywhere, or does not
      < <= > >=    less, more

    A fault without the KEY passes != and !~ only.

    Put a term with <, >, !, blanks or quotes in single quotes, or the shell acts on them; and, within these, a value
    with blanks in double quotes.

    With --exit-code a typing error must not pass for a fleet without faults.  So there, and wherever a KEY resembles
    one of the keys above, put KEY in double quotes within the single ones: '"team"=shop'.
    """
    _check_usage(limit, group_by, prometheus, view)
    wanted = filtering.fault_filter(terms, exit_code=exit_code)
    with open_store(ctx) as db:
        # One more than shown tells whether there are more; which are squelched only the whole list can tell.
        most = None if limit is None or squelched is not None else limit + 1
        found = filtering.find(db, wanted, agent, severity, pattern, most)
        chosen = [fault for fault in found if squelched is None or bool(fault.squelches) is squelched]
        if prometheus:
            _expose(db, agent, wanted, chosen)
        elif not chosen:
            filtered = (severity, pattern, squelched, wanted) != (None, None, None, None)
            message(_nothing(db, agent, wanted, "No faults match" if filtered else "No faults", exit_code))
    shown = chosen[:limit]
    if group_by:
        grouping.show(shown, group_by, view)
    elif not prometheus:
        fault_list.show(shown, view)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if exit_code and fault_list.any_unsquelched(shown):
        ctx.exit(UNSQUELCHED)


def _check_usage(limit: int | None, group_by: str | None, prometheus: bool, view: View) -> None:
    """Refuse options that do not go together."""
    if prometheus and (view != View() or limit is not None or group_by):
        raise click.UsageError("--prometheus is not for use with the options of a listing.")
    if group_by and limit is not None:
        raise click.UsageError("--group-by is not for use with --limit: it counts all faults.")
    check_view(view, grouping.titles(group_by) if group_by else fault_list.TITLES)


def _expose(db: DB, agent: str | None, wanted: "Filter[FaultItem] | None", faults: list[Listed]) -> None:
    """Write the faults' counts, and the heartbeats, in Prometheus' text format."""
    from ...metrics import exposition

    counted = [(each.fault["agent"], each.fault["severity"], bool(each.squelches)) for each in faults]
    heartbeats = _admitted(_heartbeats(db), agent, wanted)
    families = exposition.of_store(counted, heartbeats, len(db.get_squelches()))
    write(exposition.text(families).decode().removesuffix("\n"))


def _nothing(db: DB, agent: str | None, wanted: "Filter[FaultItem] | None", none: str, exit_code: bool) -> str:
    """The message for an empty list, which tells a fleet without faults from one that does not report.

    :raises InvalidInput: for an agent that the store does not have.
    :raises StoreError: if a script wants to know whether there are faults, and no agent has ever reported.
    """
    heartbeats = _heartbeats(db)
    if not heartbeats:
        text = "no agent has reported to this store (see: cimaa agent --help, cimaa config)"
        if exit_code:
            raise StoreError(text)
        return f"{none}, but {text}."
    now = time.time()
    named = agent
    if named is None and wanted is not None and (term := wanted.first("agent", "=")):
        named = term.value
    if named is not None and named not in heartbeats:
        raise InvalidInput(unknown("agent", named, heartbeats, "cimaa agents"))
    if named is not None:
        return f"{none}: {named} reported {ago(heartbeats[named], now)}."
    admitted = _admitted(heartbeats, agent, wanted)
    if not admitted:
        raise InvalidInput("the filter's terms on agent hold for no agent of this store (see: cimaa agents)")
    return f"{none}: {counted(len(admitted), 'agent')} reported, the last {ago(max(admitted.values()), now)}."


def _heartbeats(db: DB) -> dict[str, int]:
    """When each agent reported last."""
    return {row["name"]: row["updated"] for row in db.get_agents()}


def _admitted(heartbeats: dict[str, int], agent: str | None, wanted: "Filter[FaultItem] | None") -> dict[str, int]:
    """The heartbeats of the agents that ``--agent`` and the filter admit."""
    return {
        name: updated
        for name, updated in heartbeats.items()
        if agent in (None, name) and (wanted is None or wanted.admits("agent", name))
    }
