"""The command setup-postgres: makes what a store in PostgreSQL needs, or brings it up to date."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ...errors import StoreUnavailable
from ...text import one_line
from ..output import message, write_json
from ..params import DURATION, examples, setup_configuration, setup_parameters
from ..program import HELP_OPTIONS, Program, run_and_exit, version_option
from .setup import settings

if TYPE_CHECKING:
    from ...postgres.setup.install import Installation
    from ...postgres.setup.plan import SetupReport

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
    help="Write the new passwords to this new file, for passfile= in a dsn, instead of printing them.",
)
@click.option("--agent", "agents", multiple=True, metavar="NAME", help="Make a login for this agent alone; repeatable.")
@click.option(
    "--agents-from",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="The same for each line of FILE; - is standard input.",
)
@click.option("--renew", is_flag=True, help="Give the logins of these agents new passwords instead.")
@click.option("--remove", is_flag=True, help="Remove the logins of these agents instead.")
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many connections each of these logins may have.",
)
@click.option("--list-agents", is_flag=True, help="List the agents that have logins of their own, and these.")
@click.option("--check", is_flag=True, help="Say what is there and what would be done, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --list-agents and --check: write JSON.")
@click.option(
    "--wait",
    type=DURATION,
    default="10m",
    show_default=True,
    help="How long the server may take for one statement, before it is given up.",
)
@version_option
@click.pass_context
def setup_postgres(
    ctx: click.Context,
    /,
    local: bool,
    remote: bool,
    show: bool,
    passwords: Path | None,
    agents: tuple[str, ...],
    agents_from: TextIO | None,
    renew: bool,
    remove: bool,
    connections: int,
    list_agents: bool,
    check: bool,
    as_json: bool,
    wait: int,
    **_file: object,
) -> None:
    """Set up the PostgreSQL store that the [database] section of the configuration file describes.

    Makes the tables, or brings older ones up to date, and lets the store's roles use them: SCHEMA_agent reports,
    SCHEMA_operator squelches and removes agents, SCHEMA_investigator sends actions, SCHEMA_reader reads.  It may be run
    again: what exists stays as it is.
    """
    action = "renew" if renew else "remove" if remove else None
    _check_combination(ctx.params, action)
    place = "local" if local else "remote" if remote else None
    names = (*agents, *_names(agents_from))
    options = settings(BACKEND, setup_configuration(ctx))
    installation = _installation(options, place, wait, show, names, action, connections)
    if check:
        _show_report(installation.check(), as_json)
    elif list_agents:
        _show_logins(installation.logins(), as_json)
    else:
        _run(installation, passwords)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's.

    :raises SystemExit: if it fails, after a message on standard error.
    """
    run_and_exit(setup_postgres, "setup-postgres", arguments)


def _check_combination(params: dict[str, Any], action: str | None) -> None:
    """Refuse options that contradict each other, before anything is done."""
    for first, second in (("local", "remote"), ("renew", "remove"), ("list_agents", "check")):
        if params[first] and params[second]:
            raise click.UsageError(f"--{first} and --{second} exclude each other".replace("_", "-"))
    names_agents = params["agents"] or params["agents_from"]
    if action is not None and not names_agents:
        raise click.UsageError(f"--{action} is for the agents that --agent or --agents-from names")
    if params["list_agents"] and names_agents:
        raise click.UsageError("--list-agents lists all agents: leave out --agent and --agents-from")


def _show_report(report: "SetupReport", as_json: bool) -> None:
    if as_json:
        write_json(report._asdict())
    else:
        click.echo("\n".join(one_line(line) for line in report.lines()))


def _show_logins(logins: dict[str, str], as_json: bool) -> None:
    pairs = sorted(logins.items())
    if as_json:
        write_json([{"agent": agent, "login": login} for agent, login in pairs])
    else:
        click.echo("".join(f"{one_line(agent)}\t{login}\n" for agent, login in pairs), nl=False)


def _names(file: TextIO | None) -> list[str]:
    """The lines of the file that are not empty, without the space around them."""
    try:
        return [] if file is None else [name for line in file if (name := line.strip())]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--agents-from: this file is not encoded in UTF-8: {error}") from error


def _installation(
    settings: dict[str, Any],
    place: str | None,
    wait: int,
    show: bool,
    names: tuple[str, ...],
    action: str | None,
    connections: int,
) -> "Installation":
    from ...postgres.setup.install import Installation  # late: a missing driver has been reported by now
    from ...postgres.setup.logins import MAKE, LoginRequest, checked

    request = LoginRequest(checked(names), action or MAKE, connections)
    echo = click.echo if show else None
    return Installation(settings, message, place=place, wait=wait, show=echo, request=request)


def _run(installation: "Installation", file: Path | None) -> None:
    from ...postgres.setup.passwords import write_passfile

    made: list[str] = []

    def keep(text: str) -> None:
        if file is not None:
            write_passfile(file, text)
        made.append(text)

    try:
        installation.run(keep)
    except StoreUnavailable:
        if made:
            message("It is not known whether the server committed this.  If it did, these are the new passwords:")
            _show(made[0], file)
        raise
    except BaseException:
        if made and file is not None:
            file.unlink()  # what it is for was not committed
        raise
    if made and file is None:
        message("The new passwords, as lines for a passfile; they are not shown again:")
        _show(made[0], file)


def _show(passfile: str, file: Path | None) -> None:
    if file is None:
        click.echo(passfile, nl=False)
    else:
        message(f"see {file}")
