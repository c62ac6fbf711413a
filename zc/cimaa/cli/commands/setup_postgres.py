"""The command setup-postgres: makes what a store in PostgreSQL needs, or brings it up to date."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..output import message
from ..params import examples, setup_configuration, setup_parameters
from ..program import HELP_OPTIONS, Program, run_and_exit, version_option
from .setup import settings

BACKEND = "zc.cimaa.postgres"


@click.command(
    name="setup-postgres",
    cls=Program,
    context_settings=HELP_OPTIONS,
    epilog=examples("setup-postgres --print cimaa.cfg", "setup-postgres --local cimaa.cfg"),
)
@setup_parameters
@click.option(
    "--local",
    is_flag=True,
    help="Make the database and the roles as well, on the server of this machine, over its socket, as its superuser.",
)
@click.option(
    "--remote",
    is_flag=True,
    help="Work in a database that exists, over TCP with TLS, as its owner; make the roles if that one may.",
)
@click.option("--print", "show", is_flag=True, help="Show the SQL instead of running it.")
@click.option(
    "--passwords",
    type=click.Path(path_type=Path),
    help="Write the new roles' passwords to this new file, for libpq's passfile=, instead of printing them.",
)
@version_option
@click.pass_context
def setup_postgres(
    ctx: click.Context, /, local: bool, remote: bool, show: bool, passwords: Path | None, **_file: object
) -> None:
    """Set up the PostgreSQL store that the [database] section of the configuration file describes.

    Makes the tables, or brings older ones up to date, and lets the store's roles use them: SCHEMA_agent reports,
    SCHEMA_operator squelches and removes agents, SCHEMA_reader reads.  It may be run again: what exists stays as it
    is.
    """
    if local and remote:
        raise click.UsageError("--local and --remote exclude each other")
    place = "local" if local else "remote" if remote else None
    _install(settings(BACKEND, setup_configuration(ctx)), place, show, passwords)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's.

    :raises SystemExit: if it fails, after a message on standard error.
    """
    run_and_exit(setup_postgres, "setup-postgres", arguments)


def _install(settings: dict[str, Any], place: str | None, show: bool, file: Path | None) -> None:
    from ...postgres.installation import Installation  # late: the driver may be missing, which is told by now
    from ...postgres.roles import write_passfile

    installation = Installation(settings, place, click.echo if show else None, message)
    kept: list[Path] = []

    def keep(text: str) -> None:
        if file is not None:
            write_passfile(file, text)
            kept.append(file)

    try:
        passfile = installation.run(keep)
    except BaseException:
        for path in kept:
            path.unlink()  # the roles that it is for were not made
        raise
    if passfile and not kept:
        message("The new roles' passwords, as lines for a passfile; they are not shown again:")
        click.echo(passfile, nl=False)
