"""Filters on the command line: ``cimaa faults [FILTER]...`` and ``cimaa agents [FILTER]...``."""

import json
import subprocess
import sys

import pytest
from click.testing import Result

from tests.support.command import Cimaa
from zc.cimaa.agents import Instance
from zc.cimaa.cli.commands.list_agents import agents
from zc.cimaa.cli.commands.list_faults import faults
from zc.cimaa.filters import AGENTS, FAULTS

DISK = {"name": "//web1/disk#/var", "severity": 40, "message": "disk full", "team": "shop", "used": 97}
LOAD = {"name": "//web1/load", "severity": 30, "message": "load 9", "team": "shop"}
QUEUE = {"name": "//web1/queue", "severity": 30, "message": "a disk of orders", "team": ["web", "shop"]}
TAPE = {"name": "tape", "severity": 50, "message": "no space", "sevrity": "x"}


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    with cimaa.store(ago=2 * 86400) as db:
        db.set_faults("web1", [LOAD])
    with cimaa.store(ago=3600) as db:
        db.set_faults("web1", [LOAD, DISK, QUEUE])
        db.set_faults("backup", [TAPE])
        db.squelch("/load$", "known", "ann")
    return cimaa


def names(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [line.split("\t")[3] for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        (["severity=warning", "team=shop", "age>1d"], [LOAD]),
        (["agent!=backup"], [DISK, LOAD, QUEUE]),
        (["severity>=error agent=web1"], [DISK]),
        (["team!=shop"], [TAPE]),
        (["disk"], [DISK, QUEUE]),
        (["disk", "severity<error"], [QUEUE]),
        (["DISK severity<error"], [QUEUE]),
        (['message="disk full"'], [DISK]),
        (["used>90"], [DISK]),
        (["squelched=yes"], [LOAD]),
        (["squelched=no", "--severity", "error", "age<2h"], [TAPE, DISK]),
        (["name=~disk|load", "--match", "/load"], [LOAD]),
        (["--agent", "web1", "severity>=warning", "--limit", "1"], [DISK]),
        (['"sevrity"=x'], [TAPE]),
        ([""], [TAPE, DISK, LOAD, QUEUE]),
    ],
)
def test_terms_pick_faults(fleet: Cimaa, terms: list[str], found: list[dict[str, str]]) -> None:
    assert names(fleet("faults", *terms)) == [fault["name"] for fault in found]


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        (["--agent", "web1"], ["agent=web1"]),
        (["--severity", "error"], ["severity>=error"]),
        (["--match", "disk|load"], ["name=~disk|load"]),
        (["--squelched"], ["squelched=yes"]),
        (["--unsquelched"], ["squelched=no"]),
        (["--agent", "wbe1"], ["agent=wbe1"]),
        (["--agent", "web1", "--match", "nothing"], ["agent=web1", "name=~nothing"]),
        (["--agent", "web1", "--prometheus"], ["agent=web1", "--prometheus"]),
        (["--severity", "error", "--prometheus"], ["severity>=error", "--prometheus"]),
    ],
)
def test_options_mean_the_same_as_their_terms(fleet: Cimaa, options: list[str], terms: list[str]) -> None:
    by_option, by_term = fleet("faults", *options), fleet("faults", *terms)
    assert (by_option.exit_code, by_option.stdout) == (by_term.exit_code, by_term.stdout)
    assert by_option.stderr == by_term.stderr
    assert fleet("faults", "-e", *options).exit_code == fleet("faults", "-e", *terms).exit_code


def test_a_mistake_is_an_error_that_names_the_term(fleet: Cimaa) -> None:
    for more in ([], ["--exit-code"], ["--json"], ["--group-by", "agent"], ["--prometheus"]):
        result = fleet("faults", "team=shop", "sevrity>=error", *more)
        assert (result.exit_code, result.stdout) == (1, "")
        start = "cimaa: error: filter term 2, 'sevrity>=error' at character 11: unknown key 'sevrity'"
        assert result.stderr.startswith(start)


def test_a_key_that_no_fault_has_is_reported(fleet: Cimaa) -> None:
    result = fleet("faults", "taem=shop")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("Warning: no current fault has the key 'taem'; did you mean team?\n")
    assert fleet("faults", "zzz!=1").stderr == "Warning: no current fault has the key 'zzz'.\n"
    # It is a fault of another agent that has it.
    assert "Warning" not in fleet("faults", "agent=backup", "team=shop").stderr


def test_keys_are_not_reported_where_there_are_no_faults(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        db.set_faults("web1", [])
    assert cimaa("faults", "team=shop").stderr.startswith("No faults match: 1 agent reported, the last ")


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        (["severity>=error"], 3),
        (["squelched=yes"], 0),
        (["severity>critical"], 0),
        (["message=~nothing"], 0),
        (['"team"=shop'], 3),
        (["'team'=shop", "severity>=critical"], 0),
        # a typing error must not pass for a fleet without faults
        (["team=shop"], 1),
        (["taem=shop"], 1),
        (["taem!=shop"], 1),
        (["sev>=error"], 1),
        (["severity>=eror"], 1),
        (["agent=wbe1"], 1),
        (["agent=~^wbe"], 1),
        (["agent=web1", "agent=backup"], 0),
        (["message=disk full"], 1),
        (["severity", ">=", "error"], 1),
        (["age"], 1),  # what a shell leaves of age>1d
    ],
)
def test_with_exit_code_a_typing_error_is_an_error(fleet: Cimaa, terms: list[str], status: int) -> None:
    result = fleet("faults", "--exit-code", *terms)
    assert result.exit_code == status
    assert result.stderr.startswith("cimaa: error: ") == (status == 1)


def test_the_error_for_an_extra_key_shows_how_to_write_it_in_a_shell(fleet: Cimaa) -> None:
    assert fleet("faults", "-e", "team=shop").stderr.endswith(
        """a typing error in a key does not go unnoticed: '"team"=shop'\n"""
    )
    assert "--exit-code a typing error must not pass" in " ".join(fleet("faults", "--help").stdout.split())


def test_a_value_whose_quotes_the_shell_removed_is_refused(fleet: Cimaa) -> None:
    result = fleet("faults", "message=disk full")
    assert result.exit_code == 1
    assert "if 'full' belongs to the value, write 'message=\"disk full\"'" in result.stderr
    assert names(fleet("faults", "message=~disk", "full")) == [DISK["name"]]
    assert names(fleet("faults", "full message=~disk")) == [DISK["name"]]


def test_a_limit_counts_what_the_filter_found(fleet: Cimaa) -> None:
    result = fleet("faults", "team=shop", "--limit", "2")
    assert names(result) == [DISK["name"], LOAD["name"]]
    assert result.stderr == "Only the worst 2 faults shown; there are more.\n"


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("agent", [["web1", "3", "1", "error"], ["backup", "1", "0", "critical"]]),
        ("severity", [["critical", "1", "0"], ["error", "1", "0"], ["warning", "2", "1"]]),
        (
            "name",
            [
                ["tape", "1", "0", "critical"],
                ["//web1/disk#/var", "1", "0", "error"],
                ["//web1/load", "1", "1", "warning"],
                ["//web1/queue", "1", "0", "warning"],
            ],
        ),
    ],
)
def test_faults_are_counted_by_group(fleet: Cimaa, by: str, rows: list[list[str]]) -> None:
    result = fleet("faults", "--group-by", by)
    assert [line.split("\t") for line in result.stdout.splitlines()] == rows
    counted = json.loads(fleet("faults", "--group-by", by, "--json").stdout)
    assert [str(row["faults"]) for row in counted] == [row[1] for row in rows]
    assert [str(row["squelched"]) for row in counted] == [row[2] for row in rows]
    first = {"agent": "web1", "severity": 50, "name": "tape"}[by]
    assert counted[0][by] == first


def test_groups_take_filters_and_the_options_of_a_listing(fleet: Cimaa) -> None:
    assert fleet("faults", "--group-by", "agent", "team=shop").stdout == "web1\t3\t1\terror\n"
    chosen = fleet("faults", "--group-by", "agent", "--columns", "worst,agent", "--sort", "worst").stdout
    assert chosen == "critical\tbackup\nerror\tweb1\n"
    assert fleet("faults", "--group-by", "agent", "--sort", "faults", "--reverse").stdout.startswith("backup\t1")
    assert fleet("faults", "--group-by", "agent", "--table").stdout.split()[:4] == [
        "agent",
        "faults",
        "squelched",
        "worst",
    ]
    assert fleet("faults", "--group-by", "agent", "--exit-code").exit_code == 3
    empty = fleet("faults", "--group-by", "agent", "severity>critical")
    assert (empty.stdout, empty.stderr[:15]) == ("", "No faults match")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (
            ["--group-by", "agent", "--columns", "message"],
            "there is no column 'message'; the columns are agent,faults,",
        ),
        (["--group-by", "severity", "--sort", "worst"], "there is no column 'worst'"),
        (
            ["--sort", "worst"],
            "there is no column 'worst'; the columns are severity,for,agent,fault,message,squelched-by",
        ),
        (["--group-by", "agent", "--limit", "1"], "--group-by excludes --limit"),
        (["--group-by", "agent", "--prometheus"], "--prometheus excludes"),
        (["--group-by", "team"], "'team' is not one of 'agent', 'name', 'severity'"),
    ],
)
def test_wrong_options_of_groups_are_wrong_usage(fleet: Cimaa, options: list[str], wrong: str) -> None:
    result = fleet("faults", *options)
    assert result.exit_code == 2
    assert wrong in result.stderr


def test_prometheus_gets_the_heartbeats_of_the_agents_that_the_filter_admits(fleet: Cimaa) -> None:
    written = fleet("faults", "--prometheus", "agent=~^web").stdout
    assert 'agent="web1"' in written
    assert "backup" not in written


# Agents


@pytest.fixture
def agents_of_fleet(cimaa: Cimaa) -> Cimaa:
    old, new = Instance("old1", None, "0.9", "Linux 5.1"), Instance("new1", 77, "0.10", "FreeBSD 14")
    with cimaa.store(ago=7200, instance=old) as db:
        db.set_faults("web1", [])
        db.set_faults("db1", [])
    with cimaa.store(ago=60, instance=new) as db:
        db.set_faults("web1", [])
    return cimaa


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        (["os=~Linux"], ["db1", "web1"]),
        (["host=new1"], ["web1"]),
        (["version>=0.10"], ["web1"]),
        (["version<0.10", "host!=new1"], ["db1", "web1"]),
        (["os=~Linux version>=0.10"], []),
        (["silent>15m"], ["db1"]),
        (["silent<15m"], ["web1"]),
        (["agent=~^web"], ["web1"]),
        (["--old", "15m", "os=~Linux"], ["db1"]),
        (["--old", "15m", "host=new1"], []),
        (["--offline", "agent!=web1"], ["db1"]),
        (["--double", "os=~Linux"], []),
    ],
)
def test_terms_pick_agents(agents_of_fleet: Cimaa, terms: list[str], found: list[str]) -> None:
    result = agents_of_fleet("agents", *terms)
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == found
    assert result.stderr == ("" if found else "No such agents.\n")
    assert [row["name"] for row in json.loads(agents_of_fleet("agents", "--json", *terms).stdout)] == found


def test_old_means_the_same_as_silent(agents_of_fleet: Cimaa) -> None:
    for age in ("0s", "15m", "3h"):
        by_option = agents_of_fleet("agents", "--columns", "agent", "--old", age)
        assert by_option.stdout == agents_of_fleet("agents", "--columns", "agent", f"silent>={age}").stdout


def test_an_unknown_key_of_agents_is_an_error_that_names_the_nearest(agents_of_fleet: Cimaa) -> None:
    result = agents_of_fleet("agents", "hots=old1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr
        == "cimaa: error: filter term 1, 'hots=old1' at character 1: unknown key 'hots'; did you mean host?\n"
    )


# Help and start


def test_the_help_has_every_key_and_operator() -> None:
    for command, keys in ((faults, FAULTS), (agents, AGENTS)):
        assert command.help
        assert all(key.name in command.help for key in keys.keys)
        assert all(op in command.help for op in ("=", "!=", "=~", "!~", "<", "<=", ">", ">="))


def test_without_a_filter_none_of_it_is_loaded(fleet: Cimaa) -> None:
    code = (
        "import sys; from zc.cimaa.cli import cimaa; cimaa(['faults'], standalone_mode=False);"
        "print([name for name in sys.modules if 'filters' in name or name == 'packaging'], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=fleet.directory)
    assert run.stdout.count("\n") == 4
    assert run.stderr.strip() == "[]"
