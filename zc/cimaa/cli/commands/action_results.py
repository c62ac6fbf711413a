"""The command that shows what agents answered to an action."""

from pathlib import Path

import click

from ...actions.entries_of_actions import COMMAND
from ...actions.fleet_actions import FleetActions
from .. import action_answers, action_costs
from ..action_answers import TITLES, AnswerFilter
from ..output import View, message, write_json
from ..params import examples, listing_options, open_store
from ..program import FAILED
from .action_status import id_argument


@click.command(
    epilog=examples(
        "cimaa action results 3f2a9c01 --found",
        "cimaa action results 3f2a9c01 --failed --json",
        "cimaa action results 3f2a9c01 --found --agents",
        "cimaa action results 3f2a9c01 --verify agents.keys",
    )
)
@id_argument
@click.option("--found", is_flag=True, help="Only agents that found something.")
@click.option("--failed", is_flag=True, help="Only agents that refused it, failed, or did not run it in time.")
@click.option(
    "--agents", is_flag=True, help="Write only the names of the agents, as a JSON list: the agents of another action."
)
@click.option(
    "--verify",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Only accept answers that are signed with the keys in FILE: on each line an agent's name and its public key.",
)
@listing_options(TITLES)
@click.pass_context
def results(
    ctx: click.Context, start: str, found: bool, failed: bool, agents: bool, verify: Path | None, view: View
) -> None:
    """Show what the agents answered to an action.

    Each line is one thing that a module found, or an error.  Answers are those of the agents' hosts: they are not
    verified without --verify.  The exit status is 1 if an answer does not count.  ID may be cut to its first digits.

    On DynamoDB this reads all commands in the store, and for more than 100 agents all answers; what that costs is shown
    before.
    """
    if agents and view != View():
        raise click.UsageError("--agents writes a list of names: it excludes the options of the listing.")
    verified_by = None if verify is None else action_answers.verifier(verify)
    with open_store(ctx) as db:
        fleet = FleetActions(db)
        action = fleet.find(start)
        action_costs.show(fleet, COMMAND)
        answered = action_answers.answered(fleet, action, AnswerFilter(found, failed), verified_by)
        if agents:
            listed = list(answered)
            write_json([each.command.agent for each in listed if not each.wrong])
            complete = not any(each.wrong for each in listed)
        else:
            complete = action_answers.write(answered, view)
    if not complete:
        message("Some answers do not count.")
        ctx.exit(FAILED)
