"""When a lease is taken, renewed and over, and which token its holder has.  Pure.

A lease is an entry that does not expire: its end is part of its value, so that the
token outlives it.
"""

import math
from enum import Enum
from typing import Any, Final, NamedTuple

from . import entries, limits
from .agents import MICROSECONDS
from .entries import Entry
from .errors import InvalidLease
from .limits import check_text
from .text import quoted

#: The kind of these entries.  They belong to all agents.
KIND = "lease"


class Unchanged(Enum):
    """The type of :data:`UNCHANGED`."""

    UNCHANGED = "unchanged"


#: Instead of a state: the state stays as it is.
UNCHANGED: Final = Unchanged.UNCHANGED


class Lease(NamedTuple):
    """A lease at the time of the call that returned it.  Times are those of the store's clock."""

    name: str
    #: Who has it, or had it last.
    holder: str
    #: The number of this tenure: it grows by one each time the lease is taken, and stays the same when it is renewed.
    token: int
    #: When the holder took it (whole seconds since the epoch).
    since: int
    #: When it ends or has ended, unless it is renewed (whole seconds since the epoch).
    until: int
    #: For how long (whole seconds) others still cannot take it, the store's ``clock_margin`` included; 0 if it is over.
    remaining: int
    #: A JSON value that the holder keeps with the lease; ``None`` if there is none.
    state: Any = None


class LeaseRequest(NamedTuple):
    """Checked arguments of :meth:`zc.cimaa.db.DB.lease`."""

    name: str
    holder: str
    seconds: float
    state: Any = UNCHANGED


class _Value(NamedTuple):
    """The value of a lease's entry."""

    holder: str = ""
    token: int = 0
    since: int = 0
    until: int = 0
    released: bool = False
    state: Any = None


def request(name: str, holder: str, seconds: float, state: Any = UNCHANGED) -> LeaseRequest:
    """The arguments, if they keep the rules.

    :raises InvalidLease: if not.
    """
    check_name(name)
    check_text("the lease's holder", holder, InvalidLease, most=limits.LEASE_HOLDER)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= limits.LEASE:
        raise InvalidLease(f"a lease must last from 1 to {limits.LEASE} seconds")
    if state is not UNCHANGED:
        entries.check_value(f"the state of the lease {quoted(name)}", state, InvalidLease, limits.LEASE_STATE)
    return LeaseRequest(name, holder, seconds, state)


def check_name(name: str) -> str:
    """The lease's name, if it keeps the rules.

    :raises InvalidLease: if not.
    """
    return check_text("the lease's name", name, InvalidLease, most=limits.ENTRY_KEY)


def leased(stored: Entry | None, wanted: LeaseRequest, now: int, margin: float, revision: str) -> Entry:
    """What the entry becomes if ``wanted`` is granted at ``now`` (microseconds); ``stored`` itself if it is not.

    Others wait ``margin`` seconds beyond the end, as clocks may differ by that much.

    :raises InvalidLease: if the entry would be too large, or the state is not a JSON value.
    """
    was = _value(stored)
    is_holder = stored is not None and was.holder == wanted.holder
    is_over = _remaining(was, now, 0 if is_holder else margin) <= 0
    if stored is not None and not (is_holder or is_over):
        return stored
    token, since = (was.token + 1, now // MICROSECONDS) if is_over else (was.token, was.since)
    # The state of a holder that lost the lease, and does not know it yet, must not replace the one that counts.
    state = wanted.state if wanted.state is not UNCHANGED and (is_holder or stored is None) else was.state
    until = math.ceil(now / MICROSECONDS + wanted.seconds)  # the holder may count less, but not more
    value = _Value(wanted.holder, token, since, until, state=state)
    return entries.check(Entry(KIND, "", wanted.name, value._asdict(), revision), InvalidLease)


def released(stored: Entry | None, holder: str, now: int, revision: str) -> Entry | None:
    """What the entry becomes if ``holder`` gives the lease up; ``None`` if it does not have it."""
    was = _value(stored)
    if stored is None or was.holder != holder or _remaining(was, now, 0) <= 0:
        return None
    value = was._replace(until=now // MICROSECONDS, released=True)
    return stored._replace(value=value._asdict(), revision=revision)


def lease(entry: Entry, now: int, margin: float) -> Lease:
    """The lease of an entry."""
    value = _value(entry)
    remaining = max(0, math.ceil(_remaining(value, now, margin)))
    return Lease(entry.key, value.holder, value.token, value.since, value.until, remaining, value.state)


def is_held_by(entry: Entry, holder: str) -> bool:
    """True if this was the last holder."""
    return _value(entry).holder == holder


def _remaining(value: _Value, now: int, margin: float) -> float:
    """How many seconds it is until others may take the lease."""
    return 0 if value.released else value.until + margin - now / MICROSECONDS


def _value(entry: Entry | None) -> _Value:
    """The value, as far as it can be read: agents may write a lease's entry in any form, but must not harm others."""
    found = {} if entry is None or not isinstance(entry.value, dict) else entry.value
    defaults = _Value._field_defaults
    fits = {key: value for key, value in found.items() if key in defaults and _fits(value, defaults[key])}
    return _Value(**fits)


def _fits(value: Any, default: Any) -> bool:
    return default is None or type(value) is type(default)
