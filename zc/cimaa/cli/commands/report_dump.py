"""The commands that read a report, and write a dump."""

from typing import IO, Any

import click

from ... import limits
from ...agent.rules import check_json
from ...agents import this_host
from ...errors import InvalidFault
from ...units import format_size
from ..fault_list import counted
from ..output import message, write_json
from ..params import INTERVAL, complete_agents, examples, open_store

# White space and escapes make a text longer than its content.
_MOST = 8 * limits.REPORT


@click.command(
    epilog=examples(
        'echo \'[{"name": "//web1/raid", "severity": "error", "message": "degraded"}]\' | cimaa report web1',
        "cimaa report web1 faults.json",
        "echo '[]' | cimaa report backup --within 25h",
    )
)
@click.argument("agent", shell_complete=complete_agents)
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--within",
    type=INTERVAL,
    metavar="DURATION",
    help="The agent is late if it does not report again within this time (90s, 25h).",
)
@click.pass_context
def report(ctx: click.Context, agent: str, file: IO[bytes], within: int | None) -> None:
    """Report the faults of an agent.

    The report is the complete list of the agent's faults, and replaces the previous one.  An agent that is not in the
    store yet is added.  FILE (or standard input) has a JSON list of faults, or {"faults": [...]}.  A fault has a name,
    a severity (a number, or one of critical, error, warning, info, debug), a message, and any other keys.
    """
    if file.isatty():
        message("Type the report as JSON; end it with Ctrl-D.")
    faults = _faults(file)
    with open_store(ctx, this_host()) as db:
        db.set_faults(agent, faults, within)
    message(f"{agent} reported {counted(len(faults))}.")


@click.command(epilog=examples("cimaa dump", "cimaa dump > backup.json"))
@click.pass_context
def dump(ctx: click.Context) -> None:
    """Write the whole store as JSON.

    It has all faults, heartbeats and squelches.  The heartbeat of an agent is a fault of the agent '_', named after it.
    """
    with open_store(ctx) as db:
        write_json(db.dump())


def _faults(file: IO[bytes]) -> list[Any]:
    try:
        return check_json.listed(check_json.load(_text(file)))
    except InvalidFault as error:
        raise InvalidFault(f"the report in {_name(file)} cannot be used: {error}") from error


def _text(file: IO[bytes]) -> str:
    content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise InvalidFault(f"it has more than {format_size(_MOST)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFault(f"byte {error.start} is not UTF-8") from None


def _name(file: IO[bytes]) -> str:
    name = getattr(file, "name", "<stdin>")
    return "standard input" if name == "<stdin>" else str(name)
