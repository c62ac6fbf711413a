"""What checks leave behind: it is ended with them, each check's own, or a fault says so."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import ended
from zc.cimaa.agent import check_process
from zc.cimaa.agent.rules import results
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result
from zc.cimaa.outcomes import Finished, Outcome


def check(directory: Path, script: str, timeout: float = 20) -> Check:
    return Check("f", "a", ("sh", "-c", script), timeout, directory)


def run(*checks: Check) -> list[Outcome]:
    """What the checks did, all at once."""

    async def all_of_them() -> list[Outcome]:
        return await asyncio.gather(*map(check_process.run, checks))

    return asyncio.run(all_of_them())


def messages(check: Check, outcome: Outcome) -> dict[str, tuple[int, str]]:
    found: Result = results.of_outcome("web1", check, outcome)
    return {f["name"].removeprefix("//web1/f/a"): (f["severity"], f["message"]) for f in found.faults}


def pid_in(path: Path) -> int:
    return int(path.read_text())


LEAVERS = {
    "in the session": "sleep 1000 & echo $! > pid",
    "out of the session": "setsid sleep 1000 & echo $! > pid",
    "out of the session, with its output closed": "setsid sleep 1000 >/dev/null 2>&1 & echo $! > pid",
    "twice removed": "setsid sh -c 'setsid sleep 1000 & echo $! > pid' & wait",
    "with children": "setsid sh -c 'sleep 1000 & echo $! > pid; wait' & while ! [ -s pid ]; do sleep 0.01; done",
}


#: Leaves a process of which nothing shows to which check it belongs, once that is so.
STRANGER = """\
env -i setsid sleep 1000 >/dev/null 2>&1 & echo $! > pid
until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.01; done"""


def children() -> set[int]:
    """The children of this process, also those that have ended and are not reaped; other tests may have left some."""
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize("script", LEAVERS.values(), ids=LEAVERS.keys())
def test_nothing_outlives_a_check(tmp_path: Path, script: str) -> None:
    a = check(tmp_path, f"{script}; echo fine; exit 0")
    run(check(tmp_path, "true"))  # the first run starts the guard, which stays
    before = children()
    (outcome,) = run(a)
    assert outcome == Finished(0, b"fine\n", b"")
    assert messages(a, outcome) == {}
    assert ended(pid_in(tmp_path / "pid"), 0)
    assert children() <= before


def test_nothing_outlives_checks_that_are_killed(tmp_path: Path) -> None:
    checks = []
    for number, script in enumerate(LEAVERS.values()):
        (tmp_path / str(number)).mkdir()
        checks.append(check(tmp_path / str(number), f"{script}; exec sleep 1000", timeout=3))
    for each, outcome in zip(checks, run(*checks), strict=True):
        assert list(messages(each, outcome)) == ["#monitor-timeout"]
        assert ended(pid_in(each.directory / "pid"), 0)


def test_what_cannot_be_told_to_be_the_check_s_is_reported(tmp_path: Path) -> None:
    a = check(tmp_path, f"{STRANGER}; echo bad; exit 2")
    (outcome,) = run(a)
    child = pid_in(tmp_path / "pid")
    try:
        assert messages(a, outcome) == {
            "": (40, "bad"),
            "#monitor-left": (30, "it left processes behind that could not be killed: sleep"),
        }
        assert not ended(child, 0)
        # A later check is not blamed for it.
        time.sleep(0.05)  # the kernel keeps the start of a process in hundredths of a second
        assert run(check(tmp_path, "echo fine")) == [Finished(0, b"fine\n", b"")]
    finally:
        os.kill(child, signal.SIGKILL)


def test_each_of_several_checks_takes_only_its_own_along(tmp_path: Path) -> None:
    short = check(tmp_path, "while ! [ -s started ]; do sleep 0.01; done; setsid sleep 1000 & echo $! > short; echo a")
    # Its child goes on while the other check ends, and must have the time to finish.
    wait = "while [ -d /proc/$(cat short) ]; do sleep 0.05; done; sleep 0.5; echo done"
    script = f"setsid sh -c 'echo x > started; while ! [ -s short ]; do sleep 0.01; done; {wait}' & sleep 0.1; "
    long = check(tmp_path, script + "while ! [ -s short ]; do sleep 0.01; done; wait")
    assert run(short, long) == [Finished(0, b"a\n", b""), Finished(0, b"done\n", b"")]


def test_many_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    checks = [check(tmp_path, f"setsid sleep 1000 & echo $! > pid{n}; echo {n}") for n in range(40)]
    assert run(*checks) == [Finished(0, f"{n}\n".encode(), b"") for n in range(40)]
    assert all(ended(pid_in(tmp_path / f"pid{n}"), 0) for n in range(40))


def test_children_of_other_code_in_the_process_are_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    dead = subprocess.Popen(["sh", "-c", "exit 3"], start_new_session=True)
    time.sleep(0.05)  # the kernel keeps the start of a process in hundredths of a second
    try:
        for _ in range(2):
            assert run(check(tmp_path, "sleep 0.2; echo fine")) == [Finished(0, b"fine\n", b"")]
        assert dead.wait() == 3
        assert other.poll() is None
    finally:
        other.terminate()
        assert other.wait() == -signal.SIGTERM


def test_a_command_that_cannot_be_run_leaves_nothing_to_be_blamed_for(tmp_path: Path) -> None:
    run(Check("f", "a", ("/none/such",), 20, tmp_path))
    a = check(tmp_path, f"{STRANGER}; echo fine")
    (outcome,) = run(a)
    os.kill(pid_in(tmp_path / "pid"), signal.SIGKILL)
    assert list(messages(a, outcome)) == ["#monitor-left"]


def test_a_command_that_was_started_is_ended_although_starting_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = check(tmp_path, "setsid sleep 1000 & echo $! > new; mv new pid; wait")

    async def started_and_failed() -> None:
        loop = asyncio.get_running_loop()
        start = loop.subprocess_exec

        async def fail(*arguments: Any, **options: Any) -> Any:
            transport, _ = await start(*arguments, **options)
            while not (tmp_path / "pid").exists():
                await asyncio.sleep(0.01)  # waiting for a real process
            transport.close()
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(loop, "subprocess_exec", fail)
        await check_process.run(a)

    with pytest.raises(RuntimeError, match="new thread"):
        asyncio.run(started_and_failed())
    assert ended(pid_in(tmp_path / "pid"))
