"""Does CFEngine's agent get its work done on this host, going by its own databases?"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..cfengine import lock_holders, locks, records, state_files
from ..cfengine.locks import Find, Holder, Lock, Locks
from ..cfengine.state_files import Unreadable
from ..faults import SEVERITIES
from ..units import format_duration, format_time
from . import Problem
from .items import Item, Measurement, percent, problems
from .ranges import Thresholds, parse_percent
from .states import State

#: Of how long ago the agent got something done, of how full a file is, and of how long a lock is held.
THRESHOLDS = ("15m", "1h")
FULL = "75,90"
LOCKS = "2h"

_LOCK_FILE = "cf_lock.lmdb"
# What CFEngine leaves beside a file that it repaired, or moved away because it was full.
_MARKS = (".lmdb.repaired", ".lmdb.rotated")
# The kinds of reasons that are not an error of the file, or are judged elsewhere.
_HARMLESS = ("missing", "empty")
_UNKNOWN = ("busy", "time", "large", "system")


class Limits(NamedTuple):
    """What is judged bad."""

    #: Of the seconds since the agent got something done.
    age: Thresholds
    #: Of the percent of a file that are used.
    full: Thresholds
    #: Seconds that a lock may be held.
    locks: float


class File(NamedTuple):
    """A file: percent used, or why it cannot be read."""

    name: str
    used: float | None
    error: Unreadable | None = None


class Mark(NamedTuple):
    """A file that shows that there was a repair or a rotation, and when it was written (seconds since the epoch)."""

    name: str
    time: float


class Found(NamedTuple):
    """What was read."""

    files: Sequence[File]
    #: ``None`` if ``cf_lock`` cannot be read.
    locks: Locks | None
    marks: Sequence[Mark] = ()


def parse_full(text: str) -> Thresholds:
    """Two percentages, for a warning and for critical: ``75,90``.

    :raises ValueError: if they are not two.
    """
    warning, comma, critical = text.partition(",")
    if not comma:
        raise ValueError(f"{text!r} is not a percentage for a warning and one for critical: write it like {FULL}")
    return Thresholds(parse_percent(warning), parse_percent(critical))


def read(state: str, limits: Limits, now: float, timeout: float) -> list[Item]:
    """Judge the files in the directory ``state`` at ``now``; reading one may take ``timeout`` seconds.

    :raises Error: if the directory cannot be read.
    """
    return judge(look(state, timeout), limits, now, lock_holders.find, lock_holders.booted())


def look(state: str, timeout: float) -> Found:
    """What the files in the directory say now.

    :raises Error: if the directory cannot be read.
    """
    seen: list[File] = []
    held: Locks | None = None
    for found in state_files.read_all(state_files.databases(state), timeout):
        try:
            if isinstance(found, Unreadable):
                raise found
            with found:
                if found.name == _LOCK_FILE:
                    held = locks.locks(records.decode(found.name, found.entries()))
                seen.append(File(found.name, found.facts.used))
        except Unreadable as error:
            seen.append(File(Path(error.path).name, None, error))
    return Found(seen, held, _marks(state))


def judge(found: Found, limits: Limits, now: float, process: Find, booted: float) -> list[Item]:
    """Judge what was read, on a machine started at ``booted``; ``process`` finds the process that has a number."""
    entries = found.locks.entries if found.locks else []
    last = locks.last_done(entries, process, booted)
    return [
        *_agent(found, last, limits.age, now),
        *(_held(found.locks.held, limits.locks, now, process, booted) if found.locks else ()),
        *_files(found.files, limits.full),
        *(_mark(mark) for mark in found.marks if last is not None and mark.time > last.time),
    ]


def faults(items: Iterable[Item]) -> list[Problem]:
    """What is wrong, and as information what is noted."""
    items = list(items)
    noted = [Problem(item.name, SEVERITIES["info"], item.message) for item in items if item.noted]
    return [*problems(items), *noted]


def _agent(found: Found, last: Lock | None, limits: Thresholds, now: float) -> Iterator[Item]:
    """Whether the agent got something done lately; nothing where the file itself is what is wrong."""
    error = next((file.error for file in found.files if file.name == _LOCK_FILE), None)
    if error is not None and error.kind == "denied":
        yield Item("agent", State.UNKNOWN, str(error))
    elif last is not None:
        age = now - last.time
        state = limits.state(age)
        message = f"the agent got something done {format_duration(age)} ago"
        if state is not State.OK:  # the same for as long as it lasts
            message = f"the agent got nothing done since {format_time(last.time)} ({last.what})"
        if age < 0:
            message = f"what the agent did last is dated ahead: {format_time(last.time)} ({last.what})"
        yield Item("agent", state, message, (Measurement("agent", round(age), "s", limits),))
    elif error is None or error.kind in _HARMLESS:
        yield Item("agent", State.CRITICAL, f"the agent never got anything done, going by {_LOCK_FILE}")


def _held(held: Iterable[Lock], longest: float, now: float, process: Find, booted: float) -> Iterator[Item]:
    """The locks that are held for too long, a bundle's together."""
    bundles: dict[str, list[tuple[Lock, Holder]]] = {}
    for lock in held:
        found = process(lock.pid)
        holder = locks.holder(lock, found, booted)
        if now - lock.time > longest and not (holder is Holder.ALIVE and locks.is_daemon(lock, found)):
            bundles.setdefault(lock.bundle or lock.key, []).append((lock, holder))
    for bundle, some in sorted(bundles.items()):
        yield max((_lock(bundle, lock, holder, len(some)) for lock, holder in some), key=lambda item: item.state)


def _lock(bundle: str, lock: Lock, holder: Holder, count: int) -> Item:
    state, text = {
        Holder.ALIVE: (State.CRITICAL, "which hangs"),
        Holder.GONE: (State.WARNING, "which is gone: it is left over after a crash"),
        Holder.REUSED: (State.WARNING, "which is gone, and another has its number: it is left over after a crash"),
        Holder.UNKNOWN: (State.UNKNOWN, "of which this user may not see whether it is the same"),
    }[holder]
    more = f"; {count} locks of it in all" if count > 1 else ""
    what = f"{bundle} ({lock.promise})" if lock.promise else bundle
    message = f"{what} is locked since {format_time(lock.time)} by process {lock.pid}, {text}{more}"
    return Item(f"lock:{bundle}", state, message)


def _files(found: Iterable[File], limits: Thresholds) -> Iterator[Item]:
    denied = []
    for name, used, error in found:
        if used is not None:
            metric = percent(name, used, limits)
            yield Item(f"file:{name}", limits.state(used), f"{name} is {int(used)} % full", (metric,))
        elif error is None or error.kind in _HARMLESS:
            continue
        elif error.kind == "denied":
            denied.append(name)
        else:
            state = State.UNKNOWN if error.kind in _UNKNOWN else State.CRITICAL
            yield Item(f"file:{name}", state, f"{name}: {error.reason}")
    if others := [name for name in denied if name != _LOCK_FILE]:
        yield Item("files", State.UNKNOWN, f"no permission to read {', '.join(others)}: {state_files.READERS}")


def _mark(mark: Mark) -> Item:
    what = "repaired" if mark.name.endswith("repaired") else "moved away because it was full"
    name = mark.name.partition(".lmdb")[0] + ".lmdb"
    message = f"{name} was {what} at {format_time(mark.time)}, after the last run: what it held may be lost"
    return Item(f"repaired:{name}", State.OK, message, noted=True)


def _marks(state: str) -> list[Mark]:
    found = {}
    for path in Path(state).iterdir():
        if any(mark in path.name for mark in _MARKS):
            try:
                found[path.name] = Mark(path.name, path.stat().st_mtime)
            except OSError:  # it went meanwhile
                continue
    return sorted(found.values())
