"""Actions on an agent: a daemon looks at its commands when it was woken, and judges, runs and answers them."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.asked_host import COMMAND, NOTE, PROBLEM, AskedHost
from tests.support.questions import answer, reason, states
from zc.cimaa import memory
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.entries import Entry
from zc.cimaa.errors import StoreNotSetUp


@pytest.fixture
def host(tmp_path: Path) -> AskedHost:
    return AskedHost(tmp_path)


def test_an_agent_that_is_woken_runs_what_was_signed_once_and_answers(host: AskedHost) -> None:
    host.configure()
    asked = []
    host.run(5, at2=lambda: asked.append(host.ask()))
    assert states(host.db, asked[0]) == {"web1": "success"}
    (operation,) = answer(host.db, asked[0])["operations"]
    assert (operation["module"], operation["status"], operation["found"]) == ("command", "success", True)
    host.run(3)
    assert host.times_run() == 1
    assert PROBLEM not in host.faults()


def test_an_agent_looks_at_its_commands_when_it_starts(host: AskedHost) -> None:
    """Also if an earlier process was woken, and ended before it looked."""
    host.configure()
    host.run(1)
    action = host.ask()
    assert host.db.report("web1", [])
    host.run(1)
    assert states(host.db, action) == {"web1": "success"}


def test_an_unwoken_agent_does_not_look(host: AskedHost) -> None:
    """Looking costs a request."""
    host.configure()
    looks: list[str] = []
    entries = host.db._entries
    host.db._entries = lambda kind, *rest: looks.append(kind) or entries(kind, *rest)  # type: ignore[method-assign,func-returns-value]
    host.run(10)
    assert looks == ["command"]


def test_an_agent_without_actions_refuses_and_touches_again(host: AskedHost) -> None:
    host.configure(sections="")
    asked = []
    host.run(4, at2=lambda: asked.append(host.ask()))
    assert states(host.db, asked[0]) == {"web1": "refused"}
    assert "no [actions] with investigators" in reason(host.db, asked[0])
    assert not host.db.report("web1", [])


class Recording(memory.DB):
    """A store that notes each request of an agent."""

    def _open(self) -> None:
        super()._open()
        self.requests: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("_touch", "_replace", "_agent_faults", "_row", "_squelches", "_entries", "_swap", "_add"):
            self.requests.append(name)
        return super().__getattribute__(name)


def test_after_it_refused_an_agent_without_actions_sends_one_request_a_tick(host: AskedHost) -> None:
    host.db = db = Recording(clock=lambda: host.clock.time())
    host.configure(sections="")
    asked = []
    host.run(9, at2=lambda: asked.append(host.ask()), at5=lambda: db.requests.clear())
    assert db.requests == ["_touch"] * 5
    assert states(db, asked[0]) == {"web1": "refused"}


def test_an_agent_without_actions_imports_nothing_for_them(host: AskedHost) -> None:
    """Until it is woken."""
    host.configure(sections="")
    program = (
        "import sys\n"
        "from zc.cimaa.cli.program import run\n"
        "from zc.cimaa.cli import cimaa\n"
        "run(cimaa, 'cimaa')\n"
        "print([name for name in sys.modules if name.startswith('zc.cimaa.actions')])\n"
    )
    for arguments in (["agent", "--count", "1"], ["agent", "--once"]):
        (host.path.parent / "checks" / "f.cfg").write_text("[a]\ncommand = true\n")
        store = f"[database]\npath = {host.path.parent}/store\n"
        host.path.write_text(f"{store}[agent]\nname = web1\ndirectory = checks\nbase_interval = 1s\n")
        command = [sys.executable, "-c", program, "--config", str(host.path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_an_action_that_is_not_permitted_is_refused(host: AskedHost) -> None:
    host.configure()
    host.run(1)
    action = host.ask(who="joe")
    host.run(1)
    assert states(host.db, action) == {"web1": "refused"}
    assert reason(host.db, action) == "the signatures weigh 1 for the module command; [permission:command] needs 2"
    assert host.times_run() == 0


@pytest.mark.parametrize(
    ("target", "state"),
    [("tag=db", "success"), ("tag=web", "refused"), ("agent=web1 tag=eu", "success"), ("agent=web2", "refused")],
)
def test_the_target_is_judged_by_what_the_agent_knows_of_itself(host: AskedHost, target: str, state: str) -> None:
    host.configure(agent="tags = db eu\n" + "", sections=None)
    host.run(1)
    action = host.ask(target=target)
    host.run(1)
    assert states(host.db, action) == {"web1": state}


def test_an_action_whose_window_begins_later_runs_then(host: AskedHost) -> None:
    host.configure()
    ran: list[int] = []
    asked: list[Any] = []
    host.run(
        12,
        at2=lambda: asked.append(host.ask(begin=290)),
        at5=lambda: ran.append(host.times_run()),
    )
    assert ran == [0]
    assert states(host.db, asked[0]) == {"web1": "success"}


class Counting(memory.DB):
    """A store that counts how often an action is read."""

    reads = 0

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        self.reads += kind == "action"
        return super()._entries(kind, owner, key)


def test_an_action_that_is_over_is_read_and_verified_once(host: AskedHost) -> None:
    """Its command is kept for a month, and the agent may be woken often."""
    host.db = db = Counting(clock=lambda: host.clock.time())
    host.configure()
    host.run(1)
    over, cancelled = host.ask(end=1), host.ask(name="cancelled")
    FleetActions(db).cancel(cancelled.id, "jane")
    host.clock.skip(2)
    reads: list[int] = []
    host.run(
        9,
        at3=lambda: reads.append(db.reads),
        at4=lambda: db.wake(["web1"]),
        at8=lambda: reads.append(db.reads),
    )
    assert states(db, over) == {"web1": "expired"}
    assert reads[0] == reads[1]
    assert host.times_run() == 0


class GivesAnother(memory.DB):
    """A store that gives an action in place of another, if it is asked for one alone."""

    instead: str | None = None

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return super()._entries(kind, owner, self.instead or key if kind == "action" else key)


def test_an_action_that_the_store_gives_in_place_of_another_is_refused(host: AskedHost) -> None:
    """It is signed, and for this agent; but the answer would be signed as that to the action that was sent."""
    host.db = db = GivesAnother(clock=lambda: host.clock.time())
    host.configure()
    host.run(1)
    action = host.ask()
    data = host.questions.document("command", host.clock.time(), name="another", **NOTE)
    db.instead = host.questions.send(db, data, who="jane").id
    host.run(1)
    assert states(db, action) == {"web1": "refused"}
    assert "but its id is" in reason(db, action)
    assert host.times_run() == 0


def test_a_cancelled_action_does_not_run(host: AskedHost) -> None:
    host.configure()
    host.run(1)
    action = host.ask()
    FleetActions(host.db).cancel(action.id, "jane")
    host.run(2)
    assert host.times_run() == 0


def test_answers_are_signed_with_the_agent_s_key(host: AskedHost, tmp_path: Path) -> None:
    host.questions.keys.make("web1")
    host.configure(
        host.questions.sections(actions="key = keys/web1", commands=COMMAND.format(host.ran)),
    )
    host.run(1)
    action = host.ask()
    host.run(2)
    (sent,) = FleetActions(host.db).answers(action)
    (tmp_path / "sig").write_text(sent.signature)
    known = f"web1 {host.questions.keys.public('web1')}\n"
    (tmp_path / "known").write_text(known)
    command = ["ssh-keygen", "-Y", "verify", "-n", "cimaa-answer", "-f", tmp_path / "known", "-I", "web1"]
    subprocess.run([*command, "-s", tmp_path / "sig"], input=sent.text.encode(), check=True, capture_output=True)


def test_an_answer_without_the_key_is_stored_and_a_fault_says_so(host: AskedHost) -> None:
    host.configure(host.questions.sections(actions="key = keys/missing", commands=COMMAND.format(host.ran)))
    host.run(1)
    action = host.ask()
    host.run(2)
    assert answer(host.db, action)["signature"] == ""
    assert "answers are not signed: cannot read the key " in host.faults()[PROBLEM]


def test_a_command_whose_answer_the_store_does_not_take_says_so(host: AskedHost) -> None:
    class WithoutAnswers(memory.DB):
        def _swap(self, kind: str, owner: str, key: str, revision: str | None, entry: Entry | None) -> bool:
            if kind == "answer":
                raise StoreNotSetUp("there is no table of answers")
            return super()._swap(kind, owner, key, revision, entry)

    host.db = WithoutAnswers(clock=lambda: host.clock.time())
    host.configure()
    host.run(1)
    action = host.ask()
    host.run(2)
    assert host.times_run() == 1
    assert states(host.db, action) == {"web1": "success"}
    assert reason(host.db, action) == "it ran, but its answer is not stored: there is no table of answers"


def test_an_action_runs_checks_and_their_faults_are_reported(host: AskedHost) -> None:
    host.configure()
    asked: list[Any] = []
    host.run(3, at2=lambda: asked.append(host.ask("check", parameters={"names": ["a", "f/a", "b"]})))
    answered = answer(host.db, asked[0])["operations"][0]
    assert [element["check"] for element in answered["elements"]] == ["f/a", "f/a"]
    # An action's run counts like any other: retries go on.
    assert answered["elements"][0]["faults"][0]["message"].startswith("bad")
    assert "b: there is no such check" in answered["errors"][0]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda host: host.questions.keys.signers("jane nonsense"), "investigators line 1"),
        (lambda host: (host.path.parent / "keys").chmod(0o777), "other users may write"),
        (lambda host: (host.path.parent / "journal").write_text(""), "journal"),
        (lambda host: host.path.write_text(host.path.read_text() + "[permission:wrong]\nminimum = 1\n"), "no module"),
    ],
)
def test_a_problem_is_a_fault_and_nothing_runs_until_it_is_mended(
    host: AskedHost, spoil: Callable[[AskedHost], Any], expected: str
) -> None:
    host.configure()
    host.run(1)
    action = host.ask()
    import shutil

    shutil.rmtree(host.path.parent / "journal")
    spoil(host)
    host.run(2)
    assert expected in host.faults()[PROBLEM]
    assert states(host.db, action) == {"web1": "sent"}
    assert host.times_run() == 0


def test_without_ssh_keygen_actions_are_off(host: AskedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.configure()
    host.run(1)
    action = host.ask()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        host.run(2)
    assert "ssh-keygen is not on the PATH" in host.faults()[PROBLEM]
    assert states(host.db, action) == {"web1": "sent"}
    host.run(2)
    assert PROBLEM not in host.faults()
    assert states(host.db, action) == {"web1": "success"}


def test_a_clock_that_was_set_back_is_a_fault_and_nothing_runs(host: AskedHost) -> None:
    host.configure()
    host.run(1)
    (host.path.parent / "journal" / "web1" / "latest").write_text(repr(host.clock.time() + 1000))
    action = host.ask(end=3000)
    host.run(3)
    assert "behind the latest time that the journal" in host.faults()[PROBLEM]
    assert states(host.db, action) == {"web1": "sent"}
    host.run(18)
    assert states(host.db, action) == {"web1": "success"}
    assert PROBLEM not in host.faults()


def test_a_configuration_that_is_read_again_decides_from_then_on(host: AskedHost) -> None:
    host.configure()
    host.run(1)
    good = (host.path.parent / "keys" / "investigators").read_text()
    (host.path.parent / "keys" / "investigators").write_text("nonsense")
    action = host.ask()
    before: list[Any] = []

    def mend() -> None:
        before.append((host.faults().get(PROBLEM, ""), states(host.db, action)))
        (host.path.parent / "keys" / "investigators").write_text(good)
        host.reload()

    host.run(5, at3=mend)
    assert "investigators line 1" in before[0][0]
    assert before[0][1] == {"web1": "sent"}
    assert states(host.db, action) == {"web1": "success"}
    assert PROBLEM not in host.faults()
