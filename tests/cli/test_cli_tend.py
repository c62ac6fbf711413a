"""``cimaa tend``, ``report --within`` and ``agents --late``."""

import json

import pytest

from tests.support.command import Cimaa

FAULT = {"name": "x", "severity": 40, "message": "m"}
DAY = 24 * 60 * 60


@pytest.fixture
def old(cimaa: Cimaa) -> Cimaa:
    """A store with seven events that are past their time."""
    with cimaa.store(ago=100 * DAY) as db:
        for number in range(3):
            db.set_faults("web1", [FAULT | {"name": str(number)}])
        db.squelch("x", "why", "ann")
    return cimaa


def events(cimaa: Cimaa) -> int:
    with cimaa.store() as db:
        return db.count_expired_history()


def test_a_dry_run_deletes_nothing(old: Cimaa) -> None:
    result = old("tend", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("Would delete 7 events from before 20")
    assert json.loads(old("tend", "--dry-run", "--json").stdout) == {
        "faults": [],
        "metrics": [{"name": "expired_events", "value": 7}],
    }
    assert events(old) == 7


def test_what_is_past_its_time_is_deleted_and_the_rest_stays(old: Cimaa) -> None:
    assert old("history", "--json").stdout == "[]\n"
    result = old("tend")
    assert result.stderr.startswith("Deleted 7 events from before 20")
    assert events(old) == 0
    assert old("tend").stderr.startswith("Deleted 0 events ")
    assert len(json.loads(old("faults", "--json").stdout)) == 1


def test_as_a_check_it_writes_how_many_it_deleted(old: Cimaa) -> None:
    result = old("tend", "--json")
    assert json.loads(result.stdout) == {"faults": [], "metrics": [{"name": "deleted_events", "value": 7}]}
    assert result.stderr == ""


def test_an_agent_is_late_after_the_time_that_it_said(cimaa: Cimaa) -> None:
    assert cimaa("report", "backup", "--within", "25h", input="[]").exit_code == 0
    assert cimaa("agents", "--late").stderr == "No such agents.\n"
    with cimaa.store(ago=26 * 3600) as db:
        db.remove_agent("backup")
        db.set_faults("backup", [], within=25 * 3600)
        db.set_faults("silent", [])
    assert cimaa("agents", "--late").stdout == "backup\t1d 2h ago\tlate by 1h: it said within 1d 1h\n"
    [late] = json.loads(cimaa("agents", "--late", "--json").stdout)
    assert (late["name"], late["within"]) == ("backup", 25 * 3600)
    assert 3600 <= late["late"] < 3700


@pytest.mark.parametrize("within", ["0s", "25", "soon", "-1h"])
def test_an_invalid_duration_is_wrong_usage(cimaa: Cimaa, within: str) -> None:
    result = cimaa("report", "backup", "--within", within, input="[]")
    assert result.exit_code == 2
    assert f"'{within}'" in result.stderr
