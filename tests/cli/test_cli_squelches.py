"""``cimaa squelch``, ``unsquelch`` and ``squelches``."""

import json
import os
import pwd
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import Cimaa
from zc.cimaa.squelches import compiled, exactly

FAULTS = [{"name": f"//web1/{name}", "severity": 40, "message": "bad"} for name in ("disk#/", "disk#/var", "load")]


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    with cimaa.store() as db:
        db.set_faults("web1", FAULTS)
    return cimaa


def squelches(cimaa: Cimaa) -> list[dict[str, Any]]:
    with cimaa.store() as db:
        return db.get_squelch_details()


def names(stdout: str) -> list[str]:
    return [line.split("\t")[3] for line in stdout.splitlines()]


def test_a_squelch_lists_what_it_silences(fleet: Cimaa) -> None:
    result = fleet("squelch", "/disk#", "moving", "--user", "ann")
    assert names(result.stdout) == ["//web1/disk#/", "//web1/disk#/var"]
    assert all(line.endswith("\t/disk#") for line in result.stdout.splitlines())
    assert "Squelched /disk# until it is removed, by ann: it silences 2 current faults." in result.stderr
    (squelch,) = squelches(fleet)
    assert squelch.pop("time") == pytest.approx(time.time(), abs=60)
    assert squelch == {"regex": "/disk#", "reason": "moving", "user": "ann", "permanent": False}


def test_a_dry_run_shows_the_same_and_sets_nothing(fleet: Cimaa) -> None:
    result = fleet("squelch", "/disk#", "--dry-run")
    assert names(result.stdout) == ["//web1/disk#/", "//web1/disk#/var"]
    assert "Would silence 2 current faults; nothing was set." in result.stderr
    assert squelches(fleet) == []


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["(", "x"], "is not a valid RE2 regular expression"),
        (["(?=x)", "x"], "RE2 does not support look-around"),
        (["", "x"], "regular expression is empty"),
        (["--exact", "", "x"], "the name of the fault is empty"),
        (["x" * 1025, "x"], "at most 1024 are allowed"),
        (["x", "x" * 4097], "at most 4096 are allowed"),
        (["x", "x", "--user", "u" * 4097], "at most 4096 are allowed"),
        (["x", "x", "--for", "0s"], "which is past"),
        (["\udcff", "x"], "half of a surrogate pair"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_squelch_that_breaks_a_rule_is_refused(
    fleet: Cimaa, arguments: list[str], wrong: str, dry: list[str]
) -> None:
    result = fleet("squelch", *arguments, *dry)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cimaa: error: ")
    assert result.stderr.count("\n") == 1
    assert wrong in result.stderr
    assert squelches(fleet) == []


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["x"], "Missing argument 'REASON'"),
        (["x", "y", "--for", "2"], "write it like 90s"),
        (["x", "y", "--for", "99999999999999999999d"], "invalid duration"),
        (["x", "y", "--until", "yesterday"], "invalid time"),
        (["x", "y", "--until", "2001-01-01"], "2001-01-01 is in the past"),
        (["x", "y", "--until", "0001-01-01"], "--until"),
        (["x", "y", "--permanent", "--for", "2h"], "only one of --permanent, --for and --until"),
        (["x", "y", "--until", "08:00", "--for", "2h"], "only one of --permanent, --for and --until"),
        (["x", "y", "--permenent"], "Did you mean '--permanent'?"),
    ],
)
def test_wrong_usage_is_refused(fleet: Cimaa, arguments: list[str], wrong: str) -> None:
    result = fleet("squelch", *arguments)
    assert result.exit_code == 2
    assert wrong in result.stderr
    assert squelches(fleet) == []


def test_a_squelch_may_end_or_be_permanent(fleet: Cimaa) -> None:
    assert " permanently, by " in fleet("squelch", "a", "x", "--permanent").stderr
    fleet("squelch", "b", "x", "--for", "1h30m")
    fleet("squelch", "c", "x", "--until", "2999-01-01 08:00")
    permanent, soon, late = squelches(fleet)
    assert (permanent["permanent"], "expires" in permanent) == (True, False)
    assert soon["expires"] == soon["time"] + 5400
    assert time.localtime(late["expires"])[:5] == (2999, 1, 1, 8, 0)


def test_replacing_a_squelch_says_whose_it_was(fleet: Cimaa) -> None:
    fleet("squelch", "x", "first", "--user", "ann")
    assert "It would replace the squelch of ann, " in fleet("squelch", "x", "--dry-run").stderr
    assert "s ago: first\n" in fleet("squelch", "x", "second", "--user", "bob").stderr
    assert [squelch["reason"] for squelch in squelches(fleet)] == ["second"]


def test_faults_that_other_squelches_silence_too_are_counted(fleet: Cimaa) -> None:
    fleet("squelch", "/load", "x")
    assert "it silences 3 current faults (1 of them silenced by others too)" in fleet("squelch", "web1", "x").stderr


def test_who_sets_it_is_found_out(fleet: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet("squelch", "a", "x")
    monkeypatch.setenv("SUDO_USER", "ann")
    fleet("squelch", "b", "x")
    me = pwd.getpwuid(os.getuid()).pw_name
    assert [squelch["user"] for squelch in squelches(fleet)] == [me, "ann" if os.getuid() == 0 else me]


def test_unsquelch_removes_and_shows_what_may_alert_again(fleet: Cimaa) -> None:
    fleet("squelch", "/disk#", "x")
    fleet("squelch", "/var$", "x")
    assert fleet("unsquelch", "/disk#").stderr == "Removed /disk#; 1 fault may alert again.\n"
    assert [squelch["regex"] for squelch in squelches(fleet)] == ["/var$"]


def test_unsquelch_of_one_that_is_not_there_names_the_nearest(fleet: Cimaa) -> None:
    fleet("squelch", "^//web1/", "x")
    result = fleet("unsquelch", "^//web2/")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "cimaa: error: there is no squelch '^//web2/'; did you mean '^//web1/'?\n"
    assert fleet("unsquelch", "zzz").stderr == "cimaa: error: there is no squelch 'zzz'; see: cimaa squelches\n"
    assert len(squelches(fleet)) == 1


def test_squelches_in_force_are_listed_and_with_all_those_that_ended(fleet: Cimaa) -> None:
    with fleet.store(ago=7200) as db:
        db.squelch("/disk#", "moving", "ann", expires=int(time.time()) - 3600)
        db.squelch("/load", "known", "bob", permanent=True)
    assert fleet("squelches").stdout == "/load\tpermanent\t1\tbob\t2h ago\tknown\n"
    over, _ = fleet("squelches", "--all").stdout.splitlines()
    assert over.startswith("/disk#\t")
    assert "(over)\t0\tann\t2h ago\tmoving" in over
    assert [
        (s["regex"], s["in_force"], s["faults"]) for s in json.loads(fleet("squelches", "--all", "--json").stdout)
    ] == [
        ("/disk#", False, 0),
        ("/load", True, 1),
    ]


def test_an_end_that_no_calendar_has_is_shown_too(fleet: Cimaa) -> None:
    with fleet.store() as db:
        db.squelch("x", "far", "ann", expires=2**63 - 1)
    assert str(2**63 - 1) in fleet("squelches").stdout


def test_an_empty_list_of_squelches_has_a_message(cimaa: Cimaa) -> None:
    assert (cimaa("squelches").stdout, cimaa("squelches").stderr) == ("", "No squelches are in force.\n")
    assert cimaa("squelches", "--all", "--json").stdout == "[]\n"


def test_exact_means_just_that_name_and_not_a_pattern(fleet: Cimaa) -> None:
    result = fleet("squelch", "--exact", "//web1/disk#/", "full")
    assert names(result.stdout) == ["//web1/disk#/"]
    assert "Warning" not in result.stderr
    assert [squelch["regex"] for squelch in squelches(fleet)] == ["^//web1/disk#/$"]
    assert fleet("unsquelch", "--exact", "//web1/disk#/").exit_code == 0
    assert squelches(fleet) == []


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_an_exact_pattern_matches_its_name_alone(name: str, other: str) -> None:
    found = compiled(exactly(name))
    assert found.search(name)
    assert bool(found.search(other)) is (name == other)
    assert not found.search(f"{name}x")
    assert not found.search(f"x{name}")


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [
        ("x", "it is found in the name of the agent web1.example.com"),
        ("load", "it matches faults of 2 agents: db1, web1.example.com"),
        ("db1", "it is found in the name of the agent db1"),
        ("^//web1.example.com/", ""),
        ("/load$", ""),
        ("http", ""),
        ("none", ""),
    ],
)
@pytest.mark.parametrize("more", [["why"], ["--dry-run"]])
def test_a_pattern_that_silences_more_than_its_text_says_is_warned_of(
    cimaa: Cimaa, pattern: str, warned: str, more: list[str]
) -> None:
    with cimaa.store() as db:
        for agent, checks in (("web1.example.com", ["disk", "http", "load"]), ("db1", ["load"])):
            db.set_faults(agent, [{**FAULTS[0], "name": f"//{agent}/{check}"} for check in checks])
    result = cimaa("squelch", pattern, *more)
    assert result.exit_code == 0
    assert ("Warning: " in result.stderr) is bool(warned)
    assert warned in result.stderr
    if warned:
        assert "use --exact NAME" in result.stderr


def test_weeks_and_days_by_name_are_understood(fleet: Cimaa) -> None:
    fleet("squelch", "a", "x", "--for", "1w")
    fleet("squelch", "b", "x", "--until", "tomorrow 08:00")
    week, morning = squelches(fleet)
    assert week["expires"] == week["time"] + 7 * 86400
    assert time.localtime(morning["expires"])[3:5] == (8, 0)
