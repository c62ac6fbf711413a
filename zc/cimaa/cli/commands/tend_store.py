"""The command that does for the store what no agent does."""

import sys
from collections.abc import Iterator

import click

from ...db import DB
from ...units import format_utc
from ..output import message, write_json
from ..params import examples, open_store

# How many events are deleted at once: few, so that no report waits for long.
_PART = 1000


@click.command(epilog=examples("cimaa tend", "cimaa tend --dry-run", "cimaa tend --json"))
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the JSON of an agent's check, with metrics.")
@click.pass_context
def tend(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Delete history that is past its time, and entries that have expired.

    How long events are kept is set by history in the configuration's [database] section.  Run this command once a day,
    from cron or as a check of one agent, on a store that does not delete them by itself (PostgreSQL); elsewhere it does
    no harm.  It deletes in small parts, may be interrupted, and may run several times at once.
    """
    with open_store(ctx) as db:
        start = format_utc(db.history_start())
        events = db.count_expired_history() if dry_run else _prune(db, as_json)
    if as_json:
        metric = "expired_events" if dry_run else "deleted_events"
        write_json({"faults": [], "metrics": [{"name": metric, "value": events}]})
    else:
        done = "Would delete" if dry_run else "Deleted"
        message(f"{done} {events} event{'' if events == 1 else 's'} from before {start}.")


def _prune(db: DB, quiet: bool) -> int:
    """Delete all expired events, in parts; the number of those that were deleted."""
    if quiet or not sys.stderr.isatty():
        return sum(_parts(db))
    with click.progressbar(length=db.count_expired_history(), label="Deleting", file=sys.stderr) as bar:
        deleted = 0
        for part in _parts(db):
            deleted += part
            bar.update(part)
    return deleted


def _parts(db: DB) -> Iterator[int]:
    """Delete a part at a time; the sizes of the parts."""
    while part := db.prune_history(_PART):
        yield part
