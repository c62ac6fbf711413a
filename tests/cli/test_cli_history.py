"""``cimaa history``, ``cimaa uptime`` and ``cimaa faults --at``: what happened, in the operator's local time."""

import json
import os
import pwd
import time
from typing import Any

import pytest

from tests.support.command import Cimaa, completed
from zc.cimaa.agents import Instance
from zc.cimaa.cli.event_list import said
from zc.cimaa.db import DB
from zc.cimaa.history import KINDS
from zc.cimaa.units import format_local

pytestmark = pytest.mark.usefixtures("new_york")

HOUR = 3600
DAY = 24 * HOUR
HOST = Instance("host1", None, "1.0", "Linux")
MARK = "0123456789abcdef"
RETURNED = "returned after 2h of silence on host1"


def fault(name: str, severity: int, message: str = "bad", **extra: Any) -> dict[str, Any]:
    return {"name": name, "severity": severity, "message": message, **extra}


class Night:
    """A store with a history whose times are known."""

    def __init__(self, cimaa: Cimaa) -> None:
        self.cimaa = cimaa
        self.now = int(time.time())

    def at(self, hours: float) -> DB:
        """The store, with a clock that always shows that time."""
        return self.cimaa.store(instance=HOST, clock=lambda: self.now - hours * HOUR)

    def time(self, hours: float) -> str:
        """That time, as users write it; the second is that of :meth:`local`, however slow the test is."""
        return self.local(hours)[:19]

    def local(self, hours: float) -> str:
        return format_local(self.now - hours * HOUR)


@pytest.fixture
def night(cimaa: Cimaa) -> Night:
    """web1 has a fault that wakes on-call, gets better and ends; db1 is silent, returns, and is removed."""
    night = Night(cimaa)
    with night.at(20) as db:
        db.set_faults("web1", [fault("//web1/disk", 30, "91 %")])
        db.set_faults("db1", [fault("//db1/raid", 40)], within=DAY)
    with night.at(10) as db:
        db.set_faults("web1", [fault("//web1/disk", 50, "full", triggered={"oncall": MARK})])
    with night.at(9) as db:
        db.squelch("/disk$", "new disks", "jane", expires=int(night.now) - 7 * HOUR)
    with night.at(8) as db:
        db.set_faults("web1", [fault("//web1/disk", 40, "97 %", triggered={})])
        db.set_faults("db1", [fault("//db1/raid", 40)], within=HOUR)
    with night.at(6) as db:
        db.set_faults("web1", [])
        db.set_faults("db1", [fault("//db1/raid", 40)], within=HOUR)
        db.unsquelch("/disk$", user="joe")
    with night.at(5.5) as db:
        db.remove_agent("db1", user="joe")
    return night


def test_each_event_is_a_readable_line_with_its_local_time(night: Night) -> None:
    result = night.cimaa("history")
    assert result.exit_code == 0
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        [night.local(20), "db1", "", "appeared on host1", ""],
        [night.local(20), "db1", "//db1/raid", "began: error", "bad"],
        [night.local(20), "web1", "", "appeared on host1", ""],
        [night.local(20), "web1", "//web1/disk", "began: warning", "91 %"],
        [night.local(10), "web1", "//web1/disk", "worse: warning to critical", "full"],
        [night.local(10), "web1", "//web1/disk", "alerted by oncall", "full"],
        [night.local(9), "", "/disk$", f"squelched by jane until {night.local(7)}", "new disks"],
        [night.local(8), "web1", "//web1/disk", "better: critical to error", "97 %"],
        [night.local(8), "web1", "//web1/disk", "resolved by oncall", "97 %"],
        [night.local(6), "", "/disk$", "unsquelched by joe", "new disks"],
        [night.local(6), "db1", "", RETURNED, ""],
        [night.local(6), "web1", "//web1/disk", "ended after 14h", "97 %"],
        [night.local(5.5), "db1", "//db1/raid", "ended after 14h 30m", "bad"],
        [night.local(5.5), "db1", "", "removed by joe", ""],
    ]
    assert result.stderr == ""
    assert night.local(20)[-4:] in (" EDT", " EST")


def test_the_removal_of_a_silent_agent_says_since_when(cimaa: Cimaa) -> None:
    """Since its last heartbeat, even if that was an unchanged report."""
    night = Night(cimaa)
    for hours in (4, 3.5):
        with night.at(hours) as db:
            db.set_faults("old", [], within=HOUR)
    with night.at(1) as db:
        db.remove_agent("old", user="joe")
    assert cimaa("history", "--columns", "event", "--limit", "1").stdout == "removed by joe, after 2h 30m of silence\n"
    assert figures(night, "--by", "agent")["old"]["up"] == 0.5


@pytest.mark.parametrize("kind", [*KINDS, "acknowledged"])
def test_an_event_of_any_kind_can_be_shown_even_if_it_lacks_what_its_kind_has(kind: str) -> None:
    """A later version may have written it; one of a kind that this version does not know is only named."""
    shown = said({"time": 10**15, "agent": "a", "kind": kind})
    assert shown == kind if kind not in KINDS else shown


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--kind", "alerted"], ["alerted by oncall"]),
        (["--kind", "alerted", "--kind", "removed"], ["alerted by oncall", "removed by joe"]),
        (["--match", "raid"], ["began: error", "ended after 14h 30m"]),
        (["--agent", "db1", "--since", "7h"], [RETURNED, "ended after 14h 30m", "removed by joe"]),
        (
            ["--agent", "web1", "--since", "12h ago", "--until", "9h"],
            ["worse: warning to critical", "alerted by oncall"],
        ),
        (["--limit", "1"], ["removed by joe"]),
        (["--limit", "2"], ["ended after 14h 30m", "removed by joe"]),
        (["--since", "2h"], []),
    ],
)
def test_events_are_selected(night: Night, options: list[str], events: list[str]) -> None:
    shown = [line.split("\t")[3] for line in night.cimaa("history", *options).stdout.splitlines()]
    assert shown == events
    assert len(json.loads(night.cimaa("history", "--json", *options).stdout)) == len(shown)


def test_json_has_the_events_as_the_store_returns_them(night: Night) -> None:
    with night.at(0) as db:
        assert json.loads(night.cimaa("history", "--json").stdout) == db.get_history()


def test_without_a_time_the_last_day_is_shown_and_with_a_limit_the_latest(cimaa: Cimaa) -> None:
    with cimaa.store(ago=40 * DAY) as db:
        db.set_faults("a", [])
    assert cimaa("history").stderr == f"No events since {format_local(int(time.time()) - DAY)}.\n"
    assert cimaa("history", "--limit", "5").stdout.count("\n") == 1
    assert cimaa("history", "--since", "41d").stdout.count("\n") == 1
    assert "No events since" in cimaa("history", "--since", "39d").stderr


def test_a_limit_says_that_there_is_more(night: Night) -> None:
    assert night.cimaa("history", "--limit", "2").stderr == "Only the latest 2 events shown; there are more.\n"
    assert night.cimaa("history", "--limit", "14").stderr == ""


def test_a_table_has_the_latest_thousand_events(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        db.set_faults("a", [fault(f"f{number:04}", 40) for number in range(1200)])
    result = cimaa("history", "--table")
    assert result.stderr == "Only the latest 1000 events shown; there are more.\n"
    assert "f1199" in result.stdout
    assert "f0199" not in result.stdout


def test_a_long_history_is_read_in_parts(cimaa: Cimaa) -> None:
    """Also if more happened in one second than fits into a part."""
    for ago, size in ((30 * DAY, 10), (DAY, 6000), (DAY, 0), (0, 5)):
        with cimaa.store(ago=ago) as db:
            db.set_faults("a", [fault(f"f{ago}-{number}", 40) for number in range(size)])
    with cimaa.store() as db:
        expected = db.get_history()
    assert len(expected) == 1 + 2 * (10 + 6000) + 5
    assert json.loads(cimaa("history", "--since", "31d", "--json").stdout) == expected


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["history", "--since", "someday"], 2, "invalid time 'someday': write it like '2h ago'"),
        (["history", "--since", "1h", "--until", "2h"], 2, "--since is later than --until"),
        (["history", "--kind", "alertd"], 2, "alertd"),
        (["history", "--match", "("], 1, "'(' is not a valid RE2 regular expression"),
        (["history", "--agent", "web2"], 1, "there is no agent 'web2'; did you mean 'web1'?"),
        (["uptime", "--agent", "web2"], 1, "there is no agent 'web2'; did you mean 'web1'?"),
        (["uptime", "--match", "("], 1, "'(' is not a valid RE2 regular expression"),
        (["uptime", "--since", "tomorrow"], 2, "invalid time 'tomorrow'"),
        (["uptime", "--since", "2100-01-01"], 2, "'2100-01-01' is in the future"),
        (["uptime", "--by", "agent", "--columns", "fault"], 2, "there is no column 'fault'"),
        (["faults", "--at", "web2"], 2, "invalid time 'web2': write it like '2h ago', 08:00"),
        (["faults", "--at", "1h", "--agent", "web2"], 1, "there is no agent 'web2'; did you mean 'web1'?"),
        (["faults", "--at", "1h", "agent=web2"], 1, "there is no agent 'web2'; did you mean 'web1'?"),
        (["faults", "--at", "1h", "team=shop"], 1, "'team=shop' at character 1: the history has no extra keys"),
        (["faults", "--at", "1h", "--exit-code"], 2, "--at excludes --exit-code"),
        (["faults", "--at", "1h", "--prometheus"], 2, "--at excludes --exit-code and --prometheus"),
    ],
)
def test_a_mistake_is_an_error_that_names_it(night: Night, options: list[str], status: int, text: str) -> None:
    result = night.cimaa(*options)
    assert (result.exit_code, result.stdout) == (status, "")
    assert text in result.stderr


@pytest.mark.parametrize("options", [["faults", "--at"], ["uptime", "--since"]])
def test_a_time_before_the_history_is_an_error_with_the_earliest_as_a_local_time(
    night: Night, options: list[str]
) -> None:
    before = int(time.time()) - 90 * DAY
    result = night.cimaa(*options, "91d")
    assert result.exit_code == 1
    possible = [format_local(before + second) for second in range(5)]
    assert result.stderr in [
        f"cimaa: error: the history begins at {earliest}: ask for that time or later\n" for earliest in possible
    ]


def test_a_list_of_events_from_before_the_history_says_since_when_it_is_complete(night: Night) -> None:
    before = int(time.time()) - 90 * DAY
    for options in (["--since", "91d"], ["--until", "91d"]):
        possible = [f"The history begins at {format_local(before + second)}." for second in range(5)]
        assert night.cimaa("history", *options).stderr.splitlines()[0] in possible
    assert night.cimaa("history", "--since", "89d").stderr == ""


@pytest.mark.parametrize("command", ["history", "uptime"])
def test_one_can_look_back_for_as_long_as_the_history_is_kept(night: Night, command: str) -> None:
    """Though time passes between the reading of the arguments and that of the history."""
    result = night.cimaa(command, "--since", "90d")
    assert (result.exit_code, "begins at" in result.stderr) == (0, False)


def test_a_time_before_the_history_of_an_agent_is_an_error_that_names_the_agent(cimaa: Cimaa) -> None:
    """The one whose history begins last, so that the time that is named can be asked for."""
    start = int(time.time()) - 1000
    for ago, history in ((1000, "90d"), (900, "0s"), (800, "90d")):
        with cimaa.store(ago=ago, history=history) as db:
            for number, agent in enumerate("ab"):
                db.set_faults(agent, [fault(f"f{ago}", 40)] if ago != 800 or number else [])
    result = cimaa("faults", "--at", format_local(start)[:19])
    assert result.exit_code == 1
    possible = [format_local(start + 200 + second) for second in range(5)]
    assert result.stderr in [
        f"cimaa: error: the history of agent {agent!r} begins at {earliest}: ask for that time or later\n"
        for earliest in possible
        for agent in "ab"
    ]
    earliest = result.stderr.split(" begins at ")[1][:19]
    assert cimaa("faults", "--at", earliest).exit_code == 0


def test_an_agent_whose_history_is_incomplete_can_be_left_out(cimaa: Cimaa) -> None:
    """For example one that is no longer in use, and last reported before the store kept a history."""
    for agent, history in (("old1", "0s"), ("old2", "0s"), ("web1", "90d")):
        with cimaa.store(ago=1000, history=history) as db:
            db.set_faults(agent, [fault(agent, 40)])
    for excluding in (["agent!~old"], ["agent!=old1", "agent!=old2"]):
        assert cimaa("faults", "--at", "5m", *excluding).stdout.split("\t")[2:4] == ["web1", "web1"]
    for remaining, options in (("old2", ["agent!=old1"]), ("old2", ["--agent", "old2"]), ("old", ["web1"])):
        result = cimaa("faults", "--at", "5m", *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"the history of agent '{remaining}" in result.stderr


@pytest.mark.parametrize("command", [["history"], ["uptime"], ["faults", "--at", "1h"]])
def test_a_store_that_keeps_no_history_says_so(cimaa: Cimaa, command: list[str]) -> None:
    with (cimaa.directory / "cimaa.cfg").open("a") as file:
        file.write("history = 0s\n")
    result = cimaa(*command)
    assert result.exit_code == 1
    assert result.stderr == "cimaa: error: this store keeps no history: history in [database] is 0s\n"


def test_faults_at_an_earlier_time_are_as_they_were(night: Night) -> None:
    result = night.cimaa("faults", "--at", night.time(9))
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["critical", "11h", "web1", "//web1/disk", "full", "/disk$"],
        ["error", "11h", "db1", "//db1/raid", "bad", ""],
    ]
    assert result.stderr == f"Faults at {night.local(9)}:\n"
    squelched = {
        each["name"]: each["squelched_by"]
        for each in json.loads(night.cimaa("faults", "--at", night.time(8), "--json").stdout)
    }
    assert squelched == {"//web1/disk": ["/disk$"], "//db1/raid": []}
    assert night.cimaa("faults", "--at", night.time(6), "--squelched").stdout == ""


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--agent", "db1"], ["//db1/raid"]),
        (["--severity", "critical"], ["//web1/disk"]),
        (["--match", "raid|nothing"], ["//db1/raid"]),
        (["--squelched"], ["//web1/disk"]),
        (["--unsquelched"], ["//db1/raid"]),
        (["--limit", "1"], ["//web1/disk"]),
        (["severity=error"], ["//db1/raid"]),
        (["agent!=db1", "full"], ["//web1/disk"]),
        (["squelched=yes"], ["//web1/disk"]),
        (["age>=11h"], ["//web1/disk", "//db1/raid"]),
        (["age>12h"], []),
    ],
)
def test_faults_at_an_earlier_time_are_filtered_like_current_ones(
    night: Night, filters: list[str], names: list[str]
) -> None:
    result = night.cimaa("faults", "--at", night.time(9), *filters)
    assert [line.split("\t")[3] for line in result.stdout.splitlines()] == names
    assert names or result.stderr == f"No faults match at {night.local(9)}.\n"


def test_faults_at_an_earlier_time_are_counted(night: Night) -> None:
    assert (
        night.cimaa("faults", "--at", night.time(9), "--group-by", "agent").stdout
        == "web1\t1\t1\tcritical\ndb1\t1\t0\terror\n"
    )


def test_agents_that_were_silent_at_the_time_are_named(night: Night) -> None:
    silent = "Silent at that time, with the faults of the last report: db1.\n"
    assert night.cimaa("faults", "--at", night.time(7)).stderr == f"Faults at {night.local(7)}:\n{silent}"
    assert night.cimaa("faults", "--at", night.time(7), "--agent", "db1").stderr.endswith(silent)
    assert night.cimaa("faults", "--at", night.time(7), "agent!=db1").stderr == f"Faults at {night.local(7)}:\n"
    assert night.cimaa("faults", "--at", night.time(5)).stderr == f"No faults at {night.local(5)}.\n"
    with night.at(4) as db:
        db.set_faults("web1", [], within=60)
    assert night.cimaa("faults", "--at", night.time(1)).stderr.endswith(
        "Silent at that time, with the faults of the last report: web1.\n"
    )


def test_the_agent_of_squelches_is_known_before_there_is_one(cimaa: Cimaa) -> None:
    result = cimaa("history", "--agent", "_")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("No events since")


def test_an_agent_that_was_removed_and_has_history_is_known(night: Night) -> None:
    assert night.cimaa("history", "--agent", "db1").exit_code == 0
    assert night.cimaa("uptime", "--agent", "db1").exit_code == 0
    assert night.cimaa("faults", "--at", night.time(1), "--agent", "db1").exit_code == 0


def figures(night: Night, *options: str) -> dict[str, dict[str, Any]]:
    """By fault or agent, what ``cimaa uptime`` says, with durations in hours."""
    rows = json.loads(night.cimaa("uptime", "--json", "--since", "24h", *options).stdout)
    durations = ("down", "longest", "up", "unknown", "mttr", "mtbf")
    return {
        row.get("fault", row["agent"]): row | {key: row[key] and round(row[key] / HOUR, 2) for key in durations}
        for row in rows
    }


def test_uptime_counts_outages_and_what_is_not_known(night: Night) -> None:
    disk = figures(night)["//web1/disk"]
    assert disk.pop("began") == int(night.now) - 20 * HOUR
    assert disk.pop("ended") == int(night.now) - 6 * HOUR
    assert disk.pop("availability") == pytest.approx(30, abs=0.1)
    known = {"outages": 1, "down": 14.0, "longest": 14.0, "mttr": 14.0, "mtbf": 6.0, "up": 6.0, "unknown": 4.0}
    assert disk == {"agent": "web1", "fault": "//web1/disk", **known}
    raid = figures(night, "--agent", "db1")["//db1/raid"]
    assert (raid["down"], raid["up"], raid["unknown"], raid["availability"]) == (12.5, 0.0, 11.5, 0)


def test_uptime_without_squelched_faults(night: Night) -> None:
    """They count as up while the squelch was in force: from nine hours ago to seven."""
    disk = figures(night, "--without-squelched", "--match", "disk")["//web1/disk"]
    assert (disk["outages"], disk["down"], disk["longest"], disk["up"]) == (2, 12.0, 11.0, 8.0)
    assert figures(night, "--without-squelched", "--agent", "web1")["//web1/disk"]["down"] == 12.0


def test_uptime_by_agent_has_agents_without_outages_too(night: Night) -> None:
    with night.at(10) as db:
        db.set_faults("calm", [])
    found = figures(night, "--by", "agent")
    assert {name: (row["outages"], row["up"]) for name, row in found.items()} == {
        "web1": (1, 6.0),
        "db1": (1, 0.0),
        "calm": (0, 10.0),
    }


def test_an_outage_that_is_not_over_is_shown_as_such(night: Night) -> None:
    with night.at(2) as db:
        db.set_faults("web1", [fault("//web1/http", 50)])
    result = night.cimaa("uptime", "--match", "web1", "--since", "24h", "--columns", "fault,outages,down,mttr,ended")
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["//web1/disk", "1", "14h", "14h", night.local(6)],
        ["//web1/http", "1", "2h", "", "not over"],
    ]
    assert result.stderr.startswith("From ")
    assert figures(night)["//web1/http"]["ended"] is None


def test_figures_are_named_where_the_terminal_is_too_narrow_for_a_table(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, second, *_ = night.cimaa("uptime", "--since", "24h", "--table").stdout.splitlines()
    assert first.startswith("web1  //web1/disk  outages 1  down 14h  longest 14h  mttr 14h  mtbf 6h")
    assert second.startswith("  availability ")
    assert second.endswith(f"ended {night.local(6)}")


def test_an_agent_that_is_silent_now_is_not_up(night: Night) -> None:
    with night.at(5) as db:
        db.set_faults("web1", [], within=HOUR)
    assert figures(night, "--by", "agent")["web1"]["unknown"] == 9.0


def test_uptime_goes_back_as_far_as_the_history(night: Night) -> None:
    """Without a time, the last 30 days, or less if the store keeps less."""
    with (night.cimaa.directory / "cimaa.cfg").open("a") as file:
        file.write("history = 21h\n")
    assert json.loads(night.cimaa("uptime", "--json").stdout)[0]["unknown"] == pytest.approx(HOUR, abs=60)


def test_the_user_who_removes_something_is_stored(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        for name in ("a", "b"):
            db.set_faults(name, [])
            db.squelch(name, "why", "jane")
    for name, options in (("a", []), ("b", ["--user", "joe"])):
        assert cimaa("unsquelch", name, *options).exit_code == 0
        assert cimaa("remove-agent", name, *options).exit_code == 0
    me = pwd.getpwuid(os.getuid()).pw_name
    events = json.loads(cimaa("history", "--json", "--kind", "removed", "--kind", "unsquelched").stdout)
    assert sorted((event["kind"], event["who"]) for event in events) == [
        *sorted([("removed", me), ("removed", "joe")]),
        *sorted([("unsquelched", me), ("unsquelched", "joe")]),
    ]


def test_kinds_and_agents_are_completed(night: Night) -> None:
    assert completed(["history", "--kind"], "al") == ["alerted"]
    assert completed(["history", "--agent"], "") == ["_", "db1", "web1"]
    assert completed(["uptime", "--agent"], "d") == ["db1"]
    assert completed(["uptime", "--by"], "") == ["fault", "agent"]
