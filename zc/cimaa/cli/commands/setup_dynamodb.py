"""The command ``setup-dynamodb``: creates and checks the tables, and prints policies.

Data goes to standard output, progress to standard error.
"""

from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Console

from ...dynamodb.db import connected
from ...dynamodb.records import check_prefix, full_name, schemas
from ...dynamodb.setup import policies, provisioning
from ...dynamodb.setup.provisioning import Step, Table, TableOptions
from ..output import write, write_json, write_lines
from ..params import COUNT, DURATION, examples, setup_configuration, setup_parameters
from ..program import HELP_OPTIONS, Program, run_and_exit, version_option
from .setup import settings

BACKEND = "zc.cimaa.dynamodb"


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.BadParameter(f"invalid tag {text!r}: write it like team=operations")
    return key, value


def _units(read: int | None, write: int | None) -> tuple[int, int] | None:
    if read is None and write is None:
        return None
    if read is None or write is None:
        raise click.UsageError("--read-units and --write-units belong together: give both, or neither for on-demand")
    return read, write


@click.command(
    name="setup-dynamodb",
    cls=Program,
    context_settings=HELP_OPTIONS,
    epilog=examples("setup-dynamodb --dry-run cimaa.cfg", "setup-dynamodb --policy agent cimaa.cfg"),
)
@setup_parameters
@click.option("--read-units", type=COUNT, metavar="N", help="Provision this many reads per second for each table.")
@click.option("--write-units", type=COUNT, metavar="N", help="Provision this many writes per second for each table.")
@click.option("--point-in-time-recovery", is_flag=True, help="Enable point-in-time recovery for the last 35 days.")
@click.option("--deletion-protection", is_flag=True, help="Protect the tables from deletion.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag the tables; may be given several times.")
@click.option(
    "--check",
    is_flag=True,
    help="Only show the tables and what would be done; exit status 1 if anything would be done.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option(
    "--policy",
    type=click.Choice(list(policies.ROLES)),
    help="Print the least-privilege IAM policy of a role.",
)
@click.option(
    "--wait",
    type=DURATION,
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for a table.",
)
@version_option
@click.pass_context
def setup_dynamodb(
    ctx: click.Context,
    /,
    read_units: int | None,
    write_units: int | None,
    point_in_time_recovery: bool,
    deletion_protection: bool,
    tags: Sequence[str],
    check: bool,
    dry_run: bool,
    policy: str | None,
    wait: int,
    **_file: object,
) -> None:
    """Create the tables of the DynamoDB store that the [database] section of the configuration file describes.

    It can be run again: existing tables keep their items and their capacity, and requested features that are missing
    are enabled.  Without units, new tables have on-demand capacity.
    """
    given = settings(BACKEND, setup_configuration(ctx))
    prefix = check_prefix(given["prefix"])
    if policy is not None:
        write_json(policies.policy(policy, prefix, given["region"]))
        return
    units = _units(read_units, write_units)
    wanted = TableOptions(units, point_in_time_recovery, deletion_protection, dict(map(_tag, tags)))
    connection = connected(given, persistent=True)
    from ...dynamodb import errors

    with errors.translating("setting up the tables", connection):
        steps = list(provisioning.steps(connection.client, prefix, wanted))  # all are examined before one is changed
        if check:
            _check(provisioning.existing(connection.client, prefix), steps)
        elif dry_run:
            _show(steps)
        else:
            _do(steps, connection.client, prefix, wait)


def _check(found: Mapping[str, Table | None], steps: Iterable[Step]) -> None:
    """Show the tables and what would be done.

    :raises click.exceptions.Exit: with status 1 if something would be done.
    """
    for name, table in found.items():
        write(f"{name}: {table.summary if table else 'missing'}")
    wanting = provisioning.to_do(found, steps)
    write_lines([f"to do: {line}" for line in wanting] or ["nothing to do"])
    if wanting:
        raise click.exceptions.Exit(1)


def _show(steps: Iterable[Step]) -> None:
    write_lines([f"{step.table}: {step.text}" for step in steps] or ["nothing to do: all tables exist"])


def _do(steps: Iterable[Step], client: object, prefix: str, wait: int) -> None:
    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("looking at the tables") as status:
        for step in steps:
            status.update(f"{step.table}: {step.text}")
            provisioning.perform(client, step, wait)
            console.print(f"{step.table}: {step.text}: done", soft_wrap=True)
        for table in schemas:
            name = full_name(prefix, table)
            status.update(f"{name}: waiting until it is active")
            provisioning.wait_active(client, name, wait)
            console.print(f"{name}: active", soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's.

    :raises SystemExit: if it fails, after a message on standard error.
    """
    run_and_exit(setup_dynamodb, "setup-dynamodb", arguments)
