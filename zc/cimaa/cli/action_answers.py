"""What the agents answered to an action: read, verified, and written as a list or as JSON."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..actions import entries_of_actions, signatures, signers
from ..actions.entries_of_actions import (
    ANSWER,
    EXPIRED,
    FAILED,
    LOST,
    REFUSED,
    SUCCESS,
    TIMEOUT,
    Command,
    SentAnswer,
    StoredAction,
)
from ..actions.fleet_actions import FleetActions
from ..actions.signatures import Verifier
from ..errors import InvalidAction
from . import action_costs
from .output import View, message, write_json_list, write_table

TITLES = ("agent", "state", "module", "found", "answer")
_FAILED = (FAILED, TIMEOUT, REFUSED, EXPIRED, LOST)


class Answered(NamedTuple):
    """What became of an action on one agent."""

    command: Command
    #: Each operation's module, status and answer; empty: there is no answer.
    operations: list[dict[str, Any]]
    #: Why the answer does not count; empty: it does.
    wrong: str


class AnswerFilter(NamedTuple):
    """Which commands are shown."""

    found: bool = False
    failed: bool = False

    def __call__(self, command: Command) -> bool:
        """True if the command is shown."""
        return (command.found or not self.found) and (command.state in _FAILED or not self.failed)


def verifier(keys: Path) -> Verifier:
    """What verifies answers by a file of agents' names and keys.

    :raises ConfigurationError: naming what is wrong with the file.
    """
    return signatures.load(signatures.find()._replace(namespace=signers.ANSWERS), keys)


def answered(
    fleet: FleetActions,
    action: StoredAction,
    wanted: AnswerFilter,
    verified_by: Verifier | None = None,
    *,
    quiet: bool = False,
) -> Iterator[Answered]:
    """The commands that are wanted, sorted by agent, with their answers.

    If answers are verified, what the store says of them is not believed, and those that do not count are there, too.
    Unless it is ``quiet``, it shows what it costs to read all answers, if it does and the store bills it.
    """
    commands = fleet.commands(action)
    if verified_by is None:
        commands = [command for command in commands if wanted(command)]
    answers = {answer.agent: answer for answer in _answers(fleet, action, commands, quiet)}
    found = (_answered(command, answers.get(command.agent), verified_by) for command in commands)
    return (each for each in found if each.wrong or wanted(each.command))


def write(found: Iterable[Answered], view: View) -> bool:
    """Write them; true if all answers count."""
    listed = list(found)
    if view.as_json:
        write_json_list(map(shape, listed))
    else:
        write_table(TITLES, (row for each in listed for row in _rows(each)), view)
    for each in listed:
        if each.wrong:
            message(f"The answer of {each.command.agent} does not count: {each.wrong}")
    return not any(each.wrong for each in listed)


def _answers(fleet: FleetActions, action: StoredAction, commands: list[Command], quiet: bool) -> Iterable[SentAnswer]:
    """The answers that there are: of a few agents one by one, because others' are larger than all commands."""
    if len(commands) <= _ONE_BY_ONE:
        return fleet.answers_of(action, [command.agent for command in commands])
    if not quiet:
        action_costs.show(fleet, ANSWER)
    return fleet.answers(action)


def _answered(command: Command, answer: SentAnswer | None, verified_by: Verifier | None) -> Answered:
    if verified_by is not None:
        is_missing = answer is None and (command.found or command.state in (SUCCESS, TIMEOUT))
        command = command._replace(found=False)  # unless the answer says so
        if is_missing:
            return Answered(command, [], "the store does not have it")
    if answer is None:
        return Answered(command, [], "")
    try:
        if verified_by is not None:
            _verify(answer, verified_by)
        operations = entries_of_actions.decoded(answer)
    except ValueError as error:  # InvalidAction is one
        return Answered(command, [], str(error))
    if verified_by is not None and operations:
        state = entries_of_actions.ended(operation["status"] for operation in operations)
        command = command._replace(state=state, found=any(operation["found"] for operation in operations))
    return Answered(command, operations, "")


def _verify(answer: SentAnswer, verified_by: Verifier) -> None:
    if not answer.signature.strip():
        raise InvalidAction("it is not signed")
    names = verified_by(answer.text.encode(), answer.signature.encode(), time.time())
    if names != [answer.agent]:
        raise InvalidAction(f"it is signed by {', '.join(names) or 'an unknown key'}")


def shape(each: Answered) -> dict[str, Any]:
    """A command and its answer as JSON."""
    command = each.command
    found = {"agent": command.agent, "state": command.state, "time": command.time, "reason": command.reason}
    return {**found, "found": command.found, "operations": each.operations, "wrong": each.wrong}


def _rows(each: Answered) -> Iterator[tuple[str, ...]]:
    """A row for each element and error of each operation; at least one for the agent."""
    command = each.command
    if not each.operations:
        yield command.agent, command.state, "", "", command.reason or each.wrong
    for operation in each.operations:
        found = "yes" if operation["found"] else "no"
        texts = [*map(_element, operation["elements"]), *map(str, operation["errors"])]
        for text in texts or [""]:
            yield command.agent, command.state, operation["module"], found, text


def _element(element: object) -> str:
    if not isinstance(element, dict):
        return _shown(element)
    return " ".join(f"{key}={_shown(value)}" for key, value in element.items())


def _shown(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# Up to this number of agents, each answer is read by itself.
_ONE_BY_ONE = 100
