"""The promises about history, by number."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .. import errors
from ..db import DB, HISTORY
from ..options import Values
from .replay import Recorder, kinds, replayed, state
from .tools import FIRST, Clock, Opener, fault

_DAY = 24 * 60 * 60
_MARK = "0123456789abcdef"


class HistoryConformance:
    """A part of :class:`~zc.cimaa.testing.Conformance`, which has the fixtures."""

    def test_60_a_report_records_what_it_changed(self, db: DB, other: DB, clock: Clock) -> None:
        """Faults that began, got worse or better, and ended; all events of one report have the same time."""
        start = int(clock())
        db.set_faults("agent", [fault("a", 30), fault("b", 50, "down")])
        clock.advance(10)
        db.set_faults("agent", [fault("a", 50, "much worse"), fault("b", 30, "nearly up"), fault("c", 20)])
        clock.advance(10)
        db.set_faults("agent", [fault("c", 20)])
        events = other.get_history(agent="agent")
        assert kinds(events) == [
            *(("appeared",), ("began", "a"), ("began", "b")),
            *(("worse", "a"), ("better", "b"), ("began", "c")),
            *(("ended", "a"), ("ended", "b")),
        ]
        assert [event["time"] // 10**6 - start for event in events] == [0, 0, 0, 10, 10, 10, 20, 20]
        at = {"time": start * 10**6 + 10_250_000, "agent": "agent"}
        assert events[3:6] == [
            {**at, **_change("worse", "a", 30, 50, start), "message": "much worse"},
            {**at, **_change("better", "b", 50, 30, start), "message": "nearly up"},
            {**at, "kind": "began", "fault": "c", "after": 20, "since": start + 10, "message": "it is bad"},
        ]
        assert (events[7]["before"], events[7]["since"], events[7]["message"]) == (30, start, "nearly up")

    def test_60_another_message_or_extra_key_is_not_an_event(self, db: DB, clock: Clock) -> None:
        """Neither is a heartbeat, nor an extra key with the name under which agents store their alerts."""
        db.set_faults("agent", [fault("f", 50)])
        before = db.get_history()
        for changed in (fault("f", 50, "other"), fault("f", 50, extra=1), fault("f", 50, triggered="y")):
            clock.advance(1)
            db.set_faults("agent", [changed])
            db.set_faults("agent", [changed])
        for marks in ({"pager": 1}, {"pager": "sent"}, ["pager"], {"pager": _MARK, "other": None}, None):
            db.set_faults("agent", [fault("f", 50, triggered=marks)])
        assert db.get_history() == before

    def test_60_a_long_message_is_cut(self, db: DB) -> None:
        """To 1 KiB of UTF-8, visibly."""
        db.set_faults("agent", [fault("f", message="\u00e9" * 5000)])
        message = db.get_history()[-1]["message"]
        assert message == "\u00e9" * 510 + "..."

    def test_61_an_agent_appears_and_is_removed(self, db: DB, other: DB, clock: Clock) -> None:
        """Its faults end with it; its history stays, and goes on when it reports again."""
        db.set_faults("agent", [fault("f"), fault("g")])
        clock.advance(5)
        db.remove_agent("agent", user="alice")
        db.remove_agent("agent", user="bob")
        db.remove_agent("unknown", user="bob")
        clock.advance(5)
        db.set_faults("agent", [])
        events = other.get_history(agent="agent")
        assert kinds(events) == [
            *(("appeared",), ("began", "f"), ("began", "g")),
            *(("ended", "f"), ("ended", "g"), ("removed",)),
            ("appeared",),
        ]
        assert events[0]["who"] == FIRST.host
        assert events[5]["who"] == "alice"
        assert events == other.get_history()

    def test_61_a_silence_that_the_agent_did_not_announce_is_recorded(self, db: DB, clock: Clock) -> None:
        """By the report that ends it, if the one before said when the next one was due."""
        start = int(clock())
        for within in (60, 60, None, None, 60):
            db.set_faults("agent", [fault("f")], within=within)
            clock.advance(61)
        assert [event["since"] for event in db.get_history(kinds=["returned"])] == [start, start + 61]
        db.set_faults("agent", [fault("f")], within=60)
        clock.advance(60)
        db.set_faults("agent", [fault("f")], within=60)
        assert db.get_history()[-1]["since"] == start + 4 * 61
        assert db.get_history()[-1]["time"] == start * 10**6 + 5 * 61_000_000 + 250_000

    def test_61_a_clock_that_was_set_back_is_not_a_silence(self, db: DB, clock: Clock) -> None:
        """The next report is a mere heartbeat."""
        db.set_faults("agent", [fault("f")], within=60)
        before = db.get_history()
        clock.advance(-10_000)
        db.set_faults("agent", [fault("f")], within=60)
        clock.advance(30)
        db.set_faults("agent", [fault("f")], within=60)
        assert db.get_history() == before

    def test_62_alerts_are_recorded(self, db: DB) -> None:
        """As agents store them with the fault: for each alerter the digest of the message that it sent."""
        for severity, marks in (
            *((50, {"pager": ""}), (50, {"pager": _MARK, "mail": ""}), (50, {"pager": _MARK, "mail": _MARK})),
            *((20, {"pager": "", "mail": ""}), (20, {"mail": ""}), (20, None)),
        ):
            db.set_faults("agent", [fault("f", severity) | ({"triggered": marks} if marks else {})])
        sent = [(event["kind"], event["who"]) for event in db.get_history(kinds=["alerted", "resolved"])]
        assert sent == [("alerted", "pager"), ("alerted", "mail"), ("resolved", "pager"), ("resolved", "mail")]

    def test_62_an_alert_that_was_never_sent_is_not_resolved(self, db: DB) -> None:
        """The fault was over before."""
        db.set_faults("agent", [fault("f", 50, triggered={"pager": ""}), fault("g", 50, triggered={"pager": _MARK})])
        db.set_faults("agent", [])
        assert kinds(db.get_history())[-3:] == [("ended", "f"), ("ended", "g"), ("resolved", "g")]

    def test_63_squelches_are_recorded(self, db: DB, other: DB, clock: Clock) -> None:
        """Under the agent ``_``: who set and removed them, why, since when and until when."""
        start = int(clock())
        db.squelch("x", "maintenance", "alice", expires=start + 100)
        clock.advance(10)
        db.squelch("x", "longer", "bob")
        clock.advance(10)
        other.unsquelch("x", user="carol")
        other.unsquelch("x", user="carol")
        clock.advance(10)
        shown = [{key: e[key] for key in e if key not in ("time", "agent", "fault")} for e in db.get_history(agent="_")]  # type: ignore[literal-required]
        assert shown == [
            {"kind": "squelched", "since": start, "until": start + 100, "who": "alice", "why": "maintenance"},
            {"kind": "unsquelched", "since": start, "until": start + 100, "who": "bob", "why": "maintenance"},
            {"kind": "squelched", "since": start + 10, "who": "bob", "why": "longer"},
            {"kind": "unsquelched", "since": start + 10, "who": "carol", "why": "longer"},
        ]
        assert [[s["reason"] for s in db.squelches_at(start + after)] for after in (-1, 0, 9, 10, 19, 20)] == [
            *([], ["maintenance"], ["maintenance"]),
            *(["longer"], ["longer"], []),
        ]

    def test_64_events_are_in_the_order_of_writing(self, db: DB, other: DB, clock: Clock) -> None:
        """Even if the clock stops or is set back; each write is later than the one before."""
        for step in range(6):
            (db if step % 2 else other).set_faults("agent", [fault(str(step))])
            clock.advance(-step)
        db.remove_agent("agent")
        db.set_faults("agent", [])
        times = [event["time"] for event in db.get_history()]
        assert times == sorted(times)
        assert len({*times}) == 8
        names = [event["fault"] for event in db.get_history(kinds=["began"])]
        assert names == ["0", "1", "2", "3", "4", "5"]

    def test_65_get_history_selects(self, db: DB, clock: Clock) -> None:
        """By agent, name, time and kind, and the latest if there is a limit."""
        start = int(clock())
        for second in range(5):
            db.set_faults("a", [fault(f"f{second}")])
            db.set_faults("b", [fault(f"g{second}")])
            clock.advance(1)
        assert len(db.get_history()) == 20
        assert kinds(db.get_history(agent="a", kinds=["began"])) == [("began", f"f{second}") for second in range(5)]
        assert kinds(db.get_history(pattern="[fg]3", kinds=["began"])) == [("began", "f3"), ("began", "g3")]
        assert kinds(db.get_history(agent="b", since=start + 3, until=start + 3)) == [("ended", "g2"), ("began", "g3")]
        assert kinds(db.get_history(agent="a", limit=1)) == [("began", "f4")]
        assert kinds(db.get_history(agent="a", kinds=["ended"], limit=2)) == [("ended", "f2"), ("ended", "f3")]
        assert db.get_history(limit=0) == db.get_history(agent="c") == db.get_history(kinds=[]) == []
        assert db.get_history(since=start + 5) == db.get_history(until=start - 1) == []

    def test_65_invalid_arguments_are_rejected(self, db: DB) -> None:
        """With the error that all invalid input raises."""
        for call in (
            *(lambda: db.get_history(agent=""), lambda: db.get_history(pattern="("), lambda: db.get_history(limit=-1)),
            *(lambda: db.get_history(since=-1), lambda: db.get_history(until=2**63), lambda: db.get_history(since=1.5)),  # type: ignore[arg-type]
            *(lambda: db.faults_at(True), lambda: db.faults_at(-1), lambda: db.faults_at(2**63)),
            *(lambda: db.faults_at(0, agent="_"), lambda: db.squelches_at(-1), lambda: db.remove_agent("a", user="\0")),
            *(lambda: db.unsquelch("a", user="\0"), lambda: db.set_faults("a", [], within=0)),
            *(lambda: db.set_faults("a", [], within=1.5), lambda: db.set_faults("a", [], within=True)),  # type: ignore[arg-type]
            *(lambda: db.get_history(kinds="began"), lambda: db.get_history(kinds=["began", 5])),  # type: ignore[list-item]
            *(lambda: db.get_history(kinds=5), lambda: db.set_faults("a", [], within=2**63)),  # type: ignore[arg-type]
        ):
            with pytest.raises(errors.InvalidInput):
                call()
        assert db.get_history() == []

    def test_66_faults_at_shows_an_earlier_moment(self, db: DB, other: DB, clock: Clock) -> None:
        """With the filters of ``find_faults``, and the message of the last event by then."""
        start = int(clock())
        db.set_faults("a", [fault("f", 30, "first", extra=1), fault("g", 50)])
        db.set_faults("b", [fault("f", 50)])
        clock.advance(10)
        db.set_faults("a", [fault("f", 30, "no event", extra=1), fault("g", 50)])
        clock.advance(10)
        db.set_faults("a", [fault("f", 40, "worse")])
        db.remove_agent("b")
        clock.advance(10)
        db.set_faults("a", [])
        g, b = ({"agent": agent, "name": name} for agent, name in (("a", "g"), ("b", "f")))
        rest = {"severity": 50, "message": "it is bad", "since": start}
        first = {"agent": "a", "name": "f", "severity": 30, "message": "first", "since": start}
        for second in (start, start + 19):
            assert other.faults_at(second) == [{**g, **rest}, {**b, **rest}, first]
        assert other.faults_at(start + 20) == [{**first, "severity": 40, "message": "worse"}]
        assert other.faults_at(start + 30) == other.faults_at(start - 1) == []
        assert other.faults_at(start, agent="b") == [{**b, **rest}]
        assert other.faults_at(start, severity=50, pattern="g") == [{**g, **rest}]
        assert other.faults_at(start, limit=1) == [{**g, **rest}]
        assert other.faults_at(start + 10**6) == []

    def test_67_a_history_that_is_incomplete_is_an_error(self, db: DB, clock: Clock) -> None:
        """It names the agent and the earliest time that can be asked for; other agents are not affected."""
        start = int(clock())
        with type(db)(Values({**db.settings, HISTORY.name: 0}), instance=FIRST, clock=clock) as none:
            for name in "ab":
                db.set_faults(name, [fault("f")])
            clock.advance(10)
            none.set_faults("a", [])
            assert kinds(db.get_history(agent="a")) == [("appeared",), ("began", "f")]
            with pytest.raises(errors.HistoryIncomplete, match=r"agent 'a' is incomplete"):
                db.faults_at(start)
            assert [one["agent"] for one in db.faults_at(start, without=["a"])] == ["b"]
            with pytest.raises(errors.HistoryIncomplete, match="keeps no history"):
                none.faults_at(start)
            assert none.get_history() == []
        clock.advance(10)
        db.set_faults("a", [fault("g")])
        assert kinds(db.get_history(agent="a"))[2:] == [("started",), ("began", "g")]
        with pytest.raises(errors.HistoryIncomplete, match=rf"agent 'a' begins at {start + 21}"):
            db.faults_at(start + 19)
        assert len(db.faults_at(start, agent="b")) == 1
        assert len(db.faults_at(start + 21)) == 2

    def test_68_late_agents(self, db: DB, other: DB, clock: Clock) -> None:
        """Those that said when they would report again, and did not."""
        start = int(clock())
        db.set_faults("b", [fault("f")], within=60)
        db.set_faults("a", [], within=30)
        db.set_faults("never", [])
        clock.advance(60)
        late = {"name": "a", "updated": start, "within": 30, "late": 30}
        assert other.late_agents() == [late]
        assert other.late_agents(otherwise=59) == [
            late,
            {"name": "never", "updated": start, "within": 59, "late": 1},
        ]
        clock.advance(1)
        assert other.late_agents() == [{**late, "late": 31}, {"name": "b", "updated": start, "within": 60, "late": 1}]
        db.set_faults("a", [])
        db.set_faults("b", [fault("f")], within=120)
        clock.advance(120)
        assert other.late_agents() == []
        assert {*other.dump()["faults"][0]} == {"agent", "name", "message", "updated"}

    def test_69_old_events_are_forgotten(self, db: DB, other: DB, clock: Clock) -> None:
        """They are no longer shown, and deleted a few at a time; what is newer stays."""
        start = int(clock())
        for number in range(20):
            db.set_faults("agent", [fault(str(number))])
        clock.advance(89 * _DAY)
        db.set_faults("agent", [fault("new")])
        assert not db.expired_history()
        clock.advance(2 * _DAY)
        assert kinds(other.get_history()) == [("ended", "19"), ("began", "new")]
        assert not db.expired_history(grace=3 * _DAY)
        while removed := db.prune_history(limit=7):
            assert removed <= 7
        assert not db.expired_history()
        assert kinds(other.get_history()) == [("ended", "19"), ("began", "new")]
        assert other.faults_at(start + 89 * _DAY - 1)[0]["name"] == "19"
        with pytest.raises(errors.HistoryIncomplete, match=f"begins at {start + _DAY + 1}"):
            db.faults_at(start + _DAY)

    def test_70_a_report_of_many_changes_is_recorded(self, db: DB, clock: Clock) -> None:
        """All of it, with one time."""
        db.set_faults("agent", [fault(f"f{number}") for number in range(1000)])
        clock.advance(1)
        db.set_faults("agent", [fault(f"f{number}", 50) for number in range(500, 1500)])
        events = db.get_history(agent="agent")
        assert len({event["time"] for event in events}) == 2
        assert replayed(events) == state(db.find_faults())
        assert len(db.faults_at(int(clock()) - 1)) == 1000

    @pytest.mark.usefixtures("restless")
    def test_71_writers_at_once_leave_one_history(self, opener: Opener) -> None:
        """Of each agent, which leads to its present."""
        with opener(instance=FIRST) as one, opener(instance=FIRST._replace(pid=2)) as other:

            def write(db: DB, step: int) -> None:
                db.set_faults("agent", [fault(f"f{(step + index) % 7}", 10 * (step % 3 + 1)) for index in range(4)])
                db.set_faults(f"agent{step % 2}", [fault(f"f{step % 5}")])

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(write, [one, other] * 15, range(30)))
            assert replayed(one.get_history()) == state(one.find_faults())

    def test_72_what_was_recorded_is_found_again(self, db: DB, other: DB, clock: Clock) -> None:
        """The faults at every earlier second, also while the clock is set back, and agents are removed."""
        recorder = Recorder(other)
        for step in range(12):
            if step % 5 == 4:
                db.remove_agent("ab"[step % 2])
            else:
                db.set_faults("ab"[step % 2], [fault(f"f{step % 3}", 10 * (step % 4 + 1)), fault(f"g{step % 2}")])
            recorder.record("ab")
            clock.advance((1, 0.2, -3, 20)[step % 4])
        recorder.check()
        assert replayed(other.get_history()) == state(other.find_faults())


def _change(kind: str, name: str, before: int, after: int, since: int) -> dict[str, Any]:
    return {"kind": kind, "fault": name, "before": before, "after": after, "since": since}
