"""What a program that was killed with SIGKILL leaves running: nothing that it ran with limits."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.processes import ended, until

#: Runs a check and two modules, until it is killed; a process that it has forked goes on.
RUNNER = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.hostile_modules import Hanging
from zc.cimaa.actions import running
from zc.cimaa.actions.modules import Host, HostCommand
from zc.cimaa.agent import check_process
from zc.cimaa.agent.rules.check import Check

place = Path(sys.argv[1])

def script(name):
    here = f"cd {place}; setsid sh -c 'echo $$ >> {name}; exec sleep 1000'"
    bare = f"env -i sh -c 'echo $$ >> {name}; exec sleep 1000'"
    return ("sh", "-c", f"{here} & {bare} & echo $$ >> {name}; exec sleep 1000")

async def main():
    host = Host(commands={"slow": HostCommand(script("command"), lambda _: False, 600)})
    short = Check("f", "short", ("true",), 10, place)
    await check_process.run(short)
    if not os.fork():
        (place / "forked").write_text(str(os.getpid()))
        signal.pause()
    await asyncio.gather(
        running.run("command", {"name": "slow"}, host, 600),
        running.run_module(Hanging, {"file": str(place / "inspector")}, host, 600),
        check_process.run(Check("f", "slow", script("check"), 600, place)),
    )

asyncio.run(main())
"""
#: How many processes there are of each.
EXPECTED = {"command": 3, "inspector": 9, "check": 3}


def pids(place: Path, name: str) -> list[int]:
    file = place / name
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def are_started(place: Path) -> bool:
    return all(len(pids(place, name)) >= number for name, number in EXPECTED.items())


@pytest.fixture
def runner(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)])
    try:
        assert until(lambda: are_started(tmp_path), 60)
        yield process
    finally:
        process.kill()
        process.wait()
        for pid in [pid for name in (*EXPECTED, "forked") for pid in pids(tmp_path, name)]:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


def guards(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if any("process_guard" in word for word in child.cmdline())]


def are_ended(place: Path) -> dict[str, bool]:
    return {name: all(ended(pid) for pid in pids(place, name)) for name in EXPECTED}


def test_what_a_killed_agent_was_running_is_killed(tmp_path: Path, runner: "subprocess.Popen[bytes]") -> None:
    found = guards(runner.pid)
    runner.kill()
    runner.wait()
    assert are_ended(tmp_path) == dict.fromkeys(EXPECTED, True)
    assert [ended(guard.pid) for guard in found] == [True]


def test_a_signal_to_the_guard_or_the_agent_s_process_group_changes_nothing(
    tmp_path: Path, runner: "subprocess.Popen[bytes]"
) -> None:
    (guard,) = guards(runner.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guard.send_signal(number)
    assert guard.pid != os.getpgid(runner.pid) == os.getpgid(0)
    runner.kill()
    runner.wait()
    assert are_ended(tmp_path) == dict.fromkeys(EXPECTED, True)


REPLACING = """
import asyncio, os, signal, sys
from pathlib import Path
import psutil
from tests.test_process_guard import guards
from zc.cimaa.agent import check_process
from zc.cimaa.agent.rules.check import Check

place = Path(sys.argv[1])

def check(name):
    return Check("f", name, ("sh", "-c", f"echo $$ > {name}; exec sleep 1000"), 600, place)

async def main():
    slow = asyncio.create_task(check_process.run(check("first")))
    while not (place / "first").exists():
        await asyncio.sleep(0.01)
    (guard,) = guards(os.getpid())
    guard.send_signal(signal.SIGKILL)
    while guard.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)
    await check_process.run(check("second"))

asyncio.run(main())
"""


def test_a_guard_that_was_killed_is_replaced_and_knows_what_is_running(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", REPLACING, str(tmp_path)])
    try:
        assert until(lambda: pids(tmp_path, "first") and pids(tmp_path, "second"), 60)
    finally:
        process.kill()
        process.wait()
    assert all(ended(pid) for name in ("first", "second") for pid in pids(tmp_path, name))
