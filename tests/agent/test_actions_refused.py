"""What an agent refused is judged again when the agent is woken: the action may have been sent with more signatures."""

import asyncio
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.asked_host import PROBLEM, AskedHost
from tests.support.questions import reason, states
from zc.cimaa import memory
from zc.cimaa.actions.entries_of_actions import Command, command_entry
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.once_actions import OnceActions
from zc.cimaa.agent.rules.pending_commands import PendingCommands
from zc.cimaa.config import Config
from zc.cimaa.entries import Entry

WEIGHS = "the signatures weigh {} for the module command; [permission:command] needs {}"


class Counting(memory.DB):
    """A store that counts how often an action is read, and that a command is refused is written."""

    reads = writes = 0

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        self.reads += kind == "action"
        return super()._entries(kind, owner, key)

    def _swap(self, kind: str, owner: str, key: str, revision: str | None, entry: Entry | None) -> bool:
        self.writes += kind == "command" and entry is not None and entry.value["state"] == "refused"
        return super()._swap(kind, owner, key, revision, entry)


@pytest.fixture
def host(tmp_path: Path) -> AskedHost:
    host = AskedHost(tmp_path)
    host.db = Counting(clock=lambda: host.clock.time())
    host.configure()
    host.run(1)
    return host


@pytest.fixture
def db(host: AskedHost) -> Counting:
    assert isinstance(host.db, Counting)
    return host.db


def test_an_action_that_is_sent_again_with_enough_signatures_runs_once(host: AskedHost) -> None:
    action = host.ask(who="joe")
    found: list[str] = []
    host.run(5, at2=lambda: found.append(states(host.db, action)["web1"]), at3=lambda: host.sign(action, "jane"))
    assert (found, states(host.db, action)) == (["refused"], {"web1": "success"})
    host.run(4, at2=lambda: host.db.wake(["web1"]))
    assert host.times_run() == 1
    assert states(host.db, action) == {"web1": "success"}


def test_an_agent_that_was_woken_while_it_was_stopped_judges_it_again(host: AskedHost) -> None:
    action = host.ask(who="joe")
    host.run(1)
    assert states(host.db, action) == {"web1": "refused"}
    host.sign(action, "jane")
    assert host.db.report("web1", [])  # the last report of a process that ended before it looked
    host.run(1)
    assert states(host.db, action) == {"web1": "success"}


def test_an_agent_that_refuses_again_writes_nothing(host: AskedHost, db: Counting) -> None:
    action = host.ask(who="joe")
    host.run(2)
    before, revision = db.writes, next(iter(FleetActions(db).commands(action))).revision
    host.run(6, at2=lambda: db.wake(["web1"]), at4=lambda: db.wake(["web1"]))
    assert db.writes == before
    assert next(iter(FleetActions(db).commands(action))).revision == revision
    assert host.times_run() == 0


def test_the_reason_is_that_of_the_last_refusal(host: AskedHost, db: Counting) -> None:
    host.path.write_text(host.path.read_text().replace("minimum = 2", "minimum = 4"))
    action = host.ask(who="joe")
    host.run(1)
    assert reason(db, action) == WEIGHS.format(1, 4)
    before = db.writes
    host.run(5, at2=lambda: host.sign(action, "jane"), at4=lambda: db.wake(["web1"]))
    assert (reason(db, action), db.writes) == (WEIGHS.format(3, 4), before + 1)


def test_what_was_refused_is_not_read_without_being_woken_nor_after_its_window(host: AskedHost, db: Counting) -> None:
    host.ask(who="joe", end=150)
    reads: list[int] = []

    def note() -> None:
        reads.append(db.reads)

    def wake() -> None:
        note()
        db.wake(["web1"])

    host.run(12, at2=wake, at4=wake, at6=wake, at8=wake, at11=note)
    # In the window, over, and not read any more.
    assert [after - before for before, after in pairwise(reads)] == [1, 1, 0, 0]


def test_a_refused_action_that_is_cancelled_does_not_run(host: AskedHost) -> None:
    action = host.ask(who="joe")
    host.run(1)
    host.sign(action, "jane")
    FleetActions(host.db).cancel(action.id, "jane")
    host.run(3)
    assert (states(host.db, action), host.times_run()) == ({"web1": "refused"}, 0)


def test_a_refused_action_whose_window_begins_later_runs_then(host: AskedHost) -> None:
    action = host.ask(who="joe", begin=400)
    ran: list[int] = []
    host.run(12, at2=lambda: host.sign(action, "jane"), at6=lambda: ran.append(host.times_run()))
    assert (ran, host.times_run(), states(host.db, action)) == ([0], 1, {"web1": "success"})


def test_a_configuration_that_permits_it_has_it_judged_again(host: AskedHost) -> None:
    action = host.ask(who="joe")
    host.run(1)

    def permit() -> None:
        host.path.write_text(host.path.read_text().replace("minimum = 2", "minimum = 1"))
        host.reload()

    host.run(3, at2=permit)
    assert (states(host.db, action), host.times_run()) == ({"web1": "success"}, 1)


def test_without_actions_what_was_refused_stays_refused_for_its_reason(host: AskedHost, db: Counting) -> None:
    action = host.ask(who="joe")
    host.run(1)
    host.configure(sections="")
    before = db.writes
    host.run(3, at2=lambda: host.sign(action, "jane"))
    assert (reason(db, action), db.writes) == (WEIGHS.format(1, 2), before)


def test_a_store_that_says_refused_of_what_ran_is_not_believed(host: AskedHost) -> None:
    action = host.ask()
    host.run(1)
    assert host.times_run() == 1
    (command,) = FleetActions(host.db).commands(action)
    entry = command_entry(action.id, "web1", int(host.clock.time()), int(host.clock.time()) + 10**6)
    entry = entry._replace(value={"state": "refused", "time": 0, "reason": "so says the store"}, revision=uuid4().hex)
    assert host.db._swap("command", "web1", action.id, command.revision, entry)
    host.db.wake(["web1"])
    host.run(2)
    assert (states(host.db, action), host.times_run()) == ({"web1": "lost"}, 1)
    assert PROBLEM not in host.faults()


def test_signatures_that_come_while_an_action_is_judged_are_not_missed(host: AskedHost, db: Counting) -> None:
    """The agent has read the action without them when it is woken."""
    action = host.ask(who="joe")
    read = db._entries

    def entries(kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        found = list(read(kind, owner, key))
        if kind == "action":
            del db._entries  # type: ignore[method-assign]
            host.sign(action, "jane")
            assert host.db.report("web1", [])  # as if it was reported at this moment
            loop.call_soon_threadsafe(host.duty.look)
        return found

    def begin() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        db._entries = entries  # type: ignore[method-assign]

    loop: asyncio.AbstractEventLoop
    host.run(2, at1=begin)
    assert (states(db, action), host.times_run()) == ({"web1": "success"}, 1)


def host_now(directory: Path) -> tuple[AskedHost, Counting]:
    """A host with the system's clock, for an agent that runs once, and its store."""
    host, db = AskedHost(directory), Counting(clock=time.time)
    host.db = db
    host.clock.time = time.time  # type: ignore[method-assign]
    host.configure()
    db.report("web1", [])
    return host, db


def once(host: AskedHost, woken: bool) -> None:
    config = Config.read(host.path)
    OnceActions(config, Settings.load(config)).run(host.db, woken)


def test_an_agent_that_runs_once_judges_it_again_if_it_was_woken(tmp_path: Path) -> None:
    host, db = host_now(tmp_path)
    action = host.ask(who="joe")
    once(host, woken=True)
    assert states(db, action) == {"web1": "refused"}
    host.sign(action, "jane")
    before = db.reads
    once(host, woken=False)
    assert (db.reads, states(db, action)) == (before, {"web1": "refused"})
    once(host, woken=True)
    assert (host.times_run(), states(db, action)) == (1, {"web1": "success"})


def test_a_repeated_send_has_it_judged_again_after_a_run_that_was_killed_before_it_judged(tmp_path: Path) -> None:
    host, db = host_now(tmp_path)
    action = host.ask(who="joe")
    once(host, woken=db.report("web1", []))
    host.sign(action, "jane")
    assert db.report("web1", [])  # the report of the run that was killed
    once(host, woken=db.report("web1", []))
    assert states(db, action) == {"web1": "refused"}
    host.sign(action, "jane")
    once(host, woken=db.report("web1", []))
    assert (host.times_run(), states(db, action)) == (1, {"web1": "success"})


def command(name: str, state: str = "sent") -> Command:
    return Command(name, "web1", state, 0, "", False, "r", None)


def chosen(pending: PendingCommands, *commands: Command, active: Iterable[str] = ()) -> list[str]:
    return [command.id for command in pending.choose(commands, set(active))]


def test_a_command_is_chosen_until_it_ends() -> None:
    pending = PendingCommands()
    assert chosen(pending, command("a"), command("b"), command("c", "running"), active="b") == ["a"]
    assert chosen(pending, command("a"), command("b")) == ["a", "b"]
    pending.is_over("a")
    assert chosen(pending, command("a"), command("b")) == ["b"]
    pending.reset()
    assert chosen(pending, command("a"), command("b")) == ["a", "b"]


def test_a_refused_command_is_chosen_once_after_each_wake() -> None:
    pending = PendingCommands()
    refused = command("a", "refused")
    assert chosen(pending, refused) == []
    for _ in range(2):
        pending.wake()
        assert chosen(pending, refused) == ["a"]
        assert chosen(pending, refused) == ["a"]  # it could not be judged, and is tried again
        pending.is_refused("a")
        assert chosen(pending, refused) == []


def test_a_command_that_is_worked_on_at_a_wake_is_looked_at_again_when_it_ends() -> None:
    pending = PendingCommands()
    assert chosen(pending, command("a"), command("b")) == ["a", "b"]
    assert not pending.ended("b")
    pending.wake()
    assert chosen(pending, command("a"), active="a") == []
    pending.is_refused("a")
    assert pending.ended("a")
    assert not pending.ended("a")
    assert chosen(pending, command("a", "refused")) == ["a"]
