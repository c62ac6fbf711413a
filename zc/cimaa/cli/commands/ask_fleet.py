"""The command that asks a fleet in one go: it signs an action, sends it, follows it, and shows the answers."""

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from ...actions import documents, signatures, signed_files
from ...actions.fleet_actions import FleetActions
from .. import action_answers, action_checks, action_following
from ..action_answers import TITLES, AnswerFilter
from ..action_delivery import rate_option, send, yes_option
from ..action_drafts import draft, window_option
from ..action_files import module_checks
from ..output import View, message
from ..params import configuration, examples, listing_options, open_store
from .run_module import complete_modules, complete_parameters


@click.command(
    name="run",
    epilog=examples(
        "cimaa action run 'tag=db' file path=/etc name=shadow --for 10m",
        "cimaa action run 'agent=~^web os=~Linux' package name=openssl --found --yes",
    ),
)
@click.argument("target")
@click.argument("module", shell_complete=complete_modules)
@click.argument("words", metavar="[PARAMETER=VALUE]...", nargs=-1, shell_complete=complete_parameters)
@window_option("10m")
@click.option("--name", default="", help="The name of the action, as lists show it.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="A private SSH key; or a public one, whose private key is in ssh-agent.  [default: the first in ~/.ssh]",
)
@click.option("--found", is_flag=True, help="Show only agents that found something.")
@rate_option
@yes_option
@listing_options(TITLES)
@click.pass_context
def run_action(
    ctx: click.Context,
    /,
    target: str,
    module: str,
    words: Sequence[str],
    duration: int,
    name: str,
    key: Path | None,
    found: bool,
    rate: int,
    yes: bool,
    view: View,
) -> None:
    """Ask the agents of TARGET what MODULE finds, and show their answers.

    An action is written, signed with your key, and sent; then the command waits until all agents have answered, or the
    window is over.  Interrupt it to see the answers so far.  For an action that several people sign, see: cimaa action
    new
    """
    data = orjson.dumps(draft(module, words, target, name, duration, blank=False), option=orjson.OPT_INDENT_2)
    document = documents.parse(data, module_checks())
    given = signatures.find().sign(data, key or signed_files.default_key())
    action_checks.warn(configuration(ctx), document, data, given)
    with open_store(ctx) as db:
        action = send(db, document, data, given, rate, yes=yes)
        fleet = FleetActions(db)
        counted = action_following.follow(fleet, action)
        current = fleet.action(action.id) or action
        action_answers.write(action_answers.answered(fleet, current, AnswerFilter(found)), view)
        message(f"{action_following.line(counted)}.  See: cimaa action results {action.id[:8]}")
