"""However agents are killed or doubled, an action runs at most once, and what may have run is lost and not sent again.

The long form, with many kills at random times, is ``python -m tests.support.killed_agents``.
"""

import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.forks import finished, in_fork
from tests.support.killed_agents import PROGRAM, WINDOW, AtMostOnce, Steps, kill_at, kill_randomly
from tests.support.long_form import times
from tests.support.needs import missing
from tests.support.processes import until
from tests.support.questions import reason
from zc.cimaa import lmdb
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.once_actions import OnceActions
from zc.cimaa.config import Config

PROBLEM = "//web1/agent/actions"


@pytest.fixture
def host(tmp_path: Path) -> AtMostOnce:
    return AtMostOnce(tmp_path)


def test_an_agent_may_be_killed_at_each_step(host: AtMostOnce) -> None:
    actions, found = [], set()
    while True:
        actions.append(host.ask(len(actions)))
        was_killed = kill_at(host, len(actions))
        after = in_fork(host.work)
        assert finished(after) == 0
        found.add((host.lines()[str(len(actions) - 1)], host.state(actions[-1], WINDOW + 120)))
        if not was_killed:
            break
    host.check(actions)
    assert len(actions) > 20
    assert found == {(1, "success"), (0, "lost"), (1, "lost")}


def test_an_agent_may_be_killed_at_each_step_of_what_it_refused_before(host: AtMostOnce) -> None:
    """Each action is refused, as joe's signature is not enough, and sent again with that of jane."""
    actions, found = [], set()

    def work(step: int) -> None:
        config = Config.read(host.path)
        store = Steps(step).instrument() if step else lmdb.DB
        with store({"path": str(host.directory / "store")}) as db:
            OnceActions(config, Settings.load(config)).run(db, woken=True)

    was_killed = True
    while was_killed:
        actions.append(host.ask(len(actions), "joe"))
        assert finished(in_fork(lambda: work(0))) == 0
        assert (host.lines()[str(len(actions) - 1)], host.state(actions[-1])) == (0, "refused")
        host.sign(actions[-1], "jane")
        status = finished(in_fork(lambda: work(len(actions))))
        assert status in (0, -signal.SIGKILL)
        was_killed = status != 0
        assert finished(in_fork(lambda: work(0))) == 0
        found.add((host.lines()[str(len(actions) - 1)], host.state(actions[-1], WINDOW + 120)))
    host.check(actions)
    assert found == {(1, "success"), (0, "lost"), (1, "lost")}


@pytest.mark.parametrize("journals", [("one", "one"), ("one", "two")], ids=["one host", "two hosts"])
def test_two_agents_of_one_name_run_an_action_once(host: AtMostOnce, journals: tuple[str, str]) -> None:
    configs = [host.configure(journal) for journal in journals]
    for number in range(times(6, 100)):
        action = host.ask(number)
        children = [in_fork(lambda config=config: host.work(config)) for config in configs]  # type: ignore[misc]
        assert [finished(child) for child in children] == [0, 0]
        assert host.lines()[str(number)] == 1
        assert host.state(action) == "success"


def test_a_daemon_may_be_killed_at_any_time(host: AtMostOnce) -> None:
    found = kill_randomly(host, times(3, 100), random.Random(7))
    assert found["success"]


def test_a_store_that_gives_an_action_again_is_not_believed(host: AtMostOnce) -> None:
    """The store is restored from a backup that was made before the action ran; the journal was not."""
    action = host.ask(0)
    store, backup = host.directory / "store", host.directory / "backup"
    shutil.copytree(store, backup)
    assert finished(in_fork(host.work)) == 0
    assert (host.lines()["0"], host.state(action)) == (1, "success")
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    assert host.state(action) == "sent"
    assert finished(in_fork(host.work)) == 0
    assert (host.lines()["0"], host.state(action)) == (1, "lost")


def test_with_a_journal_on_a_full_disk_nothing_runs(host: AtMostOnce) -> None:
    disk = host.directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        missing("needs the right to mount a file system")
    try:
        host.configure("disk/journal")
        (disk / "journal").mkdir()
        (disk / "filler").write_bytes(b"x" * (64 * 1024 - 4096))
        action = host.ask(0)
        assert finished(in_fork(host.work)) == 0
        assert (host.lines()["0"], host.state(action)) == (0, "sent")
        (disk / "filler").unlink()
        assert finished(in_fork(host.work)) == 0
        assert (host.lines()["0"], host.state(action)) == (1, "success")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_runs_when_a_daemon_is_stopped_is_killed_and_answered(host: AtMostOnce) -> None:
    (host.directory / "note").write_text(f"#!/bin/sh\necho $1 >> {host.ran}\nexec sleep 600\n")
    action = host.ask(0)
    with (host.directory / "log").open("w") as log:
        daemon = subprocess.Popen([PROGRAM, "--config", host.path, "agent", "--keep"], stdout=log, stderr=log)
        try:
            assert until(host.lines)
            daemon.terminate()
            assert daemon.wait(20) == 0
        finally:
            daemon.kill()
            daemon.wait()
    assert host.lines()["0"] == 1
    assert host.state(action) == "failed"
    with host.store() as db:
        assert reason(db, action) == "the agent was stopped while it ran"
