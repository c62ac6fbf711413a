"""``cimaa agents`` and ``remove-agent``."""

import json

import pytest

from tests.support.command import Cimaa
from zc.cimaa.agents import Instance

FAULT = {"name": "x", "severity": 40, "message": "m"}


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    here = Instance("host1", None, "0.1.0", "Linux 6.1")
    with cimaa.store(ago=3 * 3600, instance=here) as db:
        db.set_faults("old", [FAULT])
    with cimaa.store(ago=60 * 86400, instance=here) as db:
        db.set_faults("ancient", [])
    for ago, pid in ((30, 1), (20, 2), (10, 1), (5, 2)):
        with cimaa.store(ago=ago, instance=here._replace(pid=pid)) as db:
            db.set_faults("twice", [])
    return cimaa


def test_agents_are_listed_with_who_reports(fleet: Cimaa) -> None:
    ancient, old, twice = (line.split("\t") for line in fleet("agents").stdout.splitlines())
    assert ancient == ["ancient", "60d ago", "host1 (0.1.0, Linux 6.1)"]
    assert old[:2] == ["old", "3h ago"]
    assert twice[2] == "host1 pid 1 (0.1.0, Linux 6.1); host1 pid 2 (0.1.0, Linux 6.1)"


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ([], ["ancient", "old", "twice"]),
        (["--old", "1h"], ["ancient", "old"]),
        (["--offline"], ["old"]),
        (["--double"], ["twice"]),
        (["--old", "999d"], []),
    ],
)
def test_options_pick_agents(fleet: Cimaa, option: list[str], names: list[str]) -> None:
    assert [line.split("\t")[0] for line in fleet("agents", *option).stdout.splitlines()] == names
    assert [agent["name"] for agent in json.loads(fleet("agents", "--json", *option).stdout)] == names


def test_an_empty_list_of_agents_has_a_message(cimaa: Cimaa) -> None:
    assert cimaa("agents").stderr == "No agents.\n"
    assert cimaa("agents", "--double").stderr == "No such agents.\n"
    assert cimaa("agents", "--json").stdout == "[]\n"


def test_only_one_option_at_a_time(cimaa: Cimaa) -> None:
    result = cimaa("agents", "--old", "0s", "--offline")
    assert result.exit_code == 2
    assert "only one of --old, --late, --offline and --double" in result.stderr


def test_an_agent_is_removed_and_the_others_stay(fleet: Cimaa) -> None:
    assert fleet("remove-agent", "old").stderr == "Removed old.\n"
    with fleet.store() as db:
        assert [agent["name"] for agent in db.get_agents()] == ["ancient", "twice"]
        assert db.find_faults() == []


def test_an_agent_that_is_not_there_is_not_removed(fleet: Cimaa) -> None:
    result = fleet("remove-agent", "twic")
    assert result.exit_code == 1
    assert result.stderr == "cimaa: error: there is no agent 'twic'; did you mean 'twice'?\n"
    assert "see: cimaa agents" in fleet("remove-agent", "zzzzzz").stderr
