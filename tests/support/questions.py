"""Questions for agents: the configuration of an agent that runs actions, and people who sign and send them."""

import json
from pathlib import Path
from typing import Any

from tests.support.ssh_keys import Keys
from zc.cimaa.actions.documents import format_time
from zc.cimaa.actions.entries_of_actions import StoredAction
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.db import DB


class Questions:
    """A directory in which jane and joe have keys, and agents are configured to run what jane signs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys = Keys(directory / "keys")
        for name in ("jane", "joe"):
            self.keys.make(name)
        self.keys.signers(*(f"{name} {self.keys.public(name)}" for name in ("jane", "joe")))

    def sections(self, *, journal: str = "journal", actions: str = "", commands: str = "") -> str:
        """The sections of a configuration; ``journal`` is a directory."""
        return (
            f"[actions]\ninvestigators = keys/investigators\njournal = {journal}\n{actions}\n"
            "[permission:default]\nminimum = 2\nweights = jane 2, joe 1\n"
            f"[permission:command]\nminimum = 2\nweights = jane 2, joe 1\n{commands}"
        )

    def document(self, module: str, now: float, *, begin: float = -60, end: float = 600, **changed: Any) -> bytes:
        """A document whose window begins and ends this many seconds from ``now``."""
        parameters = changed.pop("parameters", {})
        return json.dumps(
            {
                "name": f"a question about {module}",
                "target": "agent=~.",
                "operations": [{"module": module, "parameters": parameters}],
                "validfrom": format_time(now + begin),
                "expireafter": format_time(now + end),
                "syntaxversion": 3,
                **changed,
            }
        ).encode()

    def send(self, db: DB, data: bytes, *names: str, who: str = "jane") -> StoredAction:
        """Sign a document, and send it to the agents with these names."""
        fleet = FleetActions(db)
        action = fleet.add(data, self.keys.sign(who, data), who)
        list(fleet.deliver(action.document(), names))
        return action


def states(db: DB, action: StoredAction) -> dict[str, str]:
    """The state of the action's command for each agent."""
    return {command.agent: command.state for command in FleetActions(db).commands(action)}


def reason(db: DB, action: StoredAction) -> str:
    """The reason of the action's only command."""
    (command,) = FleetActions(db).commands(action)
    return command.reason


def answer(db: DB, action: StoredAction) -> dict[str, Any]:
    """The only answer to an action, with its signature."""
    (sent,) = FleetActions(db).answers(action)
    return {**json.loads(sent.text), "signature": sent.signature}
