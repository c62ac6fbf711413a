"""The command ``setup-dynamodb``: makes the tables, tells what it would make, prints policies.

What it is asked for goes to standard output, how it gets on to standard error.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

import click
import orjson
from rich.console import Console

from .. import options
from ..dynamodb.config import config_parse
from ..dynamodb.db import DB, connected
from ..dynamodb.records import check_prefix, full_name, schemas
from ..dynamodb.setup import policies, tables
from ..dynamodb.setup.tables import Step, Table, Wanted
from ..errors import Error
from ..units import parse_duration


class _Duration(click.ParamType[int]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.BadParameter(f"{text!r} is no tag: write it like team=operations")
    return key, value


def _units(read: int | None, write: int | None) -> tuple[int, int] | None:
    if read is None and write is None:
        return None
    if read is None or write is None:
        raise click.UsageError("--read-units and --write-units belong together: give both, or neither for on-demand")
    return read, write


@click.command(name="setup-dynamodb", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", type=click.Path())
@click.option("--read-units", type=click.IntRange(min=1), help="Provision so many reads a second for each table.")
@click.option("--write-units", type=click.IntRange(min=1), help="Provision so many writes a second for each table.")
@click.option("--point-in-time-recovery", is_flag=True, help="Keep backups to go back to, of the last 35 days.")
@click.option("--deletion-protection", is_flag=True, help="Let no table be deleted until this is switched off.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag the tables; may be given several times.")
@click.option(
    "--check",
    is_flag=True,
    help="Show the tables and what would be done, and do nothing; exit status 1 if something would be done.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option("--policy", type=click.Choice(list(policies.ROLES)), help="Print the least IAM policy for a role.")
@click.option("--wait", type=_Duration(), default="5m", show_default=True, help="How long to wait for a table.")
def _command(
    config: str,
    read_units: int | None,
    write_units: int | None,
    point_in_time_recovery: bool,
    deletion_protection: bool,
    tags: Sequence[str],
    check: bool,
    dry_run: bool,
    policy: str | None,
    wait: int,
) -> None:
    """Make the tables of the store that the [database] section of CONFIG describes.

    It may be run again: what stands is left as it is, with its items and its
    capacity; what is asked for and missing is switched on.  Without units, the
    tables are on-demand.
    """
    settings = options.parse("database", DB.options, _without_class(config_parse(config)))
    prefix = check_prefix(settings["prefix"])
    if policy is not None:
        document = policies.policy(policy, prefix, settings["region"])
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    units = _units(read_units, write_units)
    wanted = Wanted(units, point_in_time_recovery, deletion_protection, dict(map(_tag, tags)))
    connection = connected(settings, persistent=True)
    from ..dynamodb import errors

    with errors.translating("setting up the tables", connection):
        steps = list(tables.steps(connection.client, prefix, wanted))  # all are examined before one is changed
        if check:
            _check(tables.existing(connection.client, prefix), steps)
        elif dry_run:
            _tell(steps)
        else:
            _do(steps, connection.client, prefix, wait)


def _check(found: Mapping[str, Table | None], steps: Iterable[Step]) -> None:
    """Show the tables and what would be done.

    :raises SystemExit: with status 1 if something would be done.
    """
    for name, table in found.items():
        click.echo(f"{name}: {table.summary if table else 'missing'}")
    wanting = tables.to_do(found, steps)
    click.echo("\n".join(f"to do: {line}" for line in wanting) or "nothing to do")
    if wanting:
        sys.exit(1)


def _tell(steps: Iterable[Step]) -> None:
    told = [f"{step.table}: {step.text}" for step in steps]
    click.echo("\n".join(told) or "nothing to do: all tables stand")


def _do(steps: Iterable[Step], client: object, prefix: str, wait: int) -> None:
    console = Console(stderr=True, highlight=False)
    with console.status("looking at the tables") as status:
        for step in steps:
            status.update(f"{step.table}: {step.text}")
            tables.perform(client, step, wait)
            console.print(f"{step.table}: {step.text}: done", soft_wrap=True)
        for table in schemas:
            name = full_name(prefix, table)
            status.update(f"{name}: waiting until it is active")
            tables.wait_active(client, name, wait)
            console.print(f"{name}: active", soft_wrap=True)


def _without_class(section: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in section.items() if key != "class"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's.

    It returns if all went well.

    :raises SystemExit: if not, after telling on standard error what is wrong.
    """
    try:
        _command.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except Error as error:
        click.echo(f"setup-dynamodb: error: {error}", err=True)
        sys.exit(1)
