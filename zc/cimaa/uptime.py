"""How often faults were there, for how long, and for how much of the time that is not known.  Pure.

An outage of a fault lasts from the report that has it first to the one that no longer has it,
with any severity.  An outage of an agent lasts while it has any fault.

Time for which the faults are not known is neither up nor down: while the agent was silent, before
it first reported, after it was removed, and while a program reported for it that keeps no history.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from . import history
from .agents import MICROSECONDS
from .squelches import Matcher
from .types import FoundFault, LateAgent, PastEvent, Squelch


class Span(NamedTuple):
    """A time, from its start to before its end (whole seconds since the epoch)."""

    start: int
    end: int


class Uptime(NamedTuple):
    """What is known of a fault or an agent in a period.  Durations are in seconds."""

    outages: int
    #: The time with an outage, and the longest outage.
    down: int
    longest: int
    #: The time without an outage.
    up: int
    #: The time for which it is not known.
    unknown: int
    #: The mean time to repair: of the outages that are over, and of which some time is known.
    repair: float | None
    #: The mean time between failures: the time up, per outage.
    between: float | None
    #: The percentage of the known time that was up.
    availability: float | None
    #: When the last outage began and ended (seconds since the epoch); ``None``: there was none, or it is not over.
    began: int | None
    ended: int | None


class _Seen(NamedTuple):
    outage: Span
    #: Its parts that are within the period and known.
    parts: list[Span]


class Past:
    """What happened in a period.  Memory grows with the number of outages and agents, not with that of events."""

    def __init__(self, period: Span) -> None:
        self.period = period
        self.agents: set[str] = set()
        self._current: dict[tuple[str, str], Span] = {}
        self._outages: dict[tuple[str, str], list[Span]] = defaultdict(list)
        self._unknown: dict[str, list[Span]] = defaultdict(list)
        self._squelched: dict[str, list[Span]] = defaultdict(list)
        # The time of each agent's last event, and since when nothing is known of an agent that was removed.
        self._last: dict[str, int] = {}
        self._removed: dict[str, int] = {}

    def add_present(
        self,
        agents: Iterable[str],
        faults: Iterable[FoundFault],
        late: Iterable[LateAgent],
        squelches: Iterable[Squelch],
    ) -> None:
        """What there is at the end of the period.  It must be read before the events."""
        self.agents.update(agents)
        for fault in faults:
            self._current[fault["agent"], fault["name"]] = Span(fault["since"], self.period.end)
        for agent in late:
            self._unknown[agent["name"]].append(Span(agent["updated"], self.period.end))
        for squelch in squelches:
            end = min(squelch.get("expires", self.period.end), self.period.end)
            self._squelched[squelch["regex"]].append(Span(squelch["time"], end))

    def add(self, event: PastEvent) -> None:
        """The next event, in order of time, from the start of the period on.

        It may lack what its kind has, or contradict itself: a program with an agent's credentials can write any
        event for it.
        """
        time, agent, kind = event["time"] // MICROSECONDS, event["agent"], event["kind"]
        since = min(event.get("since", time), time)
        if agent == history.SQUELCHES:
            if kind == history.UNSQUELCHED:
                span = Span(since, min(time, event.get("until", time)))
                self._squelched[event.get("fault", "")].append(span)
            return
        self.agents.add(agent)
        if kind == history.ENDED:
            self._add_outage((agent, event.get("fault", "")), since, time)
        elif kind == history.REMOVED:
            self._removed[agent] = since
        elif kind == history.RETURNED:
            self._unknown[agent].append(Span(since, time))
        elif kind == history.APPEARED:
            self._unknown[agent].append(Span(self._removed.pop(agent, self.period.start), time))
        elif kind == history.STARTED:
            self._unknown[agent].append(Span(self._last.get(agent, self.period.start), time))
        self._last[agent] = time

    def add_incomplete(self, agents: Iterable[str]) -> None:
        """The agents for which programs reported last that keep no history.  It must be added after the events."""
        for agent in agents:
            self._unknown[agent].append(Span(self._last.get(agent, self.period.start), self.period.end))

    def _add_outage(self, key: tuple[str, str], since: int, time: int) -> None:
        if time < self.period.end:
            self._outages[key].append(Span(since, time))
        else:
            self._current[key] = Span(since, self.period.end)

    def by_fault(self, wanted: Callable[[str], object], *, squelched: bool = True) -> Iterator[tuple[str, str, Uptime]]:
        """The agent, name and uptime of each fault that had an outage, if its name is ``wanted``.

        Without ``squelched``, the time in which a squelch matched a fault counts as up.
        """
        for agent, faults in sorted(self._found(wanted, squelched=squelched).items()):
            unknown = self._unknown_of(agent)
            for fault, spans in sorted(faults.items()):
                if (measured := measure(spans, unknown, self.period)).outages:
                    yield agent, fault, measured

    def by_agent(self, wanted: Callable[[str], object], *, squelched: bool = True) -> Iterator[tuple[str, Uptime]]:
        """The name and uptime of each agent, with an outage or not; else as :meth:`by_fault`."""
        found = self._found(wanted, squelched=squelched)
        for agent in sorted(self.agents):
            spans = merged(span for each in found.get(agent, {}).values() for span in each)
            yield agent, measure(spans, self._unknown_of(agent), self.period)

    def _found(self, wanted: Callable[[str], object], *, squelched: bool) -> Mapping[str, Mapping[str, list[Span]]]:
        """The outages of the wanted faults of each agent."""
        matching = Matcher(() if squelched else self._squelched).matching
        found: dict[str, dict[str, list[Span]]] = defaultdict(dict)
        for agent, fault in self._outages.keys() | self._current.keys():
            if wanted(fault):
                current = self._current.get((agent, fault))
                spans = [*self._outages.get((agent, fault), ()), *([current] if current else ())]
                out = merged(span for regex in matching(fault) for span in self._squelched[regex])
                found[agent][fault] = [part for span in spans for part in without(span, out)]
        return found

    def _unknown_of(self, agent: str) -> list[Span]:
        removed = self._removed.get(agent)
        gone = () if removed is None else (Span(removed, self.period.end),)
        return merged(filter(None, (within(span, self.period) for span in (*self._unknown[agent], *gone))))


def measure(outages: Iterable[Span], unknown: Sequence[Span], period: Span) -> Uptime:
    """The figures of these outages, each of which is over if it ends before the period does.

    ``unknown`` is in order, without overlaps, and within the period.  An outage counts if it began within
    the period, or lasted in a part of it that is known.
    """
    clipped = [(outage, part) for outage in sorted(outages) if (part := within(outage, period))]
    seen = [_Seen(outage, without(part, unknown)) for outage, part in clipped]
    known = [each for each in seen if each.parts or each.outage.start >= period.start]
    down = total(merged(part for each in known for part in each.parts))
    hidden = total(unknown)
    up = period.end - period.start - hidden - down
    repaired = [total(each.parts) for each in known if each.parts and each.outage.end < period.end]
    last = max((each.outage for each in known), key=lambda outage: (outage.end, outage.start), default=None)
    return Uptime(
        outages=len(known),
        down=down,
        longest=max((total(each.parts) for each in known), default=0),
        up=up,
        unknown=hidden,
        repair=fmean(repaired) if repaired else None,
        between=up / len(known) if known else None,
        availability=100 * up / (up + down) if up + down else None,
        began=last.start if last else None,
        ended=last.end if last and last.end < period.end else None,
    )


def within(span: Span, period: Span) -> Span | None:
    """The part of the span that is in the period; one without length is in it if its start is."""
    clipped = Span(max(span.start, period.start), min(span.end, period.end))
    empty = span.start >= span.end and clipped.start < period.end
    return clipped if clipped.start < clipped.end or (empty and clipped == span) else None


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans in order, none of which touches another."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def without(span: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of the span that are in none of the others, which are in order and do not overlap."""
    if span.start == span.end:
        return [] if any(other.start <= span.start < other.end for other in others) else [span]
    found, start = [], span.start
    for other in others:
        if other.end > start and other.start < span.end and other.start < other.end:
            if other.start > start:
                found.append(Span(start, other.start))
            start = other.end
    if start < span.end:
        found.append(Span(start, span.end))
    return found


def total(spans: Iterable[Span]) -> int:
    """The seconds of spans that do not overlap."""
    return sum(span.end - span.start for span in spans)
