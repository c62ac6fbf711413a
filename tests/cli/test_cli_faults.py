"""``cimaa faults``: what is listed, in which order, and the messages for an empty list."""

import json

import pytest

from tests.support.command import Cimaa

DISK = {"name": "//web1/host/disk#/var", "severity": 40, "message": "/var is 97 % full"}
LOAD = {"name": "//web1/host/load", "severity": 30, "message": "the load is 9 on 4 cores"}
RAID = {"name": "//db1/raid", "severity": 50, "message": "degraded"}


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    with cimaa.store() as db:
        db.set_faults("web1", [LOAD, DISK])
        db.set_faults("db1", [RAID])
        db.squelch("/load$", "known", "ann")
    return cimaa


def test_the_worst_come_first_with_all_there_is_to_know(fleet: Cimaa) -> None:
    result = fleet("faults")
    assert result.exit_code == 0
    assert [line.split("\t")[:1] + line.split("\t")[2:] for line in result.stdout.splitlines()] == [
        ["critical", "db1", "//db1/raid", "degraded", ""],
        ["error", "web1", "//web1/host/disk#/var", "/var is 97 % full", ""],
        ["warning", "web1", "//web1/host/load", "the load is 9 on 4 cores", "/load$"],
    ]
    assert result.stderr == ""


def test_the_age_of_a_fault_is_shown(cimaa: Cimaa) -> None:
    with cimaa.store(ago=2 * 86400 + 3 * 3600 + 30) as db:
        db.set_faults("web1", [DISK])
    assert cimaa("faults").stdout.split("\t")[1] == "2d 3h"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--agent", "web1"], ["//web1/host/disk#/var", "//web1/host/load"]),
        (["--severity", "error"], ["//db1/raid", "//web1/host/disk#/var"]),
        (["--severity", "Critical"], ["//db1/raid"]),
        (["--severity", "41"], ["//db1/raid"]),
        (["--match", "host/(disk|load)"], ["//web1/host/disk#/var", "//web1/host/load"]),
        (["--squelched"], ["//web1/host/load"]),
        (["--unsquelched"], ["//db1/raid", "//web1/host/disk#/var"]),
        (["--limit", "3"], ["//db1/raid", "//web1/host/disk#/var", "//web1/host/load"]),
        (["--limit", "1", "--unsquelched", "--agent", "web1"], ["//web1/host/disk#/var"]),
    ],
)
def test_filters(fleet: Cimaa, filters: list[str], names: list[str]) -> None:
    assert [line.split("\t")[3] for line in fleet("faults", *filters).stdout.splitlines()] == names
    assert [fault["name"] for fault in json.loads(fleet("faults", "--json", *filters).stdout)] == names


@pytest.mark.parametrize("filters", [["--limit", "2"], ["--limit", "1", "--unsquelched"]])
def test_a_limit_that_cuts_says_so(fleet: Cimaa, filters: list[str]) -> None:
    assert "there are more" in fleet("faults", *filters).stderr


def test_json_has_the_whole_fault_and_who_squelches_it(fleet: Cimaa) -> None:
    (fault,) = json.loads(fleet("faults", "--json", "--squelched").stdout)
    assert fault.pop("since") > 0
    assert fault == {**LOAD, "agent": "web1", "squelched_by": ["/load$"]}


@pytest.mark.parametrize(
    ("filters", "status"),
    [([], 3), (["--agent", "web1"], 3), (["--match", "/load"], 0), (["--squelched"], 0), (["--match", "nothing"], 0)],
)
def test_the_exit_code_shows_scripts_whether_there_are_faults(fleet: Cimaa, filters: list[str], status: int) -> None:
    assert fleet("faults", "--exit-code", *filters).exit_code == status
    assert fleet("faults", "-e", "--json", *filters).exit_code == status
    assert fleet("faults", *filters).exit_code == 0


def test_no_faults_differs_from_no_reports(cimaa: Cimaa) -> None:
    result = cimaa("faults")
    assert result.stdout == ""
    assert result.stderr.startswith("No faults, but no agent has reported to this store")
    with cimaa.store(ago=7200) as db:
        db.set_faults("web1", [])
    with cimaa.store(ago=90) as db:
        db.set_faults("web2", [])
    assert "No faults: 2 agents reported, the last 1m " in cimaa("faults").stderr
    assert "No faults: web1 reported 2h ago." in cimaa("faults", "--agent", "web1").stderr
    assert "No faults match: 2 agents reported" in cimaa("faults", "--severity", "error").stderr
    assert cimaa("faults", "--json").stdout == "[]\n"


def test_a_regular_expression_that_is_none_is_refused(fleet: Cimaa) -> None:
    result = fleet("faults", "--match", "(")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cimaa: error: '(' is not a valid RE2 regular expression")


def test_what_steers_a_terminal_never_reaches_it(cimaa: Cimaa) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07 \r\n\t\x9b31m \u202egnp.exe \u2028\x7f"
    with cimaa.store() as db:
        db.set_faults("web\x1b[1m", [{"name": f"//x{hostile}", "severity": 40, "message": hostile, "x": hostile}])
        db.squelch("^//x", hostile, hostile)
    for command in ("faults", "faults --json", "agents", "squelches", "squelches --json", "dump"):
        written = cimaa(*command.split()).output
        assert "//x" in written or "[1m" in written
        assert not [c for c in written.replace("\n", "").replace("\t", "") if not c.isprintable()], command
    assert cimaa("faults").stdout.count("\n") == 1
    assert json.loads(cimaa("faults", "--json").stdout)[0]["x"] == hostile


@pytest.mark.parametrize("more", [[], ["--exit-code"], ["--json"], ["--severity", "critical", "-e"]])
@pytest.mark.parametrize(
    ("agent", "hint"),
    [
        ("web1", "did you mean 'web1.example.com'?"),
        ("WEB1", "did you mean 'web1.example.com'?"),
        ("web2.example.com", "did you mean 'web1.example.com'?"),
        ("", "did you mean"),
        ("nope", "see: cimaa agents"),
    ],
)
def test_an_unknown_agent_is_an_error_that_names_the_nearest(
    cimaa: Cimaa, agent: str, hint: str, more: list[str]
) -> None:
    with cimaa.store() as db:
        db.set_faults("web1.example.com", [])
        db.set_faults("db1.example.com", [DISK])
    result = cimaa("faults", "--agent", agent, *more)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cimaa: error: ")
    assert hint in result.stderr or not agent
    assert cimaa("faults", "--agent", "web1.example.com", *more).exit_code == 0


def test_an_unknown_agent_is_an_error_in_a_store_without_agents_too(cimaa: Cimaa) -> None:
    assert "no agent has reported" in cimaa("faults", "--agent", "web1").stderr


def test_where_no_agent_has_reported_the_exit_code_is_that_of_an_error(cimaa: Cimaa) -> None:
    result = cimaa("faults", "--exit-code")
    assert result.exit_code == 1
    assert result.stderr.startswith("cimaa: error: no agent has reported to this store")


@pytest.mark.parametrize(
    ("hours", "arguments", "status", "error"),
    [
        (23, [], 0, ""),
        (25, [], 1, "cimaa: error: no agent has reported for 1d 1h: the faults are not known\n"),
        (25, ["--match", "none"], 1, "cimaa: error: no agent has reported for 1d 1h"),
        (25, ["--agent", "old"], 1, "cimaa: error: old has not reported for 1d 1h"),
        (25, ["--agent", "odl"], 1, "cimaa: error: there is no agent 'odl'; did you mean 'old'?"),
    ],
)
def test_the_exit_code_is_that_of_an_error_if_agents_have_long_been_silent(
    cimaa: Cimaa, hours: int, arguments: list[str], status: int, error: str
) -> None:
    with cimaa.store(ago=hours * 3600) as db:
        db.set_faults("old", [])
    result = cimaa("faults", "--exit-code", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(error)
    if len(arguments) < 2 or "odl" not in arguments:
        assert cimaa("faults", *arguments).exit_code == 0


def test_an_agent_that_reports_is_enough_for_the_exit_code_but_not_if_another_is_asked_for(cimaa: Cimaa) -> None:
    with cimaa.store(ago=25 * 3600) as db:
        db.set_faults("old", [])
    with cimaa.store() as db:
        db.set_faults("new", [])
    assert cimaa("faults", "--exit-code").exit_code == 0
    assert cimaa("faults", "--exit-code", "--agent", "new").exit_code == 0
    assert cimaa("faults", "--exit-code", "--agent", "old").exit_code == 1


def test_faults_of_silent_agents_still_count(cimaa: Cimaa) -> None:
    with cimaa.store(ago=25 * 3600) as db:
        db.set_faults("old", [DISK])
    assert cimaa("faults", "--exit-code").exit_code == 3


def test_columns_are_chosen_and_ordered(fleet: Cimaa) -> None:
    chosen = fleet("faults", "--columns", "fault,squelched-by,severity").stdout.splitlines()
    assert chosen[0] == "//db1/raid\t\tcritical"
    assert chosen[2] == "//web1/host/load\t/load$\twarning"
    assert fleet("agents", "--columns", "agent").stdout == "db1\nweb1\n"
    assert fleet("squelches", "--columns", "user,pattern").stdout == "ann\t/load$\n"


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (["severity"], ["//db1/raid", "//web1/host/disk#/var", "//web1/host/load"]),
        (["severity", "--reverse"], ["//web1/host/load", "//web1/host/disk#/var", "//db1/raid"]),
        (["message"], ["//web1/host/disk#/var", "//db1/raid", "//web1/host/load"]),
        (["for"], ["//db1/raid", "//web1/host/load", "//web1/host/disk#/var"]),
    ],
)
def test_a_list_is_sorted_by_a_column(cimaa: Cimaa, sort: list[str], names: list[str]) -> None:
    for ago, agent, fault in ((90_000, "a", DISK), (7200, "b", LOAD), (50, "c", RAID)):
        with cimaa.store(ago=ago) as db:
            db.set_faults(agent, [fault])
    assert cimaa("faults", "--columns", "fault", "--sort", *sort).stdout.split() == names


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--sort", "age"], "there is no column 'age'; the columns are severity,for,agent,fault,message,squelched-by"),
        (["--columns", "fault,"], "there is no column ''"),
        (["--json", "--table"], "--json excludes --table"),
    ],
)
def test_a_wrong_column_is_wrong_usage(fleet: Cimaa, options: list[str], wrong: str) -> None:
    result = fleet("faults", *options)
    assert result.exit_code == 2
    assert wrong in result.stderr
