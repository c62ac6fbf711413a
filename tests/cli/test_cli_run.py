"""``cimaa run``: one check, and what the agent makes of it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.command import Cimaa, completed
from zc.cimaa.masking import MASK

CHECKS = """[raid]
command = sh -c 'echo "RAID CRITICAL - sdb is gone | disks=1"; echo oops >&2; exit 2'
thresholds =
    disks warning < 2
    fans optional error > 3
    temperature error > 90
retry = 1

[fine]
command = echo fine
escalates = false

[queue]
command = echo '{"faults": [{"name": "mail", "severity": "warning", "message": "waits"}]}'
"""


@pytest.fixture
def host(cimaa: Cimaa) -> Cimaa:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\ndirectory = checks\n")
    Path("checks").mkdir()
    Path("checks/shop.cfg").write_text(CHECKS)
    Path("checks/other.cfg").write_text("[fine]\ncommand = echo fine\n[slow]\ncommand = sleep 60\ntimeout = 1s\n")
    return cimaa


def rows(cimaa: Cimaa, *arguments: str) -> list[tuple[str, str]]:
    result = cimaa("run", *arguments)
    assert result.exit_code == 0, result.stderr
    return [(what, value) for what, _, value in (line.partition("\t") for line in result.stdout.splitlines())]


@pytest.mark.parametrize("name", ["shop/raid", "raid"])
def test_a_check_is_run_and_what_follows_is_shown(host: Cimaa, name: str) -> None:
    found = rows(host, name)
    faults = [value for what, value in found if what == "fault"]
    assert sorted(faults) == [
        "error //web1/shop/raid#monitor-metric: it has thresholds for metrics that it did not report: temperature",
        "error //web1/shop/raid: RAID CRITICAL - sdb is gone (1 of 2)",
        "warning //web1/shop/raid#disks: disks is 1: warning < 2",
        "warning //web1/shop/raid#monitor-stderr: it wrote on standard error: oops",
    ]
    assert [row for row in found if row[0] not in ("command", "result", "fault")] == [
        ("check", "shop/raid"),
        ("directory", f"{host.directory}/checks"),
        ("output", "RAID CRITICAL - sdb is gone | disks=1"),
        ("standard error", "oops"),
        ("metric", "disks = 1"),
        ("threshold", "disks warning < 2: disks is 1: warning < 2"),
        ("threshold", "fans optional error > 3: not measured"),
        ("threshold", "temperature error > 90: not measured"),
        (
            "escalation",
            "an error becomes critical when it occurs 2 times in a row; it runs every 1m, while it fails 1m",
        ),
    ]
    assert dict(found)["result"].startswith("exit status 2, after 0.")


def test_nothing_is_stored(host: Cimaa) -> None:
    host("run", "raid")
    assert not Path("store").exists()


def test_json_has_all_of_it(host: Cimaa) -> None:
    shown = json.loads(host("run", "raid", "--json").stdout)
    assert (shown["check"], shown["outcome"], shown["status"]) == ("shop/raid", "finished", 2)
    assert shown["errors"] == "oops\n"
    assert shown["output"] == "RAID CRITICAL - sdb is gone | disks=1\n"
    assert {f["name"]: f["severity"] for f in shown["faults"]}["//web1/shop/raid"] == 40
    assert shown["metrics"] == [{"name": "disks", "value": 1.0, "unit": ""}]
    assert shown["thresholds"][0] == {"threshold": "disks warning < 2", "result": "disks is 1: warning < 2"}
    assert 0 < shown["seconds"] < 60


def test_a_check_without_faults_says_so(host: Cimaa) -> None:
    result = host("run", "shop/fine")
    assert result.stderr == "No faults.\n"
    assert "none (escalates = false)" in result.stdout


def test_what_goes_wrong_with_a_check_is_its_result(host: Cimaa) -> None:
    Path("checks/odd.cfg").write_text("[gone]\ncommand = no-such-program\n[killed]\ncommand = sh -c 'kill -9 $$'\n")
    assert dict(rows(host, "slow"))["result"].startswith("killed as it took longer than 1s, after 1.")
    assert dict(rows(host, "gone"))["result"].startswith("not started: command 'no-such-program' not found on the PATH")
    assert dict(rows(host, "killed"))["result"].startswith("killed by signal 9")
    assert json.loads(host("run", "slow", "--json").stdout)["outcome"] == "timed out"


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("rade", "there is no check 'rade'; did you mean raid?"),
        ("shop/rad", "there is no check 'shop/rad'; did you mean shop/raid?"),
        ("xyzzy", "there is no check 'xyzzy'; available: other/fine, other/slow, shop/raid, shop/fine, shop/queue"),
        ("fine", "there are several checks 'fine': write other/fine or shop/fine"),
        ("unread/a", "unread: cannot read checks/unread.cfg: line 1 is before any [section]"),
        ("broken/a", "broken/a: [a] has no option 'comand'; did you mean command?"),
        ("//shop/orders2", "did you mean //shop/orders?"),
    ],
)
def test_a_check_that_cannot_be_run_is_an_error(host: Cimaa, name: str, reported: str) -> None:
    if "broken" in name:
        Path("checks/broken.cfg").write_text("[a]\ncomand = x\n")
    if "unread" in name:
        Path("checks/unread.cfg").write_text("command = x\n")
    if "orders" in name:
        Path("checks/broken.cfg").write_text("[//shop/orders]\ncommand = true\n")
    result = host("run", name)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert reported in result.stderr


def test_the_built_in_checks_can_be_run(cimaa: Cimaa) -> None:
    assert rows(cimaa, "load")[0] == ("check", "host/load")
    assert json.loads(cimaa("run", "host/disk", "--json").stdout)["outcome"] == "built in"


def test_a_check_has_the_configuration_of_the_agent(host: Cimaa) -> None:
    Path("checks/own.cfg").write_text("[own]\ncommand = sh -c 'echo $CIMAA_CONFIG'\n")
    assert ("output", f"{host.directory}/cimaa.cfg") in rows(host, "own")


def test_credentials_in_its_command_line_are_masked(host: Cimaa) -> None:
    Path("checks/own.cfg").write_text("[own]\ncommand = echo --password hush\n")
    assert dict(rows(host, "own"))["command"] == f"echo --password {MASK}"


def test_checks_are_completed(host: Cimaa) -> None:
    assert completed(["run"], "shop/") == ["shop/raid", "shop/fine", "shop/queue"]


def test_nothing_of_a_check_outlives_the_command(host: Cimaa) -> None:
    Path("checks/own.cfg").write_text("[own]\ncommand = sh -c 'sleep 4321 & sleep 4321'\n")
    program = Path(sys.executable).with_name("cimaa")
    with subprocess.Popen([program, "run", "own"], stderr=subprocess.PIPE) as process:
        # The shell, two programs, and the guard that would kill them if the command were killed.
        deadline = time.monotonic() + 30
        while len(psutil.Process(process.pid).children(recursive=True)) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    assert (process.returncode, len(children)) == (143, 4)
    assert psutil.wait_procs(children, timeout=10)[1] == []
