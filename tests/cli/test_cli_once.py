"""``cimaa once``: a command that one host of several runs."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Cimaa
from tests.support.processes import ended, until
from zc.cimaa import memory
from zc.cimaa.cli.commands.run_leased import LOST
from zc.cimaa.cli.leased_run import LeasedRun, LeaseLost
from zc.cimaa.db import DB
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.leases import Lease
from zc.cimaa.testing import Opener

PROGRAM = str(Path(sys.executable).with_name("cimaa"))
TREE = "setsid sleep 1000 & echo $! > child; echo $$ > parent; exec sleep 1000"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(cimaa: Cimaa) -> Iterator[Start]:
    """Starts ``cimaa once job`` as a process."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, host: str = "web1") -> "subprocess.Popen[str]":
        path = cimaa.directory / f"{host}.cfg"
        path.write_text(f"[database]\npath = {cimaa.directory}/store\n[agent]\nname = {host}\n")
        process = subprocess.Popen(
            [PROGRAM, "--config", str(path), "once", "job", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lease(cimaa: Cimaa) -> Lease:
    with cimaa.store() as db:
        (found,) = db.get_leases()
        return found


def pid(path: Path) -> int:
    """The process ID that a process writes into a file, soon."""
    until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_the_command_runs_with_the_token_and_its_status_is_returned(start: Start, cimaa: Cimaa) -> None:
    process = start("--for", "1m", "--", "sh", "-c", "echo token $CIMAA_LEASE_TOKEN; echo oh >&2; exit 3")
    assert process.communicate(timeout=30) == ("token 1\n", "oh\n")
    assert process.returncode == 3
    kept = lease(cimaa)
    assert kept.holder.startswith("web1 pid ")
    assert 40 <= kept.remaining <= 61


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "--for", "1m", "touch", "--", "ran"),
        ("--for", "1m", "--", "job", "touch", "ran"),
        ("job", "--for", "1m", "touch", "ran", "--"),
    ],
)
def test_dashes_that_are_not_between_name_and_command_are_wrong_usage(arguments: tuple[str, ...], cimaa: Cimaa) -> None:
    result = cimaa("once", *arguments)
    assert result.exit_code == 2
    assert "cimaa once NAME --for 1h -- COMMAND" in result.stderr
    assert not Path("ran").exists()


def test_the_command_may_have_dashes_and_options_of_the_same_names(start: Start) -> None:
    process = start("--for", "1m", "--", "echo", "--", "--release", "--help")
    assert process.communicate(timeout=30)[0] == "-- --release --help\n"


def test_a_command_that_a_signal_kills_has_the_status_of_a_shell(start: Start) -> None:
    process = start("--for", "1m", "--", "sh", "-c", "kill -9 $$")
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL


def test_another_host_does_not_run_it_until_the_time_is_over(start: Start, cimaa: Cimaa) -> None:
    start("--for", "1m", "--", "true").communicate(timeout=30)
    second = start("--for", "1m", "--", "touch", "ran", host="web2")
    out, err = second.communicate(timeout=30)
    assert (out, second.returncode) == ("", 0)
    assert "job is not run here: web1 pid" in err
    third = start("--for", "1m", "--busy", "9", "--", "touch", "ran")  # the same host is another run, too
    third.communicate(timeout=30)
    assert third.returncode == 9
    assert not Path("ran").exists()
    assert lease(cimaa).token == 1


def test_with_release_another_host_can_run_it_at_once(start: Start, cimaa: Cimaa) -> None:
    start("--for", "1m", "--release", "--", "true").communicate(timeout=30)
    second = start("--for", "1m", "--", "sh", "-c", "echo $CIMAA_LEASE_TOKEN", host="web2")
    assert second.communicate(timeout=30)[0] == "2\n"


def test_the_lease_is_renewed_while_the_command_runs_and_ends_with_it(start: Start, cimaa: Cimaa) -> None:
    process = start("--for", "2s", "--", "sleep", "5")
    process.communicate(timeout=30)
    assert process.returncode == 0
    over = lease(cimaa)
    assert (over.token, over.remaining) == (1, 0)
    assert over.until - over.since >= 4


def test_after_a_renewal_the_lease_ends_when_its_time_since_the_start_is_over() -> None:
    now = [1000.0]
    with memory.DB(clock=lambda: now[0]) as db:
        run = LeasedRun(db, "job", "web1", 60, pytest.fail, lambda: now[0])
        assert run.take().until == 1060
        now[0] += 30
        run._renewed = now[0]
        db.lease("job", "web1", 60)
        now[0] += 10
        run.finish(release=False)
        (found,) = db.get_leases()
        assert found.until == 1060


def test_a_lease_that_is_over_when_the_store_answers_starts_no_command(tmp_path: Path) -> None:
    now = [1000.0]
    with memory.DB(clock=lambda: now[0]) as db:
        run = LeasedRun(db, "job", "web1", 60, pytest.fail, lambda: now[0])
        run.take()
        now[0] += 60
        with pytest.raises(LeaseLost, match="too long"):
            asyncio.run(run.run(["touch", str(tmp_path / "ran")]))
    assert not (tmp_path / "ran").exists()


def test_a_lost_lease_ends_the_command_and_its_children(start: Start, cimaa: Cimaa) -> None:
    process = start("--for", "3s", "--", "sh", "-c", TREE)
    child, parent = pid(cimaa.directory / "child"), pid(cimaa.directory / "parent")
    held = lease(cimaa)
    with cimaa.store() as db:
        assert db.release("job", held.holder)
        assert db.lease("job", "thief", 60).holder == "thief"
    _, err = process.communicate(timeout=30)
    assert process.returncode == LOST
    assert "the lease job was lost, and the command was ended: it was taken away; thief has it now" in err
    assert ended(child)
    assert ended(parent)
    assert lease(cimaa).holder == "thief"


def test_a_lease_that_an_operator_releases_ends_the_command(start: Start, cimaa: Cimaa) -> None:
    process = start("--for", "3s", "--", "sh", "-c", TREE)
    child = pid(cimaa.directory / "child")
    assert cimaa("leases", "--release", "job").exit_code == 0
    _, err = process.communicate(timeout=30)
    assert process.returncode == LOST
    assert "the lease job was lost, and the command was ended: it was released\n" in err
    assert ended(child)
    assert lease(cimaa).remaining == 0


class Away(memory.DB):
    """A store that is available for one call."""

    def lease(self, *given: Any, **more: Any) -> Lease:
        if self._held:
            raise StoreUnavailable("the store is down")
        return super().lease(*given, **more)


def test_a_store_that_is_away_ends_the_command_before_the_lease_is_over(cimaa: Cimaa) -> None:
    messages: list[str] = []
    with Away() as db:
        run = LeasedRun(db, "job", "web1", 6, messages.append)
        run.take()
        began = time.monotonic()
        with pytest.raises(LeaseLost, match="it could not be renewed in time"):
            asyncio.run(run.run(["sh", "-c", "trap '' TERM; echo $$ > parent; while :; do sleep 1000; done"]))
        assert 4 < time.monotonic() - began < 7
        assert ended(pid(cimaa.directory / "parent"), 0)
    assert messages[0] == "the lease job is not renewed: the store is down"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_its_children(start: Start, cimaa: Cimaa, number: int) -> None:
    process = start("--for", "1m", "--", "sh", "-c", TREE)
    child, parent = pid(cimaa.directory / "child"), pid(cimaa.directory / "parent")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert ended(child)
    assert ended(parent)
    assert lease(cimaa).remaining > 30


@pytest.mark.parametrize(("command", "status"), [("./nosuch", 127), ("./file", 126)])
def test_a_command_that_cannot_be_run_leaves_the_lease_to_another_host(
    start: Start, cimaa: Cimaa, command: str, status: int
) -> None:
    (cimaa.directory / "file").touch()
    process = start("--for", "1m", "--", command)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert f"cannot run {command}: " in err
    assert lease(cimaa).remaining == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["job", "--for", "1m"], "Write -- before the command"),
        (["job", "--for", "1m", "ls"], "Write -- before the command"),
        (["job", "--for", "1m", "--"], "Missing argument"),
        (["job", "--", "ls"], "Missing option '--for'"),
        (["job", "--for", "0s", "--", "ls"], "Invalid value for '--for'"),
        (["job", "--for", "2d", "--", "ls"], "--for must be at least 1s and at most a day"),
        (["job", "--for", "1m", "--busy", "256", "--", "ls"], "Invalid value for '--busy'"),
    ],
)
def test_wrong_usage(cimaa: Cimaa, arguments: list[str], expected: str) -> None:
    result = cimaa("once", *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_a_lease_name_that_breaks_a_rule_is_an_error(start: Start, cimaa: Cimaa) -> None:
    result = cimaa("once", "", "--for", "1m", "--", "ls")
    assert (result.exit_code, result.stderr) == (1, "cimaa: error: the lease's name is empty\n")


def test_a_time_shorter_than_the_margin_of_the_clocks_is_wrong_usage(
    cimaa: Cimaa, dynamodb_settings: dict[str, str]
) -> None:
    with (cimaa.directory / "cimaa.cfg").open("w") as file:
        file.write("[database]\nclass = zc.cimaa.dynamodb\n")
        file.writelines(f"{key} = {value}\n" for key, value in dynamodb_settings.items())
    result = cimaa("once", "job", "--for", "9s", "--", "true")
    assert result.exit_code == 2
    assert "--for must be at least clock_margin, by which the clocks of hosts may differ (10s)," in result.stderr
    assert cimaa("once", "job", "--for", "10s", "--", "true").exit_code == 0


def runs_of(days: int, opened: Callable[..., DB], chance: random.Random) -> list[int]:
    """How many of two hosts ran a job, each day: both start it at the same time by their own clocks, which differ."""
    now, counted = [1_700_000_000.0], []
    offsets = {"web1": 0.0, "web2": 0.0}
    with (
        opened(clock=lambda: now[0] + offsets["web1"]) as first,
        opened(clock=lambda: now[0] + offsets["web2"]) as second,
    ):
        for day in range(days):
            start, ran = now[0] + 24 * 3600, 0
            offsets |= {host: chance.uniform(-10, 10) for host in offsets}
            # The host whose clock is ahead starts first.
            for host, db in sorted([("web1", first), ("web2", second)], key=lambda pair: -offsets[pair[0]]):
                now[0] = max(now[0], start - offsets[host])
                run = LeasedRun(db, "job", f"{host} {day}", 60, pytest.fail, lambda: now[0])
                if run.take().holder == f"{host} {day}":
                    ran += 1
                    now[0] += chance.uniform(0, 15)  # it may have ended before the other one starts
                    run.finish(release=False)
            counted.append(ran)
    return counted


def test_of_two_hosts_whose_clocks_differ_by_up_to_20_seconds_one_runs_the_job_each_day(any_opener: Opener) -> None:
    assert runs_of(365, any_opener, random.Random(1)) == [1] * 365


def test_two_processes_with_their_own_host_names_run_it_once(start: Start, cimaa: Cimaa) -> None:
    """Both at the same moment, several times."""
    for number in range(5):
        first = start("--for", "1m", "--", "sh", "-c", "echo ran >> log")
        second = start("--for", "1m", "--", "sh", "-c", "echo ran >> log", host="web2")
        assert [process.wait(timeout=30) for process in (first, second)] == [0, 0]
        assert (cimaa.directory / "log").read_text() == "ran\n" * (number + 1)
        with cimaa.store() as db:
            assert db.release("job", db.get_leases()[0].holder)
