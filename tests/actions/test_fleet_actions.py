"""Actions in a store: sent, delivered, claimed, answered, cancelled and counted."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zc.cimaa import limits, memory
from zc.cimaa.actions import documents, entries_of_actions
from zc.cimaa.actions.answers import Answer, failed
from zc.cimaa.actions.documents import format_time
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.db import DB
from zc.cimaa.entries import Entry
from zc.cimaa.errors import InvalidAction
from zc.cimaa.faults import encode
from zc.cimaa.testing.tools import Clock, Opener

START = 1_700_000_000


def document(name: str = "who", start: int = START, seconds: int = 3600) -> bytes:
    return json.dumps(
        {
            "name": name,
            "target": "agent=~.",
            "operations": [{"module": "of another host", "parameters": {"quotes": '"' * 100}}],
            "validfrom": format_time(start),
            "expireafter": format_time(start + seconds),
            "syntaxversion": 3,
        },
        indent=1,
    ).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock(START + 0.5)


@pytest.fixture
def db(any_opener: Opener, clock: Clock) -> Iterator[DB]:
    """An empty store of each backend in turn."""
    with any_opener(clock=clock) as opened:
        yield opened


def added(fleet: FleetActions, data: bytes, agents: list[str]) -> Any:
    action = fleet.add(data, b"", "jane")
    list(fleet.deliver(action.document(), agents))
    return action


def test_an_action_is_stored_byte_for_byte(db: DB) -> None:
    fleet = FleetActions(db)
    data = document("é \u2028").replace(b"\n", b"\r\n")
    action = fleet.add(data, b"", "jane")
    [found] = fleet.actions()
    assert found == action == fleet.action(documents.document_id(data))
    assert found.data == data
    assert found.document().name == "é \u2028"
    assert (found.sender, found.sent, found.cancelled_by) == ("jane", START, "")


def test_each_agent_has_one_command_and_is_woken(db: DB) -> None:
    fleet = FleetActions(db)
    for name in ("a", "b"):
        db.report(name, [])
    action = fleet.add(document(), b"", "jane")
    assert list(fleet.deliver(action.document(), ["a"])) == [(1, 1)]
    assert list(fleet.deliver(action.document(), ["a", "b", "c"], part=2)) == [(2, 1), (1, 1)]
    assert [(each.agent, each.state) for each in fleet.commands(action)] == [(name, "sent") for name in "abc"]
    assert db.report("a", [])
    assert db.report("b", [])
    assert not db.report("a", [])


class BrokenOff(Exception):
    """The process was killed, or the store is away."""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_delivery_that_is_broken_off_and_repeated_gives_each_agent_one_command(db: DB, data: st.DataObject) -> None:
    """Also if it is interrupted in the middle of a part, and agents change their commands meanwhile."""
    fleet = FleetActions(db)
    content = document(uuid4().hex)
    names = [f"agent{number}" for number in range(data.draw(st.integers(1, 12)))]
    for _ in range(data.draw(st.integers(0, 4))):
        action = fleet.add(content, b"", "jane")
        left = data.draw(st.integers(0, len(names)))
        listed = iter(names)

        def until_broken(left: int = left, listed: Iterator[str] = listed) -> Iterator[str]:
            for _ in range(left):
                yield next(listed)
            raise BrokenOff

        with suppress(BrokenOff):
            list(fleet.deliver(action.document(), until_broken(), part=data.draw(st.integers(1, 5))))
        for command in data.draw(st.lists(st.sampled_from(fleet.commands(action) or [None]))):
            if command is not None:
                fleet.claim(command)
    action = fleet.add(content, b"", "jane")
    before = {command.agent: command for command in fleet.commands(action)}
    parts = list(fleet.deliver(action.document(), names, part=data.draw(st.integers(1, 5))))
    assert sum(number for number, _ in parts) == len(names)
    assert sum(added for _, added in parts) == len(names) - len(before)
    commands = fleet.commands(action)
    assert [command.agent for command in commands] == sorted(names)
    assert all(command == before.get(command.agent, command) for command in commands)
    assert fleet.counters(action).sent == len(names)


def test_a_command_is_claimed_once_and_answered(db: DB, clock: Clock) -> None:
    fleet = FleetActions(db)
    action = added(fleet, document(), ["a", "b"])
    [command] = fleet.commands_of("a")
    clock.advance(2)
    claimed = fleet.claim(command)
    assert claimed is not None
    assert fleet.claim(command) is None
    assert fleet.claim(claimed) is None
    text = entries_of_actions.answer_text(action.id, "a", START, [("file", "success", Answer(True, True, [{"x": 1}]))])
    fleet.answer(claimed, text, "signature")
    fleet.answer(claimed, text, "signature")
    ended = fleet.finish(claimed, entries_of_actions.SUCCESS, found=True)
    assert ended is not None
    assert (ended.state, ended.found, ended.time) == ("success", True, START + 2)
    assert fleet.finish(ended, entries_of_actions.FAILED) is None
    [answer] = fleet.answers(action)
    assert [answer] == list(fleet.answers_of(action, ["a", "b"]))
    assert (answer.agent, answer.text, answer.signature) == ("a", text, "signature")
    [operation] = entries_of_actions.decoded(answer)
    assert operation["module"] == "file"
    assert operation["elements"] == [{"x": 1}]
    for other in (answer._replace(agent="b"), answer._replace(id="x"), answer._replace(text="[]")):
        with pytest.raises(ValueError, match="not an answer"):
            entries_of_actions.decoded(other)


def test_commands_that_are_damaged_count_as_failed(db: DB) -> None:
    """Each agent may write what it wants into its own."""
    fleet = FleetActions(db)
    values: list[Any] = [None, [], "sent", 5, {}, {"state": 5}, {"state": ["sent"]}, {"state": None}, {"found": 1}]
    values += [[{"found": True}], {"state": "x" * 3000}, {"state": "sent " * 10}, {"found": True}]
    good = [{"state": "sent"}, {"state": "success", "found": True}, {"state": "success", "found": [True]}]
    action = fleet.add(document(), b"", "jane")
    for number, value in enumerate(values + good):
        entry = Entry("command", f"agent{number}", action.id, value, uuid4().hex)
        assert db._swap("command", entry.owner, action.id, None, entry)
    expired = Entry("command", "late", action.id, {"state": "sent"}, uuid4().hex, START)
    assert db._swap("command", "late", action.id, None, expired)
    counted = fleet.counters(action)
    assert {state: number for state, number in counted.states.items() if number} == {
        "failed": len(values),
        "sent": 1,
        "success": 2,
    }
    assert (counted.sent, counted.found) == (len(values) + 3, 2)


def test_a_command_may_be_refused_with_a_reason(db: DB) -> None:
    fleet = FleetActions(db)
    added(fleet, document(), ["a"])
    [command] = fleet.commands_of("a")
    refused = fleet.finish(command, entries_of_actions.REFUSED, "no \0 " + "reason " * 100)
    assert refused is not None
    assert refused.state == "refused"
    assert refused.reason.startswith("no")
    assert len(refused.reason.encode()) <= entries_of_actions.REASON
    assert fleet.commands_of("a") == [refused]
    claimed = fleet.claim(refused)  # after it was sent again with more signatures
    assert claimed is not None
    assert (claimed.state, claimed.reason) == ("running", "")
    assert fleet.claim(refused) is None
    assert fleet.claim(claimed) is None
    assert fleet.finish(command, entries_of_actions.SUCCESS) is None


def test_states_follow_from_the_time(db: DB, clock: Clock) -> None:
    """Nothing is stored when a window begins or ends."""
    fleet = FleetActions(db)
    action = added(fleet, document(start=START + 100), ["a", "b"])
    [command] = fleet.commands_of("a")
    seen = []
    for moment in (0, 100, 3699, 3700, 3759, 3760):
        clock.now = START + moment
        if moment == 100:
            assert fleet.claim(command)
        counted = fleet.counters(action)
        states = {state for state, number in counted.states.items() if number}
        assert states == {each.state for each in fleet.commands(action)}
        state = entries_of_actions.action_state(action.document(), False, fleet.now(), counted)
        seen.append((state, counted.sent, counted.inflight, counted.done, sorted(states)))
    assert seen == [
        ("scheduled", 2, 2, 0, ["sent"]),
        ("inflight", 2, 2, 0, ["running", "sent"]),
        ("inflight", 2, 2, 0, ["running", "sent"]),
        ("completed", 2, 1, 1, ["expired", "running"]),
        ("completed", 2, 1, 1, ["expired", "running"]),
        ("completed", 2, 0, 2, ["expired", "lost"]),
    ]


def test_an_action_is_completed_when_all_have_ended(db: DB) -> None:
    fleet = FleetActions(db)
    action = added(fleet, document(), ["a"])
    assert fleet.finish(fleet.commands_of("a")[0], entries_of_actions.REFUSED, "no")
    state = entries_of_actions.action_state(action.document(), False, fleet.now(), fleet.counters(action))
    assert state == entries_of_actions.COMPLETED


def test_an_action_is_cancelled(db: DB) -> None:
    """What is not claimed is cancelled; what runs may end."""
    fleet = FleetActions(db)
    action = added(fleet, document(), ["a", "b"])
    running = fleet.claim(fleet.commands_of("a")[0])
    cancelled = fleet.cancel(action.id, "joe")
    assert cancelled == fleet.cancel(action.id, "jim") == fleet.action(action.id)
    assert cancelled.cancelled_by == "joe"
    assert cancelled.data == action.data
    assert [each.state for each in fleet.commands(cancelled)] == ["running", "cancelled"]
    assert running
    assert fleet.finish(running, entries_of_actions.SUCCESS)
    with pytest.raises(InvalidAction, match="cancelled by joe"):
        fleet.add(action.data, b"", "jane")
    with pytest.raises(InvalidAction, match="there is no action"):
        fleet.cancel("0" * 64, "joe")


def test_an_action_is_found_by_the_start_of_its_id(db: DB) -> None:
    fleet = FleetActions(db)
    first, second = (fleet.add(document(str(number)), b"", "jane") for number in range(2))
    assert fleet.find(first.id[:8]) == fleet.find(first.id) == first
    for start in ("", "x", "0" * 64):
        with pytest.raises(InvalidAction, match="see: cimaa action list"):
            fleet.find(start)
    assert {each.id for each in fleet.actions()} == {first.id, second.id}


def test_an_empty_id_does_not_mean_the_only_action(db: DB) -> None:
    """A shell makes one of a variable that is not set: nothing is cancelled by that."""
    fleet = FleetActions(db)
    action = fleet.add(document(), b"", "jane")
    for start in ("", " ", "ID"):
        with pytest.raises(InvalidAction, match="is not the start of an id"):
            fleet.find(start)
    assert fleet.find(action.id[:8].upper()) == fleet.find(f" {action.id} ") == action


def test_what_is_stored_ends_after_its_time(clock: Clock) -> None:
    with memory.DB({"actions": "1h"}, clock=clock) as db:
        fleet = FleetActions(db)
        action = added(fleet, document(), ["a"])
        [command] = fleet.commands_of("a")
        fleet.answer(command, "{}")
        clock.now = START + 7199
        assert fleet.actions()
        assert fleet.commands(action)
        assert list(fleet.answers(action))
        clock.now = START + 7200
        assert fleet.actions() == fleet.commands(action) == list(fleet.answers(action)) == []


def test_a_window_that_is_over_is_refused(db: DB, clock: Clock) -> None:
    clock.advance(3600)
    with pytest.raises(InvalidAction, match="the window ended at"):
        FleetActions(db).add(document(), b"", "jane")


def test_an_action_whose_entry_was_damaged_is_repaired(db: DB) -> None:
    fleet = FleetActions(db)
    action = fleet.add(document(), b"", "jane")
    [entry] = db._entries("action")
    for value in (None, [], {"document": 3}, {"document": "{}"}):
        [entry] = db._entries("action")
        assert db._swap("action", "", action.id, entry.revision, entry._replace(value=value, revision="0" * 32))
        [found] = fleet.actions()
        with pytest.raises(InvalidAction):
            found.document()
        assert fleet.add(document(), b"", "jane").data == action.data


@pytest.mark.parametrize("value", [None, [], "sent", {"state": []}, {"state": "none", "time": "x", "found": 1}])
def test_a_command_that_is_damaged_counts_as_failed(db: DB, value: Any) -> None:
    fleet = FleetActions(db)
    action = added(fleet, document(), ["a"])
    [entry] = db._entries("command")
    assert db._swap("command", "a", action.id, entry.revision, entry._replace(value=value, revision="0" * 32))
    [found] = fleet.commands(action)
    assert (found.state, found.found, found.time, found.reason) == ("failed", False, 0, "")
    assert fleet.counters(action).states["failed"] == 1


@pytest.mark.parametrize("number", [1, 32])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(True, True, [{"path": '"\\' * 50} for _ in range(5000)]),
        failed(*['"' * 5000] * 40),
        Answer(True, True, statistics={"large": '"' * 300_000}),
    ],
    ids=["elements", "errors", "statistics"],
)
def test_the_largest_answer_fits(db: DB, number: int, answer: Answer) -> None:
    """With its quotes escaped twice, and its signature."""
    fleet = FleetActions(db)
    action = added(fleet, document(), ["a"])
    [command] = fleet.commands_of("a")
    text = entries_of_actions.answer_text(action.id, "a", START, [("file", "success", answer)] * number)
    fleet.answer(command, text, "s" * 4000)
    [entry] = db._entries("answer")
    assert len(encode(entry.value)) <= limits.ENTRY_VALUE
    operations = entries_of_actions.decoded(next(fleet.answers(action)))
    assert len(operations) == number
    assert all(each["found"] == answer.found and each["errors"] for each in operations)
