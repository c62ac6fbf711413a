"""The promises about waking agents, by number."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import ge
from typing import Any

import pytest

from .. import errors
from ..db import DB
from .tools import FIRST, SECOND, Clock, Opener, expected, fault
from .values import BAD_AGENTS, HOSTILE_TEXTS

#: How long (seconds) the reports after a wake may take.
_PATIENCE = 60
_WAKES = 15


class WakeConformance:
    """A part of :class:`~zc.cimaa.testing.Conformance`, which has the fixtures."""

    @pytest.mark.parametrize("changes", [False, True], ids=["same faults", "other faults"])
    def test_80_a_report_returns_whether_the_agent_was_woken(self, db: DB, other: DB, changes: bool) -> None:
        """Since the last one, once, however often it was woken; the first report of an agent returns false."""
        names = iter(range(100))

        def report(agent: str) -> bool:
            return db.report(agent, [fault(str(next(names)) if changes else "f")])

        for agent in "ab":
            assert [report(agent), report(agent)] == [False, False]
        assert other.wake(["a"]) == db.wake(["a"]) == 1
        assert [report("b"), report("a"), report("a"), report("b")] == [False, True, False, False]
        assert other.wake(["b", "a"]) == 2
        assert [report("b"), report("b"), report("a"), report("a")] == [True, False, True, False]

    def test_80_another_instance_or_another_time_is_answered_too(self, db: DB, other: DB) -> None:
        """The first report for an agent gets the answer, from any instance."""
        for first, second, within in ((db, other, None), (other, db, 60), (db, db, 120), (db, db, None)):
            first.report("agent", [fault("f")])
            first.wake(["agent"])
            assert second.report("agent", [fault("f")], within) is True
            assert first.report("agent", [fault("f")], within) is False

    def test_81_set_faults_leaves_the_agent_woken(self, db: DB, other: DB) -> None:
        """Whether it changes something or not."""
        db.set_faults("agent", [fault("f")])
        db.wake(["agent"])
        for one, faults in ((db, [fault("f")]), (db, [fault("g")]), (other, [fault("g")]), (other, [])):
            assert one.set_faults("agent", faults) is None  # type: ignore[func-returns-value]
        assert db.report("agent", []) is True
        assert other.report("agent", []) is False

    def test_82_report_stores_what_set_faults_stores(self, db: DB, other: DB, clock: Clock) -> None:
        """The faults, the heartbeat and the time of the next report, also of an agent that was woken."""
        start = int(clock())
        for step, faults in enumerate([[fault("f")], [fault("f")], [fault("f", 50), fault("g")], []]):
            other.wake(["agent"])
            assert db.report("agent", faults, within=60) is (step > 0)
            assert other.get_faults("agent") == expected("agent", faults)
            assert other.old_agents(0) == [{"name": "agent", "updated": start + 30 * step}]
            clock.advance(30)
        clock.advance(60)
        assert [late["late"] for late in other.late_agents()] == [30]
        assert [event["kind"] for event in other.get_history()] == [
            *("appeared", "began", "worse", "began"),
            *("ended", "ended"),
        ]

    def test_82_report_refuses_what_set_faults_refuses(self, db: DB, other: DB) -> None:
        """And leaves the agent woken."""
        db.set_faults("agent", [fault("f")])
        db.wake(["agent"])
        report: Callable[..., bool] = db.report
        bad: list[tuple[Any, ...]] = [("agent", [{"name": "f"}]), ("agent", [], 0), ("agent", [], True)]
        bad += [(agent, []) for agent in BAD_AGENTS.values()]
        for arguments in bad:
            with pytest.raises(errors.InvalidInput):
                report(*arguments)
        assert other.get_faults("agent") == [fault("f", agent="agent")]
        assert other.report("agent", [fault("f")]) is True

    def test_83_waking_changes_nothing_that_is_shown(self, db: DB, other: DB, clock: Clock) -> None:
        """No heartbeat, no fault, no instance, no event."""
        for _ in range(2):
            db.set_faults("agent", [fault("f")], within=60)
            clock.advance(10)
        shown: list[Callable[[], Any]] = [other.dump, other.get_agents, other.find_faults, other.get_history]
        before = [call() for call in shown]
        db.wake(["agent"])
        assert [call() for call in shown] == before
        assert db.report("agent", [fault("f")], within=60) is True
        events = before.pop()
        assert other.get_history() == events
        assert other.old_agents(0) == [{"name": "agent", "updated": int(clock())}]

    def test_84_unknown_agents_are_ignored(self, db: DB, other: DB) -> None:
        """None is created; the call returns how many of the agents exist, each counted once."""
        known = [*HOSTILE_TEXTS.values(), "a" * 255]
        for name in known:
            db.set_faults(name, [])
        assert other.wake([]) == other.wake(["unknown"]) == 0
        assert other.wake(name for name in [*known, "unknown", *known]) == len(set(known))
        assert {agent["name"] for agent in other.get_agents()} == set(known)
        assert all(db.report(name, []) for name in set(known))
        assert db.report("unknown", []) is False

    def test_84_many_agents_can_be_woken_at_once(self, db: DB, other: DB) -> None:
        """Others stay as they are."""
        names = [f"agent{number}" for number in range(150)]
        for name in names:
            db.set_faults(name, [])
        assert other.wake([*names[:120], "unknown"]) == 120
        assert [name for name in names if db.report(name, [])] == names[:120]

    def test_84_an_agent_that_is_removed_is_not_woken_any_more(self, db: DB, other: DB) -> None:
        """Its next report is that of an agent that appears."""
        db.set_faults("agent", [fault("f")])
        db.wake(["agent"])
        other.remove_agent("agent")
        assert other.wake(["agent"]) == 0
        assert db.report("agent", [fault("f")]) is False

    @pytest.mark.parametrize("agents", ["agent", *([bad] for bad in BAD_AGENTS.values())])
    def test_85_an_invalid_name_wakes_nobody(self, db: DB, agents: Any) -> None:
        """The valid ones before it are not woken either; a text is not a list of names."""
        for name in "agent":
            db.set_faults(name, [])
        db.set_faults("agent", [])
        with pytest.raises(errors.InvalidInput):
            db.wake(agents if isinstance(agents, str) else ["agent", *agents])
        assert [name for name in (*"agent", "agent") if db.report(name, [])] == []

    @pytest.mark.usefixtures("restless")
    def test_86_no_wake_is_lost(self, opener: Opener) -> None:
        """While two instances report, the same and other faults, a report that begins after a wake answers it."""
        with opener(instance=FIRST) as one, opener(instance=SECOND) as other:
            one.set_faults("agent", [])
            with _reporting(one, other) as reports:
                for step in range(_WAKES):
                    before = reports.answers
                    assert (one, other)[step % 2].wake(["agent"]) == 1
                    reports.wait(before)
                    assert reports.answers > before, f"wake {step} was lost"


class _Reports:
    """Counts the reports of two instances, and how many of them returned that the agent was woken."""

    def __init__(self) -> None:
        self.finished = [0, 0]
        self.answers = 0
        self._changed = threading.Condition()

    def add(self, who: int, woken: bool) -> None:
        """A report of this instance has returned."""
        with self._changed:
            self.finished[who] += 1
            self.answers += woken
            self._changed.notify()

    def wait(self, before: int) -> None:
        """Wait for an answer after the first ``before``, or until each instance has made a whole report."""
        with self._changed:
            enough = [number + 2 for number in self.finished]  # the next one may have begun already
            self._changed.wait_for(
                lambda: self.answers > before or all(map(ge, self.finished, enough)),
                _PATIENCE,
            )


@contextmanager
def _reporting(one: DB, other: DB) -> Iterator[_Reports]:
    """Threads that report for one agent, and ask whether it was woken; one that only sets its faults."""
    stopped = threading.Event()
    reports = _Reports()

    def ask(who: int, db: DB, names: Iterable[str]) -> None:
        for name in names:
            reports.add(who, db.report("agent", [fault(name)]))

    def set_only(db: DB, names: Iterable[str]) -> None:
        for name in names:
            db.set_faults("agent", [fault(name)])

    def until_stopped(names: Iterable[str]) -> Iterator[str]:
        while not stopped.is_set():
            yield from names

    with ThreadPoolExecutor(3) as pool:
        tasks = [
            pool.submit(ask, 0, one, until_stopped("aab")),
            pool.submit(ask, 1, other, until_stopped("abc")),
            pool.submit(set_only, one, until_stopped("ad")),
        ]
        try:
            yield reports
        finally:
            stopped.set()
        for task in tasks:
            task.result()
