"""Checks that really run: their results, their failures, and that no process of them is left."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import ended
from zc.cimaa import faults
from zc.cimaa.agent import check_process, once
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.checks import Problem, host

Run = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one check per keyword, each a script for the shell; the faults by the end of their names."""

    def run(timeout: float = 20, parallel: int = 10, **scripts: str) -> dict[str, dict[str, Any]]:
        for name, script in scripts.items():
            path = tmp_path / f"{name}.sh"
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        write(tmp_path, "".join(f"[{name}]\ncommand = ./{name}.sh\n" for name in scripts))
        return ran(tmp_path, timeout, parallel)

    return run


def write(directory: Path, text: str, file: str = "f.cfg") -> None:
    (directory / file).write_text(text)


def ran(directory: Path, timeout: float = 20, parallel: int = 10) -> dict[str, dict[str, Any]]:
    done = once.run(Settings("web1", directory, timeout, parallel))  # type: ignore[arg-type]  # a part of a second
    assert faults.report("web1", done.faults)
    return {fault["name"].removeprefix("//web1/f/"): fault for fault in done.faults}


def test_results_of_every_kind_come_together(run: Run) -> None:
    found = run(
        ok="echo fine",
        warning="echo 'a bit | x=1'; exit 1",
        critical="echo bad; exit 2",
        unknown="echo what; exit 3",
        json="""echo '{"faults": [{"name": "n", "severity": "critical", "message": "m"}]}'""",
    )
    assert {name: (fault["severity"], fault["message"]) for name, fault in found.items()} == {
        "warning": (30, "a bit"),
        "critical": (40, "bad"),
        "unknown": (40, "what"),
        "json#n": (50, "m"),
    }


def test_misbehaviour_of_every_kind_is_a_fault_and_loses_no_other_s(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "interpreter").write_text("#!/none/such\n")
    (tmp_path / "interpreter").chmod(0o755)
    (tmp_path / "garbage").write_bytes(b"\x7fELF\0\0\0")
    (tmp_path / "garbage").chmod(0o755)
    write(
        tmp_path,
        "[missing]\ncommand = none-such-command\n[gone]\ncommand = ./gone\n[plain]\ncommand = ./plain\n"
        "[interpreter]\ncommand = ./interpreter\n[garbage]\ncommand = ./garbage\n[directory]\ncommand = ./\n"
        "[nul]\ncommand = x\0y\n[long]\ncommand = echo " + "x" * 200_000 + "\n[typo]\ncomand = true\n",
        "b.cfg",
    )
    write(tmp_path, "rubbish", "c.cfg")
    found = run(good="echo bad; exit 2", signal="kill -SEGV $$", status="exit 77", silent="exit 2", json="echo '{'")
    ends = {name.removeprefix("//web1/") for name in found}
    assert ends == {
        "good",
        "signal#monitor-status",
        "status#monitor-status",
        "silent#monitor-output",
        "json#monitor-json",
        *(f"b/{name}#monitor-command" for name in ("missing", "gone", "plain", "interpreter", "garbage", "directory")),
        "b/nul#monitor-command",
        "b/long#monitor-command",
        "b/typo#monitor-options",
        "c#monitor-file",
    }
    assert "interpreter" in found["//web1/b/interpreter#monitor-command"]["message"]
    assert "executable" in found["//web1/b/plain#monitor-command"]["message"]
    assert "on the PATH" in found["//web1/b/missing#monitor-command"]["message"]


def test_a_hanging_check_is_killed_with_its_children(run: Run, tmp_path: Path) -> None:
    found = run(
        timeout=3,
        good="echo bad; exit 2",
        hanging="trap '' TERM\n"
        f"sh -c 'echo $$ > {tmp_path}/child; exec sleep 1000' &\n"
        f"setsid sh -c 'echo $$ > {tmp_path}/escaped; exec sleep 1000' &\n"
        f"echo $$ > {tmp_path}/itself; wait; sleep 1000",
    )
    assert sorted(found) == ["good", "hanging#monitor-timeout"]
    assert all(ended(int((tmp_path / name).read_text())) for name in ("itself", "child", "escaped"))


def test_a_child_that_holds_the_output_open_does_not_hold_up_the_check(run: Run, tmp_path: Path) -> None:
    found = run(left=f"sleep 1000 & echo $! > {tmp_path}/child; echo bad; exit 2")
    assert found["left"]["message"] == "bad"
    assert ended(int((tmp_path / "child").read_text()))


def test_a_check_that_writes_without_end_is_killed(run: Run) -> None:
    assert list(run(endless="exec yes")) == ["endless#monitor-output"]


def test_standard_error_without_end_is_no_hindrance(run: Run) -> None:
    found = run(noisy="head -c 5000000 /dev/zero >&2; echo bad; exit 2")
    assert found["noisy"]["message"] == "bad"


def test_output_up_to_the_limit_is_read_whole(run: Run) -> None:
    found = run(long=f"head -c {check_process.OUTPUT} /dev/zero | tr '\\0' x; exit 2")
    assert found["long"]["message"].startswith("xxx")
    assert found["long"]["message"].endswith("xxx...")


def test_output_that_no_store_takes_is_made_fit(run: Run) -> None:
    found = run(hostile=r"printf 'a\000b\377c\033[31m'; exit 2")
    assert found["hostile"]["message"] == "a\\x00b\ufffdc\x1b[31m"


def test_a_check_runs_beside_its_file_with_nothing_to_read(run: Run, tmp_path: Path) -> None:
    found = run(where="echo $(pwd) $(wc -c); exit 1")
    assert found["where"]["message"] == f"{tmp_path} 0"


def test_so_many_checks_run_at_once_and_no_more(run: Run, tmp_path: Path) -> None:
    # Each waits until two have begun (with a bound), and reports how many it saw running.
    script = f"""d={tmp_path}/running; mkdir -p $d; touch $d/$$
    i=0; while [ $(ls $d | wc -l) -lt 2 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
    n=$(ls $d | wc -l); sleep 0.2; [ $n -ge $(ls $d | wc -l) ] || n=$(ls $d | wc -l)
    rm $d/$$; echo $n; exit 2"""
    found = run(parallel=2, **{f"check{n}": script for n in range(4)})
    seen = [int(fault["message"]) for fault in found.values()]
    assert len(seen) == 4
    assert max(seen) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_an_agent_that_is_ended_takes_its_checks_along(tmp_path: Path, number: int) -> None:
    write(tmp_path, f"[a]\ncommand = sh -c 'echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 1000'\n")
    program = (
        "import sys; from pathlib import Path; from zc.cimaa.agent import config, once;"
        f"once.run(config.Settings('web1', Path({str(tmp_path)!r}), 1000, 1))"
    )
    agent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while not (tmp_path / "pid").exists() and time.monotonic() < end:
            time.sleep(0.01)
        check = int((tmp_path / "pid").read_text())
        agent.send_signal(number)
        assert agent.wait(timeout=20) in (128 + number, -number)
    finally:
        agent.kill()
        agent.wait()
    assert ended(check)


def test_a_check_that_is_cancelled_while_it_starts_goes_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait"
    check = Check("f", "a", ("sh", "-c", script), 1000, tmp_path)

    async def cancelled() -> None:
        running = asyncio.create_task(check_process.run(check))
        for _ in range(2):  # so far that the process is there, and asyncio not yet done with starting it
            await asyncio.sleep(0)
        end = time.monotonic() + 20
        while not (tmp_path / "pid").exists() and time.monotonic() < end:
            time.sleep(0.01)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=20)
        assert done
        assert running.cancelled()

    asyncio.run(cancelled())
    assert ended(int((tmp_path / "pid").read_text()))


def test_without_a_directory_the_host_s_checks_run() -> None:
    done = once.run(Settings("web1", None, 60, 10))
    assert done.checks == len(host.CHECKS)
    assert all(fault["name"].startswith("//web1/host/") for fault in done.faults)


def test_a_built_in_check_that_fails_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> float:
        raise FileNotFoundError(2, "No such file", "/proc/loadavg")

    monkeypatch.setattr(psutil, "getloadavg", unreadable)
    (fault,) = [f for f in once.run(Settings("web1", None, 60, 10)).faults if "monitor" in f["name"]]
    assert fault["name"] == "//web1/host/load#monitor-command"
    assert "/proc/loadavg" in fault["message"]


def test_a_built_in_check_that_hangs_is_a_fault_and_has_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, started = threading.Event(), threading.Semaphore(0)

    def hang() -> list[Problem]:
        started.release()
        hanging.wait(30)
        return [Problem("late", 30, "found in the end")]

    monkeypatch.setitem(host.CHECKS, "load", hang)  # type: ignore[misc]
    settings = Settings("web1", None, 1, 10)
    try:
        for _ in range(2):
            (fault,) = [fault for fault in once.run(settings).faults if "host/load" in fault["name"]]
            assert fault["name"] == "//web1/host/load#monitor-timeout"
            assert fault["message"] == "it did not end within 1s"
    finally:
        hanging.set()
    (fault,) = [fault for fault in once.run(settings).faults if "host/load" in fault["name"]]
    assert fault["message"] == "found in the end"
    assert started.acquire(blocking=False)
    assert not started.acquire(blocking=False)


def test_a_global_fault_says_which_check_found_it_as_the_daemon_s_do(run: Run) -> None:
    found = run(queue="""echo '{"faults": [{"name": "//shop/queue", "message": "long"}]}'""")
    assert found["//shop/queue"]["check"] == "f/queue"
