"""How all programs of zc.cimaa start, report errors, and end."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from ..errors import Error
from .output import message, reason, report_traceback

#: Exit statuses, besides 0, and click's 2 for wrong usage.
FAILED = 1
INTERRUPTED = 128 + 2
READER_LEFT = 128 + 13

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
_PREFIX = "cimaa: error:"

version_option = click.version_option(package_name="zc.cimaa", message="%(prog)s %(version)s")


class Failure(click.ClickException):
    """An error of zc.cimaa, shown on one line."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002  # as click declares it
        """Write it to standard error."""
        message(f"{_PREFIX} {self.message}")


class Program(click.Command):
    """A command that is also a separate program."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with errors_shown():
            return super().invoke(ctx)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Have click show the errors of zc.cimaa, and exit silently if the reader of the output has closed it."""
    try:
        yield
    except Error as error:
        raise Failure(str(error)) from error
    except BrokenPipeError:  # else click reports an error
        _forget_output()
        raise click.exceptions.Exit(READER_LEFT) from None


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command with these arguments (default: the process's); return the exit status."""
    _open_streams()
    if completion_variable(name) in os.environ:
        from . import shells

        shells.register()
    try:
        return int(command.main(arguments, prog_name=name, standalone_mode=False) or 0)
    except click.UsageError as error:
        _show_usage(error)
        return error.exit_code
    except click.ClickException as error:
        Failure(error.format_message()).show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:
        if arguments is None:  # else the calling program continues to write
            _forget_output()
        message(f"{_PREFIX} {reason(error)}")
        return FAILED
    except Warning as error:
        message(f"{_PREFIX} {type(error).__name__}: {error}; Python is set to turn warnings into errors (-W)")
        return FAILED
    except Exception as error:
        _report_bug(error)
        return FAILED


def _report_bug(error: Exception) -> None:
    report_traceback(error)
    how = "with the traceback that CIMAA_DEBUG=1 shows"
    message(f"{_PREFIX} {type(error).__name__}: {error}; this is a bug in zc.cimaa, please report it {how}")


def completion_variable(program: str) -> str:
    """The environment variable by which a completion script requests completions, as click names it."""
    return f"_{program}_COMPLETE".replace("-", "_").upper()


def run_and_exit(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command with these arguments (default: the process's); return if it succeeds.

    :raises SystemExit: if it fails, after a message on standard error.
    """
    if status := run(command, name, arguments):
        sys.exit(status)


def _show_usage(error: click.UsageError) -> None:
    """Show the usage and the error as click does, but with the prefix of all errors."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        message(f"Try '{error.ctx.command_path} --help' for help.")
    message(f"{_PREFIX} {error.format_message()}")


def _open_streams() -> None:
    """Open standard streams that are closed, and escape characters that they cannot encode."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # it remains open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Drop the buffered output: Python would fail to write it again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
