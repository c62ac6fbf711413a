"""The commands that list and remove agents."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ...agents import DOUBLE_WITHIN, SEEN_WITHIN, SILENT_FOR
from ...db import DB
from ...errors import InvalidInput, StoreDenied
from ...types import AgentInstance, Heartbeat
from ...units import format_duration
from .. import filtering
from ..fault_list import ago_cell
from ..filtering import OPERATORS, SHELLS
from ..output import View, message, write_json, write_table
from ..params import DURATION, complete_agents, examples, listing_options, open_store, unknown
from ..users import user_option

_TITLES = ("agent", "last report", "reported by")
_OFFLINE = f"Only agents silent for {format_duration(SILENT_FOR)}, but not for {SEEN_WITHIN // 86400} days."
_DOUBLE = f"Only agents for which two or more instances reported in the last {format_duration(DOUBLE_WITHIN)}."


_HELP = f"""List the agents.

Shows the time of the last report of each, and the instances that report under its name.

A FILTER is one or more terms, all of which must hold.  A term is a word, which is searched for in the agent's name
and in the hosts of its instances, or KEY, an operator, and a value, without blanks:

\b
  agent                the name
  silent               the time since the last report: 90s, 15m, 2h, 7d, 1w
  host, os, pid        of an instance
  version              of an instance: 0.10 is more than 0.9
  tag                  of an instance, as its [agent] tags has it

{OPERATORS}

An agent with several instances is listed if one of them satisfies all terms.

{SHELLS}
"""


@click.command(
    help=_HELP,
    epilog=examples(
        "cimaa agents",
        "cimaa agents --old 15m",
        "cimaa agents os=~Linux 'version<0.2' 'silent<1d'",
        "cimaa agents --late",
        "cimaa agents --double --json",
    ),
)
@click.argument("terms", metavar="[FILTER]...", nargs=-1, shell_complete=filtering.complete_agent_terms)
@click.option(
    "--old", type=DURATION, metavar="DURATION", help="Only agents silent for at least this long (15m, 2h, 7d)."
)
@click.option("--late", is_flag=True, help="Only agents that did not report within the time that they said.")
@click.option("--offline", is_flag=True, help=_OFFLINE)
@click.option("--double", is_flag=True, help=_DOUBLE)
@listing_options(_TITLES)
@click.pass_context
def agents(
    ctx: click.Context, terms: tuple[str, ...], old: int | None, late: bool, offline: bool, double: bool, view: View
) -> None:
    """List the agents; see the help text above."""
    if (old is not None) + late + offline + double > 1:
        raise click.UsageError("Give only one of --old, --late, --offline and --double.")
    wanted = filtering.agent_filter(terms)
    with open_store(ctx) as db:
        found = filtering.find_agents(db, wanted, _found(db, old, late, offline, double))
    if view.as_json:
        write_json(found)
        return
    now = time.time()
    write_table(
        _TITLES,
        ((agent["name"], ago_cell(agent["updated"], now), _reported_by(agent)) for agent in found),
        view,
    )
    if not found:
        message("No such agents." if terms or late or offline or double or old is not None else "No agents.")


@click.command(name="remove-agent", epilog=examples("cimaa remove-agent web1.example.com"))
@click.argument("agent", shell_complete=complete_agents)
@user_option("removes it")
@click.pass_context
def remove_agent(ctx: click.Context, agent: str, user: str) -> None:
    """Remove an agent that is no longer in use.

    Its faults, its heartbeat and its instances are removed; its history stays, and says who removed it.  If it still
    runs, its next report adds it again.
    """
    with open_store(ctx) as db:
        _require_known(db, agent)
        db.remove_agent(agent, user=user)
    message(f"Removed {agent}.")


def _require_known(db: DB, agent: str) -> None:
    """Refuse the name of an unknown agent, if these credentials may list the agents.

    On some stores, the credentials of an agent may remove that agent, but not list agents.
    """
    try:
        known = [row["name"] for row in db.get_agents()]
    except StoreDenied:
        return
    if agent not in known:
        raise InvalidInput(unknown("agent", agent, known, "cimaa agents"))


def _found(db: DB, old: int | None, late: bool, offline: bool, double: bool) -> Sequence[Heartbeat]:
    if old is not None:
        return db.old_agents(old)
    if late:
        return db.late_agents()
    if offline:
        return db.offline_agents()
    return db.double_agents() if double else db.get_agents()


def _reported_by(agent: Mapping[str, Any]) -> str:
    if "late" in agent:
        return f"late by {format_duration(agent['late'])}: it said within {format_duration(agent['within'])}"
    return _instances(agent)


def _instances(agent: Mapping[str, Any]) -> str:
    return "; ".join(_instance(instance) for instance in agent.get("instances", ()))


def _instance(instance: AgentInstance) -> str:
    process = "" if instance["pid"] is None else f" pid {instance['pid']}"
    tags = f" {' '.join(instance['tags'])}" if "tags" in instance else ""
    return f"{instance['host']}{process} ({instance['version']}, {instance['os']}){tags}"
