"""Commands that behave as Nagios plugins do: a state is their exit status, and they have a line to tell, always.

Wrong usage is UNKNOWN (3), told on standard output; so, by the guidelines, are ``-h`` and ``-V``.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from .. import __version__
from ..checks import bounded, nagios
from ..checks.items import Item
from ..checks.ranges import Range, parse
from ..checks.states import State
from ..errors import Error
from .output import write
from .parameters import Parsed

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TIMEOUT = 10


class Plugin(click.Command):
    """A command that is a plugin."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """The context, in which the arguments are read."""
        return _read(lambda: super(Plugin, self).make_context(info_name, args, *rest, **extra), info_name)


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
    """The options that every plugin has; ``of`` says of what the ranges are."""
    kind = Parsed("range", read)
    shown: dict[str, Any] = {"metavar": "RANGE", "type": kind}

    def decorate(command: _Command) -> _Command:
        for option in (
            click.version_option(__version__, "-V", "--version", message="cimaa %(version)s"),
            click.option("-v", "--verbose", count=True, help="Tell of each thing on a line of its own, too."),
            click.option(
                "-t",
                "--timeout",
                type=click.FloatRange(min=0, min_open=True, max=86400),
                default=_TIMEOUT,
                show_default=True,
                metavar="SECONDS",
                help="How long it may take.",
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
    """Run a check, write what it found, and exit with its state."""
    try:
        state, text = nagios.output(name, bounded.run(look, timeout), good, verbose)
    except (TimeoutError, Error) as error:
        state, text = State.UNKNOWN, nagios.line(name, State.UNKNOWN, str(error))
    except Exception as error:  # a plugin tells whatever it is in one line
        state, text = State.UNKNOWN, nagios.line(name, State.UNKNOWN, f"{type(error).__name__}: {error}")
    write(text)
    raise click.exceptions.Exit(state)


def _read(make: Callable[[], click.Context], name: str | None) -> click.Context:
    try:
        return make()
    except click.UsageError as error:
        raise _unknown(name, error) from error
    except click.exceptions.Exit:  # it told its help, or its version
        raise click.exceptions.Exit(State.UNKNOWN) from None


def _unknown(name: str | None, error: click.UsageError) -> click.exceptions.Exit:
    path = error.ctx.command_path if error.ctx else f"cimaa {name}"
    wrong = "Name one." if isinstance(error, click.exceptions.NoArgsIsHelpError) else error.format_message()
    write(nagios.line(name or "", State.UNKNOWN, f"{wrong.rstrip('.')}. See: {path} --help"))
    return click.exceptions.Exit(State.UNKNOWN)
