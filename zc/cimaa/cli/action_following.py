"""How far an action is: its counters, in MIG's words, once or until all agents have ended it."""

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from ..actions import entries_of_actions
from ..actions.documents import format_time
from ..actions.entries_of_actions import CANCELLED, COMMAND, COMPLETED, Counters, StoredAction
from ..actions.fleet_actions import FleetActions
from ..errors import InvalidAction
from . import action_costs
from .output import message

#: How often the counters are read (seconds); and at most how often where reading them is billed.
INTERVAL, BILLED_INTERVAL = 2, 60


def state(fleet: FleetActions, action: StoredAction, counted: Counters | None = None) -> str:
    """The state of an action now; empty if its document is faulty."""
    try:
        document = action.document()
    except InvalidAction:
        return ""
    return entries_of_actions.action_state(document, bool(action.cancelled_by), fleet.now(), counted)


def shape(fleet: FleetActions, action: StoredAction, counted: Counters | None = None) -> dict[str, Any]:
    """An action as JSON."""
    about: dict[str, Any]
    try:
        document = action.document()
        window = {"validfrom": format_time(document.valid_from), "expireafter": format_time(document.expires)}
        about = {"name": document.name, **window}
    except InvalidAction as error:
        about = {"error": str(error)}
    found = {"id": action.id, "state": state(fleet, action, counted), **about, "sender": action.sender}
    found |= {"sent": action.sent} | ({"cancelled_by": action.cancelled_by} if action.cancelled_by else {})
    return found if counted is None else found | {"counters": counted._asdict()}


def line(counted: Counters) -> str:
    """The counters on one line."""
    states = [f"{number} {name}" for name, number in counted.states.items() if number]
    return f"{counted.done} of {counted.sent} done, {counted.found} found something: {', '.join(states) or 'none'}"


def follow(fleet: FleetActions, action: StoredAction, sleep: Callable[[float], object] = time.sleep) -> Counters:
    """Show how far the action is until it is completed or cancelled, or the user interrupts; the last counters."""
    is_billed = action_costs.show(fleet, COMMAND, " once a minute")
    counted = fleet.counters(action)

    def wait() -> None:
        sleep(BILLED_INTERVAL if is_billed else _pause(fleet, action))

    try:
        if not sys.stderr.isatty():
            return _follow_in_lines(fleet, action, counted, wait)
        with click.progressbar(length=counted.sent, label="Answered", file=sys.stderr) as bar:
            bar.update(counted.done)
            while not is_over(fleet, action, counted):
                wait()
                before, counted = counted, fleet.counters(action)
                bar.update(counted.done - before.done)
    except KeyboardInterrupt:
        message(f"Interrupted; the action goes on: cimaa action status {action.id[:8]}")
    return counted


def _follow_in_lines(
    fleet: FleetActions, action: StoredAction, counted: Counters, wait: Callable[[], None]
) -> Counters:
    message(line(counted))
    while not is_over(fleet, action, counted):
        wait()
        before, counted = counted, fleet.counters(action)
        if counted != before:
            message(line(counted))
    return counted


def _pause(fleet: FleetActions, action: StoredAction) -> float:
    """How long (seconds) to wait for the next look: until the end of the window at most, when all states are final."""
    try:
        left = action.document().expires + 1 - fleet.now()
    except InvalidAction:
        return INTERVAL
    return min(INTERVAL, left) if left > 0 else INTERVAL


def is_over(fleet: FleetActions, action: StoredAction, counted: Counters) -> bool:
    """True if the action is completed or cancelled, and runs nowhere."""
    current = fleet.action(action.id) or action  # it may be cancelled meanwhile
    return state(fleet, current, counted) in (COMPLETED, CANCELLED) and not counted.states["running"]
