"""The commands that list the actions in the store, show how far one is, and cancel it."""

from typing import Any

import click

from ...actions.documents import format_time
from ...actions.entries_of_actions import (
    CANCELLED,
    COMMAND,
    COMPLETED,
    EXPIRED,
    REFUSED,
    RUNNING,
    Counters,
    StoredAction,
)
from ...actions.fleet_actions import FleetActions
from ...errors import InvalidAction, StoreError
from ...text import quoted
from ...units import format_time as local_time
from .. import action_costs, action_following
from ..action_following import follow as follow_action
from ..cells import Cell, Styled
from ..output import View, message, write_json, write_table
from ..params import examples, json_option, listing_options, open_store, starting
from ..users import login_name

_TITLES = ("id", "state", "name", "ends", "sent by", "sent")
_COUNTERS = ("command", "agents")


def complete_actions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """The ids of the actions that the store has."""
    try:
        with open_store(ctx) as db:
            return starting(incomplete, (action.id for action in FleetActions(db).actions()))
    except Exception:  # a message would be written into the line that is being typed
        return []


id_argument = click.argument("start", metavar="ID", shell_complete=complete_actions)


@click.command(name="list", epilog=examples("cimaa action list", "cimaa action list --json"))
@listing_options(_TITLES)
@click.pass_context
def list_actions(ctx: click.Context, view: View) -> None:
    """List the actions in the store, the one that was sent last first.

    They are kept for 30 days after the end of their windows, or as long as actions in the section [database] says.
    """
    with open_store(ctx) as db:
        fleet = FleetActions(db)
        found = fleet.actions()
        if view.as_json:
            write_json([action_following.shape(fleet, action) for action in found])
            return
        write_table(_TITLES, (_row(fleet, action) for action in found), view)
    if not found:
        message("No actions.")


@click.command(epilog=examples("cimaa action status 3f2a9c01", "cimaa action status 3f2a9c01 --follow"))
@id_argument
@click.option("--follow", is_flag=True, help="Go on until all agents have answered, or the window is over.")
@json_option
@click.pass_context
def status(ctx: click.Context, start: str, follow: bool, as_json: bool) -> None:
    """Show in which state the commands of an action are: how many agents have done what.

    \b
    sent       the agent has not looked at it
    running    it runs
    success    it ran, and did all that was asked
    failed     it ran, and did not do all that was asked
    timeout    it did not end in time
    refused    the agent does not permit it; see: cimaa action results
    cancelled  the action was cancelled before the agent ran it
    expired    the window ended before the agent ran it
    lost       it was claimed, and is not known to have run

    ID may be cut to its first digits.  On DynamoDB each look reads all commands in the store; what that costs is shown
    before, and --follow looks once a minute.
    """
    with open_store(ctx) as db:
        fleet = FleetActions(db)
        action = fleet.find(start)
        counted = follow_action(fleet, action) if follow else _counters(fleet, action)
        action = fleet.action(action.id) or action
        if as_json:
            write_json(action_following.shape(fleet, action, counted))
            return
        write_table(_COUNTERS, ((name, str(number)) for name, number in counted.states.items() if number))
        now = action_following.state(fleet, action, counted)
        message(f"{action.id[:8]}, {quoted(action.document().name)}, is {now}: {action_following.line(counted)}.")


@click.command(epilog=examples("cimaa action cancel 3f2a9c01"))
@id_argument
@click.pass_context
def cancel(ctx: click.Context, start: str) -> None:
    """Cancel an action: agents that have not begun to run it will not.

    What is running is not ended; an action whose window is over cannot be cancelled.  ID may be cut to its first
    digits.
    """
    with open_store(ctx) as db:
        fleet = FleetActions(db)
        action = fleet.find(start)
        if action.cancelled_by:
            message(f"{action.id[:8]} was cancelled by {action.cancelled_by} before.")
            return
        if action_following.state(fleet, action) == COMPLETED:
            raise InvalidAction(f"the window of the action {action.id[:8]} is over: there is nothing to cancel")
        action = fleet.cancel(action.id, login_name())
        message(f"Cancelled {action.id[:8]}{_progress(fleet, action)}.")


def _progress(fleet: FleetActions, action: StoredAction) -> str:
    """How many agents a cancelled action has reached; empty if that cannot be read, or the store bills it."""
    if fleet.is_billed():
        return ""
    try:
        counted = fleet.counters(action)
    except StoreError:  # the action is cancelled nevertheless
        return ""
    running = counted.states[RUNNING]
    skipped = sum(counted.states[state] for state in (CANCELLED, EXPIRED, REFUSED))
    return f": {running} running it, {counted.done - skipped} ended it, {skipped} will not run it"


def _counters(fleet: FleetActions, action: StoredAction) -> Counters:
    action_costs.show(fleet, COMMAND)
    return fleet.counters(action)


def _row(fleet: FleetActions, action: StoredAction) -> tuple[Cell, ...]:
    try:
        document = action.document()
        name, ends = document.name, Styled(format_time(document.expires), order=document.expires)
    except InvalidAction as error:
        name, ends = f"(damaged: {error})", Styled("")
    sent = Styled(local_time(action.sent), order=action.sent)
    return action.id, action_following.state(fleet, action) or "damaged", name, ends, action.sender, sent
