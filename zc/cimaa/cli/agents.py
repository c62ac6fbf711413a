"""The commands about agents: who reports, and who no longer."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..agents import DOUBLE_WITHIN, SEEN_WITHIN, SILENT_FOR
from ..db import DB
from ..errors import InvalidInput, StoreDenied
from ..types import AgentInstance, Heartbeat
from ..units import format_duration
from .listing import ago
from .output import message, write_json, write_table
from .parameters import DURATION, complete_agents, examples, json_option, open_store, unknown

_OFFLINE = f"Only those silent for {format_duration(SILENT_FOR)} that reported in the last {SEEN_WITHIN // 86400} days."
_DOUBLE = f"Only those for which several reported side by side in the last {format_duration(DOUBLE_WITHIN)}."


@click.command(epilog=examples("cimaa agents", "cimaa agents --old 15m", "cimaa agents --double --json"))
@click.option("--old", type=DURATION, metavar="DURATION", help="Only those whose last report is so old (15m, 2h, 7d).")
@click.option("--offline", is_flag=True, help=_OFFLINE)
@click.option("--double", is_flag=True, help=_DOUBLE)
@json_option
@click.pass_context
def agents(ctx: click.Context, old: int | None, offline: bool, double: bool, as_json: bool) -> None:
    """List the agents.

    When each reported last, and who reports in its name.
    """
    if (old is not None) + offline + double > 1:
        raise click.UsageError("Give only one of --old, --offline and --double.")
    with open_store(ctx) as db:
        found = _found(db, old, offline, double)
    if as_json:
        write_json(found)
        return
    now = time.time()
    write_table(
        ("agent", "last report", "reported by"),
        ((agent["name"], ago(agent["updated"], now), _instances(agent)) for agent in found),
    )
    if not found:
        message("No agents." if (old, offline, double) == (None, False, False) else "No such agents.")


@click.command(name="remove-agent", epilog=examples("cimaa remove-agent web1.example.com"))
@click.argument("agent", shell_complete=complete_agents)
@click.pass_context
def remove_agent(ctx: click.Context, agent: str) -> None:
    """Remove an agent that is no more.

    Its faults go, its last report, and who reported.  If it still runs, it is there again with its next report.
    """
    with open_store(ctx) as db:
        _require_known(db, agent)
        db.remove_agent(agent)
    message(f"Removed {agent}.")


def _require_known(db: DB, agent: str) -> None:
    """Refuse a name that no agent has, if these credentials may list the agents.

    An agent's own credentials may remove that agent and, on some stores, list none.
    """
    try:
        known = [row["name"] for row in db.get_agents()]
    except StoreDenied:
        return
    if agent not in known:
        raise InvalidInput(unknown("agent", agent, known, "cimaa agents"))


def _found(db: DB, old: int | None, offline: bool, double: bool) -> Sequence[Heartbeat]:
    if old is not None:
        return db.old_agents(old)
    if offline:
        return db.offline_agents()
    return db.double_agents() if double else db.get_agents()


def _instances(agent: Mapping[str, Any]) -> str:
    return "; ".join(_instance(instance) for instance in agent.get("instances", ()))


def _instance(instance: AgentInstance) -> str:
    process = "" if instance["pid"] is None else f" pid {instance['pid']}"
    return f"{instance['host']}{process} ({instance['version']}, {instance['os']})"
