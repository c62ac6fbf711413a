"""The command setup-postgres: makes what a store in PostgreSQL needs, or brings it up to date."""

import sys
from pathlib import Path
from typing import Any

import click

from .. import options
from ..config import database_settings
from ..errors import ConfigurationError, Error
from .parameters import DURATION

BACKEND = "zc.cimaa.postgres"


@click.command(epilog="Everything may be run again: what is there already stays as it is.")
@click.argument("config", type=click.Path(path_type=Path))
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
@click.option(
    "--wait",
    type=DURATION,
    default="10m",
    show_default=True,
    help="How long the server may take for one statement, before it is given up.",
)
def main(config: Path, local: bool, remote: bool, show: bool, passwords: Path | None, wait: int) -> None:
    """Set up the PostgreSQL store that the [database] section of the file CONFIG describes.

    Makes the tables, or brings older ones up to date, and lets the store's roles use them:
    SCHEMA_agent reports, SCHEMA_operator squelches and removes agents, SCHEMA_reader reads.
    """
    if local and remote:
        raise click.UsageError("--local and --remote exclude each other")
    place = "local" if local else "remote" if remote else None
    try:
        _install(_settings(config), place, wait, show, passwords)
    except Error as error:
        _tell(f"setup-postgres: error: {error}")
        sys.exit(1)


def _settings(config: Path) -> dict[str, Any]:
    """The section's values by option."""
    chosen, *rest = database_settings(config)
    if chosen.text != BACKEND:
        raise ConfigurationError(f"[database] class ({chosen.source}) is {chosen.text}: this command is for {BACKEND}")
    return {s.option.name: options.value("database", s.option, s.text, s.source) for s in rest}


def _install(settings: dict[str, Any], place: str | None, wait: int, show: bool, file: Path | None) -> None:
    from ..postgres.setup.install import Installation  # late: the driver may be missing, which is told by now
    from ..postgres.setup.roles import write_passfile

    installation = Installation(settings, place, wait, click.echo if show else None, _tell)
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
        _tell("The new roles' passwords, as lines for a passfile; they are not shown again:")
        click.echo(passfile, nl=False)


def _tell(text: str) -> None:
    click.echo(text, err=True)
