"""The command that lists the faults of the fleet."""

from typing import TYPE_CHECKING, NamedTuple

import click

from ...db import DB
from ...faults import SEVERITIES
from ...units import format_local
from .. import fault_list, filtering, grouping, no_faults, past
from ..fault_list import UNSQUELCHED, Listed, counted
from ..filtering import OPERATORS, SHELLS
from ..output import View, message, write
from ..params import COUNT, PAST_TIME, SEVERITY, check_view, complete_agents, examples, listing_options, open_store

if TYPE_CHECKING:
    from ...filters import FaultItem, Filter

_HELP = f"""List the faults, now or at an earlier time.

Shows, worst first, each fault's severity, its age, its agent, name and message, and the squelches that silence it.

With --at, all of these are as they were at TIME: a duration ago ('2h ago'), a time (08:00: the last one), a day
(yesterday, friday) or both ('yesterday 08:00'), or a date ('2026-11-23 08:00').  It is an error if the history of an
agent does not reach back that far; 'agent!=NAME' leaves that agent out.

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
        "cimaa faults --at 03:00 --severity error  # what was wrong at 3 last night",
        "cimaa faults --group-by agent",
        "cimaa faults --table --sort agent --columns severity,agent,fault",
        "cimaa faults --match '/disk#' --json",
        "cimaa faults --prometheus > cimaa.new && mv cimaa.new cimaa.prom",
        "cimaa faults --severity critical --exit-code || echo 'something is critical'",
    ),
)
@click.argument("terms", metavar="[FILTER]...", nargs=-1, shell_complete=filtering.complete_fault_terms)
@click.option("--at", type=PAST_TIME, metavar="TIME", help="The faults at TIME, in place of the current ones.")
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
    at: int | None,
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
    _check_usage(at, limit, group_by, exit_code, prometheus, view)
    wanted = filtering.fault_filter(terms, exit_code=exit_code, past=at is not None)
    asked = _Asked(agent, severity, pattern, squelched, wanted, at)
    with open_store(ctx) as db, past.in_local_time():
        chosen = asked.find(db, limit)
        if prometheus:
            _expose(db, agent, wanted, chosen)
        shown = chosen[:limit]
        unsquelched = exit_code and fault_list.any_unsquelched(shown)
        if at is not None:
            asked.explain_past(db, at, chosen)
        elif not chosen or (exit_code and not unsquelched):
            fleet = no_faults.AskedAgents(db, agent, wanted)
            if exit_code:
                fleet.require_reports()
            if not (chosen or prometheus):
                message(fleet.message(asked.none()))
    _show(shown, group_by, prometheus, view, at)
    if len(shown) < len(chosen):
        message(f"Only the worst {counted(len(shown))} shown; there are more.")
    if unsquelched:
        ctx.exit(UNSQUELCHED)


class _Asked(NamedTuple):
    """The faults that were asked for."""

    agent: str | None
    severity: int | None
    pattern: str | None
    squelched: bool | None
    wanted: "Filter[FaultItem] | None"
    at: int | None

    def find(self, db: DB, limit: int | None) -> list[Listed]:
        """The faults, and at least one more than the ``limit`` if there are more."""
        # Without a limit if the squelches filter.
        most = None if limit is None or self.squelched is not None else limit + 1
        found = filtering.find(db, self.wanted, self.agent, self.severity, self.pattern, most, self.at)
        return [fault for fault in found if self.squelched is None or bool(fault.squelches) is self.squelched]

    def none(self) -> str:
        """What is said if there are none."""
        filters = (self.severity, self.pattern, self.squelched, self.wanted)
        return "No faults" if filters == (None, None, None, None) else "No faults match"

    def explain_past(self, db: DB, at: int, chosen: list[Listed]) -> None:
        """Say which time it was, and which agents were silent then."""
        agent = no_faults.asked_agent(self.agent, self.wanted)
        if not chosen:
            past.require_known(db, agent)
        silent = past.silent_at(db, at, agent)
        if self.wanted is not None:
            silent = [name for name in silent if self.wanted.admits("agent", name)]
        message(f"Faults at {format_local(at)}:" if chosen else f"{self.none()} at {format_local(at)}.")
        if silent:
            message(f"Silent at that time, with the faults of the last report: {past.named(silent)}.")


def _check_usage(
    at: int | None, limit: int | None, group_by: str | None, exit_code: bool, prometheus: bool, view: View
) -> None:
    """Refuse options that exclude each other."""
    if at is not None and (exit_code or prometheus):
        raise click.UsageError("--at excludes --exit-code and --prometheus, which show the present.")
    if prometheus and (view != View() or limit is not None or group_by):
        raise click.UsageError("--prometheus excludes --limit and the options of a listing.")
    if group_by and limit is not None:
        raise click.UsageError("--group-by excludes --limit: it counts all faults.")
    check_view(view, grouping.titles(group_by) if group_by else fault_list.TITLES)


def _show(shown: list[Listed], group_by: str | None, prometheus: bool, view: View, at: int | None) -> None:
    if group_by:
        grouping.show(shown, group_by, view)
    elif not prometheus:
        fault_list.show(shown, view, now=at)


def _expose(db: DB, agent: str | None, wanted: "Filter[FaultItem] | None", faults: list[Listed]) -> None:
    """Write the faults' counts, and the heartbeats, in Prometheus' text format."""
    from ...metrics import exposition

    heartbeats = {row["name"]: row["updated"] for row in db.get_agents()}
    heartbeats = no_faults.admitted(heartbeats, agent, wanted)
    counts = [(each.fault["agent"], each.fault["severity"], bool(each.squelches)) for each in faults]
    families = exposition.of_store(counts, heartbeats, len(db.get_squelches()))
    write(exposition.text(families).decode().removesuffix("\n"))
