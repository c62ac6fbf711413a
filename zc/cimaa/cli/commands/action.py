"""The command ``cimaa action``: questions and commands for a fleet, signed by people."""

import click

from .. import Commands
from ..params import examples
from ..program import HELP_OPTIONS

#: The module and the attribute of each command, in the order of the help.
ACTION_COMMANDS = {
    "new": "commands.draft_action:new",
    "sign": "commands.sign_action:sign",
    "check": "commands.check_action:check",
    "send": "commands.send_action:send_action",
    "list": "commands.action_status:list_actions",
    "status": "commands.action_status:status",
    "results": "commands.action_results:results",
    "cancel": "commands.action_status:cancel",
    "spool": "commands.spool_actions:spool",
    "modules": "commands.run_module:action_modules",
    "run": "commands.ask_fleet:run_action",
}


@click.group(
    cls=Commands,
    places=ACTION_COMMANDS,
    context_settings=HELP_OPTIONS,
    epilog=examples(
        "cimaa action run 'tag=db' file path=/etc name=shadow --for 10m",
        "cimaa action new file path=/etc name=shadow --target 'tag=db' > question.json",
        "cimaa action sign question.json",
        "cimaa action send question.json",
        "cimaa action results 3f2a9c01 --found",
    ),
)
def action() -> None:
    """Ask the agents of a fleet a question that people sign.

    An action is a JSON document in a file.  Its signatures are in FILE.sig beside it, made with SSH keys; they hold for
    the file byte for byte.  Each agent verifies and judges an action by its own configuration.  Agents get actions by
    way of the store, and answer there.
    """
