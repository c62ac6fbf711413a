"""The commands about what CFEngine keeps in its own databases on this host."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from ...cfengine import hosts, lock_holders, locks, records, state_files
from ...cfengine.hosts import Contact, Lastseen, SharedKey
from ...cfengine.locks import Holder, Kind, Lock
from ...cfengine.state_files import FileSnapshot, Unreadable
from ...text import storable
from ...units import format_duration, format_size, format_time
from ..cells import Cell, Styled
from ..fault_list import ago, ago_cell
from ..output import View, message, write_json, write_json_list, write_table
from ..params import DURATION, check_view, examples, json_option, listing_options
from ..program import FAILED, HELP_OPTIONS, Failure
from .cfengine_dump import dump_entries, report_unknown

# How many texts of times and durations are kept for use again.
_CACHED = 4096
# Seconds since the epoch from which on no time is written as one.
_FAR = 2**37
_LASTSEEN, _LOCK = "cf_lastseen.lmdb", "cf_lock.lmdb"
_LIST = ("file", "description", "entries", "size", "used", "format", "changed", "reason")
_HOSTS = ("address", "direction", "last seen", "ago", "interval", "late", "key")
_DOUBLE = ("shared", "key", "address", "latest", "last in", "last out")
_LOCKS = ("bundle", "promise", "state", "since", "for", "pid", "process", "key")

state_option = click.option(
    "--state",
    metavar="DIR",
    type=click.Path(),
    help=f"CFEngine's state directory; by default {' or '.join(state_files.DIRECTORIES)}.",
)


@click.group(
    context_settings=HELP_OPTIONS,
    epilog=examples(
        "cimaa cfengine list",
        "cimaa cfengine hosts --silent 1d --direction in",
        "cimaa cfengine hosts --double",
        "cimaa cfengine locks",
        "cimaa cfengine dump /var/cfengine/state/cf_lock.lmdb --json",
    ),
)
def cfengine() -> None:
    """Show the contents of CFEngine's databases on this host.

    They are read without locks, and never written to, so CFEngine is not affected.  A file that cannot be read is
    reported on one line, the others are shown, and the exit status is 1.  See also: cimaa check cfengine --help
    """


@cfengine.command("list", epilog=examples("cimaa cfengine list", "cimaa cfengine list --json"))
@state_option
@listing_options(_LIST)
def list_(state: str | None, view: View) -> None:
    """List the files, how full each is, and whether it is damaged.

    USED is the percentage of the size to which the file may grow (100 MiB); when it is full, agents fail.
    To check a single file, wherever it is, use dump.
    """
    directory = state_files.state_directory(state)
    found = list(map(_listed, state_files.read_all(state_files.databases(directory))))
    if view.as_json:
        write_json(found)
    else:
        now = int(time.time())
        write_table(_LIST, (_list_row(one, now) for one in found), view)
        if not found:
            message(f"No LMDB files in {directory}.")
    if any("error" in one for one in found):
        raise click.exceptions.Exit(FAILED)


@cfengine.command(
    epilog=examples(
        "cimaa cfengine dump cf_lastseen.lmdb",
        "cimaa cfengine dump --json /var/cfengine/state/performance.lmdb | jq .value.expected",
    )
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--keys", is_flag=True, help="Only the keys.")
@state_option
@json_option
def dump(paths: Sequence[str], keys: bool, state: str | None, as_json: bool) -> None:
    """Show each entry of FILES, decoded, in the order of the file.

    The layout of the entries follows from the file's name: that of a copy must begin in the same way, as
    cf_lock.lmdb.backup does.

    A name without a directory is that of a file here, or else in the state directory.  With --json each entry is an
    object on its own line, with the FILE if there are several; bytes are {"hex": ...}, and "unknown" marks a value
    that has no known layout.
    """
    paths = [_located(path, state) for path in paths]
    failed = False
    for path, found in zip(paths, state_files.read_all(paths), strict=True):
        try:
            with _required(found) as snapshot:
                snapshot.version()
                dump_entries(snapshot, path if len(paths) > 1 else None, keys, as_json)
        except Unreadable as error:
            failed = True
            Failure(str(error)).show()
    if failed:
        raise click.exceptions.Exit(FAILED)


@cfengine.command(
    "hosts",
    epilog=examples(
        "cimaa cfengine hosts",
        "cimaa cfengine hosts --silent 1d --direction in",
        "cimaa cfengine hosts --double",
    ),
)
@click.option("--silent", type=DURATION, metavar="DURATION", help="Only hosts not seen for at least this long.")
@click.option(
    "--direction", type=click.Choice([hosts.INCOMING, hosts.OUTGOING]), help="in: it came to us; out: we went there."
)
@click.option("--double", is_flag=True, help="Only keys seen from several addresses, and addresses with several keys.")
@state_option
@listing_options((*_HOSTS, *(title for title in _DOUBLE if title not in _HOSTS)))
def hosts_(silent: int | None, direction: str | None, double: bool, state: str | None, view: View) -> None:
    """List the hosts seen, the longest silent first; or those cloned (--double).

    INTERVAL is the usual time between contacts, and LATE the time by which the current silence exceeds it.

    With --double a key with several addresses is a machine cloned with its key, or one whose address changed; an
    address with several keys is a machine with a new key, or an address that was given to another.  LATEST marks the
    pair that was seen last; the times are those of the key.
    """
    if double and (silent is not None or direction):
        raise click.UsageError("--double is not for use with --silent and --direction.")
    check_view(view, _DOUBLE if double else _HOSTS)
    with state_files.read(_path(state, _LASTSEEN)) as snapshot:
        snapshot.version()
        entries = snapshot.entries()
        if not double:  # which key an address has is of no use then
            entries = (entry for entry in entries if not entry[0].startswith(b"a"))
        seen = Lastseen(records.decode(snapshot.name, entries))
    now = int(time.time())
    if double:
        _show(seen.shared(), _shared_json, _DOUBLE, lambda pair: _shared_row(pair, now), view, "hosts with a double")
    else:
        wanted = [one for one in seen.contacts() if _is_wanted(one, now, silent, direction)]
        row = _contact_row if view.sort is None else _sortable_row
        _show(wanted, lambda one: _contact_json(one, now), _HOSTS, lambda one: row(one, now), view, "hosts")
    report_unknown(_LASTSEEN, seen.unknown)


@cfengine.command("locks", epilog=examples("cimaa cfengine locks", "cimaa cfengine locks --all --sort since"))
@click.option("--all", "every", is_flag=True, help="Also what was last done, and when.")
@state_option
@listing_options(_LOCKS)
def locks_(every: bool, state: str | None, view: View) -> None:
    """List the locks that are held, and which process holds each.

    It shows since when, and whether the process is running on this host.  A process that is gone has left its lock
    behind.
    """
    with state_files.read(_path(state, _LOCK)) as snapshot:
        found = locks.locks(records.decode(snapshot.name, snapshot.entries()))
    now, booted = int(time.time()), lock_holders.booted()
    wanted = sorted(found.entries, key=lambda lock: (lock.kind is not Kind.HELD, lock.time)) if every else found.held

    def holder(lock: Lock) -> Holder:
        return locks.holder(lock, lock_holders.find(lock.pid), booted)

    _show(
        wanted,
        lambda lock: _lock_json(lock, holder(lock)),
        _LOCKS,
        lambda lock: _lock_row(lock, holder(lock), now),
        view,
        "locks are held" if not every else "locks",
    )
    if found.hashed and not every:
        message(f"The keys in {_LOCK} are digests, as up to CFEngine 3.12: --all shows what is held or done.")
    report_unknown(_LOCK, found.unknown)


def _path(state: str | None, name: str) -> str:
    return str(Path(state_files.state_directory(state)) / name)


def _located(path: str, state: str | None) -> str:
    """The path; a mere name that is not here is one in the state directory, if there is one."""
    if "/" in path or Path(path).exists():
        return path
    try:
        return str(Path(state_files.state_directory(state)) / path)
    except state_files.NoState:
        return path


def _required(found: FileSnapshot | Unreadable) -> FileSnapshot:
    if isinstance(found, Unreadable):
        raise found
    return found


def _show(
    found: Sequence[Any],
    as_json: Callable[[Any], Any],
    titles: Sequence[str],
    row: Callable[[Any], Sequence[Cell]],
    view: View,
    what: str,
) -> None:
    if view.as_json:
        write_json_list(map(as_json, found))
        return
    write_table(titles, map(row, found), view)
    if not found:
        message(f"No {what}.")


def _listed(found: FileSnapshot | Unreadable) -> dict[str, Any]:
    """A file as JSON has it."""
    name = Path(found.path).name
    known = {"file": storable(found.path), "description": records.describe(name)}
    try:
        with _required(found) as snapshot:
            version = snapshot.version()
            facts = snapshot.facts
    except Unreadable as error:
        return {**known, "error": error.kind, "reason": error.reason}
    return {
        **known,
        "entries": facts.entries,
        "size": facts.size,
        "used": round(facts.used, 2),
        "map_size": facts.map_size,
        "format": "LMDB 1",
        "version": None if version is None else records.text(version),
        "transaction": facts.transaction,
        "changed": int(facts.modified),
    }


def _list_row(one: dict[str, Any], now: int) -> Sequence[Cell]:
    name = Path(one["file"]).name
    if "error" in one:
        return name, one["description"], "", "", "", "", "", Styled(one["reason"], "red")
    version = f", version {one['version']}" if one["version"] is not None else ""
    return (
        name,
        one["description"],
        Styled(str(one["entries"]), order=one["entries"]),
        Styled(format_size(one["size"]), order=one["size"]),
        Styled(f"{one['used']:.0f} %", order=one["used"]),
        f"{one['format']}{version}",
        ago_cell(one["changed"], now),
        "",
    )


def _is_wanted(contact: Contact, now: int, silent: int | None, direction: str | None) -> bool:
    long_enough = silent is None or now - contact.seen >= silent
    return long_enough and direction in (None, contact.direction)


def _late(contact: Contact, now: int) -> float | None:
    """Seconds that the present silence is beyond the usual one; negative if it is not over yet."""
    return None if contact.interval is None else now - contact.seen - contact.interval


def _contact_json(contact: Contact, now: int) -> dict[str, Any]:
    return {**contact._asdict(), "ago": now - contact.seen, "late": _late(contact, now)}


def _contact_row(contact: Contact, now: int) -> Sequence[str]:
    """The texts of a row: a hub has tens of thousands of hosts."""
    seen, address, key, direction, interval = contact
    silent, usual, late = now - seen, "", ""
    if interval is not None:
        usual = _duration(int(interval))
        late = _duration(int(silent - interval)) if silent - interval >= 1 else ""
    return address, direction, _time(seen), f"{_duration(silent)} ago", usual, late, key


def _sortable_row(contact: Contact, now: int) -> Sequence[Cell]:
    orders = {"last seen": contact.seen, "ago": -contact.seen, "interval": contact.interval or 0}
    orders["late"] = _late(contact, now) or 0
    cells = zip(_HOSTS, _contact_row(contact, now), strict=True)
    return [Styled(text, order=orders[title]) if title in orders else text for title, text in cells]


def _shared_json(pair: SharedKey) -> dict[str, Any]:
    return pair._asdict()


def _shared_row(pair: SharedKey, now: int) -> Sequence[Cell]:
    times = ("" if seen is None else ago(seen, now) for seen in (pair.incoming, pair.outgoing))
    return pair.shared, pair.key, pair.address, "latest" if pair.latest else "", *times


def _lock_json(lock: Lock, holder: Holder) -> dict[str, Any]:
    fields = {**lock._asdict(), "kind": lock.kind.value, "process_start": lock.start, "holder": holder.value}
    del fields["start"]
    return fields


def _lock_row(lock: Lock, holder: Holder, now: int) -> Sequence[Cell]:
    style = "red" if lock.kind is Kind.HELD and holder is not Holder.ALIVE else ""
    return (
        lock.bundle,
        lock.promise,
        lock.kind.value,
        Styled(format_time(lock.time), order=lock.time),
        Styled(format_duration(now - lock.time), order=now - lock.time),
        Styled(str(lock.pid), order=lock.pid),
        Styled("" if lock.kind is Kind.PURGED else holder.value, style),
        lock.key,
    )


def _time(seconds: int) -> str:
    """As :func:`format_time` has it."""
    if not 0 <= seconds < _FAR:
        return format_time(seconds)
    minutes, rest = divmod(seconds, 60)
    return f"{_minute(minutes)}{rest:02}"


@lru_cache(_CACHED)
def _minute(minutes: int) -> str:
    """The time of a minute, up to its seconds: a hub's hosts were seen in few minutes, and there may be thousands."""
    return format_time(minutes * 60)[:-2]


@lru_cache(_CACHED)
def _duration(seconds: int) -> str:
    return format_duration(seconds)
