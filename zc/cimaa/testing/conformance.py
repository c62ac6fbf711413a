"""Every promise of the contract, by number."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest

from .. import errors, limits
from ..agents import INSTANCE_MEMORY
from ..db import DB
from ..faults import FaultDict
from .entries_conformance import EntriesConformance
from .histories import History, run_histories
from .history_promises import HistoryConformance
from .leases_conformance import LeasesConformance
from .tools import (
    ELSEWHERE,
    FIRST,
    ONE_SHOT,
    SECOND,
    Clock,
    Opener,
    exact,
    expected,
    fault,
    process_pool,
    shown_instance,
)
from .values import AT_LIMIT, BAD_AGENTS, HOSTILE_TEXTS, REFUSED, VALUES
from .wake_promises import WakeConformance


class Conformance(HistoryConformance, EntriesConformance, LeasesConformance, WakeConformance):
    """The promises.  Derive from it and define the fixture ``opener``."""

    #: False for a store that other processes cannot see.
    processes: ClassVar[bool] = True
    #: The number of random histories that are compared with the model.
    examples: ClassVar[int] = 25

    @pytest.fixture
    def opener(self) -> Opener:
        """Open the store of this test; override it."""
        raise NotImplementedError("define the fixture 'opener': see zc.cimaa.testing")

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock of this test's stores."""
        return Clock()

    @pytest.fixture
    def db(self, opener: Opener, clock: Clock) -> Iterator[DB]:
        """A handle that reports as :data:`FIRST`."""
        with opener(instance=FIRST, clock=clock) as db:
            yield db

    @pytest.fixture
    def other(self, opener: Opener, clock: Clock) -> Iterator[DB]:
        """Another handle on the same store, which reports as :data:`SECOND`."""
        with opener(instance=SECOND, clock=clock) as db:
            yield db

    # Reports

    def test_01_a_report_replaces_the_one_before(self, db: DB, other: DB) -> None:
        """The faults of the new report are stored, with its values; all others are removed."""
        for faults in (
            [],
            [fault("f1")],
            [fault("f1"), fault("f2", extra=1)],
            [fault("f3", 50, triggered="y"), fault("f2", 10, "better"), fault("blank", 50, "")],
            [fault("f2")],
            [],
            [fault("f1")],
        ):
            db.set_faults("agent", faults)
            assert other.get_faults("agent") == expected("agent", faults)
            assert db.get_faults("agent") == expected("agent", faults)

    def test_02_faults_are_sorted_by_name(self, db: DB) -> None:
        """In the order of code points, independent of the order in the report."""
        names = ["b", "a", "B", "_", "a b", "aa", "a\u0301", "\u00e1", "z", "\uffff", "\U0001f4a5", "\ue000", "10", "9"]
        db.set_faults("agent", [fault(name) for name in names])
        assert [one["name"] for one in db.get_faults("agent")] == sorted(names)

    def test_03_an_agent_that_never_reported_has_no_faults(self, db: DB) -> None:
        """Asking for them is not an error, and stores nothing."""
        assert db.get_faults("unknown") == []
        assert db.find_faults(agent="unknown") == []
        assert db.get_agents() == []
        assert db.dump() == {"faults": [], "squelches": []}

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_04_a_value_is_returned_as_it_was_set(self, db: DB, other: DB, value: Any) -> None:
        """Empty texts, numbers at their limits, nested lists and objects; a bool does not become a number."""
        faults = [fault("f", value=value, within=[value, {"value": value}])]
        db.set_faults("agent", faults)
        assert exact(other.get_faults("agent")) == exact(expected("agent", faults))

    def test_04_an_equal_value_of_another_type_is_a_change(self, db: DB, other: DB) -> None:
        """If a bool changes to the number that equals it in Python, the number is stored."""
        for value in (True, 1, False, 0, "", None, [], {}, [1], [True], {"a": 1}, {"a": True}):
            db.set_faults("agent", [fault("f", value=value)])
            assert exact(other.get_faults("agent")) == exact([fault("f", value=value, agent="agent")])

    @pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
    def test_05_every_text_is_returned_as_it_was_set(self, db: DB, other: DB, text: str) -> None:
        """As agent, name, message, key and value, and as reason and user of a squelch."""
        faults = [fault(text, message=text) | {text: text, "list": [text, {text: text}]}, fault(text + "2")]
        db.set_faults(text, faults)
        db.set_faults(text, [*faults, fault("another")])
        db.set_faults(text, faults)
        db.squelch("x", text, text)
        assert other.get_faults(text) == expected(text, faults)
        assert [one["name"] for one in other.find_faults(agent=text)] == sorted([text, text + "2"])
        assert [agent["name"] for agent in other.get_agents()] == [text]
        assert [(one["reason"], one["user"]) for one in other.get_squelch_details()] == [(text, text)]
        db.remove_agent(text)
        assert other.dump()["faults"] == []

    @pytest.mark.parametrize("faults", AT_LIMIT.values(), ids=AT_LIMIT.keys())
    def test_06_a_report_at_a_limit_is_accepted(self, db: DB, other: DB, faults: list[FaultDict]) -> None:
        """Sizes are bytes of UTF-8."""
        db.set_faults("agent", [fault("before")])
        db.set_faults("agent", faults)
        assert other.get_faults("agent") == expected("agent", faults)
        db.set_faults("agent", [])
        assert other.dump()["faults"] == [
            {"agent": "_", "name": "agent", "message": "", "updated": 1_700_000_000},
        ]

    def test_06_names_at_their_limit_are_accepted(self, db: DB, other: DB) -> None:
        """An agent's name of 255 bytes, of one byte, and of characters with several bytes."""
        names = ["a" * limits.AGENT, "a", "\U0001f4a5" * (limits.AGENT // 4), "__", "-", "A", "."]
        for name in names:
            db.set_faults(name, [fault("f")])
        assert [agent["name"] for agent in other.get_agents()] == sorted(names)

    @pytest.mark.parametrize("faults", REFUSED.values(), ids=REFUSED.keys())
    def test_07_a_report_that_breaks_a_rule_changes_nothing(self, db: DB, other: DB, clock: Clock, faults: Any) -> None:
        """It raises InvalidFault; the faults and the heartbeat stay as they were."""
        before = [fault("before", x=[1])]
        db.set_faults("agent", before)
        stored = other.dump()
        clock.advance(10)
        with pytest.raises(errors.InvalidFault):
            db.set_faults("agent", faults)
        assert other.dump() == stored
        with pytest.raises(errors.InvalidFault):
            db.set_faults("new", faults)
        assert other.dump() == stored

    @pytest.mark.parametrize("agent", BAD_AGENTS.values(), ids=BAD_AGENTS.keys())
    def test_07_an_invalid_name_of_an_agent_is_rejected(self, db: DB, agent: Any) -> None:
        """By every call with an agent."""
        for call in (lambda: db.set_faults(agent, []), lambda: db.get_faults(agent), lambda: db.remove_agent(agent)):
            with pytest.raises(errors.InvalidAgent):
                call()
        assert db.get_agents() == []

    def test_07_an_invalid_value_with_a_valid_encoding_is_rejected(self, db: DB) -> None:
        """Even if the value that it would be encoded as is stored."""
        db.set_faults("agent", [fault("f", x=[1], y=None)])
        for bad in (fault("f", x=(1,), y=None), fault("f", x=[1], y=float("nan"))):
            with pytest.raises(errors.InvalidFault):
                db.set_faults("agent", [bad])

    def test_08_the_store_and_the_caller_share_no_objects(self, db: DB, other: DB) -> None:
        """Arguments are not changed, and changing them or a result later does not change what is stored."""
        faults = [fault("g", x={"y": [1]}), fault("f", agent="agent", since=5)]
        given = [fault("g", x={"y": [1]}), fault("f", agent="agent", since=5)]
        db.set_faults("agent", faults)
        assert faults == given
        faults[0]["x"]["y"].append(2)
        faults.pop()
        answers: list[Any] = [db.get_faults("agent"), db.find_faults(), db.dump()["faults"]]
        for answer in answers:
            for one in answer:
                one.get("x", {}).clear()
        assert other.get_faults("agent") == [fault("f", agent="agent"), fault("g", agent="agent", x={"y": [1]})]

    def test_09_faults_that_a_store_returned_can_be_reported(self, db: DB, other: DB, clock: Clock) -> None:
        """The agent's own name among the keys is accepted; since is ignored."""
        db.set_faults("agent", [fault("f"), fault("g", x=1)])
        began = int(clock())
        clock.advance(60)
        for again in (db.get_faults("agent"), db.find_faults(), [{**one, "since": 1} for one in db.find_faults()]):
            db.set_faults("agent", again)
            assert other.get_faults("agent") == [fault("f", agent="agent"), fault("g", agent="agent", x=1)]
            assert [one["since"] for one in other.find_faults()] == [began, began]

    @pytest.mark.parametrize(
        "faults", [AT_LIMIT["size of a fault"], AT_LIMIT["size of a report"]], ids=["fault", "report"]
    )
    def test_09_so_can_those_of_a_report_at_a_limit(self, db: DB, other: DB, faults: list[FaultDict]) -> None:
        """Keys that are not stored do not count."""
        db.set_faults("agent", faults)
        db.set_faults("agent", other.get_faults("agent"))
        other.set_faults("agent", db.find_faults(agent="agent"))
        assert db.get_faults("agent") == expected("agent", faults)

    def test_10_agents_are_independent(self, db: DB, other: DB) -> None:
        """Even if their names are similar."""
        names = ["agent", "agent1", "agen", "Agent", "agent ", "a", "%", "agent/f", "agent\x01", "*", "agent%"]
        for name in names:
            db.set_faults(name, [fault("f", message=name)])
        db.set_faults("agent", [fault("g")])
        db.remove_agent("agen")
        db.remove_agent("%")
        left = sorted(set(names) - {"agent", "agen", "%"})
        assert other.get_faults("agent") == [fault("g", agent="agent")]
        for name in left:
            assert other.get_faults(name) == [fault("f", message=name, agent=name)]
        assert [agent["name"] for agent in other.get_agents()] == sorted([*left, "agent"])

    def test_11_any_iterable_can_be_reported(self, db: DB) -> None:
        """For example, a generator."""
        db.set_faults("agent", (fault(name) for name in "ba"))
        assert db.get_faults("agent") == [fault("a", agent="agent"), fault("b", agent="agent")]

    # Heartbeats

    def test_12_every_report_refreshes_the_heartbeat(self, db: DB, other: DB, clock: Clock) -> None:
        """Changed or not; in whole seconds; also backwards, if the clock was set back."""
        for faults in ([], [], [fault("f")], [fault("f")], [fault("f", 50)], []):
            for seconds in (0.5, 60, -30):
                clock.advance(seconds)
                db.set_faults("agent", faults)
                [agent] = other.get_agents()
                assert agent["updated"] == int(clock())
                assert isinstance(agent["updated"], int)

    def test_13_old_agents(self, db: DB, other: DB, clock: Clock) -> None:
        """Agents whose last report is at least this old, sorted by name; an age of 0 includes all agents."""
        assert other.old_agents(0) == []
        start = int(clock())
        for name in ("c", "a", "B"):
            db.set_faults(name, [fault("f")])
            clock.advance(100)
        assert other.old_agents(0) == [
            {"name": "B", "updated": start + 200},
            {"name": "a", "updated": start + 100},
            {"name": "c", "updated": start},
        ]
        assert other.old_agents(200) == [{"name": "a", "updated": start + 100}, {"name": "c", "updated": start}]
        assert other.old_agents(200.5) == [{"name": "c", "updated": start}]
        assert other.old_agents(300) == [{"name": "c", "updated": start}]
        assert other.old_agents(301) == []
        db.set_faults("c", [fault("f")])
        assert other.old_agents(150) == [{"name": "a", "updated": start + 100}]

    def test_14_offline_agents(self, db: DB, other: DB, clock: Clock) -> None:
        """Agents that reported within the longer time, but not within the shorter; by default 30 days, 5 minutes."""
        start = int(clock())
        db.set_faults("long gone", [])
        clock.advance(30 * 86400 - 1000)
        db.set_faults("gone", [])
        clock.advance(1000)
        db.set_faults("here", [])
        assert other.offline_agents() == [{"name": "gone", "updated": start + 30 * 86400 - 1000}]
        assert other.offline_agents(31 * 86400) == [
            {"name": "gone", "updated": start + 30 * 86400 - 1000},
            {"name": "long gone", "updated": start},
        ]
        assert other.offline_agents(seen_within=1000, silent_for=10) == []
        assert [agent["name"] for agent in other.offline_agents(1001, 1000)] == ["gone"]
        assert [agent["name"] for agent in other.offline_agents(100, 0)] == ["here"]

    @pytest.mark.parametrize(
        "bad",
        [-1, float("nan"), float("inf"), 10**400, 10**5000, "60", None, True],
        ids=["negative", "nan", "infinite", "large", "too large to print", "text", "none", "true"],
    )
    def test_15_an_invalid_number_of_seconds_is_rejected(self, db: DB, bad: Any) -> None:
        """By every call with seconds."""
        calls: list[Callable[[], object]] = [
            lambda: db.old_agents(bad),
            lambda: db.offline_agents(bad),
            lambda: db.offline_agents(60, bad),
            lambda: db.double_agents(bad),
        ]
        for call in calls:
            with pytest.raises(errors.InvalidInput):
                call()

    def test_16_remove_agent(self, db: DB, other: DB, clock: Clock) -> None:
        """Everything of the agent is removed, and nothing of others; it may report again; unknown ones are ignored."""
        db.remove_agent("agent")
        db.set_faults("agent", [fault("f")])
        db.set_faults("other", [fault("f")])
        db.remove_agent("agent")
        db.remove_agent("agent")
        assert other.get_faults("agent") == []
        assert [agent["name"] for agent in other.get_agents()] == ["other"]
        assert other.get_faults("other") == [fault("f", agent="other")]
        clock.advance(100)
        db.set_faults("agent", [fault("f")])
        assert [(one["agent"], one["since"]) for one in other.find_faults()] == [
            ("other", int(clock()) - 100),
            ("agent", int(clock())),
        ]

    # Instances

    def test_17_get_agents_returns_the_instances(self, db: DB, other: DB, opener: Opener, clock: Clock) -> None:
        """Each recent instance, with the times of its first and last report."""
        start = int(clock())
        db.set_faults("b", [])
        db.set_faults("a", [])
        clock.advance(10)
        db.set_faults("a", [])
        clock.advance(10)
        other.set_faults("a", [])
        clock.advance(10)
        other.set_faults("a", [fault("f")])
        with opener(instance=ONE_SHOT, clock=clock) as once:
            once.set_faults("b", [])
        first = {**shown_instance(FIRST), "first": start, "last": start + 10}
        second = {**shown_instance(SECOND), "first": start + 20, "last": start + 30}
        assert other.get_agents() == [
            {"name": "a", "updated": start + 30, "instances": [first, second]},
            {
                "name": "b",
                "updated": start + 30,
                "instances": [
                    {**shown_instance(FIRST), "first": start, "last": start},
                    {**shown_instance(ONE_SHOT), "first": start + 30, "last": start + 30},
                ],
            },
        ]

    def test_17_an_instance_that_stopped_reporting_is_forgotten(self, db: DB, other: DB, clock: Clock) -> None:
        """A day after its last report."""
        db.set_faults("agent", [])
        for _ in range(3):
            clock.advance(INSTANCE_MEMORY / 2)
            other.set_faults("agent", [])
        [agent] = other.get_agents()
        assert [instance["pid"] for instance in agent["instances"]] == [SECOND.pid]

    def test_17_the_tags_of_an_instance_are_those_of_its_last_changed_report(self, db: DB, opener: Opener) -> None:
        """Not part of its identity; none, some and others follow each other."""
        for number, tags in enumerate([(), ("db", "eu"), ("eu",), ()]):
            with opener(instance=FIRST._replace(tags=tags)) as again:
                again.set_faults("agent", [fault("f", message=str(number))])
            [agent] = db.get_agents()
            assert [instance.get("tags", []) for instance in agent["instances"]] == [[*tags]]

    def test_18_instances_that_report_at_the_same_time_are_double(self, db: DB, other: DB, clock: Clock) -> None:
        """Also if both report within one second; only these instances, and only as long as both report."""
        db.set_faults("fine", [])
        for handle in (db, other, db):
            clock.advance(0.1)
            handle.set_faults("agent", [])
        [double] = other.double_agents()
        assert (double["name"], double["updated"]) == ("agent", int(clock()))
        assert [(one["host"], one["pid"], one.get("tags")) for one in double["instances"]] == [
            ("host.example", 100, None),
            ("host.example", 200, ["db", "eu"]),
        ]
        clock.advance(400)
        db.set_faults("agent", [])
        assert other.double_agents(within=300) == []
        assert [agent["name"] for agent in other.double_agents(within=500)] == ["agent"]
        clock.advance(400)
        db.set_faults("agent", [])
        assert other.double_agents() == []

    def test_18_a_restart_does_not_make_an_agent_double(self, db: DB, opener: Opener, clock: Clock) -> None:
        """Nor do ten restarts: the old process does not report after the new one."""
        for pid in range(1, 11):
            with opener(instance=FIRST._replace(pid=pid), clock=clock) as db:
                for _ in range(3):
                    clock.advance(0.01)
                    db.set_faults("agent", [fault("f", pid=pid)])
                assert db.double_agents() == []

    def test_18_one_shot_commands_of_a_host_are_not_double(self, opener: Opener, clock: Clock) -> None:
        """They are one instance; those of two hosts are two."""
        for _ in range(3):
            with opener(instance=ONE_SHOT, clock=clock) as once:
                once.set_faults("agent", [])
                assert once.double_agents() == []
            clock.advance(1)
        for instance in (ELSEWHERE._replace(pid=None), ONE_SHOT):
            clock.advance(1)
            with opener(instance=instance, clock=clock) as once:
                once.set_faults("agent", [])
        with opener(clock=clock) as db:
            [double] = db.double_agents()
            assert [(one["host"], one["pid"]) for one in double["instances"]] == [
                ("host.example", None),
                ("other.example", None),
            ]

    def test_19_a_clock_that_was_set_back_does_not_make_an_agent_double(self, db: DB, other: DB, clock: Clock) -> None:
        """A restart in between is still a restart."""
        for _ in range(3):
            clock.advance(100)
            db.set_faults("agent", [])
        clock.advance(-1000)
        other.set_faults("agent", [])
        clock.advance(1)
        other.set_faults("agent", [])
        assert db.double_agents() == []
        clock.advance(1)
        db.set_faults("agent", [])
        assert [agent["name"] for agent in db.double_agents()] == ["agent"]

    # The faults of the fleet

    def test_20_find_faults_returns_the_worst_first(self, db: DB, other: DB, clock: Clock) -> None:
        """The most severe, then the oldest, then by agent and name."""
        start = int(clock())
        db.set_faults("b", [fault("old", 30)])
        clock.advance(10)
        db.set_faults("b", [fault("old", 30), fault("new", 30), fault("worst", 50, x=[1])])
        db.set_faults("a", [fault("new", 30), fault("mild", 10), fault("below", -5)])
        found = other.find_faults()
        assert [(one["agent"], one["name"], one["since"]) for one in found] == [
            ("b", "worst", start + 10),
            ("b", "old", start),
            ("a", "new", start + 10),
            ("b", "new", start + 10),
            ("a", "mild", start + 10),
            ("a", "below", start + 10),
        ]
        assert found[0] == fault("worst", 50, x=[1], agent="b", since=start + 10)
        for limit in (0, 1, 3, 6, 100):
            assert other.find_faults(limit=limit) == found[:limit]

    def test_21_since_is_when_this_series_of_failures_began(self, db: DB, other: DB, clock: Clock) -> None:
        """It stays the same while every report has the fault, even if it changes; it is set again after one without."""
        start = int(clock())
        for changed in (fault("f"), fault("f", 50), fault("f", 50, "worse", x=1), fault("f")):
            db.set_faults("agent", [changed])
            clock.advance(10)
            other.set_faults("agent", [changed, fault("other")])
            clock.advance(10)
            assert [one["since"] for one in db.find_faults(pattern="^f$")] == [start]
        db.set_faults("agent", [fault("other")])
        clock.advance(10)
        db.set_faults("agent", [fault("f")])
        assert [one["since"] for one in other.find_faults()] == [int(clock())]
        assert all("since" not in one for one in [*db.get_faults("agent"), *db.dump()["faults"]])

    def test_22_find_faults_filters(self, db: DB, other: DB) -> None:
        """By agent, minimum severity, and a regular expression that may match anywhere in the name."""
        db.set_faults("a", [fault("//a/disk/root", 40), fault("//a/memory", 50)])
        db.set_faults("b", [fault("//b/disk/root", 30), fault("//b/Disk/home", 50)])

        def names(**filters: Any) -> list[str]:
            return [one["name"] for one in other.find_faults(**filters)]

        assert names(agent="a") == ["//a/memory", "//a/disk/root"]
        assert names(agent="unknown") == []
        assert names(severity=40) == ["//a/memory", "//b/Disk/home", "//a/disk/root"]
        assert names(severity=51) == []
        assert names(pattern="disk") == ["//a/disk/root", "//b/disk/root"]
        assert names(pattern="(?i)disk/[hr]") == ["//b/Disk/home", "//a/disk/root", "//b/disk/root"]
        assert names(pattern=r"^//\w/m\w+$") == ["//a/memory"]
        assert names(pattern=r"\bhome\b|\Aroot") == ["//b/Disk/home"]
        assert names(pattern="disk", limit=1) == ["//a/disk/root"]
        assert names(agent="b", severity=31, pattern="o", limit=5) == ["//b/Disk/home"]

    def test_22_an_invalid_filter_is_rejected(self, db: DB) -> None:
        """With a message that says why."""
        refused: list[dict[str, Any]] = [
            {"agent": ""},
            {"severity": "bad"},
            {"severity": True},
            {"limit": -1},
            {"limit": 1.5},
            {"pattern": "("},
            {"pattern": ""},
            {"pattern": 5},
            {"pattern": b"x"},
            {"pattern": "\ud800"},
            {"pattern": "\0"},
        ]
        for bad in refused:
            with pytest.raises(errors.InvalidInput):
                db.find_faults(**bad)

    # Squelches

    def test_23_squelches_are_added_replaced_and_removed(self, db: DB, other: DB, clock: Clock) -> None:
        """They are sorted; removing an unknown one is not an error."""
        assert (other.get_squelches(), other.get_squelch_details()) == ([], [])
        start = int(clock())
        db.squelch("test", "testing", "tester", True)
        clock.advance(5)
        db.squelch(".", "testing global", "deployer")
        first = {"regex": "test", "reason": "testing", "user": "tester", "time": start, "permanent": True}
        second = {"regex": ".", "reason": "testing global", "user": "deployer", "time": start + 5, "permanent": False}
        assert other.get_squelches() == [".", "test"]
        assert exact(other.get_squelch_details()) == exact([second, first])
        clock.advance(5)
        db.squelch("test", "", "")
        first = {"regex": "test", "reason": "", "user": "", "time": start + 10, "permanent": False}
        assert exact(other.get_squelch_details()) == exact([second, first])
        assert exact(other.dump()["squelches"]) == exact([second, first])
        db.unsquelch(".")
        db.unsquelch(".")
        db.unsquelch("(")
        assert other.get_squelches() == ["test"]

    def test_24_a_squelch_ends_when_it_expires(self, db: DB, other: DB, clock: Clock) -> None:
        """From this second on it is not in force; get_squelch_details returns it until it is removed or replaced."""
        end = int(clock()) + 60
        db.squelch("a", "for a minute", "me", expires=end)
        db.squelch("b", "until removed", "me")
        assert [one.get("expires") for one in other.get_squelch_details()] == [end, None]
        assert "expires" not in other.get_squelch_details()[1]
        clock.now = end - 0.5
        assert other.get_squelches() == ["a", "b"]
        clock.now = end
        assert other.get_squelches() == ["b"]
        assert [one["regex"] for one in other.get_squelch_details()] == ["a", "b"]
        db.squelch("a", "again", "me", expires=end + 60)
        assert other.get_squelches() == ["a", "b"]
        db.squelch("a", "without end", "me")
        assert "expires" not in other.get_squelch_details()[0]

    @pytest.mark.parametrize(
        "bad",
        [
            {"regex": "("},
            {"regex": ""},
            {"regex": "(?=ahead)"},
            {"regex": r"(a)\1"},
            {"regex": "a{1001}"},
            {"regex": "r" * (limits.REGEX + 1)},
            {"regex": "\u20ac" * (limits.REGEX // 3 + 1)},
            {"regex": "a\0"},
            {"regex": "\ud800"},
            {"regex": b"a"},
            {"regex": None},
            {"reason": "r" * (limits.REASON + 1)},
            {"reason": None},
            {"reason": "\0"},
            {"user": "u" * (limits.USER + 1)},
            {"user": "\udfff"},
            {"permanent": 1},
            {"permanent": None},
            {"expires": 0},
            {"expires": 1_700_000_000},
            {"expires": 1_800_000_000.5},
            {"expires": True},
            {"expires": "2030"},
            {"expires": 2**63},
            {"expires": 1_800_000_000, "permanent": True},
        ],
        ids=repr,
    )
    def test_25_a_squelch_that_breaks_a_rule_changes_nothing(self, db: DB, other: DB, bad: dict[str, Any]) -> None:
        """It raises InvalidSquelch."""
        db.squelch("x", "reason", "user")
        stored = other.dump()
        with pytest.raises(errors.InvalidSquelch):
            db.squelch(**{"regex": "x", "reason": "other reason", "user": "other user", **bad})
        assert other.dump() == stored

    def test_25_a_squelch_at_its_limits_is_accepted(self, db: DB, other: DB) -> None:
        """Expressions that differ only in the last byte are different."""
        longest = ["r" * (limits.REGEX - 1) + last for last in "ab"]
        for regex in [*longest, "\U0001f4a5" * (limits.REGEX // 4), "it's [\"%_*?]", "\n"]:
            db.squelch(regex, "r" * limits.REASON, "u" * limits.USER, expires=2**63 - 1)
        assert other.get_squelches() == sorted([*longest, "\U0001f4a5" * (limits.REGEX // 4), "it's [\"%_*?]", "\n"])
        db.unsquelch(longest[0])
        assert longest[1] in other.get_squelches()
        assert longest[0] not in other.get_squelches()

    # The whole

    def test_26_dump(self, db: DB, other: DB, clock: Clock) -> None:
        """All faults and heartbeats, sorted by agent and name, and all squelches."""
        now = int(clock())
        db.squelch("x", "reason", "user", expires=now + 10)
        db.set_faults("a", [fault("g"), fault("f", x="")])
        db.set_faults("Z", [])
        db.set_faults("b", [fault("f")])
        db.set_faults("gone", [fault("f")])
        db.remove_agent("gone")
        clock.advance(10)
        beat = {"agent": "_", "message": "", "updated": now}
        assert other.dump() == {
            "faults": [
                {**beat, "name": "Z"},
                {**beat, "name": "a"},
                {**beat, "name": "b"},
                fault("f", agent="a", x=""),
                fault("g", agent="a"),
                fault("f", agent="b"),
            ],
            "squelches": [
                {"regex": "x", "reason": "reason", "user": "user", "time": now, "permanent": False, "expires": now + 10}
            ],
        }

    def test_27_close(self, opener: Opener) -> None:
        """Closing twice is not an error, every other call is one; other handles still work."""
        first, second = opener(), opener()
        first.set_faults("agent", [fault("f")])
        first.close()
        first.close()
        for call in (
            lambda: first.set_faults("agent", []),
            lambda: first.get_faults("agent"),
            first.find_faults,
            first.get_agents,
            lambda: first.old_agents(0),
            first.offline_agents,
            first.double_agents,
            lambda: first.remove_agent("agent"),
            lambda: first.squelch("x", "", ""),
            lambda: first.unsquelch("x"),
            first.get_squelches,
            first.get_squelch_details,
            first.dump,
        ):
            with pytest.raises(errors.StoreClosed):
                call()
        with second as entered:
            assert entered is second
            assert second.get_faults("agent") == [fault("f", agent="agent")]
            second.set_faults("agent", [])
        with pytest.raises(errors.StoreClosed):
            second.dump()

    def test_27_what_was_stored_is_there_after_opening_again(self, opener: Opener) -> None:
        """Even after the last handle of this process was closed, if other processes can see the store."""
        with opener() as db:
            db.set_faults("agent", [fault("f")])
            db.squelch("x", "reason", "user")
            before = db.dump()
        if self.processes:
            with opener() as db:
                assert db.dump() == before

    # Concurrency

    @pytest.fixture
    def restless(self) -> Iterator[None]:
        """Let threads switch so often that intermediate states are seen."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(before)

    @pytest.mark.usefixtures("restless")
    def test_28_a_handle_may_be_used_from_several_threads(self, opener: Opener) -> None:
        """No report is lost or mixed up with another."""

        def report(number: int) -> None:
            for message in ("first", "second", "last"):
                db.set_faults(f"agent{number}", [fault(f"f{index}", message=message) for index in range(5)])

        with opener() as db:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(report, range(16)))
            for number in range(16):
                faults = [fault(f"f{index}", message="last") for index in range(5)]
                assert db.get_faults(f"agent{number}") == expected(f"agent{number}", faults)

    @pytest.mark.usefixtures("restless")
    def test_29_a_report_is_read_completely_or_not_at_all(self, opener: Opener) -> None:
        """A reader finds a complete report while two handles replace one agent's faults."""
        reports = {tag: [fault(f"{tag}{index}") for index in range(20)] for tag in ("a1", "a2", "b1", "b2")}
        whole = [expected("agent", faults) for faults in reports.values()]
        with ExitStack() as stack:
            writers = {who: stack.enter_context(opener(instance=FIRST._replace(host=who))) for who in "ab"}
            reader = stack.enter_context(opener())
            writers["a"].set_faults("agent", reports["a1"])

            def write(who: str) -> None:
                for step in range(16):
                    writers[who].set_faults("agent", reports[f"{who}{step % 2 + 1}"])

            with ThreadPoolExecutor(2) as pool:
                running = [pool.submit(write, who) for who in writers]
                seen: list[Any] = []
                while not all(one.done() for one in running):
                    seen.append(reader.get_faults("agent"))
                    seen.append([one for one in reader.dump()["faults"] if one["agent"] == "agent"])
                for one in running:
                    one.result()
            assert all(faults in whole for faults in seen)
            assert reader.get_faults("agent") in whole

    def test_30_several_processes_may_report_at_once(self, opener: Opener) -> None:
        """For their own agents, and for one that they share; readers find only complete reports."""
        if not self.processes:
            pytest.skip("other processes cannot see this store")
        workers = 3
        with process_pool(workers) as pool, opener() as db:
            running = [pool.submit(_report_from_process, opener, number) for number in range(workers)]
            for one in running:
                one.result()
            shared = db.get_faults("shared")
            assert shared in [expected("shared", _process_report(number, 9)) for number in range(workers)]
            for number in range(workers):
                assert db.get_faults(f"own{number}") == expected(f"own{number}", _process_report(number, 9))
            assert len(db.get_agents()) == workers + 1
            assert db.get_squelches() == [f"squelch{number}" for number in range(workers)]

    def test_31_after_a_random_history_the_store_equals_the_model(self, opener: Opener) -> None:
        """The model is the memory backend; all results of both are compared after every step."""
        run_histories(lambda: History(opener), self.examples, 15)


def _process_report(number: int, step: int) -> list[FaultDict]:
    return [fault(f"f{index}", message=f"{number} at {step}", step=step) for index in range(7)]


def _report_from_process(opener: Opener, number: int) -> None:
    with opener() as db:
        for step in range(10):
            faults = _process_report(number, step)
            db.set_faults(f"own{number}", faults)
            db.set_faults("shared", faults)
            assert {one.get("step") for one in db.get_faults(f"own{number}")} == {step}
            assert len({one["message"] for one in db.get_faults("shared")}) == 1
        db.squelch(f"squelch{number}", "reason", "user")
