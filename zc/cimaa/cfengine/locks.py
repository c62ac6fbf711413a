"""The locks in ``cf_lock``: what is held, by which process, and what was done last.  Pure."""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from .records import StateEntry

#: The lock for the time in which a process takes or returns another; its entry does not have the process's start.
CRITICAL_SECTION = "CF_CRITICAL_SECTION"
_HORIZON = "lock_horizon"
_HASHED = re.compile("[0-9a-f]{32}")
# What the daemons do is not what the agent does.
_DAEMONS = frozenset({"cf-serverd", "cf-execd", "cf-monitord"})
_DAEMON_BUNDLES = frozenset({"server_cfengine_bundle", "monitor_cfengine_bundle", "exec_cfengine_bundle"})
# How CFEngine calls its programs.
_PROGRAMS = ("cf-", "lt-cf-")


class Kind(StrEnum):
    """What an entry says about a lock."""

    HELD = "held"
    DONE = "done"
    #: Up to CFEngine 3.12 the keys are digests, and both look alike.
    HASHED = "held or done"
    PURGED = "locks purged"


class Holder(StrEnum):
    """What became of the process in an entry."""

    ALIVE = "alive"
    GONE = "gone"
    #: Another process has its number.
    REUSED = "gone, and its number reused"
    UNKNOWN = "unknown"


class LockProcess(NamedTuple):
    """The process that has a number now."""

    #: Its program, as far as it may be seen.
    name: str = ""
    #: Seconds from the start of the machine to its own; ``None`` if that may not be seen.
    start: int | None = None


class Lock(NamedTuple):
    """An entry about a lock."""

    kind: Kind
    key: str
    #: The bundle and the type of the promise, as far as the key names them.
    bundle: str
    promise: str
    pid: int
    #: When it was taken, or done (seconds since the epoch).
    time: int
    #: Seconds from the start of the machine to the process's; 0 if that was not known.
    start: int

    @property
    def what(self) -> str:
        """What it is for, for people."""
        return " ".join(filter(None, (self.bundle, self.promise))) or self.key


class Locks(NamedTuple):
    """What ``cf_lock`` says."""

    entries: list[Lock]
    #: How many entries fit no layout.
    unknown: int

    @property
    def held(self) -> list[Lock]:
        """The locks that are held, the oldest first."""
        return sorted((lock for lock in self.entries if lock.kind is Kind.HELD), key=lambda lock: lock.time)

    @property
    def hashed(self) -> bool:
        """True if a held lock cannot be distinguished from a finished action."""
        return any(lock.kind is Kind.HASHED for lock in self.entries)


#: Finds the process that has a number.
Find = Callable[[int], LockProcess | None]


def locks(entries: Iterable[StateEntry]) -> Locks:
    """The locks, from the decoded entries."""
    found, unknown = [], 0
    for key, value, known in entries:
        lock = _lock(key, value["pid"], value["time"], value["process_start"]) if _is_lock(key, value, known) else None  # type: ignore[arg-type,call-overload,index]
        if lock is None:
            unknown += 1
        else:
            found.append(lock)
    return Locks(found, unknown)


def holder(lock: Lock, process: LockProcess | None, booted: float) -> Holder:
    """What became of the process in an entry; ``process`` has its number now, on a machine started at ``booted``."""
    if process is None or lock.time < int(booted):
        return Holder.GONE if process is None else Holder.REUSED
    if process.start is None:
        return Holder.UNKNOWN
    if lock.start == 0:  # not known
        return Holder.ALIVE if process.name.startswith(_PROGRAMS) else Holder.REUSED
    return Holder.ALIVE if process.start == lock.start else Holder.REUSED


def is_daemon(lock: Lock, process: LockProcess | None) -> bool:
    """True if the lock is one that a daemon holds or held, and not the agent; ``process`` is its holder."""
    return lock.bundle in _DAEMON_BUNDLES or (process is not None and process.name in _DAEMONS)


def last_done(found: Iterable[Lock], process: Find, booted: float) -> Lock | None:
    """The last thing that the agent did, as far as it is known; nothing if there is none.

    What a daemon did does not count; its bundle or its process shows that.
    """
    done = [lock for lock in found if lock.kind in (Kind.DONE, Kind.HASHED)]
    for lock in sorted(done, key=lambda lock: lock.time, reverse=True):
        found_now = process(lock.pid)
        alive = holder(lock, found_now, booted) is Holder.ALIVE
        if not is_daemon(lock, found_now if alive else None):
            return lock
    return None


def _is_lock(key: object, value: object, known: bool) -> bool:
    return known and isinstance(key, str) and isinstance(value, dict)


def _lock(key: str, pid: int, time: int, start: int) -> Lock | None:
    """The lock of a key: ``lock.BUNDLE.TYPE.ATTRIBUTE...-HOST.PROMISER_SUM_DIGEST``, and likewise ``last.``."""
    if key == CRITICAL_SECTION:
        return Lock(Kind.HELD, key, "", "", pid, time, start)
    if key == _HORIZON:
        return Lock(Kind.PURGED, key, "", "", pid, time, start)
    if _HASHED.fullmatch(key):
        return Lock(Kind.HASHED, key, "", "", pid, time, start)
    what, _, rest = key.partition(".")
    kind = {"lock": Kind.HELD, "last": Kind.DONE}.get(what)
    if kind is None or not rest:
        return None
    bundle, _, rest = rest.partition(".")
    return Lock(kind, key, bundle, rest.partition(".")[0] if "." in rest else "", pid, time, start)
