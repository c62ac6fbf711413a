"""The command that runs another one, if no other host does."""

import os
import secrets
import signal

import click

from ...agent.config import Settings
from ...agent.tasks import run_until_signal
from ...db import DB
from ...leases import Lease
from ...limits import LEASE
from ...text import cut
from ...units import format_duration, format_time
from ..leased_run import LeasedRun, LeaseLost
from ..output import message
from ..params import INTERVAL, complete_leases, configuration, examples, open_store

#: The exit status if the lease was lost (EX_TEMPFAIL of sysexits.h).
LOST = 75
#: The exit statuses of shells, if a command cannot be run, or is not found.
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
# The longest part (bytes) of a holder's name that is the agent's.
_AGENT = 200


class _BeforeDashes(click.Command):
    """A command whose options end at ``--``, after which another command follows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        given = [*args]
        if "--" not in given and not ctx.resilient_parsing and not {*given} & {*ctx.help_option_names}:
            raise _misplaced(ctx)
        rest = super().parse_args(ctx, args)
        if "--" in given and not ctx.resilient_parsing:
            after = given[given.index("--") + 1 :]
            if [*ctx.params["command"]] != after:
                raise _misplaced(ctx)
        return rest


def _misplaced(ctx: click.Context) -> click.UsageError:
    return click.UsageError("Write -- before the command to run: cimaa once NAME --for 1h -- COMMAND", ctx)


@click.command(
    cls=_BeforeDashes,
    epilog=examples(
        "cimaa once nightly-report --for 30m -- date --utc",
        "cimaa once cleanup --for 5m --release --busy 1 -- sh -c 'echo $CIMAA_LEASE_TOKEN'",
    ),
)
@click.argument("name", shell_complete=complete_leases)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
@click.option(
    "--for",
    "seconds",
    type=INTERVAL,
    required=True,
    metavar="DURATION",
    help="For how long no other host runs the command, from its start (30m); longer if it runs longer.",
)
@click.option("--release", is_flag=True, help="Let another host run it as soon as the command has ended.")
@click.option(
    "--busy",
    type=click.IntRange(0, 255),
    default=0,
    show_default=True,
    metavar="STATUS",
    help="The exit status if another host has the lease.",
)
@click.pass_context
def once(ctx: click.Context, /, name: str, command: tuple[str, ...], seconds: int, release: bool, busy: int) -> None:
    """Run a command, unless another host runs it or has just run it.

    For jobs of cron that several hosts have, in case one is down: the host that gets the lease NAME runs the command,
    and the others do nothing.  The lease is renewed while the command runs, and kept until --for has passed since the
    start, so that hosts whose clocks differ do not run it one after the other.

    The exit status is that of the command, 0 (--busy) if another host has the lease, and 75 if the lease was lost,
    because the store was unavailable for too long or an operator released it: the command is then ended with SIGTERM,
    and with SIGKILL when the lease is over.  All processes that it started end with it.  $CIMAA_LEASE_TOKEN is the
    token of the lease.
    """
    with open_store(ctx) as db:
        _check_length(ctx, db, seconds)
        holder = _holder(Settings.load(configuration(ctx)).name)
        run = LeasedRun(db, name, holder, seconds, message)
        lease = run.take()
        if lease.holder != holder:
            message(_busy_text(lease))
            ctx.exit(busy)
        ctx.exit(_run(run, name, command, release))


def _check_length(ctx: click.Context, db: DB, seconds: int) -> None:
    if not max(1, db.clock_margin) <= seconds <= LEASE:
        least = f"clock_margin, by which the clocks of hosts may differ ({format_duration(db.clock_margin)}),"
        raise click.UsageError(f"--for must be at least {least if db.clock_margin else '1s'} and at most a day.", ctx)


def _holder(agent: str) -> str:
    """A name that no other run has, on this or another host."""
    return f"{cut(agent, _AGENT)} pid {os.getpid()} {secrets.token_hex(4)}"


def _busy_text(lease: Lease) -> str:
    return f"{lease.name} is not run here: {lease.holder} has the lease until {format_time(lease.until)}."


def _run(run: LeasedRun, name: str, command: tuple[str, ...], release: bool) -> int:
    signals = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT
    try:
        return run_until_signal(run.run(command), *signals)
    except LeaseLost as error:
        message(f"cimaa: error: the lease {name} was lost, {error}")
        release = True  # if it is still this run's, others need not wait
        return LOST
    except OSError as error:
        message(f"cimaa: error: cannot run {command[0]}: {error.strerror or error}")
        release = True
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    finally:
        run.finish(release=release)
