"""Thresholds: when the metrics of a check are faults.  Pure.

One per line::

    NAME [optional] warning > 50 error >= 99 critical > 200 clear < 80

An error or critical fault holds until the ``clear`` condition is true.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ...faults import ERROR, SEVERITIES, severity_name
from .perfdata import Metric

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_LEVELS = ("warning", "error", "critical")
_HOLDING = ERROR
_NAME = re.compile(r"\s*(?:'(?P<quoted>(?:[^']|'')+)'|(?P<plain>[^\s'<>=]+))(?P<optional>\s+optional\b)?(?=\s|$)")
_RULE = re.compile(r"\s+(?P<what>[a-z]+)\s*(?P<operator><=|>=|<|>)\s*(?P<limit>[^\s<>=]+)")


class Comparison(NamedTuple):
    """A comparison with a limit."""

    operator: str
    limit: float

    def holds(self, value: float) -> bool:
        """True if the comparison is true for the value."""
        return _OPERATORS[self.operator](value, self.limit)

    def __str__(self) -> str:
        return f"{self.operator} {self.limit:.15g}"


class Threshold(NamedTuple):
    """The threshold of one metric."""

    name: str
    #: True if the metric may be missing.
    optional: bool
    #: From the worst severity to the least.
    levels: tuple[tuple[int, Comparison], ...]
    clear: Comparison | None


class Crossing(NamedTuple):
    """A metric that crosses its threshold."""

    name: str
    severity: int
    message: str


def parse(text: str) -> tuple[Threshold, ...]:
    """The thresholds in a text, one per line and metric.

    :raises ValueError: with the invalid line, and the problem.
    """
    found: dict[str, Threshold] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        threshold = _threshold(line)
        if threshold.name in found:
            raise ValueError(f"the metric {threshold.name!r} has two thresholds: write one line per metric")
        found[threshold.name] = threshold
    return tuple(found.values())


def crossings(
    thresholds: Iterable[Threshold], metrics: Iterable[Metric], before: Mapping[str, Crossing]
) -> list[Crossing]:
    """The metrics that cross their thresholds; ``before`` are those (by name) that did so in the last run.

    A message has the value at which its severity was reached, so that it changes only with
    the severity.  A missing metric clears no error.
    """
    values = {metric.name: metric for metric in metrics}
    found = []
    for threshold in thresholds:
        metric, stood = values.get(threshold.name), before.get(threshold.name)
        if metric is not None:
            found.append(_crossing(threshold, metric, stood))
        elif not threshold.optional and stood is not None and stood.severity >= _HOLDING:
            found.append(stood)
    return [crossing for crossing in found if crossing is not None]


def missing(thresholds: Iterable[Threshold], metrics: Iterable[Metric]) -> list[str]:
    """The names of missing metrics that are not optional."""
    there = {metric.name for metric in metrics}
    return [threshold.name for threshold in thresholds if threshold.name not in there and not threshold.optional]


def _crossing(threshold: Threshold, metric: Metric, before: Crossing | None) -> Crossing | None:
    level = next(((severity, rule) for severity, rule in threshold.levels if rule.holds(metric.value)), None)
    if _held(threshold, metric.value, before) and (level is None or (before and level[0] <= before.severity)):
        return before
    if level is None:
        return None
    severity, rule = level
    if before is not None and before.severity == severity:
        return before
    text = f"{metric.name} is {metric.value:.15g}{metric.unit}: {severity_name(severity)} {rule}"
    return Crossing(metric.name, severity, text)


def _held(threshold: Threshold, value: float, before: Crossing | None) -> bool:
    if before is None or before.severity < _HOLDING or threshold.clear is None:
        return False
    return not threshold.clear.holds(value)


def _threshold(line: str) -> Threshold:
    named = _NAME.match(line)
    if not named:
        raise ValueError(f"{line!r} does not start with a metric's name; quote a name with spaces with single quotes")
    name = named["plain"] or named["quoted"].replace("''", "'")
    rules = dict(_rules(line, named.end()))
    clear = rules.pop("clear", None)
    if not rules:
        raise ValueError(f"{line!r} has no limit for {name}: write, for example, {name} warning > 50")
    levels = tuple((SEVERITIES[what], rules[what]) for what in reversed(_LEVELS) if what in rules)
    return Threshold(name, bool(named["optional"]), levels, clear)


def _rules(line: str, position: int) -> Iterator[tuple[str, Comparison]]:
    seen = set()
    while position < len(line):
        match = _RULE.match(line, position)
        if not match or match["what"] not in (*_LEVELS, "clear"):
            wanted = "warning, error, critical or clear, then <, <=, > or >=, then a number"
            raise ValueError(f"{line!r}: invalid {line[position:].strip()!r}, expected {wanted}")
        if match["what"] in seen:
            raise ValueError(f"{line!r} has {match['what']} twice")
        seen.add(match["what"])
        yield match["what"], Comparison(match["operator"], _limit(line, match["limit"]))
        position = match.end()


def _limit(line: str, text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise ValueError(f"{line!r}: invalid number {text!r}")
    return limit
