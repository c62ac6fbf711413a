"""``cimaa agent --once``: checks run, faults stored and listed, and what can go wrong on the way."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Cimaa


@pytest.fixture
def host(cimaa: Cimaa) -> Cimaa:
    """A host with three checks, of which one fails."""
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\ndirectory = checks\n")
    Path("checks").mkdir()
    Path("checks/host.cfg").write_text(
        "[good]\ncommand = echo fine\n[raid]\ncommand = sh -c 'echo degraded; exit 2'\n[fine]\ncommand = echo fine\n"
    )
    return cimaa


def test_the_checks_run_and_their_faults_are_stored_and_listed(host: Cimaa) -> None:
    result = host("agent", "--once")
    assert result.exit_code == 0
    for listed in (result.stdout, host("faults").stdout):
        severity, _how_long, *rest = listed.split("\t")
        assert (severity, rest) == ("error", ["web1", "//web1/host/raid", "degraded", "\n"])
    assert result.stderr == f"web1 ran 3 checks: 1 fault, stored in zc.cimaa.lmdb (path {host.directory}/store).\n"
    with host.store() as db:
        assert [fault["message"] for fault in db.get_faults("web1")] == ["degraded"]


def test_a_check_has_the_agents_configuration(host: Cimaa) -> None:
    Path("checks/host.cfg").write_text("[shown]\ncommand = sh -c 'echo $CIMAA_CONFIG; exit 1'\n")
    ((fault,)) = json.loads(host("agent", "--once", "--json").stdout)
    assert fault["message"] == f"{host.directory}/cimaa.cfg"
    assert "CIMAA_CONFIG" not in os.environ


def test_json_and_squelches_are_as_in_the_list_of_faults(host: Cimaa) -> None:
    host("squelch", "/raid", "known")
    ((fault,)) = json.loads(host("agent", "--once", "--json").stdout)
    assert (fault["name"], fault["squelched_by"]) == ("//web1/host/raid", ["/raid"])


def test_a_fault_that_is_over_goes_with_the_next_run(host: Cimaa) -> None:
    host("agent", "--once")
    Path("checks/host.cfg").write_text("[raid]\ncommand = echo fine\n")
    result = host("agent", "--once")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("web1 ran 1 check: no faults, stored in ")
    assert "No faults: 1 agent reported, the last " in host("faults").stderr


def test_one_run_after_the_other_counts_as_the_same_reporter(host: Cimaa) -> None:
    host("agent", "--once")
    host("agent", "--once")
    (agent,) = json.loads(host("agents", "--json").stdout)
    assert len(agent["instances"]) == 1
    assert host("agents", "--double").stdout == ""


def test_without_a_directory_this_host_is_checked(cimaa: Cimaa) -> None:
    result = cimaa("agent", "--once")
    assert result.exit_code == 0
    assert " ran 3 checks: " in result.stderr
    assert len(json.loads(cimaa("agents", "--json").stdout)) == 1


@pytest.mark.parametrize(
    "prepare", ["rm -r checks", "rm checks/*", "rm -r checks; touch checks", "echo > checks/host.cfg"]
)
def test_without_checks_nothing_is_reported(host: Cimaa, prepare: str) -> None:
    subprocess.run(["sh", "-c", prepare], check=True)
    result = host("agent", "--once")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("cimaa: error: [agent] directory: ")
    assert host("agents", "--json").stdout == "[]\n"


def test_what_was_found_is_shown_although_the_store_is_away(host: Cimaa) -> None:
    Path("store").write_text("no directory")
    result = host("agent", "--once")
    assert result.exit_code == 1
    assert "\tweb1\t//web1/host/raid\tdegraded\t" in result.stdout
    assert result.stderr.startswith("cimaa: error: ")


@pytest.mark.parametrize("options", [["--count", "2"], ["--keep"]])
def test_once_has_neither_a_count_nor_something_to_keep(host: Cimaa, options: list[str]) -> None:
    result = host("agent", "--once", *options)
    assert result.exit_code == 2
    assert "are not for --once" in result.stderr


def test_the_exit_status_shows_faults_that_are_not_squelched(host: Cimaa) -> None:
    assert host("agent", "--once", "--exit-code").exit_code == 3
    host("squelch", "/raid", "known")
    assert host("agent", "--once", "--exit-code").exit_code == 0
    Path("checks/host.cfg").write_text("[raid]\ncommand = echo fine\n")
    assert host("agent", "--once", "-e").exit_code == 0


def test_the_daemon_does_not_take_exit_code(host: Cimaa) -> None:
    result = host("agent", "--exit-code")
    assert result.exit_code == 2
    assert "--exit-code is for --once" in result.stderr
