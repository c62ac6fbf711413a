"""The command that sends the actions that other programs write as files."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from ...actions.documents import Document
from ...actions.fleet_actions import FleetActions
from ...errors import StoreUnavailable
from .. import action_following, spool_files
from ..action_delivery import deliver, limited, rate_option
from ..action_spool import ActionSpool
from ..output import message, reason
from ..params import INTERVAL, examples, open_store
from ..users import login_name


@click.command(
    epilog=examples("cimaa action spool /var/spool/cimaa", "cimaa action spool /var/spool/cimaa --once --keep 7d")
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--once", is_flag=True, help="Send what is new, write what became of the rest, and end.")
@click.option(
    "--keep",
    type=INTERVAL,
    metavar="DURATION",
    default="72h",
    help="How long to keep what is done or invalid.  [default: 72h]",
)
@rate_option
@click.pass_context
def spool(ctx: click.Context, directory: Path, once: bool, keep: int, rate: int) -> None:
    """Send the signed actions that are put into DIRECTORY/action/new, and write the answers as files.

    \b
    action/new        a file and its signatures in FILE.sig: write FILE.sig first, and rename FILE into place
    action/inflight   what was sent; FILE.status has its counters
    action/done       what is completed or cancelled
    action/invalid    what cannot be sent; FILE.reason says why
    command/ready     FILE/AGENT.json for each agent that has not looked at it
    command/inflight  the same for agents that run it
    command/returned  the same for agents that ended it
    command/done      the same, once the action is done

    The command may be killed at any time, and several hosts may send the same action.  One process works on a
    directory.  A file that is wrong is moved to action/invalid when it has not changed for 10 seconds.
    """
    with open_store(ctx) as db, spool_files.locked(directory):

        def give(fleet: FleetActions, document: Document, size: int, agents: Sequence[str]) -> None:
            deliver(fleet, document, agents, limited(db, size, rate)[1], quiet=True)

        actions = ActionSpool(directory, db, login_name(), give)
        actions.prepare()
        while True:
            try:
                for line in (*actions.send_new(), *actions.follow()):
                    message(line)
                actions.prune(keep)
            except (StoreUnavailable, OSError) as error:  # the disk may be full
                if once:
                    raise
                message(f"Trying again: {reason(error)}")
            if once:
                return
            time.sleep(action_following.BILLED_INTERVAL if actions.is_billed() else action_following.INTERVAL)
