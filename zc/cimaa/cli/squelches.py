"""The commands that set, remove and show squelches."""

import os
import pwd
import time

import click

from .. import squelches as rules
from ..db import DB
from ..errors import InvalidInput
from ..squelches import Matcher
from ..types import Squelch
from ..units import format_time
from . import listing
from .listing import Listed, ago, counted
from .output import message, write_json, write_table
from .parameters import DURATION, TIME_TO_COME, complete_squelches, examples, json_option, open_store, unknown


class _Listed(Squelch):
    """A squelch in the list."""

    in_force: bool
    #: How many current faults it silences.
    faults: int


@click.command(
    epilog=examples(
        "cimaa squelch '^//web1/' 'moving to the new rack' --for 2h",
        "cimaa squelch '/disk#/backup$' 'full by design' --permanent",
        "cimaa squelch /load --dry-run",
    )
)
@click.argument("pattern", shell_complete=complete_squelches)
@click.argument("reason", required=False)
@click.option("--permanent", is_flag=True, help="It is meant to stand.")
@click.option(
    "--for", "duration", type=DURATION, metavar="DURATION", help="It ends after this time (90s, 15m, 2h, 7d)."
)
@click.option("--until", type=TIME_TO_COME, metavar="TIME", help="It ends then (08:00, or '2026-11-23 08:00').")
@click.option("--user", help="Who sets it.  [default: who you are, also under sudo]")
@click.option("--dry-run", is_flag=True, help="Set nothing, only tell which faults it would silence.")
@json_option
@click.pass_context
def squelch(
    ctx: click.Context,
    pattern: str,
    reason: str | None,
    permanent: bool,
    duration: int | None,
    until: int | None,
    user: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep faults from alerting.

    Those are meant whose name matches PATTERN; the current ones among them are listed.  PATTERN is a regular
    expression (RE2), found anywhere in the name unless ^ and $ tie it to the ends.  Without an end it stands until
    it is removed.  One with the same PATTERN is replaced.  REASON tells the others why; a dry run needs none.
    """
    if permanent + (duration is not None) + (until is not None) > 1:
        raise click.UsageError("Give only one of --permanent, --for and --until.")
    if reason is None and not dry_run:
        raise click.UsageError("Missing argument 'REASON': say why, for those who find the squelch later.")
    now = int(time.time())
    expires = until if duration is None else now + duration
    made = rules.squelch(pattern, reason or "", login_name() if user is None else user, permanent, expires, now)
    with open_store(ctx) as db:
        replaced = [old for old in db.get_squelch_details() if old["regex"] == pattern]
        if not dry_run:
            db.squelch(made.regex, made.reason, made.user, made.permanent, made.expires)
        silenced = listing.listed(db, db.find_faults(pattern=pattern))
    listing.show(silenced, as_json=as_json)
    for old in replaced:
        verb = "It would replace" if dry_run else "It replaces"
        message(f"{verb} the squelch of {old['user']}, {ago(old['time'], now)}: {old['reason']}")
    message(_told(made.details(), silenced, dry_run))


@click.command(epilog=examples("cimaa unsquelch '^//web1/'"))
@click.argument("pattern", shell_complete=complete_squelches)
@click.pass_context
def unsquelch(ctx: click.Context, pattern: str) -> None:
    """Remove a squelch: the one with exactly this PATTERN."""
    with open_store(ctx) as db:
        known = [squelch["regex"] for squelch in db.get_squelch_details()]
        if pattern not in known:
            raise InvalidInput(unknown("squelch", pattern, known, "cimaa squelches"))
        db.unsquelch(pattern)
        # Faults that another squelch silences too stay silent.
        loud = [fault for fault in listing.listed(db, db.find_faults(pattern=pattern)) if not fault.squelches]
    message(f"Removed {pattern}; {counted(len(loud))} may alert again.")


@click.command(epilog=examples("cimaa squelches", "cimaa squelches --all --json"))
@click.option("--all", "everything", is_flag=True, help="Also those that ended and were not removed.")
@json_option
@click.pass_context
def squelches(ctx: click.Context, everything: bool, as_json: bool) -> None:
    """List the squelches in force.

    Until when each stands, how many faults it silences now, who set it, when and why.
    """
    with open_store(ctx) as db:
        in_force = set(db.get_squelches())
        found = [squelch for squelch in db.get_squelch_details() if everything or squelch["regex"] in in_force]
        silenced = _silenced(db, in_force)
    details: list[_Listed] = [
        {**squelch, "in_force": squelch["regex"] in in_force, "faults": silenced.get(squelch["regex"], 0)}
        for squelch in found
    ]
    if as_json:
        write_json(details)
        return
    now = time.time()
    write_table(
        ("pattern", "ends", "faults", "user", "set", "reason"),
        ((s["regex"], _end(s), str(s["faults"]), s["user"], ago(s["time"], now), s["reason"]) for s in details),
    )
    if not details:
        message("No squelches." if everything else "No squelches are in force.")


def login_name() -> str:
    """Who runs this: the user that became root with sudo, else the process's."""
    uid = os.getuid()
    if uid == 0 and (user := os.environ.get("SUDO_USER")):
        return user
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _silenced(db: DB, regexes: set[str]) -> dict[str, int]:
    """How many current faults each of the expressions matches."""
    matching = Matcher(regexes).matching
    counts: dict[str, int] = {}
    for fault in db.find_faults() if regexes else ():
        for regex in matching(fault["name"]):
            counts[regex] = counts.get(regex, 0) + 1
    return counts


def _told(squelch: Squelch, silenced: list[Listed], dry_run: bool) -> str:
    """What to tell of a squelch that is set, or would be."""
    regex = squelch["regex"]
    others = sum(any(other != regex for other in fault.squelches) for fault in silenced)
    also = f" ({others} of them silenced by others too)" if others else ""
    what = f"{counted(len(silenced), 'current fault')}{also}"
    if dry_run:
        return f"Would silence {what}; nothing was set."
    return f"Squelched {regex} {_until(squelch)}, by {squelch['user']}: it silences {what}."


def _until(squelch: Squelch) -> str:
    if squelch["permanent"]:
        return "permanently"
    return f"until {format_time(squelch['expires'])}" if "expires" in squelch else "until it is removed"


def _end(squelch: _Listed) -> str:
    if squelch["permanent"]:
        return "permanent"
    if "expires" not in squelch:
        return "when removed"
    return format_time(squelch["expires"]) + ("" if squelch["in_force"] else " (over)")
