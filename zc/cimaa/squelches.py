"""What a squelch is, and which squelches match the name of a fault.  Pure.

A squelch is an RE2 regular expression: faults whose name it matches are not alerted.  It
may match anywhere in the name; ``^`` and ``$`` anchor it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import re2

from . import limits, types
from .errors import InvalidSquelch
from .limits import check_text
from .text import quoted

# The memory (bytes) of one expression, and of the automaton for many.  re2's default of 8 MiB is too much for one
# (a thousand of these would take an agent minutes to compile) and too little for many.
_EXPRESSION_MEMORY = 128 * 1024
_SET_MEMORY = 1024 * _EXPRESSION_MEMORY


# The characters that have a special meaning in RE2.
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


class StoredSquelch(NamedTuple):
    """A squelch, as a store keeps it.  Times are whole seconds since the epoch."""

    regex: str
    reason: str
    user: str
    time: int
    permanent: bool
    #: When it ends; ``None`` if it stays until it is removed.
    expires: int | None = None

    def details(self) -> types.Squelch:
        """The squelch as ``get_squelch_details`` returns it: with ``expires`` only where one is set."""
        shown: types.Squelch = {
            "regex": self.regex,
            "reason": self.reason,
            "user": self.user,
            "time": self.time,
            "permanent": self.permanent,
        }
        if self.expires is not None:
            shown["expires"] = self.expires
        return shown

    def past(self) -> types.PastSquelch:
        """The squelch as ``squelches_at`` returns it."""
        shown = {key: value for key, value in self.details().items() if key != "permanent"}
        return cast(types.PastSquelch, shown)


def squelch(regex: str, reason: str, user: str, permanent: bool, expires: int | None, now: int) -> StoredSquelch:
    """A checked squelch, set at ``now``.

    :raises InvalidSquelch: naming the part that breaks a rule.
    """
    compiled(check_regex(regex))
    check_text("the squelch's reason", reason, InvalidSquelch, most=limits.REASON, empty=True)
    check_text("the squelch's user", user, InvalidSquelch, most=limits.USER, empty=True)
    if not isinstance(permanent, bool):
        raise InvalidSquelch(f"permanent must be true or false, not {permanent!r}")
    if expires is not None:
        _check_end(expires, permanent, now)
    return StoredSquelch(regex=regex, reason=reason, user=user, time=now, permanent=permanent, expires=expires)


def check_regex(regex: object) -> str:
    """The regular expression, if it can be stored; whether it compiles is checked by :func:`compiled`.

    :raises InvalidSquelch: if it cannot.
    """
    return check_text("the squelch's regular expression", regex, InvalidSquelch, most=limits.REGEX)


def by_regex(squelches: Iterable[StoredSquelch]) -> list[StoredSquelch]:
    """The squelches, sorted by regular expression."""
    return sorted(squelches, key=lambda squelch: squelch.regex)


def in_force(squelch: StoredSquelch, now: float) -> bool:
    """True if the squelch has not ended at ``now`` (seconds since the epoch)."""
    return squelch.expires is None or now < squelch.expires


def compiled(regex: str) -> Any:
    """The compiled regular expression: its ``search(text)`` is true if it matches anywhere in the text.

    :raises InvalidSquelch: if it does not compile.
    """
    try:
        return re2.compile(regex, _options(_EXPRESSION_MEMORY))
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error.args[0]
        hint = "; RE2 does not support look-around and back-references" if "(?" in reason or "escape" in reason else ""
        raise InvalidSquelch(f"{quoted(regex)} is not a valid RE2 regular expression: {reason}{hint}") from error


def searching(regex: str) -> Callable[[str], object]:
    """A function of a text: true if the regular expression matches anywhere in it.

    It is several times faster than the ``search`` of :func:`compiled`, which also finds out where.

    :raises InvalidSquelch: if it does not compile.
    """
    compiled(regex)
    ((match, _),) = _sets([regex], _SET_MEMORY)
    return match


def exactly(name: str) -> str:
    """The regular expression that matches only this name.

    :raises InvalidSquelch: if the name is empty, as no fault's is.
    """
    if not name:
        raise InvalidSquelch("the name of the fault is empty")
    return "^" + _SPECIAL.sub(r"\\\g<0>", name) + "$"


class Matcher:
    """Matches names against many regular expressions, in one pass over each name."""

    def __init__(self, regexes: Iterable[str], memory: int = _SET_MEMORY) -> None:
        """Compile the expressions into automata that use at most ``memory`` bytes each, as many as that takes.

        :raises InvalidSquelch: naming the first that does not compile.
        """
        self.regexes = list(dict.fromkeys(regexes))
        self._sets = list(_sets(self.regexes, memory))

    def matching(self, name: str) -> list[str]:
        """The expressions that match somewhere in the name, in the order in which they were given."""
        found: list[str] = []
        for match, regexes in self._sets:
            if indexes := match(name):
                found += [regexes[index] for index in sorted(indexes)]
        return found


def _sets(regexes: list[str], memory: int) -> Iterator[tuple[Callable[[str], Any], list[str]]]:
    """Pairs of a function that returns the indexes of the matching expressions, and the list of these expressions.

    Expressions that are too big for one automaton are split into halves until each half fits.
    (A Set that failed to compile must not be used: the process would crash.)
    """
    if not regexes:
        return
    together = re2.Set.SearchSet(_options(memory))
    for regex in regexes:
        try:
            together.Add(regex)
        except re2.error:
            compiled(regex)
            raise
    try:
        together.Compile()
    except re2.error:
        if len(regexes) == 1:
            pattern = compiled(regexes[0])
            yield (lambda name: [0] if pattern.search(name) else None), regexes
        else:
            half = len(regexes) // 2
            yield from _sets(regexes[:half], memory)
            yield from _sets(regexes[half:], memory)
    else:
        yield together.Match, regexes


def _options(max_mem: int) -> Any:
    options = re2.Options()
    options.log_errors = False  # else re2 writes to standard error by itself
    options.max_mem = max_mem
    return options


def _check_end(expires: int, permanent: bool, now: int) -> None:
    if not isinstance(expires, int) or isinstance(expires, bool):
        kind = type(expires).__name__
        raise InvalidSquelch(f"expires must be whole seconds since the epoch, not {kind}")
    if permanent:
        raise InvalidSquelch("a squelch is either permanent or expires, not both")
    if expires <= now:
        raise InvalidSquelch(f"the squelch would end at {expires}, which is past: it is {now}")
    if expires > limits.INTEGER_MAX:
        raise InvalidSquelch("expires does not fit in 64 bits")
