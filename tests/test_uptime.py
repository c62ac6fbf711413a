"""Outages and what is known of them, against what a store held second by second."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zc.cimaa import memory
from zc.cimaa.errors import HistoryIncomplete
from zc.cimaa.history import KINDS
from zc.cimaa.options import Values
from zc.cimaa.squelches import compiled
from zc.cimaa.testing import Clock
from zc.cimaa.types import PastEvent
from zc.cimaa.uptime import Past, Span, Uptime, measure, merged, total, within, without

START = 1_700_000_000


def every(_name: str) -> bool:
    return True


def past_of(db: memory.DB, period: Span) -> Past:
    """What a store says of a period that ends now."""
    past = Past(period)
    names = [agent["name"] for agent in db.get_agents()]
    past.add_present(names, db.find_faults(), db.late_agents(), db.get_squelch_details())
    for event in db.get_history(since=period.start):
        past.add(event)
    try:
        db.faults_at(period.start)
    except HistoryIncomplete as error:
        past.add_incomplete(agent for agent, since in error.agents.items() if since is None)
    return past


def fault(name: str) -> dict[str, Any]:
    return {"name": name, "severity": 40, "message": "bad"}


class Fleet:
    """A store, and what is true of it in each second."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.db = memory.DB({}, clock=self.clock)
        #: By agent and fault, for each second, the number of the outage.
        self.down: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        #: By agent, the seconds for which its faults are known.
        self.known: dict[str, set[int]] = defaultdict(set)
        #: By fault, the seconds in which a squelch matched it.
        self.squelched: dict[str, set[int]] = defaultdict(set)
        self.faults: dict[str, dict[str, int]] = {}
        self.reports: dict[str, tuple[int, int | None]] = {}
        self.squelches: dict[str, int | None] = {}
        self.outages = 0

    def report(self, agent: str, names: list[str], within: int | None) -> None:
        self.forget_silence(agent)
        self.db.set_faults(agent, [fault(name) for name in names], within)
        self.outages += 1
        before = self.faults.get(agent, {})
        new = {name: self.outages * 10 + number for number, name in enumerate(names)}
        self.faults[agent] = {name: before.get(name, new[name]) for name in names}
        self.reports[agent] = int(self.clock()), within

    def remove(self, agent: str) -> None:
        self.db.remove_agent(agent)
        self.forget_silence(agent)
        self.faults.pop(agent, None)
        self.reports.pop(agent, None)

    def squelch(self, regex: str, duration: int | None) -> None:
        end = None if duration is None else int(self.clock()) + duration
        self.db.squelch(regex, "", "", expires=end)
        self.squelches[regex] = end

    def unsquelch(self, regex: str) -> None:
        self.db.unsquelch(regex)
        self.squelches.pop(regex, None)

    def advance(self, seconds: int) -> None:
        for second in range(int(self.clock()), int(self.clock()) + seconds):
            for agent, faults in self.faults.items():
                self.known[agent].add(second)
                for name, outage in faults.items():
                    self.down[agent, name][second] = outage
            for name in "fgh":
                regexes = [regex for regex, end in self.squelches.items() if end is None or second < end]
                if any(compiled(regex).search(name) for regex in regexes):
                    self.squelched[name].add(second)
        self.clock.advance(seconds)

    def forget_silence(self, agent: str) -> None:
        """Nothing is known of the time since the last report if the next one is late."""
        now = int(self.clock())
        last, within = self.reports.get(agent, (now, None))
        if within is not None and now - last > within:
            self.known[agent] -= set(range(last, now))


NONE = measure([], [], Span(0, 1))

agents = st.sampled_from("ab")
steps = st.one_of(
    st.tuples(
        st.just("report"),
        agents,
        st.lists(st.sampled_from("fgh"), unique=True),
        st.sampled_from([None, 3, 10]),
    ),
    st.tuples(st.just("remove"), agents),
    st.tuples(st.just("squelch"), st.sampled_from(["f", "g|h", "."]), st.sampled_from([None, 2, 7])),
    st.tuples(st.just("unsquelch"), st.sampled_from(["f", "g|h", "."])),
)


@given(st.lists(st.tuples(steps, st.integers(1, 12)), max_size=25), st.integers(0, 60), st.booleans())
@example([(("report", "a", ["f"], 3), 10), (("report", "a", ["f"], 3), 2), (("report", "a", [], 3), 2)], 0, True)
@example([(("report", "a", ["f"], 3), 10), (("remove", "a"), 3)], 0, True)
@example([(("report", "a", ["f"], None), 5), (("squelch", ".", 2), 5), (("report", "a", [], None), 1)], 0, False)
def test_the_figures_are_those_of_each_second(
    history: list[tuple[tuple[Any, ...], int]], begin: int, squelched: bool
) -> None:
    """Of each fault and of each agent, in random histories, from any second on."""
    fleet = Fleet()
    for (step, *arguments), seconds in history:
        getattr(fleet, step)(*arguments)
        fleet.advance(seconds)
    for agent in "ab":
        fleet.forget_silence(agent)
    period = Span(min(START + begin, int(fleet.clock()) - 1), int(fleet.clock()))
    seconds = set(range(*period))
    past = past_of(fleet.db, period)
    measured = {(agent, name): uptime for agent, name, uptime in past.by_fault(every, squelched=squelched)}
    expected = {}
    for (agent, name), down in fleet.down.items():
        hidden = set() if squelched else fleet.squelched[name]
        known = seconds & fleet.known[agent]
        bad = {second: outage for second, outage in down.items() if second in known - hidden}
        if squelched:
            began = {outage for second, outage in down.items() if second in seconds}
            before = {outage for second, outage in down.items() if second < period.start}
            counted = (began - before) | {*bad.values()}
            assert measured.get((agent, name), NONE).outages == len(counted)
        if bad:
            expected[agent, name] = (len(bad), len(known - bad.keys()), len(seconds - known))
            if squelched:
                assert measured[agent, name].longest == max([*bad.values()].count(one) for one in bad.values())
    assert {key: (up.down, up.up, up.unknown) for key, up in measured.items() if up.down} == expected
    for agent, uptime in past.by_agent(every, squelched=squelched):
        known = seconds & fleet.known[agent]
        bad_seconds = {
            second
            for (other, name), down in fleet.down.items()
            for second in down
            if other == agent and second in known and (squelched or second not in fleet.squelched[name])
        }
        assert (uptime.down, uptime.up) == (len(bad_seconds), len(known) - len(bad_seconds))
        assert uptime.up + uptime.down + uptime.unknown == len(seconds)


spans = st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda pair: Span(pair[0], sum(pair)))


def seconds_of(*parts: Span) -> set[int]:
    return {second for part in parts for second in range(*part)}


@given(st.lists(spans), spans, spans)
def test_spans_are_sets_of_seconds(several: list[Span], one: Span, period: Span) -> None:
    joined = merged(several)
    assert seconds_of(*joined) == seconds_of(*several)
    assert all(before.end < after.start for before, after in pairwise(joined))
    assert total(joined) == len(seconds_of(*several))
    assert seconds_of(*without(one, joined)) == seconds_of(one) - seconds_of(*several)
    clipped = within(one, period)
    assert seconds_of(*([clipped] if clipped else [])) == seconds_of(one) & seconds_of(period)


def test_the_means_are_of_what_is_over() -> None:
    """One outage lasts; another began before the period, and one is partly unknown."""
    outages = [Span(50, 110), Span(120, 150), Span(190, 200)]
    assert measure(outages, [Span(130, 140)], Span(100, 200)) == Uptime(
        outages=3,
        down=40,
        longest=20,
        up=50,
        unknown=10,
        repair=15.0,
        between=50 / 3,
        availability=100 * 50 / 90,
        began=190,
        ended=None,
    )
    over = measure(outages[:2], [], Span(100, 200))
    assert (over.began, over.ended, over.repair, over.longest) == (120, 150, 20.0, 30)


def test_nothing_is_known_of_an_unknown_time() -> None:
    assert measure([Span(0, 50)], [Span(10, 100)], Span(10, 100)) == Uptime(
        *(0, 0, 0, 0, 90, None, None, None, None, None)
    )
    assert measure([], [], Span(0, 100)).availability == 100


def test_an_outage_of_which_only_the_beginning_is_known_counts() -> None:
    """But not in the mean time to repair."""
    found = measure([Span(10, 50), Span(60, 70)], [Span(10, 50)], Span(0, 100))
    assert (found.outages, found.down, found.repair, found.up, found.between) == (2, 10, 10, 50, 25)


def test_an_outage_within_one_second_counts() -> None:
    found = measure([Span(10, 10), Span(20, 20)], [], Span(0, 100))
    assert (found.outages, found.down, found.began, found.ended, found.repair) == (2, 0, 20, 20, 0)
    assert measure([Span(10, 10)], [], Span(11, 100)).outages == 0
    assert measure([Span(5, 10)], [], Span(10, 100)).outages == 0


def test_a_time_in_which_no_history_was_kept_is_unknown() -> None:
    """From the last event before, as it may have begun any time after that, up to the event that says so."""
    clock = Clock(START)
    db = memory.DB({"name": "gap"}, clock=clock)
    none = memory.DB(Values({**db.settings, "history": 0}), clock=clock)
    for agent in "ab":
        db.set_faults(agent, [fault("f")])
    clock.advance(10)
    db.set_faults("a", [fault("f"), fault("g")])
    clock.advance(10)
    none.set_faults("a", [])
    clock.advance(10)
    period = Span(START, START + 30)
    found = dict(past_of(db, period).by_agent(every))
    assert [(found[agent].unknown, found[agent].down) for agent in "ab"] == [(20, 0), (0, 30)]
    db.set_faults("a", [fault("h")])
    clock.advance(5)
    found = dict(past_of(db, Span(START, START + 35)).by_agent(every))
    assert [(found[agent].unknown, found[agent].down) for agent in "ab"] == [(20, 5), (0, 35)]


def test_what_happened_while_the_present_was_read_is_not_counted_twice() -> None:
    """Events from the end of the period on do not end an outage, nor begin one."""
    past = Past(Span(100, 200))
    past.add_present(["a"], [{**fault("f"), "agent": "a", "since": 150}], [], [])
    ended: PastEvent = {"time": 200_000_000, "agent": "a", "kind": "ended", "fault": "f", "since": 150}
    past.add(ended)
    past.add({**ended, "fault": "g", "since": 160})
    past.add({**ended, "kind": "appeared", "agent": "b"})
    assert [(name, uptime.down, uptime.ended) for _, name, uptime in past.by_fault(every)] == [
        ("f", 50, None),
        ("g", 40, None),
    ]
    assert dict(past.by_agent(every))["b"].unknown == 100


@pytest.mark.parametrize("kind", [*KINDS, "acknowledged"])
@pytest.mark.parametrize("agent", ["a", "_"])
def test_an_event_that_lacks_what_its_kind_has_is_no_error(kind: str, agent: str) -> None:
    past = Past(Span(100, 200))
    past.add({"time": 150_000_000, "agent": agent, "kind": kind})
    assert all(uptime.down == 0 for _, _, uptime in past.by_fault(every))
    assert all(uptime.up + uptime.unknown == 100 for _, uptime in past.by_agent(every))


@pytest.mark.parametrize("kinds", [["returned"], ["removed", "appeared"]])
def test_no_figure_is_negative_if_a_silence_began_after_its_end(kinds: list[str]) -> None:
    past = Past(Span(100, 200))
    for kind in kinds:
        past.add({"time": 150_000_000, "agent": "a", "kind": kind, "since": 190})
    figures = dict(past.by_agent(every))["a"]
    assert (figures.up, figures.unknown) == (100, 0)


@pytest.mark.parametrize("kind", ["began", "worse", "alerted", "acknowledged"])
def test_other_events_change_nothing(kind: str) -> None:
    past = Past(Span(100, 200))
    past.add({"time": 150_000_000, "agent": "a", "kind": kind, "fault": "f"})
    assert list(past.by_fault(every)) == []
    assert dict(past.by_agent(every))["a"].availability == 100
