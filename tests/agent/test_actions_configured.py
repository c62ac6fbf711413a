"""The configuration of an agent's actions is read in a thread, and by the last one alone actions are judged."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.asked_host import COMMAND, PROBLEM, AskedHost
from tests.support.killed_agents import PROGRAM
from tests.support.questions import reason, states
from zc.cimaa import memory
from zc.cimaa.actions.entries_of_actions import StoredAction, command_entry
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.once_actions import OnceActions
from zc.cimaa.config import Config


@pytest.fixture
def host(tmp_path: Path) -> AskedHost:
    host = AskedHost(tmp_path)
    host.configure()
    host.run(1)
    return host


class Gate:
    """A ``ssh-keygen`` on the PATH that waits as long as the gate is closed."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory.mkdir()
        self._closed = directory / "closed"
        program = directory / "ssh-keygen"
        real = shutil.which("ssh-keygen")
        # People sign also while it is closed.
        wait = f'case "$*" in *"-Y sign"*) ;; *) while [ -e {self._closed} ]; do sleep 0.05; done ;; esac'
        program.write_text(f'#!/bin/sh\n{wait}\nexec {real} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")

    def close(self) -> None:
        self._closed.touch()

    def open(self) -> None:
        """Open the gate; what waits at it goes on."""
        self._closed.unlink()


@pytest.fixture
def gate(host: AskedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    host.clock.HANGING = 0.3  # so that time goes on while ssh-keygen waits
    return Gate(tmp_path / "bin", monkeypatch)


def test_a_slow_ssh_keygen_stops_neither_checks_nor_reports(host: AskedHost, gate: Gate) -> None:
    """Neither when the agent starts; actions wait for it."""
    action = host.ask()
    seen: list[object] = []
    gate.close()

    def note() -> None:
        (agent,) = host.db.get_agents()
        seen.append((int(host.clock.time()) - agent["updated"] <= 60, states(host.db, action)["web1"]))

    def go_on() -> None:
        note()
        host.clock.HANGING = 20
        gate.open()

    host.run(6, at3=note, at4=go_on)
    assert seen == [(True, "sent")] * 2
    assert (states(host.db, action), host.times_run()) == ({"web1": "success"}, 1)
    assert PROBLEM not in host.faults()


def test_the_last_of_several_configurations_counts(host: AskedHost, gate: Gate) -> None:
    """The agent is woken while the first is being read; neither is judged by the one that it had, nor by the first."""
    good = host.path.read_text()
    asked: list[StoredAction] = []
    before: list[str] = []

    def permit_joe() -> None:
        gate.close()
        host.path.write_text(good.replace("minimum = 2", "minimum = 1"))
        host.reload()

    def ask() -> None:
        asked.extend(host.ask(who=who, name=who) for who in ("joe", "jane"))

    def permit_nobody() -> None:
        host.path.write_text(good.replace("minimum = 2", "minimum = 3"))
        host.reload()

    def go_on() -> None:
        before.extend(states(host.db, action)["web1"] for action in asked)
        host.clock.HANGING = 20
        gate.open()

    host.run(8, at2=permit_joe, at3=ask, at4=permit_nobody, at6=go_on)
    assert before == ["sent", "sent"]
    assert "needs 3" in reason(host.db, asked[0])
    assert "needs 3" in reason(host.db, asked[1])
    assert host.times_run() == 0


def test_a_section_that_is_removed_while_it_is_read_does_not_count(host: AskedHost, gate: Gate) -> None:
    asked: list[StoredAction] = []

    def read() -> None:
        gate.close()
        host.reload()
        asked.append(host.ask())

    def remove() -> None:
        host.configure(sections="")
        host.reload()
        host.clock.HANGING = 20
        gate.open()

    host.run(6, at2=read, at4=remove)
    assert "no [actions] with investigators" in reason(host.db, asked[0])
    assert host.times_run() == 0


def test_what_waits_for_its_turn_is_judged_by_the_new_configuration(host: AskedHost, gate: Gate) -> None:
    """Two actions are there when the first is being verified, and a signer loses the right meanwhile."""
    first, second = (host.ask(name=name) for name in ("first", "second"))

    def forbid() -> None:
        host.path.write_text(host.path.read_text().replace("minimum = 2", "minimum = 3"))
        host.reload()
        host.clock.HANGING = 20
        gate.open()

    host.run(8, at1=gate.close, at5=forbid)
    ended = sorted(states(host.db, action)["web1"] for action in (first, second))
    assert ended == ["refused", "success"]
    assert host.times_run() == 1


def test_a_problem_is_reported_also_if_the_agent_ends_meanwhile(host: AskedHost, tmp_path: Path) -> None:
    """An agent that runs for one interval, and finds out after its report that it has no ssh-keygen that can verify."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh-keygen"
    program.write_text("#!/bin/sh\nsleep 3\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "checks" / "f.cfg").write_text("[a]\ncommand = true\n")
    sections = f"base_interval = 1s\n[database]\npath = {tmp_path}/store\n{host.questions.sections()}"
    host.configure(sections=sections)
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [PROGRAM, "--config", str(host.path)]
    subprocess.run([*command, "agent", "--count", "1"], env=environment, check=True, capture_output=True)
    found = subprocess.run([*command, "faults", "--json"], capture_output=True, text=True, check=True)
    assert "cannot verify signatures" in found.stdout


def give_again(host: AskedHost, action: StoredAction) -> None:
    """The store gives an action again that the agent has run."""
    (command,) = FleetActions(host.db).commands(action)
    now = int(host.clock.time())
    entry = command_entry(action.id, "web1", now, now + 10**6)._replace(revision=uuid4().hex)
    assert host.db._swap("command", "web1", action.id, command.revision, entry)
    host.db.wake(["web1"])


def change_journal(host: AskedHost, journal: str) -> None:
    host.configure(host.questions.sections(journal=journal, commands=COMMAND.format(host.ran)))


def test_another_journal_takes_over_what_ran(host: AskedHost) -> None:
    action = host.ask()

    def change() -> None:
        assert host.times_run() == 1
        change_journal(host, "elsewhere")
        host.reload()
        give_again(host, action)

    host.run(5, at3=change)
    assert (states(host.db, action), host.times_run()) == ({"web1": "lost"}, 1)
    assert (host.path.parent / "elsewhere" / "web1" / action.id).exists()


def test_another_journal_takes_over_what_ran_even_if_there_was_none_between(host: AskedHost) -> None:
    action = host.ask()

    def remove() -> None:
        host.configure(sections="")
        host.reload()

    def change() -> None:
        change_journal(host, "elsewhere")
        host.reload()
        give_again(host, action)

    host.run(7, at3=remove, at5=change)
    assert (states(host.db, action), host.times_run()) == ({"web1": "lost"}, 1)


def test_another_journal_that_cannot_take_over_what_ran_is_not_used(host: AskedHost) -> None:
    action = host.ask()
    claim = host.path.parent / "journal" / "web1" / action.id
    found: list[str] = []

    def change() -> None:
        claim.unlink()
        claim.mkdir()  # which cannot be read as a file
        change_journal(host, "elsewhere")
        host.reload()
        give_again(host, action)

    def change_back() -> None:
        found.append(f"{host.faults()[PROBLEM]} {states(host.db, action)['web1']}")
        claim.rmdir()
        claim.write_text("")
        change_journal(host, "journal")
        host.reload()

    host.run(7, at3=change, at5=change_back)
    assert found[0].endswith("journal/web1 cannot be read: Is a directory; no action runs sent")
    assert (states(host.db, action), host.times_run()) == ({"web1": "lost"}, 1)
    assert PROBLEM not in host.faults()


def test_another_journal_does_not_replace_one_that_was_removed(host: AskedHost) -> None:
    action = host.ask()

    def change() -> None:
        assert host.times_run() == 1
        shutil.rmtree(host.path.parent / "journal")
        change_journal(host, "elsewhere")
        host.reload()
        give_again(host, action)

    host.run(6, at3=change)
    assert (states(host.db, action), host.times_run()) == ({"web1": "sent"}, 1)
    assert "is not there any more, and was not moved to" in host.faults()[PROBLEM]


BUG = "a bug in zc.cimaa, or in a module: RuntimeError: unexpected"


def break_files(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Have an error that is not expected each time that a file in this directory is written."""
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == directory:
            raise RuntimeError("unexpected")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


def test_an_unexpected_error_of_the_journal_is_a_fault_until_it_is_over(
    host: AskedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    break_files(monkeypatch, host.path.parent / "journal" / "web1")
    action = host.ask()

    def mend() -> None:
        found.append(host.faults()[PROBLEM])
        monkeypatch.undo()

    host.run(7, at4=mend)
    assert found == [BUG]
    assert states(host.db, action) == {"web1": "success"}
    assert PROBLEM not in host.faults()


def test_an_agent_that_runs_once_reports_an_unexpected_error(host: AskedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    break_files(monkeypatch, host.path.parent / "journal" / "web1")
    config = Config.read(host.path)
    actions = OnceActions(config, Settings.load(config))
    assert [fault["message"] for fault in actions.faults()] == [BUG]
    assert actions.run(host.db) == BUG


def test_an_unexpected_error_of_another_journal_is_a_fault_and_the_agent_ends(
    host: AskedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        break_files(monkeypatch, host.path.parent / "elsewhere" / "web1")
        change_journal(host, "elsewhere")
        host.reload()
        host.ask(name="another")

    host.ask()
    host.run(7, at3=change)
    assert host.times_run() == 1
    assert host.faults()[PROBLEM] == BUG


LOST = "is not there any more; no action runs: restore it, or restart the agent when the windows"


def test_a_journal_that_was_removed_is_not_replaced_by_an_empty_one_until_a_restart(host: AskedHost) -> None:
    action = host.ask()
    found: list[object] = []

    def remove() -> None:
        assert host.times_run() == 1
        shutil.rmtree(host.path.parent / "journal")
        host.reload()
        give_again(host, action)

    def remove_again() -> None:
        found.append((LOST in host.faults()[PROBLEM], states(host.db, action)["web1"]))
        shutil.rmtree(host.path.parent / "journal")
        host.db.wake(["web1"])

    host.run(13, at3=remove, at6=remove_again)
    assert found == [(True, "sent")]
    assert LOST in host.faults()[PROBLEM]
    assert (states(host.db, action), host.times_run()) == ({"web1": "expired"}, 1)
    other = host.ask()
    host.run(1)
    assert states(host.db, other) == {"web1": "success"}
    assert PROBLEM not in host.faults()


def test_without_actions_a_problem_of_the_journal_is_over(host: AskedHost) -> None:
    host.ask()

    def remove() -> None:
        shutil.rmtree(host.path.parent / "journal")
        host.reload()

    def do_without() -> None:
        assert LOST in host.faults()[PROBLEM]
        host.configure(sections="")
        host.reload()

    host.run(10, at3=remove, at6=do_without)
    assert PROBLEM not in host.faults()


def test_a_journal_that_was_removed_can_be_restored(host: AskedHost) -> None:
    action = host.ask()
    saved = host.path.parent / "saved"

    def remove() -> None:
        (host.path.parent / "journal").rename(saved)
        host.reload()
        give_again(host, action)

    def restore() -> None:
        assert LOST in host.faults()[PROBLEM]
        shutil.copytree(saved, host.path.parent / "journal", dirs_exist_ok=True)

    host.run(10, at3=remove, at6=restore)
    assert (states(host.db, action), host.times_run()) == ({"web1": "lost"}, 1)
    assert PROBLEM not in host.faults()


def test_agents_of_one_host_with_one_journal_run_an_action_once_each(tmp_path: Path) -> None:
    host = AskedHost(tmp_path)
    names = ["web1", "web2"]
    paths = [tmp_path / f"{name}.cfg" for name in names]
    host.configure()
    for name, path in zip(names, paths, strict=True):
        path.write_text(host.path.read_text().replace("name = web1", f"name = {name}"))
    data = host.questions.document("command", time.time(), parameters={"name": "note"})
    for again in (False, True):
        with memory.DB() as db:
            action = host.questions.send(db, data, *names)
            for path in (*paths, *paths):
                config = Config.read(path)
                OnceActions(config, Settings.load(config)).run(db)
            # A store that knows nothing of what ran gives it to both again.
            assert states(db, action) == dict.fromkeys(names, "lost" if again else "success")
            assert host.times_run() == 2
