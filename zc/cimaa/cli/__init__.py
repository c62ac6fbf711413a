"""The ``cimaa`` command.

Each command is in a module of its own, which is imported when the command is run:
``cimaa faults`` does not load what runs checks.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from .program import HELP_OPTIONS, errors_shown, version_option
from .program import run as _run

#: The module and the attribute of each command, in the order of the help.
COMMANDS = {
    "agent": "commands.run_agent:agent",
    "run": "commands.run_check:run",
    "check": "commands.check_plugins:check",
    "module": "commands.run_module:module",
    "install-service": "commands.install_service:install_service",
    "faults": "commands.list_faults:faults",
    "history": "commands.show_history:history",
    "uptime": "commands.show_uptime:uptime",
    "squelch": "commands.squelch:squelch",
    "unsquelch": "commands.squelch:unsquelch",
    "squelches": "commands.list_squelches:squelches",
    "agents": "commands.list_agents:agents",
    "remove-agent": "commands.list_agents:remove_agent",
    "leases": "commands.list_leases:leases",
    "once": "commands.run_leased:once",
    "action": "commands.action:action",
    "meta-check": "commands.meta_check:meta_check",
    "cfengine": "commands.show_cfengine:cfengine",
    "report": "commands.report_dump:report",
    "dump": "commands.report_dump:dump",
    "config": "commands.show_config:config",
    "backends": "commands.show_config:backends",
    "costs": "commands.estimate_costs:costs",
    "completion": "commands.completion:completion",
    "setup": "commands.setup:setup",
    "tend": "commands.tend_store:tend",
}


class Commands(click.Group):
    """A group of commands, each of which is imported when it is used."""

    def __init__(self, *args: Any, places: Mapping[str, str], **extra: Any) -> None:
        """``places`` maps the name of each command to ``module:attribute``."""
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
        """The command that the arguments name, and its own arguments."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click suggests only commands that are imported
            raise click.NoSuchCommand(error.command_name, possibilities=self.places, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with errors_shown():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.option_name != "--config":
                raise
            raise click.UsageError("--config must precede the command: cimaa --config FILE ...", ctx) from None


@click.group(cls=Commands, places=COMMANDS, context_settings=HELP_OPTIONS)
@click.option("--config", metavar="FILE", type=click.Path(), help="The configuration file; see: cimaa config --help")
@version_option
def cimaa(config: str | None) -> None:  # the commands read it from the context
    """Faults of a fleet of independent monitoring agents.

    Agents report their faults to the store that the configuration names; without a configuration, the store is a
    directory of this host.  Exit status: 0 for success, 1 for an error, 2 for wrong usage.  With CIMAA_DEBUG=1 in the
    environment, a bug is reported with its traceback.
    """


def main() -> int:
    """Run the command that the process's arguments name; the exit status."""
    return _run(cimaa, "cimaa")
