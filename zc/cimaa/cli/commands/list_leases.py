"""The command that lists leases, and releases or forgets one."""

import time

import click

from ...db import DB
from ...errors import InvalidInput
from ...leases import Lease
from ...units import format_duration, format_time
from ..cells import Styled
from ..output import View, message, write_json, write_table
from ..params import complete_leases, examples, listing_options, open_store, unknown

_TITLES = ("lease", "holder", "held for", "ends", "token")


@click.command(epilog=examples("cimaa leases", "cimaa leases --json", "cimaa leases --release nightly-backup"))
@click.option(
    "--release",
    metavar="NAME",
    shell_complete=complete_leases,
    help="End a lease, so that the next one that asks gets it.",
)
@click.option(
    "--forget",
    metavar="NAME",
    shell_complete=complete_leases,
    help="Remove a lease and its state; its tokens begin again with 1.",
)
@listing_options(_TITLES)
@click.pass_context
def leases(ctx: click.Context, release: str | None, forget: str | None, view: View) -> None:
    """List the leases: who has each, for how long, until when, and its token.

    Those that are over stay in the list, because the next token follows from the last.
    """
    if (release, forget) != (None, None) and (None not in (release, forget) or view != View()):
        raise click.UsageError("--release and --forget exclude each other, and the options of the list.")
    with open_store(ctx) as db:
        if release is not None:
            _release(db, release)
        elif forget is not None:
            _forget(db, forget)
        else:
            _list(db.get_leases(), view)


def _list(found: list[Lease], view: View) -> None:
    if view.as_json:
        write_json([_shape(lease) for lease in found])
        return
    now = time.time()
    write_table(_TITLES, (_row(lease, now) for lease in found), view)
    if not found:
        message("No leases.")


def _shape(lease: Lease) -> dict[str, object]:
    shown = lease._asdict() | {"over": not lease.remaining}
    del shown["state"]  # it is the holder's, and may be large
    return shown


def _row(lease: Lease, now: float) -> tuple[str, str, Styled, str, Styled]:
    held = (now if lease.remaining else lease.until) - lease.since
    ends = format_time(lease.until) + ("" if lease.remaining else " (over)")
    return (
        lease.name,
        lease.holder,
        Styled(format_duration(held), order=held),
        ends,
        Styled(str(lease.token), order=lease.token),
    )


def _release(db: DB, name: str) -> None:
    found = {lease.name: lease for lease in db.get_leases()}
    if name not in found:
        raise InvalidInput(unknown("lease", name, found, "cimaa leases"))
    holder = found[name].holder
    if db.release(name, holder):
        message(f"Released {name}, which {holder} had: the next one that asks gets it, which may be {holder}.")
    else:
        message(f"{name} was over already.")


def _forget(db: DB, name: str) -> None:
    if not db.forget_lease(name):
        raise InvalidInput(unknown("lease", name, (lease.name for lease in db.get_leases()), "cimaa leases"))
    message(f"Forgot {name}.  Its tokens begin again with 1: what refuses lower tokens must forget its last one, too.")
