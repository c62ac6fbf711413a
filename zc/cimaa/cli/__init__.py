"""The ``cimaa`` command.

Each command is in the module of its group, which is imported when the command
is run: what shows faults loads nothing of what runs checks.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click

from .. import __version__
from ..errors import Error
from .output import clean, message

#: Each command, in the order of the help: the module that has it, and its name there.
COMMANDS = {
    "agent": "agent:agent",
    "check": "check:check",
    "install-service": "install_service:install_service",
    "faults": "faults:faults",
    "squelch": "squelches:squelch",
    "unsquelch": "squelches:unsquelch",
    "squelches": "squelches:squelches",
    "agents": "agents:agents",
    "remove-agent": "agents:remove_agent",
    "meta-check": "meta:meta_check",
    "report": "report:report",
    "dump": "report:dump",
    "config": "settings:config",
    "backends": "settings:backends",
    "completion": "settings:completion",
}

#: Exit statuses, besides 0, and click's 2 for wrong usage.
FAILED = 1
INTERRUPTED = 128 + 2
READER_LEFT = 128 + 13


class Failure(click.ClickException):
    """An error of zc.cimaa's, told in one line."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it."""
        click.echo(clean(f"cimaa: error: {self.message}"), file=file, err=file is None)


class Commands(click.Group):
    """The group of all commands; each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # as click declares it
        """The commands' names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, and those that are left for it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows no commands that are not imported
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Error as error:
            raise Failure(str(error)) from error
        except click.NoSuchOption as error:
            if error.option_name != "--config":
                raise
            raise click.UsageError("--config stands before the command: cimaa --config FILE ...", ctx) from None
        except BrokenPipeError:  # which click would take for an error
            _forget_output()
            raise click.exceptions.Exit(READER_LEFT) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", type=click.Path(), help="The configuration file; see: cimaa config --help")
@click.version_option(__version__, prog_name="cimaa", message="%(prog)s %(version)s")
def cimaa(config: str | None) -> None:  # the commands find it in the context
    """Faults of a fleet of independent monitoring agents.

    Agents report their faults to a store that the configuration names; without one it is a directory of
    this host's.  Exit status: 0 if all went well, 1 for an error, 2 for wrong usage.
    """


def main() -> int:
    """Run the command that the process's arguments name; the exit status."""
    _open_streams()
    try:
        return int(cimaa.main(prog_name="cimaa", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:
        _forget_output()
        message(f"cimaa: error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return FAILED
    except Exception as error:
        message(f"cimaa: error: {type(error).__name__}: {error}; this is a defect of zc.cimaa's, please report it")
        return FAILED


def _open_streams() -> None:
    """Have a stream for each of the three, also where the caller closed it, and none that chokes on some character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # it stays open
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _forget_output() -> None:
    """Drop what is left to write, so that Python does not fail over it a second time when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
