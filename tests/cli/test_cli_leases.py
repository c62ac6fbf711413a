"""``cimaa leases``."""

import json
import time

import pytest

from tests.support.command import Cimaa, completed


@pytest.fixture
def leased(cimaa: Cimaa) -> Cimaa:
    """A store with a lease that is in force, and one that is over."""
    with cimaa.store(ago=7200) as db:
        db.lease("over", "web1", 60)
        db.lease("nightly backup", "web1", 86400, state={"secret": 1})
    return cimaa


def test_leases_are_listed(leased: Cimaa) -> None:
    result = leased("leases")
    first, second = [line.split("\t") for line in result.stdout.splitlines()]
    assert (first[:3], first[4]) == (["nightly backup", "web1", "2h"], "1")
    assert (second[:2], second[4]) == (["over", "web1"], "1")
    assert second[2] in ("1m", "1m 1s")  # it ends with a whole second
    assert "(over)" not in first[3]
    assert second[3].endswith(" (over)")
    assert "held for" in leased("leases", "--table").stdout
    assert leased("leases", "--columns", "token,lease").stdout.splitlines()[0] == "1\tnightly backup"


def test_leases_as_json(leased: Cimaa) -> None:
    first, second = json.loads(leased("leases", "--json").stdout)
    assert first == {
        "name": "nightly backup",
        "holder": "web1",
        "token": 1,
        "since": pytest.approx(time.time() - 7200, abs=60),
        "until": pytest.approx(time.time() + 86400 - 7200, abs=60),
        "remaining": pytest.approx(86400 - 7200, abs=60),
        "over": False,
    }
    assert (second["name"], second["remaining"], second["over"]) == ("over", 0, True)


def test_without_leases_it_says_so(cimaa: Cimaa) -> None:
    result = cimaa("leases")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "No leases.\n", 0)
    assert cimaa("leases", "--json").stdout == "[]\n"


def test_a_lease_is_released(leased: Cimaa) -> None:
    result = leased("leases", "--release", "nightly backup")
    assert result.exit_code == 0
    assert "Released nightly backup, which web1 had: the next one that asks gets it" in result.stderr
    with leased.store() as db:
        taken = db.lease("nightly backup", "web2", 60)
        assert (taken.holder, taken.token, taken.state) == ("web2", 2, {"secret": 1})
    result = leased("leases", "--release", "over")
    assert (result.stderr, result.exit_code) == ("over was over already.\n", 0)


def test_a_lease_is_forgotten(leased: Cimaa) -> None:
    result = leased("leases", "--forget", "over")
    assert result.exit_code == 0
    assert "Forgot over.  Its tokens begin again with 1" in result.stderr
    with leased.store() as db:
        assert [lease.name for lease in db.get_leases()] == ["nightly backup"]


@pytest.mark.parametrize("option", ["--release", "--forget"])
def test_an_unknown_lease_is_an_error(leased: Cimaa, option: str) -> None:
    result = leased("leases", option, "nightly")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert "there is no lease 'nightly'; did you mean 'nightly backup'?" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--release", "a", "--forget", "b"], ["--release", "a", "--json"], ["--forget", "a", "--table"]]
)
def test_options_that_exclude_each_other_are_wrong_usage(leased: Cimaa, arguments: list[str]) -> None:
    result = leased("leases", *arguments)
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_leases_are_completed(leased: Cimaa) -> None:
    assert completed(["leases", "--release"], "n") == ["nightly backup"]
    assert completed(["leases", "--forget"], "") == ["nightly backup", "over"]
