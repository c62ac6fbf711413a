"""The ``cimaa`` command.

Each command is in the module of its group, which is imported when the command
is run: what shows faults loads nothing of what runs checks.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from .main import HELP_OPTIONS, errors_shown, version_option
from .main import run as _run

#: Each command, in the order of the help: the module that has it, and its name there.
COMMANDS = {
    "agent": "agent:agent",
    "run": "run:run",
    "check": "check:check",
    "install-service": "install_service:install_service",
    "faults": "faults:faults",
    "squelch": "squelches:squelch",
    "unsquelch": "squelches:unsquelch",
    "squelches": "squelches:squelches",
    "agents": "agents:agents",
    "remove-agent": "agents:remove_agent",
    "meta-check": "meta:meta_check",
    "cfengine": "cfengine:cfengine",
    "report": "report:report",
    "dump": "report:dump",
    "config": "settings:config",
    "backends": "settings:backends",
    "completion": "completion:completion",
    "setup": "setup:setup",
}


class Commands(click.Group):
    """A group of commands, each of which is imported when it is asked for."""

    def __init__(self, *args: Any, places: Mapping[str, str], **extra: Any) -> None:
        """``places`` has the module and the attribute of each command, by its name: ``module:attribute``."""
        super().__init__(*args, **extra)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # as click declares it
        """The commands' names, in the order of the help."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name."""
        if cmd_name not in self.places:
            return None
        module, _, attribute = self.places[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, and the arguments that are left for it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows no commands that are not imported
            raise click.NoSuchCommand(error.command_name, possibilities=self.places, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with errors_shown():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.option_name != "--config":
                raise
            raise click.UsageError("--config stands before the command: cimaa --config FILE ...", ctx) from None


@click.group(cls=Commands, places=COMMANDS, context_settings=HELP_OPTIONS)
@click.option("--config", metavar="FILE", type=click.Path(), help="The configuration file; see: cimaa config --help")
@version_option
def cimaa(config: str | None) -> None:  # the commands find it in the context
    """Faults of a fleet of independent monitoring agents.

    Agents report their faults to a store that the configuration names; without one it is a directory of
    this host.  Exit status: 0 for success, 1 for an error, 2 for wrong usage.  With CIMAA_DEBUG=1 in the
    environment, a bug is reported with its traceback.
    """


def main() -> int:
    """Run the command that the process's arguments name; the exit status."""
    return _run(cimaa, "cimaa")
