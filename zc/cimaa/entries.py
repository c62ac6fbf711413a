"""What an entry is: a small record that is changed only if no other writer changed it.  Pure.

Leases are entries, and so is everything else on which several agents and users agree:
one primitive, and one table, for all of them.  An entry is found by its kind, owner and
key.  Each writer chooses a new revision, which the next writer names; so a writer that
did not get an answer recognizes its own write.
"""

import re
from typing import Any, NamedTuple

import orjson

from . import agents, limits
from .errors import InvalidInput
from .faults import decode, encode
from .limits import check_text
from .text import quoted

#: The kinds of entries that agents use; the privileges on each store follow from this.  Of those that belong to all
#: agents (their owner is empty): what agents write, and what they read.  Of an agent's own (its name is the owner):
#: what it adds and changes, and what others add, and it changes.
SHARED_KINDS = ("lease",)
READ_KINDS = ("action",)
OWN_KINDS = ("answer",)
COMMAND = "command"
CHANGED_KINDS = (COMMAND,)


class Entry(NamedTuple):
    """An entry, as a store keeps it."""

    #: What it is, such as ``lease``: a word of lowercase letters.
    kind: str
    #: The agent to which it belongs, or an empty text if it belongs to all.
    owner: str
    key: str
    #: Any JSON value.
    value: Any
    #: Chosen by the writer, new for each write: 32 hexadecimal digits.
    revision: str
    #: From this time on (whole seconds since the epoch) the entry counts as absent, and a store may remove it.
    expires: int | None = None

    def is_current(self, now: int) -> bool:
        """True if the entry has not expired at ``now`` (microseconds since the epoch)."""
        return self.expires is None or now < self.expires * agents.MICROSECONDS

    def is_one_of(self, kind: str, owner: str | None, key: str | None) -> bool:
        """True if it is of this kind, and, unless these are ``None``, of this owner and with this key."""
        return self.kind == kind and owner in (None, self.owner) and key in (None, self.key)


def permits(stored: Entry | None, was: str | None, becomes: Entry | None, now: int) -> bool:
    """True if ``stored`` permits a write of ``becomes`` (``None``: a removal) that expects the revision ``was``.

    ``None`` for ``was`` means that there is no entry.  A write that was already done is permitted, so that it can be
    repeated if its answer was lost.
    """
    if stored is not None and becomes is not None and stored.revision == becomes.revision:
        return True
    return (stored.revision if stored is not None and stored.is_current(now) else None) == was


def check(entry: Entry, error: type[InvalidInput] = InvalidInput) -> Entry:
    """The entry, if every store can keep it; else raise ``error``."""
    if not re.fullmatch("[a-z]{1,32}", entry.kind):
        raise error(f"invalid kind of an entry: {entry.kind!r}")
    if entry.owner:
        agents.check_name(entry.owner)
    check_text(f"the {entry.kind}'s name", entry.key, error, most=limits.ENTRY_KEY)
    check_value(f"the value of the {entry.kind} {quoted(entry.key)}", entry.value, error)
    return entry


def check_value(what: str, value: Any, error: type[InvalidInput], most: int = limits.ENTRY_VALUE) -> None:
    """Raise ``error``, whose message begins with ``what``, if a store cannot keep the value, or it exceeds ``most``."""
    try:
        encoded = encode(value)
        same = decode(encoded) == value  # a tuple would become a list, and a NaN null
    except (orjson.JSONEncodeError, orjson.JSONDecodeError, RecursionError) as failed:
        raise error(f"{what} cannot be encoded as JSON: {failed}") from None
    if not same:
        raise error(f"{what} has a part that JSON does not have")
    if b"\\u0000" in encoded and _has_nul(value):
        raise error(f"{what} holds a NUL character, which not every store can keep")
    if len(encoded) > most:
        raise error(f"{what} has {len(encoded)} bytes; at most {most} are allowed")


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nul, [*value, *value.values()]))
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value
