"""``cimaa action send``, killed (SIGKILL) at random moments and repeated: each agent gets one command, and is woken.

``python -m tests.support.killed_senders lmdb`` (or ``postgres``, ``dynamodb``), with ``--kills`` and ``--agents``, is
the long form of ``tests/cli/test_action_send_killed.py``.

Meanwhile, agents report, and claim the command that they find when they were woken.
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.support import lease_fight
from tests.support.killed_agents import PROGRAM
from tests.support.questions import Questions
from zc.cimaa.actions.documents import document_id
from zc.cimaa.actions.entries_of_actions import RUNNING, SENT
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.config import Config

#: Kills of one action at most, before it is sent completely.
KILLS = 4


class Senders:
    """A fleet, and people whose commands to send are killed."""

    def __init__(self, directory: Path, settings: Mapping[str, str], agents: int, seed: int) -> None:
        self.directory = directory
        self.questions = Questions(directory)
        self.names = [f"agent{number:05}" for number in range(agents)]
        self.chance = random.Random(seed)
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (directory / "cimaa.cfg").write_text(f"[database]\n{text}")
        self.db = Config.read(directory / "cimaa.cfg").open_database()
        self.fleet = FleetActions(self.db)
        #: What was found after kills.
        self.found = Counter[str]()
        for name in self.names:
            self.db.report(name, [])

    def send_killed(self, kills: int) -> None:
        """Send actions, until the command was killed so many times in all; the first without kills."""
        self.write()
        seconds = self.send(None)
        self.check()
        while self.found["kills"] < kills:
            self.write()
            for _ in range(self.chance.randint(1, KILLS)):
                self.send(self.chance.uniform(0, seconds))
                self.note_state()
                self.act()
            self.send(None)
            self.check()

    def write(self) -> None:
        """Write and sign the next action."""
        data = self.questions.document(
            "file", time.time(), name=f"number {self.found['actions']}", parameters={"path": "/etc", "name": "passwd"}
        )
        self.id = document_id(data)
        (self.directory / "q.json").write_bytes(data)
        (self.directory / "q.json.sig").write_bytes(self.questions.keys.sign("jane", data))

    def send(self, kill_after: float | None) -> float:
        """Send it; kill the command so many seconds after it has found the agents.  How long it took from then on."""
        command = [PROGRAM, "--config", "cimaa.cfg", "action", "send", "q.json", "--yes", "--rate", "1000000"]
        with subprocess.Popen(command, cwd=self.directory, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            assert first.startswith(b"It reaches"), first + process.stderr.read()
            start = time.monotonic()
            if kill_after is not None:
                time.sleep(kill_after)  # the moment of the kill is random
                process.kill()
            said = process.stderr.read()
        assert process.returncode == 0 or (process.returncode == -signal.SIGKILL and kill_after is not None), said
        self.found["kills"] += process.returncode != 0
        return time.monotonic() - start

    def note_state(self) -> None:
        """Count what a kill left."""
        marked = {name for name, row in self.db._rows() if row.marked}
        action = self.fleet.action(self.id)
        added = {command.agent for command in self.fleet.commands(action)} if action else set()
        self.found["some have no command"] += 0 < len(added) < len(self.names)
        self.found["some have a command, and are not woken"] += bool(added - marked)
        assert marked <= added

    def act(self) -> None:
        """Let some agents report, and claim what they find if they were woken."""
        for name in self.chance.sample(self.names, 3):
            if self.db.report(name, []):
                [command] = [each for each in self.fleet.commands_of(name) if each.id == self.id]
                if command.state == SENT:
                    assert self.fleet.claim(command)
                    self.found["claimed meanwhile"] += 1

    def check(self) -> None:
        """Check that each agent has one command, and that it was claimed or its agent is woken."""
        action = self.fleet.action(self.id)
        assert action
        commands = self.fleet.commands(action)
        assert [command.agent for command in commands] == self.names
        assert {command.state for command in commands} <= {SENT, RUNNING}
        for command in commands:
            assert self.db.report(command.agent, [])
            assert not self.db.report(command.agent, [])
        self.found["actions"] += 1


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", choices=["lmdb", "postgres", "dynamodb"])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        settings = stack.enter_context(lease_fight.store(given.store, directory))
        senders = Senders(directory, settings, given.agents, given.seed)
        stack.enter_context(senders.db)
        for kills in range(min(10, given.kills), given.kills + 1, 10):
            senders.send_killed(kills)
            print(dict(senders.found), flush=True)


if __name__ == "__main__":
    main()
