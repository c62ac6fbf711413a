"""The commands that set and remove squelches."""

import time
from collections.abc import Iterable, Iterator

import click

from ... import squelches as rules
from ...errors import InvalidInput
from ...types import Squelch
from ...units import format_time
from .. import fault_list
from ..fault_list import Listed, ago, counted
from ..output import message
from ..params import (
    DURATION,
    FUTURE_TIME,
    complete_squelched,
    examples,
    json_option,
    open_store,
    unknown,
)
from ..users import user_option

# The number of agents that a warning names.
_SHOWN = 5

_exact = click.option("--exact", is_flag=True, help="PATTERN is the whole name of a fault, not a regular expression.")


@click.command(
    epilog=examples(
        "cimaa squelch --exact '//web1/disk#/var' 'new disks on Monday' --until tomorrow",
        "cimaa squelch '^//web1/' 'moving to the new rack' --for 2h",
        "cimaa squelch '/disk#/backup$' 'full by design' --permanent",
        "cimaa squelch /load --dry-run",
    )
)
@click.argument("pattern", shell_complete=complete_squelched)
@click.argument("reason", required=False)
@_exact
@click.option("--permanent", is_flag=True, help="The squelch is meant to stay: cimaa meta-check does not report it.")
@click.option("--for", "duration", type=DURATION, metavar="DURATION", help="End after DURATION (90s, 15m, 2h, 7d, 1w).")
@click.option(
    "--until",
    type=FUTURE_TIME,
    metavar="TIME",
    help="End at TIME (08:00, tomorrow, 'friday 08:00', '2026-11-23 08:00').",
)
@user_option("sets it")
@click.option("--dry-run", is_flag=True, help="Only show the faults that would be silenced.")
@json_option
@click.pass_context
def squelch(
    ctx: click.Context,
    /,
    pattern: str,
    reason: str | None,
    exact: bool,
    permanent: bool,
    duration: int | None,
    until: int | None,
    user: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep faults from alerting.

    Silences the faults whose name matches PATTERN, and lists the current ones.  PATTERN is a regular expression (RE2)
    that may match anywhere in the name; ^ and $ match its start and its end.  With --exact, PATTERN is the name of a
    single fault.

    Without --for or --until the squelch stays until it is removed.  A squelch with the same PATTERN is replaced.
    REASON is for the users who see the squelch later; it is required except for a dry run.
    """
    if permanent + (duration is not None) + (until is not None) > 1:
        raise click.UsageError("Give only one of --permanent, --for and --until.")
    if reason is None and not dry_run:
        raise click.UsageError("Missing argument 'REASON': say why, for the users who see the squelch later.")
    now = int(time.time())
    regex = rules.exactly(pattern) if exact else pattern
    expires = until if duration is None else now + duration
    made = rules.squelch(regex, reason or "", user, permanent, expires, now)
    with open_store(ctx) as db:
        replaced = [old for old in db.get_squelch_details() if old["regex"] == regex]
        if not dry_run:
            db.squelch(made.regex, made.reason, made.user, made.permanent, made.expires)
        silenced = fault_list.listed(db, db.find_faults(pattern=regex))
    fault_list.show(silenced, as_json=as_json)
    for text in _messages(made.details(), silenced, replaced, dry_run):
        message(text)


@click.command(epilog=examples("cimaa unsquelch '^//web1/'", "cimaa unsquelch --exact '//web1/disk#/var'"))
@click.argument("pattern", shell_complete=complete_squelched)
@_exact
@user_option("removes it")
@click.pass_context
def unsquelch(ctx: click.Context, /, pattern: str, exact: bool, user: str) -> None:
    """Remove the squelch with exactly this PATTERN.

    With --exact, the one that 'cimaa squelch --exact PATTERN' set.
    """
    regex = rules.exactly(pattern) if exact else pattern
    with open_store(ctx) as db:
        known = [squelch["regex"] for squelch in db.get_squelch_details()]
        if regex not in known:
            raise InvalidInput(unknown("squelch", regex, known, "cimaa squelches"))
        db.unsquelch(regex, user=user)
        # Faults that match another squelch remain silenced.
        loud = [fault for fault in fault_list.listed(db, db.find_faults(pattern=regex)) if not fault.squelches]
    message(f"Removed {regex}; {counted(len(loud))} may alert again.")


def _messages(squelch: Squelch, silenced: list[Listed], replaced: list[Squelch], dry_run: bool) -> Iterator[str]:
    """The messages about a squelch that is set, or would be."""
    if warning := _wide(squelch["regex"], [fault.fault["agent"] for fault in silenced]):
        yield warning
    for old in replaced:
        verb = "It would replace" if dry_run else "It replaces"
        yield f"{verb} the squelch of {old['user']}, {ago(old['time'], squelch['time'])}: {old['reason']}"
    yield _summary(squelch, silenced, dry_run)


def _wide(regex: str, agents: Iterable[str]) -> str | None:
    """A warning if the pattern, which is not anchored, may silence more than intended."""
    names = sorted(set(agents))
    if not names or regex.startswith("^") or regex.endswith("$"):
        return None
    matches = rules.compiled(regex).search
    if inside := next(filter(matches, names), None):
        why = f"it is found in the name of the agent {inside}"
    elif len(names) > 1:
        why = f"it matches faults of {len(names)} agents: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
    else:
        return None
    return f"Warning: {regex!r} is searched anywhere in a fault's name, and {why}.  For one fault, use --exact NAME."


def _summary(squelch: Squelch, silenced: list[Listed], dry_run: bool) -> str:
    """The message about a squelch that is set, or would be."""
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
