"""When silence and squelches are worth a report.  Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..agents import SEEN_WITHIN
from ..errors import InvalidInput
from ..squelches import check_regex, compiled, searching
from ..types import Squelch
from ..units import format_duration

#: The fewest agents of which a majority can fall silent together.
HANDFUL = 5


class Rules(NamedTuple):
    """The thresholds.  Times are in seconds."""

    #: How often an agent should report.
    interval: float = 60
    #: The number of intervals without a report that is a warning, and an error.
    warning: float = 2
    error: float = 5
    #: Agents that have been silent for longer are reported together, as one ``info`` fault.
    forget: float = SEEN_WITHIN
    #: A squelch that is older, and not permanent, is reported.
    squelched: float = 60 * 60
    #: A squelch that ends within this time after it was set is at most a warning, even if it hides critical faults.
    planned: float = 7 * 24 * 60 * 60
    #: Regular expressions (RE2).  Checked are the agents whose name one of ``match`` matches (empty: all), and none
    #: of ``ignore``.
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def seconds(self, intervals: float) -> int:
        """The length of a number of intervals, in whole seconds."""
        return max(1, round(intervals * self.interval))

    def check(self) -> "Rules":
        """The rules themselves, if they are consistent.

        :raises InvalidInput: naming the rules that contradict each other, or the invalid expression.
        """
        if self.warning > self.error:
            raise InvalidInput(
                f"the warning would come after the error: after {self.warning:g} intervals, and after {self.error:g}"
            )
        if self.forget <= self.error * self.interval:
            raise InvalidInput(
                f"agents would be forgotten after {format_duration(self.forget)}, before their silence is an error:"
                f" that is after {self.error:g} intervals of {format_duration(self.interval)}"
            )
        for pattern in (*self.match, *self.ignore):
            compiled(check_regex(pattern))
        return self


def selector(rules: Rules) -> Callable[[str], bool]:
    """A function that is true for the names of the agents that are checked."""
    match = [searching(pattern) for pattern in rules.match]
    ignore = [searching(pattern) for pattern in rules.ignore]
    return lambda name: (not match or any(s(name) for s in match)) and not any(s(name) for s in ignore)


def is_stale(squelch: Squelch, rules: Rules, now: float) -> bool:
    """True if the squelch is reported: it is neither permanent nor new."""
    return not squelch["permanent"] and now - squelch["time"] > rules.squelched


def is_planned(squelch: Squelch, rules: Rules) -> bool:
    """True if the squelch ends by itself, within the time that ``rules`` allow: then it is at most a warning."""
    return "expires" in squelch and squelch["expires"] - squelch["time"] <= rules.planned


def fell_together(silent: Iterable[tuple[int, str]], reporting: int, window: float) -> set[str]:
    """The names of the agents that fell silent together, and were the majority of the agents at that time.

    ``silent`` has the time of the last report and the name of each silent agent; ``reporting`` is the number of
    agents that still report.  Agents fall silent together if their last reports lie within ``window`` seconds.
    """
    last = sorted(silent)
    found: set[str] = set()
    end = included = 0
    for start, (time, _) in enumerate(last):
        while end < len(last) and last[end][0] <= time + window:
            end += 1
        active = reporting + len(last) - start
        if active >= HANDFUL and 2 * (end - start) > active:
            found.update(name for _, name in last[max(start, included) : end])
            included = end
    return found
