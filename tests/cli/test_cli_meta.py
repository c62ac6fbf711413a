"""``cimaa meta-check``: as an agent's check, as a Nagios plugin, and what can go wrong."""

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Cimaa
from zc.cimaa.agent import check_process
from zc.cimaa.agent.rules import escalation, perfdata, results
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agents import Instance
from zc.cimaa.metacheck.findings import digest

PROGRAM = str(Path(sys.executable).with_name("cimaa"))
CRITICAL = {"name": "//web1/disk", "severity": 50, "message": "full"}
SQUELCH = f"//meta-check/squelch/{digest('disk')}"
HOST = Instance("web1", None, "1", "Linux")


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    """An agent that reports, one that is silent, one that is there twice, and a squelch that was forgotten."""
    with cimaa.store(ago=200, instance=HOST) as db:
        db.set_faults("db1", [])
    for ago in (60, 30):
        for pid in (1, 2):
            with cimaa.store(ago=ago - pid, instance=HOST._replace(pid=pid)) as db:
                db.set_faults("twice", [])
    with cimaa.store(ago=7200) as db:
        db.squelch("disk", "new disks", "ann")
    with cimaa.store(instance=HOST) as db:
        db.set_faults("web1", [CRITICAL])
    return cimaa


def reported(cimaa: Cimaa, *arguments: str) -> dict[str, int]:
    """The severities of the faults that it reports, by name."""
    result = cimaa("meta-check", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return {fault["name"]: fault["severity"] for fault in json.loads(result.stdout)["faults"]}


def run(line: str) -> "subprocess.CompletedProcess[str]":
    """The command as a process of its own."""
    command = [PROGRAM, *shlex.split(line)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# As an agent's check


def test_it_writes_the_json_of_a_check(fleet: Cimaa) -> None:
    document = json.loads(fleet("meta-check").stdout)
    assert {fault["name"]: fault["severity"] for fault in document["faults"]} == {
        SQUELCH: 40,
        "//twice/meta-check/double": 40,
        "//db1/meta-check/silent": 30,
    }
    assert {metric["name"]: metric["value"] for metric in document["metrics"]} == {
        "agents": 3,
        "reporting": 2,
        "silent": 1,
        "forgotten": 0,
        "double": 1,
        "squelches": 1,
        "stale_squelches": 1,
        "hidden_faults": 1,
        "hidden_criticals": 1,
    }


@pytest.mark.parametrize(
    ("options", "silent"),
    [
        ("", 30),
        ("--interval 2m", None),
        ("--interval 30s", 40),
        ("-w 3.5", None),
        ("-w 1 -c 3", 40),
        ("--warning 3 --error 3", 40),
        ("--forget 301s --interval 30s -c 4", 40),
        ("--forget 199s --interval 30s", 20),
        ("--forget 999999999d", 30),
        ("-t 1h", 30),
        ("--ignore ^db", None),
        ("--match web --match db", 30),
        ("--match web", None),
    ],
)
def test_options_set_the_rules(fleet: Cimaa, options: str, silent: int | None) -> None:
    found = reported(fleet, *options.split())
    assert found.get("//db1/meta-check/silent", found.get("//meta-check/forgotten")) == silent


def test_options_choose_the_squelches(fleet: Cimaa) -> None:
    with fleet.store(ago=7200) as db:
        db.squelch("x", "", "ann", expires=2**40)
    assert len([name for name in reported(fleet) if "/squelch/" in name]) == 2
    assert not [name for name in reported(fleet, "--squelched", "3h") if "/squelch/" in name]


def test_the_interval_is_that_of_the_configured_agents(fleet: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nbase_interval = 2m\n")
    assert "//db1/meta-check/silent" not in reported(fleet)
    assert "//db1/meta-check/silent" in reported(fleet, "--interval", "1m")


def checked(tmp_path: Path, command: str) -> results.Result:
    """What comes of running the command as a check of the agent watcher's."""
    words = (PROGRAM, *shlex.split(command))
    check = Check("meta", "fleet", words, 60, tmp_path)
    return results.of_outcome("watcher", check, asyncio.run(check_process.run(check)))


def test_the_agent_s_machinery_reads_it(fleet: Cimaa, tmp_path: Path) -> None:
    result = checked(tmp_path, "meta-check")
    assert result.complete
    assert {fault["name"] for fault in result.faults} == {
        SQUELCH,
        "//twice/meta-check/double",
        "//db1/meta-check/silent",
    }
    assert {metric.name: metric.value for metric in result.metrics}["silent"] == 1


def test_an_error_escalates_and_a_warning_does_not(fleet: Cimaa, tmp_path: Path) -> None:
    result = checked(tmp_path, "meta-check --match db1")
    check = Check("meta", "fleet", (), 60, tmp_path, retry=1)
    once = escalation.advance("watcher", check, [], result)
    twice = {fault["name"]: fault["severity"] for fault in escalation.advance("watcher", check, once, result)}
    assert twice == {"//db1/meta-check/silent": 30, SQUELCH: 50}


def test_an_agent_runs_it_and_stores_its_faults(fleet: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(PROGRAM).parent}:{os.environ['PATH']}")
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = watcher\ndirectory = checks\n")
    Path("checks").mkdir()
    Path("checks/meta.cfg").write_text(
        f"[fleet]\ncommand = cimaa --config {fleet.directory}/cimaa.cfg meta-check\nthresholds = silent error >= 1\n"
    )
    assert run("agent --once").returncode == 0
    with fleet.store() as db:
        stored = {fault["name"]: fault["severity"] for fault in db.get_faults("watcher")}
    assert stored == {
        SQUELCH: 40,
        "//twice/meta-check/double": 40,
        "//db1/meta-check/silent": 30,
        "//watcher/meta/fleet#silent": 40,
    }
    fleet("squelch", "^//db1/", "new rack", "--for", "2h")
    (listed,) = json.loads(fleet("faults", "--match", "^//db1/", "--json").stdout)
    assert (listed["agent"], listed["squelched_by"]) == ("watcher", ["^//db1/"])


def test_a_failure_to_read_the_store_is_a_fault_of_the_check(fleet: Cimaa, tmp_path: Path) -> None:
    Path("cimaa.cfg").write_text("[database]\npath = cimaa.cfg\n")
    result = checked(tmp_path, f"--config {fleet.directory}/cimaa.cfg meta-check")
    ((fault,), complete) = (result.faults, result.complete)
    assert (fault["name"], complete) == ("//watcher/meta/fleet#monitor-output", False)
    assert "cimaa: error: " in fault["message"]


# As a Nagios plugin


def test_a_nagios_plugin_has_a_line_a_list_and_performance_data(fleet: Cimaa) -> None:
    result = fleet("meta-check", "--nagios")
    assert (result.exit_code, result.stderr) == (2, "")
    first, *rest = result.stdout.splitlines()
    assert first.startswith("META-CHECK CRITICAL - ann set squelch 'disk' at ")
    assert "db1 has not reported since" in first
    assert first.endswith(
        " | agents=3;;;0 reporting=2;;;0 silent=1;;;0 forgotten=0;;;0 double=1;;;0 squelches=1;;;0"
        " stale_squelches=1;;;0 hidden_faults=1;;;0 hidden_criticals=1;;;0"
    )
    assert [line.partition(":")[0] for line in rest] == ["OK", "CRITICAL", "CRITICAL", "WARNING"]
    assert {metric.name: metric.value for metric in perfdata.metrics(result.stdout)}["reporting"] == 2


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        ("--match web1 --squelched 3h", 0, "META-CHECK OK - agents reporting: 1 of 1; squelches: 1 |"),
        ("--match db1 --squelched 3h", 1, "META-CHECK WARNING - db1 has not reported since "),
        ("--match db1 --squelched 3h --interval 30s", 2, "META-CHECK CRITICAL - db1 has not reported since "),
        (
            "--match 'db1|web1' --squelched 3h --interval 30s --forget 3m",
            0,
            "META-CHECK OK - nothing to alert on, but noted: 1 ",
        ),
        ("--match nobody --squelched 3h", 2, "META-CHECK CRITICAL - none of 3 agents is both selected"),
    ],
)
def test_the_status_is_that_of_the_worst(fleet: Cimaa, options: str, status: int, line: str) -> None:
    result = fleet("meta-check", "--nagios", *shlex.split(options))
    assert result.exit_code == status
    assert result.stdout.startswith(line)


def test_a_squelched_agent_does_not_count_for_nagios(fleet: Cimaa) -> None:
    fleet("squelch", "^//db1/", "new rack", "--for", "2h")
    result = fleet("meta-check", "--nagios", "--match", "db1", "--squelched", "3h")
    assert result.exit_code == 0
    first, *rest = result.stdout.splitlines()
    assert first.startswith("META-CHECK OK - nothing to alert on, but noted: db1 has not reported since ")
    assert "(squelched by ^//db1/) | agents=" in first
    assert any(line.startswith("OK: db1 has not reported since ") for line in rest)


def test_what_is_squelched_is_on_the_first_line_also_beside_what_is_wrong(fleet: Cimaa) -> None:
    fleet("squelch", "^//db1/", "new rack", "--for", "2h")
    first = fleet("meta-check", "--nagios", "--squelched", "3h").stdout.splitlines()[0]
    assert first.startswith("META-CHECK CRITICAL - 2 instances report as twice")
    assert "; db1 has not reported since " in first
    assert (
        first.index("2 instances report as twice") < first.index("db1 has") < first.index("(squelched by ^//db1/) | ")
    )


def test_agents_that_were_forgotten_are_on_the_first_line(fleet: Cimaa) -> None:
    options = "--match db1 --match web1 --squelched 3h --forget 199s --interval 30s"
    result = fleet("meta-check", "--nagios", *options.split())
    assert result.exit_code == 0
    assert "but noted: 1 agent has not reported for more than 3m 19s; namely: db1" in result.stdout.splitlines()[0]


def test_no_squelch_hides_from_nagios_that_it_was_forgotten(fleet: Cimaa) -> None:
    with fleet.store(ago=7200) as db:
        db.squelch(".", "silence!", "joe")
    assert "joe set squelch '.'" in fleet("meta-check", "--nagios").stdout
    assert fleet("meta-check", "--nagios").exit_code == 2


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("-w x", "'x' is not a number of intervals: write it like 2 or 2.5"),
        ("-w 2m", "'2m' is not a number of intervals"),
        ("-c 0", "'0' is not a number of intervals"),
        ("-c inf", "'inf' is not a number of intervals"),
        ("--interval 60", "invalid duration '60'"),
        ("--interval 0s", "is too short"),
        ("-t 0", "is too short"),
        ("-t 86401", "'86401' is more than a day"),
        ("--squelched soon", "invalid duration 'soon'"),
        ("--ignor x", "Did you mean '--ignore'"),
        ("web1", "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_reported_as_the_caller_expects(cimaa: Cimaa, options: str, wrong: str) -> None:
    result = cimaa("meta-check", *options.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert wrong in result.stderr
    result = cimaa("meta-check", *options.split(), "--nagios")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (3, "", 1)
    assert result.stdout.startswith("META-CHECK UNKNOWN - ")
    assert wrong in result.stdout


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("-w 9", "the warning would come after the error: after 9 intervals, and after 5"),
        ("--forget 5m", "agents would be forgotten after 5m, before their silence is an error: that is after 5 inter"),
        ("--match (", "'(' is not a valid RE2 regular expression"),
        ("--ignore (?!x)", "RE2 does not support look-around"),
    ],
)
def test_rules_that_make_no_sense_are_an_error(fleet: Cimaa, options: str, wrong: str) -> None:
    unusable(fleet, options.split(), wrong)


def unusable(cimaa: Cimaa, options: list[str], wrong: str) -> None:
    """It fails, and says why: as a command, and as a plugin."""
    result = cimaa("meta-check", *options)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert wrong in result.stderr
    result = cimaa("meta-check", "--nagios", *options)
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (3, "", 1)
    assert result.stdout.startswith("META-CHECK UNKNOWN - ")
    assert wrong in result.stdout


@pytest.mark.parametrize(
    ("configuration", "wrong"),
    [
        ("path = cimaa.cfg", "cimaa.cfg"),
        ("path = /dev/null/store", "/dev/null/store"),
        ("paht = x", "did you mean path?"),
        ("class = zc.cimaa.postgers", "zc.cimaa.postgers"),
        (
            "class = zc.cimaa.postgres\nconnect_timeout = 1s\ndsn = host=127.0.0.1 port={closed} password=hush",
            "{closed}",
        ),
        ("path = store\n[agent]\nbase_interval = often", "invalid duration 'often'"),
    ],
)
def test_a_store_that_cannot_be_reached_is_unknown(cimaa: Cimaa, configuration: str, wrong: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    Path("cimaa.cfg").write_text("[database]\n" + configuration.format(closed=closed) + "\n")
    unusable(cimaa, [], wrong.format(closed=closed))
    assert "hush" not in cimaa("meta-check", "--nagios").stdout


def test_a_configuration_that_is_not_there_is_unknown(cimaa: Cimaa) -> None:
    result = cimaa("--config", "none", "meta-check", "--nagios")
    assert (result.exit_code, result.stdout) == (
        3,
        "META-CHECK UNKNOWN - there is no readable configuration file none\n",
    )


def test_a_store_that_does_not_answer_is_given_up(cimaa: Cimaa) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        dsn = f"host=127.0.0.1 port={port}"
        Path("cimaa.cfg").write_text(f"[database]\nclass = zc.cimaa.postgres\nconnect_timeout = 50s\ndsn = {dsn}\n")
        result = run("meta-check --timeout 1s")
        assert (result.returncode, result.stdout) == (1, "")
        assert "the store did not answer: no result within 1 s; --timeout gives it more time" in result.stderr
        result = run("meta-check --nagios -t 1")
        assert (result.returncode, result.stdout) == (3, "META-CHECK UNKNOWN - no result within 1 s\n")


def test_help_is_help_and_by_the_guidelines_unknown(cimaa: Cimaa) -> None:
    result = cimaa("meta-check", "--help")
    assert result.exit_code == 0
    assert "Usage: cimaa meta-check" in result.stdout
    assert cimaa("meta-check", "--nagios", "-h").exit_code == 3


def test_what_is_reported_cannot_control_a_terminal(cimaa: Cimaa) -> None:
    with cimaa.store(ago=200, instance=HOST._replace(host="h\x1b[2J")) as db:
        db.set_faults("web\x1b[2J|x=1", [])
    result = cimaa("meta-check", "--nagios")
    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[0].count("|") == 1
    assert "\x1b" not in cimaa("meta-check").stdout


def test_it_does_nothing_to_the_store(fleet: Cimaa) -> None:
    with fleet.store() as db:
        before = db.dump()
        fleet("meta-check")
        assert db.dump() == before


def test_agents_are_completed(fleet: Cimaa) -> None:
    words: dict[str, Any] = {"COMP_LINE": "cimaa meta-check --ignore d", "COMP_WORD": "d"}
    environment = {**os.environ, "_CIMAA_COMPLETE": "bash_complete", **words}
    result = subprocess.run([PROGRAM], capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert result.stdout == "plain,db1\n"
