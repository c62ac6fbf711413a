"""What is reported of agents and squelches: the rules, on a store in memory, by a clock that the test turns."""

import shlex
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import faults, limits, naming
from zc.cimaa.agent.rules import check_json
from zc.cimaa.agents import Instance
from zc.cimaa.errors import InvalidInput, InvalidSquelch
from zc.cimaa.history import Event
from zc.cimaa.memory import DB
from zc.cimaa.metacheck import findings, fleet_state
from zc.cimaa.metacheck.findings import MANY, Finding, Verdict, digest
from zc.cimaa.metacheck.fleet_state import FleetState
from zc.cimaa.metacheck.rules import Rules, fell_together

#: 2026-11-23 08:00 UTC.
NOW = 1_795_420_800
DAY = 24 * 60 * 60


class Fleet:
    """A store in memory, and the time."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.db = self.opened("here")

    def opened(self, host: str, pid: int | None = 1) -> DB:
        """The store, as this instance has it open."""
        return DB({"name": str(id(self))}, instance=Instance(host, pid, "1", "Linux"), clock=lambda: self.now)

    def report(self, ago: float, *names: str, host: str = "here", pid: int | None = 1) -> None:
        """Reports of these agents, ``ago`` seconds before 08:00."""
        self.now = NOW - ago
        for name in names:
            self.opened(host, pid).set_faults(name, [])
        self.now = NOW

    def verdict(self, **rules: object) -> Verdict:
        given = Rules(**rules)  # type: ignore[arg-type]
        return findings.judge(fleet_state.read(self.db, given), given, self.now)

    def reported(self, **rules: object) -> dict[str, tuple[int, str]]:
        return {finding.name: (finding.severity, finding.message) for finding in self.verdict(**rules).findings}


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    with fleet.db:
        yield fleet


def fault(name: str, severity: int = 40) -> dict[str, object]:
    return {"name": name, "severity": severity, "message": "m"}


# Silence


@pytest.mark.parametrize(
    ("ago", "severity"), [(0, None), (119, None), (121, 30), (299, 30), (301, 40), (29 * DAY, 40), (31 * DAY, 20)]
)
def test_the_severity_of_silence_depends_on_its_duration(fleet: Fleet, ago: float, severity: int | None) -> None:
    fleet.report(1, "web0")
    fleet.report(ago, "web1")
    (reported,) = fleet.verdict().findings or [None]
    assert (reported and reported.severity) == severity


def test_the_limits_are_intervals(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    fleet.report(701, "web1")
    assert fleet.reported(interval=400.0) == {}
    severities = [
        fleet.reported(interval=100.0, warning=w, error=e)["//web1/meta-check/silent"][0] for w, e in ((6, 8), (1, 7))
    ]
    assert severities == [30, 40]


def test_an_agents_own_word_counts_more_than_the_interval(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    fleet.now = NOW - 7200
    for name, within in (("hourly", 3600), ("daily", 25 * 3600)):
        fleet.opened("here").set_faults(name, [], within=within)
    fleet.now = NOW
    [(name, (severity, _))] = fleet.reported().items()
    assert (name, severity) == ("//hourly/meta-check/silent", 40)


def test_history_that_nothing_deletes_is_reported_after_two_days(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a store that does not delete it by itself."""
    fleet.now = NOW - 92.5 * DAY
    fleet.opened("here").squelch("x", "why", "ann", permanent=True)
    fleet.report(1, "web0")
    fleet.db._store.events.insert(0, Event((NOW - 93 * DAY) * 10**6, "web0", "removed"))
    assert fleet.reported() == {}
    monkeypatch.setattr(DB, "deletes_history", False)
    [(name, (severity, message))] = fleet.reported().items()
    assert (name, severity) == ("//meta-check/history", 30)
    assert "cimaa tend" in message


def test_a_silent_agent_is_named_and_where_it_ran(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    fleet.report(600, "web1", host="web1")
    fleet.report(900, "backup", host="db1", pid=None)
    assert fleet.reported() == {
        "//web1/meta-check/silent": (40, "web1 has not reported since 2026-11-23 07:50 UTC"),
        "//backup/meta-check/silent": (40, "backup has not reported since 2026-11-23 07:45 UTC, when it ran on db1"),
    }


def test_an_agent_that_moved_is_named_with_the_host_that_it_ran_on_last(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    fleet.report(900, "shop", host="new")
    fleet.report(600, "shop", host="old")
    assert fleet.reported()["//shop/meta-check/silent"][1].endswith(", when it ran on old")


def test_findings_stay_the_same_while_nothing_happens(fleet: Fleet) -> None:
    fleet.report(400, "web1", "web2")
    fleet.report(40 * DAY, "old")
    fleet.now = NOW - 8000
    fleet.db.squelch("disk", "later", "ann")
    fleet.now = NOW
    first = fleet.reported()
    assert len(first) == 4
    fleet.now += 12345
    assert fleet.reported() == first


def test_forgotten_agents_are_reported_as_one(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    fleet.report(40 * DAY, "c", "a", "d", "b")
    assert fleet.reported() == {
        "//meta-check/forgotten": (
            20,
            "4 agents have not reported for more than 30d; among them: a, b, c;"
            " cimaa remove-agent removes agents that are no longer in use",
        )
    }
    assert "//meta-check/silent" in fleet.reported(forget=50.0 * DAY)


@pytest.mark.parametrize(
    ("names", "text"),
    [("a", "1 agent has not"), ("abc", "3 agents have not"), ("abcd", "4 agents have not")],
)
def test_up_to_three_forgotten_agents_are_all_named(fleet: Fleet, names: str, text: str) -> None:
    fleet.report(1, "web0")
    fleet.report(40 * DAY, *names)
    named = f"{'namely' if len(names) <= 3 else 'among them'}: {', '.join(names[:3])};"
    message = fleet.reported()["//meta-check/forgotten"][1]
    assert message.startswith(text)
    assert named in message


def test_agents_are_chosen_by_patterns(fleet: Fleet) -> None:
    fleet.report(600, "web1", "web2", "backup", "test")

    def names(**rules: object) -> list[str]:
        return [finding.agents[0] for finding in fleet.verdict(**rules).findings]

    assert names(match=("^web",)) == ["web1", "web2"]
    assert names(ignore=("^web", "up$")) == ["test"]
    assert names(match=("^web", "back"), ignore=("1",)) == ["backup", "web2"]
    assert fleet.verdict(ignore=("web",)).figures["agents"] == 2


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        ({"warning": 6}, "the warning would come after the error: after 6 intervals, and after 5"),
        ({"interval": 3600, "forget": 7200}, "agents would be forgotten after 2h, before their silence is an error"),
        ({"match": ("(",)}, "not a valid RE2"),
        ({"ignore": ("",)}, "is empty"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fleet: Fleet, rules: dict[str, object], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong.replace("(", r"\(")):
        fleet.verdict(**rules)


def test_a_store_without_reports_is_an_error(fleet: Fleet) -> None:
    assert fleet.reported()["//meta-check/nobody"][0] == 40
    assert "right one" in fleet.reported()["//meta-check/nobody"][1]
    fleet.report(40 * DAY, "old")
    assert fleet.reported()["//meta-check/nobody"] == (40, "no agent has reported for more than 30d")
    fleet.report(1, "web1")
    assert "//meta-check/nobody" not in fleet.reported()
    (reported,) = fleet.verdict(match=("wbe",)).findings
    assert reported.message == "none of 2 agents is both selected (--match, --ignore) and has reported within 30d"


# Most of them at once


def test_most_agents_at_once_are_one_finding(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    for ago in range(60):
        fleet.report(600 + ago, f"db{ago:02}")
    fleet.report(9000, "gone")
    reported = fleet.reported()
    assert reported == {
        "//meta-check/silent": (
            40,
            "60 of 62 agents fell silent together, the last at 2026-11-23 07:50 UTC:"
            " check the network and the store; among them: db00, db01, db02",
        ),
        "//gone/meta-check/silent": (40, "gone has not reported since 2026-11-23 05:30 UTC, when it ran on here"),
    }


def test_a_warning_becomes_an_error_for_all_at_once(fleet: Fleet) -> None:
    fleet.report(200, *"abcdef")
    assert [severity for severity, _ in fleet.reported().values()] == [30]
    fleet.now += 200
    assert [severity for severity, _ in fleet.reported().values()] == [40]


def test_agents_that_fell_silent_one_after_the_other_are_reported_one_by_one(fleet: Fleet) -> None:
    fleet.report(1, "web0")
    for number in range(10):
        fleet.report(3600 * (number + 1), f"web{number + 1}")
    assert len(fleet.reported()) == 10


@pytest.mark.parametrize(("reporting", "silent", "expected"), [(2, 3, 1), (3, 3, 3), (0, 4, 4), (0, 5, 1), (1, 3, 3)])
def test_most_are_more_than_half_of_a_handful(fleet: Fleet, reporting: int, silent: int, expected: int) -> None:
    fleet.report(1, *(f"good{n}" for n in range(reporting)))
    fleet.report(600, *(f"bad{n}" for n in range(silent)))
    assert len(fleet.reported()) == expected


def test_two_outages_one_after_the_other_are_one_finding() -> None:
    silent = [(1000, f"a{n}") for n in range(60)] + [(9000, f"b{n}") for n in range(30)] + [(5000, "c")]
    assert fell_together(silent, 10, 120) == {name for _, name in silent if name != "c"}


def test_more_than_500_agents_are_reported_as_one() -> None:
    count = MANY + 50
    names = [f"web{n:05}" for n in range(10 * count)]
    agents = [{"name": name, "updated": NOW - 600 * n} for n, name in enumerate(names)]
    seen = FleetState(
        agents, set(names[9 * count :]), set(names[9 * count :]), doubles=[{**a, "instances": []} for a in agents]
    )
    silent, double = sorted(findings.judge(seen, Rules(forget=1e9), NOW).findings, key=lambda finding: finding.name)[
        ::-1
    ]
    assert (silent.name, double.name) == ("//meta-check/silent", "//meta-check/double")
    assert silent.message.startswith("about 550 of about 5500 agents are silent, the last since 2026-")
    assert silent.message.endswith("; among them: web04950, web04951, web04952")
    assert double.message == "about 5500 agents run more than once; among them: web00000, web00001, web00002"


NAMES = st.lists(st.text("abc/#.", min_size=1, max_size=4).filter(lambda name: name != "_"), unique=True, max_size=12)


@given(st.data(), NAMES)
def test_each_agent_is_reporting_or_in_one_finding(data: st.DataObject, names: list[str]) -> None:
    ages = st.one_of(st.integers(0, 1000), st.integers(0, 100 * DAY))
    store = Fleet()
    with store.db:
        for name in names:
            store.report(data.draw(ages), name)
        verdict = store.verdict()
    silence = [f for f in verdict.findings if f.agents]
    counted = Counter([*verdict.reporting, *(name for finding in silence for name in finding.agents)])
    assert counted == Counter(names)
    assert verdict.figures["agents"] == verdict.figures["reporting"] + verdict.figures["silent"]
    assert verdict.figures["agents"] + verdict.figures["forgotten"] == len(names)


PAIRS = st.lists(st.tuples(st.integers(0, 500), st.integers()), unique_by=lambda pair: pair[1], max_size=30)


@given(PAIRS, st.integers(0, 20))
def test_who_fell_together_is_as_plain_counting_has_it(pairs: list[tuple[int, int]], reporting: int) -> None:
    silent = [(time, str(number)) for time, number in pairs]
    found: set[str] = set()
    for start, _ in silent:
        there = reporting + sum(time >= start for time, _ in silent)
        together = {name for time, name in silent if start <= time <= start + 120}
        if there >= 5 and len(together) > there / 2:
            found |= together
    assert fell_together(silent, reporting, 120) == found


# Doubles


def test_double_agents_are_reported_with_hosts_and_pids(fleet: Fleet) -> None:
    for ago in (90, 30):
        fleet.report(ago, "web1", host="web1", pid=7)
        fleet.report(ago - 10, "web1", host="rack2", pid=None)
    assert fleet.reported() == {
        "//web1/meta-check/double": (
            40,
            "2 instances report as web1, and overwrite each other's reports: rack2 from cron, web1 pid 7",
        )
    }
    assert fleet.verdict().figures["double"] == 1
    assert fleet.reported(ignore=("^web1$",)).keys() == {"//meta-check/nobody/" + digest("", "^web1$")}
    fleet.now += 110
    fleet.opened("web1", 7).set_faults("web1", [])
    assert fleet.reported() == {}  # the other one has been silent for two intervals


def test_a_restart_is_not_a_double_agent(fleet: Fleet) -> None:
    for ago, pid in ((70, 1), (30, 2), (20, 2)):
        fleet.report(ago, "web1", pid=pid)
    assert fleet.reported() == {}


# Squelches


@pytest.fixture
def squelched(fleet: Fleet) -> Callable[..., dict[str, tuple[int, str]]]:
    """Sets a squelch, ``ago`` seconds before 08:00, and returns the findings for a store with some faults."""

    def squelched(
        ago: float, regex: str = "disk", lasts: int | None = None, **options: object
    ) -> dict[str, tuple[int, str]]:
        fleet.now = NOW - ago
        expires = None if lasts is None else int(fleet.now) + lasts
        fleet.db.squelch(regex, "new disks", "ann", permanent=bool(options.pop("permanent", False)), expires=expires)
        fleet.now = NOW
        fleet.db.set_faults("web1", [fault("//web1/disk"), fault("//web1/disk#/var", 50), fault("//web1/load", 50)])
        return fleet.reported(**options)

    return squelched


def name_of(regex: str) -> str:
    return f"//meta-check/squelch/{digest(regex)}"


Squelched = Callable[..., dict[str, tuple[int, str]]]


def test_a_forgotten_squelch_is_reported_with_user_reason_and_what_it_hides(squelched: Squelched) -> None:
    assert squelched(7200) == {
        name_of("disk"): (
            40,
            "ann set squelch 'disk' at 2026-11-23 06:00 UTC; it has no end, and hides 2 faults now, 1 of them critical:"
            " new disks",
        )
    }


@pytest.mark.parametrize(
    ("regex", "severity", "hides"),
    [
        ("nothing", 30, "nothing now"),
        ("^//web1/disk$", 30, "1 fault now"),
        (".", 40, "3 faults now, 2 of them critical"),
    ],
)
def test_it_is_an_error_if_it_hides_what_is_critical(
    squelched: Squelched, regex: str, severity: int, hides: str
) -> None:
    ((reported, text),) = squelched(7200, regex).values()
    assert reported == severity
    assert f"and hides {hides}: " in text


def test_the_expression_is_shown_as_it_was_typed(squelched: Squelched) -> None:
    ((_, text),) = squelched(7200, r"^//web1\.example\.com/").values()
    assert r"set squelch '^//web1\.example\.com/' at" in text


@pytest.mark.parametrize("regex", ["x'; touch PWNED; '", "$(touch PWNED)", "`touch PWNED`", "a b*"])
def test_the_expression_can_be_pasted_into_a_shell(squelched: Squelched, regex: str) -> None:
    ((_, text),) = squelched(7200, regex).values()
    reported = text.partition("set squelch ")[2].partition(" at ")[0]
    assert shlex.split(reported) == [regex]
    assert subprocess.run(["sh", "-c", f"printf %s {reported}"], capture_output=True, text=True).stdout == regex


@pytest.mark.parametrize(
    ("ago", "options", "reported"),
    [
        (3599, {}, False),
        (3601, {}, True),
        (3601, {"squelched": 7200.0}, False),
        (300, {"squelched": 0.0}, True),
        (9 * DAY, {"permanent": True}, False),
        (2 * DAY, {"lasts": 3 * DAY}, True),
        (1800, {"lasts": 30 * DAY}, False),
        (40 * DAY, {"lasts": 30 * DAY}, False),
    ],
)
def test_a_squelch_that_is_neither_permanent_nor_new_is_reported(
    squelched: Squelched, ago: int, options: dict[str, object], reported: bool
) -> None:
    assert bool(squelched(ago, **options)) is reported


@pytest.mark.parametrize(
    ("options", "severity", "end"),
    [
        ({}, 40, "it has no end,"),
        ({"lasts": 30 * DAY}, 40, "it ends only 2026-12-21 08:00 UTC,"),
        ({"lasts": 7 * DAY}, 30, "it ends 2026-11-28 08:00 UTC,"),
        ({"lasts": 7 * DAY + 1}, 40, "it ends only 2026-11-28 08:00 UTC,"),
        ({"lasts": 7 * DAY, "planned": 1.0 * DAY}, 40, "it ends only 2026-11-28 08:00 UTC,"),
    ],
)
def test_a_squelch_that_ends_soon_enough_is_not_an_error(
    squelched: Squelched, options: dict[str, object], severity: int, end: str
) -> None:
    ((reported, text),) = squelched(2 * DAY, ".", **options).values()
    assert reported == severity
    assert end in text


def test_a_finding_about_a_squelch_does_not_count_as_hidden(fleet: Fleet, squelched: Squelched) -> None:
    before = squelched(7200, ".")
    fleet.db.set_faults("watcher", [finding.fault() for finding in fleet.verdict().findings])
    assert fleet.reported() == before


def test_the_silence_of_an_agent_that_is_squelched_counts_as_hidden(fleet: Fleet, squelched: Squelched) -> None:
    fleet.report(600, "web9")
    silent = [finding.fault() for finding in fleet.verdict().findings]
    fleet.db.set_faults("watcher", silent)
    assert "hides 1 fault now" in squelched(7200, "^//web9/")[name_of("^//web9/")][1]


@given(st.sampled_from(["disk", "/disk", "//", "meta", "squelch$", "#/var$", "^//web1"]))
def test_the_name_of_a_finding_holds_nothing_of_the_squelch(regex: str) -> None:
    squelch = {"regex": regex, "reason": "", "user": "", "time": 0, "permanent": False}
    (reported,) = [f for f in findings.judge(FleetState(squelches=[squelch]), Rules(), NOW).findings if f.squelches]
    assert reported.name.removeprefix("//meta-check/squelch/") == digest(regex)
    assert reported.message.startswith("an unknown user set squelch ")
    assert reported.message.endswith("no reason was given")


def test_more_than_500_squelches_are_reported_as_one() -> None:
    squelches = [
        {"regex": f"disk{n}$", "reason": "", "user": f"u{n % 5}", "time": 0, "permanent": False}
        for n in range(MANY + 1)
    ]
    seen = FleetState([{"name": "a", "updated": NOW}], squelches=squelches, faults=[fault("disk7", 50)])  # type: ignore[list-item]
    verdict = findings.judge(seen, Rules(), NOW)
    assert [(f.name, f.severity, f.message) for f in verdict.findings] == [
        (
            "//meta-check/squelches",
            40,
            "about 500 squelches that are not permanent, set by u0, u1, u2 and others; see: cimaa squelches",
        )
    ]
    assert (verdict.figures["hidden_faults"], verdict.figures["hidden_criticals"]) == (1, 1)


@pytest.mark.parametrize(
    ("users", "shown"), [(1, "u0"), (2, "u0, u1"), (3, "u0, u1, u2"), (4, "u0, u1, u2 and others")]
)
def test_up_to_three_users_of_squelches_are_named(users: int, shown: str) -> None:
    squelches = [
        {"regex": f"disk{n}$", "reason": "", "user": f"u{n % users}", "time": 0, "permanent": False}
        for n in range(MANY + 1)
    ]
    (finding,) = findings.judge(FleetState([{"name": "a", "updated": NOW}], squelches=squelches), Rules(), NOW).findings
    assert finding.message.endswith(f", set by {shown}; see: cimaa squelches")
    assert finding.severity == 30


@pytest.mark.parametrize(("count", "expected"), [(MANY, MANY), (MANY + 1, 1)])
@pytest.mark.parametrize("kind", ["silent", "double", "squelch"])
def test_up_to_500_of_a_kind_are_reported_one_by_one(kind: str, count: int, expected: int) -> None:
    agents = [{"name": f"web{n}", "updated": NOW - 600 * (n + 2)} for n in range(count)]
    names = [agent["name"] for agent in agents]
    squelches = [{"regex": name, "reason": "", "user": "", "time": 0, "permanent": False} for name in names]
    seen = {
        "silent": FleetState([*agents, {"name": "a", "updated": NOW}], names, names),
        "double": FleetState(agents, doubles=[{**agent, "instances": []} for agent in agents]),
        "squelch": FleetState(agents, squelches=squelches),
    }
    assert len(findings.judge(seen[kind], Rules(forget=1e9), NOW).findings) == expected


# What every store, and every agent, takes

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80)


@given(TEXT.filter(lambda name: name != "_" and len(name.encode()) < 256), TEXT, TEXT)
def test_findings_keep_the_limits_of_the_store(name: str, user: str, reason: str) -> None:
    long = (limits.REGEX, user * 50, reason * 50)
    squelch = {"regex": "a" * long[0], "user": long[1], "reason": long[2], "time": 10**18, "permanent": False}
    agent = {"name": name, "updated": 10**18, "instances": [{"host": user, "pid": None, "last": 1}] * 16}
    seen = FleetState([agent], {name}, {name}, doubles=[agent], squelches=[{**squelch, "time": -(10**18)}, squelch])
    document = findings.judge(seen, Rules(), NOW).document()
    reported = check_json.faults(document)
    assert len(reported) == 3
    assert faults.report("watcher", reported)
    assert all(naming.check_fault_name("watcher", "f", "s", fault["name"]) == fault["name"] for fault in reported)
    assert len(check_json.metrics(document)) == 9


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1"), (100, "100"), (101, "about 100"), (12345, "about 12000"), (99999, "about 99000")]
)
def test_large_numbers_are_rounded(number: int, text: str) -> None:
    assert findings.about(number) == text


def test_the_worst_comes_first() -> None:
    agents: Sequence[dict[str, object]] = [{"name": name, "updated": n * 900} for n, name in enumerate("abcd")]
    seen = FleetState(agents, {"a", "b", "c"}, {"c", "b"})
    found: list[Finding] = findings.judge(seen, Rules(), NOW).findings
    assert [finding.agents for finding in found] == [("b",), ("c",), ("a",)]


def test_a_pattern_that_a_store_has_and_re2_has_not_is_an_error() -> None:
    squelch = {"regex": "(?=x)", "reason": "", "user": "", "time": 0, "permanent": False}
    with pytest.raises(InvalidSquelch, match="not a valid RE2"):
        findings.judge(FleetState(squelches=[squelch]), Rules(), NOW)
