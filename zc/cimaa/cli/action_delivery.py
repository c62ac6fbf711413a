"""Sends an action to the agents of its target: asks first, and shows how far it is."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import click

from .. import types
from ..actions import signatures, targets
from ..actions.documents import Document, format_time
from ..actions.entries_of_actions import StoredAction
from ..actions.fleet_actions import PART, FleetActions
from ..actions.signatures import Verifier
from ..db import DB
from ..dynamodb.costs import ACTION_READS, ACTION_WRITES
from ..errors import InvalidAction
from ..text import quoted
from . import consent
from .fault_list import counted
from .output import message
from .params import COUNT
from .users import login_name

#: Units that all agents together may spend on reading one action, in a second: DynamoDB allows 3,000 for an item.
READ_UNITS = 1500

rate_option = click.option(
    "--rate",
    type=COUNT,
    metavar="N",
    default="500",
    help="How many agents it is sent to in a second; fewer if the store limits how often they can read it."
    "  [default: 500]",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class Reached(NamedTuple):
    """The agents that an action is for, as far as the store knows them."""

    agents: list[str]
    #: Those that its document names, but that never reported.
    unknown: list[str]


def reached(db: DB, document: Document) -> Reached:
    """The agents that the action would reach now; each judges by its own facts."""
    unknown = set(document.target.agents)

    def known() -> Iterator[types.Agent]:
        for agent in FleetActions(db).agents():
            unknown.discard(agent["name"])
            yield agent

    names = targets.reached(document.target, known())
    return Reached(sorted(names), sorted(unknown))


def show_reached(found: Reached, most: int = 5) -> None:
    """Say which agents these are."""
    shown = ", ".join(found.agents[:most]) + (", ..." if len(found.agents) > most else "")
    message(f"It reaches {counted(len(found.agents), 'agent')}" + (f": {shown}." if shown else "."))
    if found.unknown:
        shown = ", ".join(found.unknown[:most]) + (", ..." if len(found.unknown) > most else "")
        message(f"Warning: {counted(len(found.unknown), 'agent')} that it names never reported: {shown}.")


def check_signed(data: bytes, given: bytes, what: str) -> None:
    """Refuse an action that is not signed, or whose signatures are not of these bytes.

    :raises InvalidAction: saying which signature is wrong.
    """
    if not given.strip():
        raise InvalidAction(f"{what} is not signed, so no agent would run it; see: cimaa action sign --help")
    try:
        Verifier(signatures.find().failure, {}).signed_by(data, given, time.time())
    except InvalidAction as error:
        raise InvalidAction(f"{what}.sig: {error}") from error


def send(db: DB, document: Document, data: bytes, given: bytes, rate: int, *, yes: bool) -> StoredAction:
    """Send a signed action to the agents of its target, after a question.

    :raises InvalidAction: if it reaches no agent, or was cancelled.
    :raises click.Abort: if the user does not want to, or interrupts it.
    """
    fleet = FleetActions(db)
    found = reached(db, document)
    show_reached(found)
    if not found.agents:
        raise InvalidAction("no agent is in its target; see: cimaa agents")
    units, rate = limited(db, len(data) + len(given), rate)
    if units is not None:
        number = len(found.agents)
        reads = units + ACTION_READS - 1  # besides the action, of which the constant has one
        message(f"It costs about {number * ACTION_WRITES:,} write units and {number * reads:,} read units.")
    window = f"from {format_time(document.valid_from)} to {format_time(document.expires)}"
    question = f"Send {quoted(document.name)}, {window}, to {counted(len(found.agents), 'agent')}?"
    if not yes:
        consent.ask(question, "--yes")
    action = fleet.add(data, given, login_name())
    try:
        added = deliver(fleet, document, found.agents, rate)
    except KeyboardInterrupt:
        _show_interrupted(action.id[:8])
        raise click.Abort from None
    had = len(found.agents) - added
    message(f"Sent {action.id[:8]} to {counted(added, 'agent')}" + (f"; {had} had it before." if had else "."))
    return action


def _show_interrupted(start: str) -> None:
    hint = f"cimaa action send FILE sends it to the others, cimaa action cancel {start} cancels it"
    message(f"Interrupted: {start} was sent to only some of the agents, which may run it; {hint}")


def limited(db: DB, size: int, rate: int) -> tuple[int | None, int]:
    """What reading an action of this size (bytes) costs an agent, and the rate, lowered to what the store allows."""
    units = db._read_units(size)
    return units, rate if units is None else min(rate, max(1, READ_UNITS // units))


def deliver(fleet: FleetActions, document: Document, agents: Sequence[str], rate: int, *, quiet: bool = False) -> int:
    """Add the commands, at most ``rate`` a second; how many were added."""
    part = min(PART, rate)
    parts = fleet.deliver(document, paced(agents, part, rate, time.monotonic, time.sleep), part)
    if quiet or not sys.stderr.isatty():
        return sum(added for _, added in parts)
    total = 0
    with click.progressbar(length=len(agents), label="Sending", file=sys.stderr) as bar:
        for number, added in parts:
            total += added
            bar.update(number)
    return total


def paced(
    agents: Sequence[str], part: int, rate: int, clock: Callable[[], float], sleep: Callable[[float], object]
) -> Iterator[str]:
    """The agents, ``part`` at a time, so that these are at most ``rate`` a second."""
    due = clock()
    for number, agent in enumerate(agents):
        if number and number % part == 0:
            due = max(due, clock() - 1) + part / rate
            sleep(max(0.0, due - clock()))
        yield agent
