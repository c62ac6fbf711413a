"""Commands that behave as Nagios plugins do: the exit status is a state, and there is always a line of output.

Wrong usage is UNKNOWN (3), reported on standard output; so, by the guidelines, are ``-h`` and ``-V``.
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
from .params import Parsed

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TIMEOUT = "10"
_LONGEST = 86400


class Plugin(click.Command):
    """A command that is a plugin."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """The context, in which the arguments are read."""
        return _read(lambda: super(Plugin, self).make_context(info_name, args, *rest, **extra), info_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; whatever goes wrong is UNKNOWN, and has its line."""
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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{text!r} is not a number of seconds, more than 0 and at most {_LONGEST}")
    return seconds


def plugin_options(
    warning: str | None, critical: str | None, of: str, read: Callable[[str], Range] = parse
) -> Callable[[_Command], _Command]:
    """The options that every plugin has; ``of`` is what the ranges apply to."""
    kind = Parsed("range", read)
    shown: dict[str, Any] = {"metavar": "RANGE", "type": kind}

    def decorate(command: _Command) -> _Command:
        for option in (
            click.version_option(__version__, "-V", "--version", message="cimaa %(version)s"),
            click.option("-v", "--verbose", count=True, help="Show each item on a line of its own, too."),
            click.option(
                "-t",
                "--timeout",
                type=Parsed("seconds", _seconds),
                default=_TIMEOUT,
                show_default=True,
                metavar="SECONDS",
                help="The timeout.",
            ),
            click.option(
                "-c",
                "--critical",
                default=critical,
                show_default=True,
                help=f"Critical if {of} is not in this range.",
                **shown,
            ),
            click.option(
                "-w",
                "--warning",
                default=warning,
                show_default=True,
                help=f"A warning if {of} is not in this range.",
                **shown,
            ),
        ):
            command = option(command)
        return command

    return decorate


def finish(name: str, look: Callable[[], Sequence[Item]], timeout: float, good: str, verbose: int) -> None:
    """Run a check within ``timeout`` seconds, write what it found, and exit with its state."""
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
    except click.exceptions.Exit:  # it showed its help, or its version
        raise click.exceptions.Exit(State.UNKNOWN) from None


def _unknown(name: str | None, error: click.UsageError) -> click.exceptions.Exit:
    path = error.ctx.command_path if error.ctx else f"cimaa {name}"
    wrong = "Name one." if isinstance(error, click.exceptions.NoArgsIsHelpError) else error.format_message()
    write(plugin_output.line(name or "", State.UNKNOWN, f"{wrong.rstrip('.')}. See: {path} --help"))
    return click.exceptions.Exit(State.UNKNOWN)
