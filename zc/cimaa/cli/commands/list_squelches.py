"""The command that lists the squelches."""

import time

import click

from ...db import DB
from ...squelches import Matcher
from ...types import Squelch
from ...units import format_time
from ..cells import Styled
from ..fault_list import ago_cell
from ..output import View, message, write_json, write_table
from ..params import examples, listing_options, open_store

_TITLES = ("pattern", "ends", "faults", "user", "set", "reason")


class _Listed(Squelch):
    """A squelch in the list."""

    in_force: bool
    #: The number of current faults that it silences.
    faults: int


@click.command(epilog=examples("cimaa squelches", "cimaa squelches --all --json"))
@click.option("--all", "everything", is_flag=True, help="Also squelches that have ended and were not removed.")
@listing_options(_TITLES)
@click.pass_context
def squelches(ctx: click.Context, everything: bool, view: View) -> None:
    """List the squelches in force.

    Shows when each ends, how many current faults it silences, and who set it, when and why.
    """
    with open_store(ctx) as db:
        in_force = set(db.get_squelches())
        found = [squelch for squelch in db.get_squelch_details() if everything or squelch["regex"] in in_force]
        silenced = _silenced(db, in_force)
    details: list[_Listed] = [
        {**squelch, "in_force": squelch["regex"] in in_force, "faults": silenced.get(squelch["regex"], 0)}
        for squelch in found
    ]
    if view.as_json:
        write_json(details)
        return
    now = time.time()
    write_table(
        _TITLES,
        (
            (s["regex"], _end(s), _number(s["faults"]), s["user"], ago_cell(s["time"], now), s["reason"])
            for s in details
        ),
        view,
    )
    if not details:
        message("No squelches." if everything else "No squelches are in force.")


def _silenced(db: DB, regexes: set[str]) -> dict[str, int]:
    """The number of current faults that each expression matches."""
    matching = Matcher(regexes).matching
    counts: dict[str, int] = {}
    for fault in db.find_faults() if regexes else ():
        for regex in matching(fault["name"]):
            counts[regex] = counts.get(regex, 0) + 1
    return counts


def _number(number: int) -> Styled:
    return Styled(str(number), order=number)


def _end(squelch: _Listed) -> str:
    if squelch["permanent"]:
        return "permanent"
    if "expires" not in squelch:
        return "when removed"
    return format_time(squelch["expires"]) + ("" if squelch["in_force"] else " (over)")
