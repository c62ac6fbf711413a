"""Commands that are Nagios plugins: the exit status is a state, and there is always a line of output.

Wrong usage is UNKNOWN (3), reported on standard output, and so are ``-h`` and ``-V``, as the guidelines require.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .. import __version__
from ..checks import plugin_output
from ..checks.items import Item
from ..checks.ranges import Range, parse
from ..checks.states import State
from ..errors import Error
from ..threads import within
from .output import report_traceback, write
from .params import WAIT, Parsed

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TIMEOUT = "10s"


class Plugin(click.Command):
    """A command that is a plugin."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """The context, in which the arguments are read."""
        return _read(lambda: super(Plugin, self).make_context(info_name, args, *rest, **extra), info_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the plugin; any error is UNKNOWN, with a line of output."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except click.UsageError as error:
            raise _unknown(ctx.info_name, error) from error
        except Exception as error:
            raise _failed(ctx.info_name or "", error) from error


class Plugins(click.Group):
    """A group of plugins."""

    command_class = Plugin

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """The context, in which the group's own arguments are read."""
        return _read(lambda: super(Plugins, self).make_context(info_name, args, *rest, **extra), info_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The plugin that the arguments name, and those that are left for it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _unknown(ctx.info_name, error) from error


def plugin_options(
    warning: str | None, critical: str | None, of: str, read: Callable[[str], Range] = parse
) -> Callable[[_Command], _Command]:
    """The options of every plugin; ``of`` is what the ranges apply to."""
    kind = Parsed("range", read)

    def limit(flag: str, name: str, default: str | None, text: str) -> Callable[[_Command], _Command]:
        help_text = f"{text} if {of} is not in this range."
        return click.option(flag, name, type=kind, default=default, show_default=True, metavar="RANGE", help=help_text)

    def decorate(command: _Command) -> _Command:
        for option in (
            click.version_option(__version__, "-V", "--version", message="cimaa %(version)s"),
            click.option("-v", "--verbose", count=True, help="Show each item on its own line as well."),
            timeout_option(_TIMEOUT, "How long to wait (a duration, or seconds)."),
            limit("-c", "--critical", critical, "Critical"),
            limit("-w", "--warning", warning, "Warning"),
        ):
            command = option(command)
        return command

    return decorate


def timeout_option(default: str, text: str) -> Callable[[_Command], _Command]:
    """The option ``--timeout``, in seconds."""
    names = ("-t", "--timeout")
    return click.option(*names, type=WAIT, default=default, show_default=True, metavar="DURATION", help=text)


def finish(name: str, look: Callable[[], Sequence[Item]], timeout: float, good: str, verbose: int) -> None:
    """Run a check within ``timeout`` seconds, write its result, and exit with its state."""
    state, text = plugin_output.output(name, within(look, timeout), good, verbose)
    write(text)
    raise click.exceptions.Exit(state)


def _failed(name: str, error: Exception) -> click.exceptions.Exit:
    expected = isinstance(error, TimeoutError | Error)
    if not expected:
        report_traceback(error)
    write(plugin_output.line(name, State.UNKNOWN, str(error) if expected else f"{type(error).__name__}: {error}"))
    return click.exceptions.Exit(State.UNKNOWN)


def _read(make: Callable[[], click.Context], name: str | None) -> click.Context:
    try:
        return make()
    except click.UsageError as error:
        raise _unknown(name, error) from error
    except click.exceptions.Exit:  # after --help or --version
        raise click.exceptions.Exit(State.UNKNOWN) from None


def _unknown(name: str | None, error: click.UsageError) -> click.exceptions.Exit:
    path = error.ctx.command_path if error.ctx else f"cimaa {name}"
    wrong = "Name one." if isinstance(error, click.exceptions.NoArgsIsHelpError) else error.format_message()
    write(plugin_output.line(name or "", State.UNKNOWN, f"{wrong.rstrip('.')}. See: {path} --help"))
    return click.exceptions.Exit(State.UNKNOWN)
