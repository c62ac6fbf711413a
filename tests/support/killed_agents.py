"""Agents that are killed (SIGKILL) while they work on actions: no action runs twice, and what may have run is not sent.

``python -m tests.support.killed_agents [kills [seed]]``

Real processes, a real store, real keys and a real journal.  Each action appends a line to a file when it runs.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.forks import finished, in_fork
from tests.support.long_form import numbers
from tests.support.questions import Questions, states
from zc.cimaa import lmdb
from zc.cimaa.actions.entries_of_actions import StoredAction
from zc.cimaa.actions.journal import Journal
from zc.cimaa.agent import action_run
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.once_actions import OnceActions
from zc.cimaa.config import Config
from zc.cimaa.db import DB

PROGRAM = str(Path(sys.executable).with_name("cimaa"))
#: How long the window of an action is (seconds).
WINDOW = 600.0


class AtMostOnce:
    """A host with a store, whose command ``note`` appends its argument to a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.questions = Questions(directory)
        self.path = directory / "cimaa.cfg"
        self.ran = directory / "ran"
        self.configure()
        (directory / "checks").mkdir()
        (directory / "checks" / "f.cfg").write_text("[a]\ncommand = true\n")
        with self.store() as db:
            db.report("web1", [])

    def configure(self, journal: str = "journal") -> Path:
        """Write a configuration with this journal; its path."""
        note = self.directory / "note"
        note.write_text(f'#!/bin/sh\necho "$1" >> {self.ran}\n')
        note.chmod(0o755)
        path = self.directory / f"{Path(journal).name}.cfg"
        sections = self.questions.sections(
            journal=journal, commands=f"[command:note]\ncommand = {note}\narguments = [0-9]+\n"
        )
        head = (
            f"[database]\npath = {self.directory}/store\n[agent]\nname = web1\ndirectory = checks\nbase_interval = 1s\n"
        )
        path.write_text(head + sections)
        self.path = path
        return path

    def store(self, later: float = 0) -> DB:
        """The store, with a clock that is ``later`` seconds ahead."""
        return lmdb.DB({"path": str(self.directory / "store")}, clock=lambda: time.time() + later)

    def ask(self, number: int, who: str = "jane") -> StoredAction:
        """Send an action that notes this number."""
        parameters = {"name": "note", "arguments": [str(number)]}
        data = self.questions.document("command", time.time(), end=WINDOW, parameters=parameters)
        with self.store() as db:
            return self.questions.send(db, data, "web1", who=who)

    def sign(self, action: StoredAction, who: str) -> None:
        """Send an action again, with one more signature."""
        with self.store() as db:
            self.questions.send(db, action.data, "web1", who=who)

    def work(self, config: Path | None = None, opener: Callable[..., DB] | None = None) -> None:
        """Do what an agent that runs once does about its commands."""
        found = Config.read(config or self.path)
        with opener({"path": str(self.directory / "store")}) if opener else self.store() as db:
            OnceActions(found, Settings.load(found)).run(db)

    def lines(self) -> Counter[str]:
        """How often each number was noted."""
        return Counter(self.ran.read_text().splitlines() if self.ran.exists() else ())

    def state(self, action: StoredAction, later: float = 0) -> str:
        """The state of the action's command, ``later`` seconds from now."""
        with self.store(later) as db:
            return states(db, action)["web1"]

    def check(self, actions: list[StoredAction]) -> Counter[str]:
        """Check each action, whose numbers are their places; the states after the windows' ends."""
        lines, found = self.lines(), Counter[str]()
        for number, action in enumerate(actions):
            times, state = lines[str(number)], self.state(action, WINDOW + 120)
            assert times <= 1, f"action {number} ran {times} times"
            assert state in ("success", "lost"), f"action {number} ran {times} times, and is {state}"
            assert state == "lost" or times == 1, f"action {number} did not run, and is {state}"
            found[state] += 1
        return found


class Steps:
    """Counts what a process does that others can see, and kills it at one of these steps."""

    def __init__(self, kill_at: int) -> None:
        self.number = 0
        self.kill_at = kill_at

    def step(self) -> None:
        self.number += 1
        if self.number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a step before and after it."""

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = function(*arguments, **named)
            self.step()
            return result

        return stepping

    def instrument(self) -> Callable[..., DB]:
        """Let this process take steps; what opens its store."""
        os.fsync = self.around(os.fsync)
        Journal.claim = self.around(Journal.claim)  # type: ignore[method-assign]
        run = action_run.run

        async def running(*arguments: Any) -> Any:
            self.step()
            outcome = await run(*arguments)
            self.step()
            return outcome

        action_run.run = running

        class Stepping(lmdb.DB):
            _entries = self.around(lmdb.DB._entries)
            _swap = self.around(lmdb.DB._swap)

        return Stepping


def kill_at(host: AtMostOnce, step: int) -> bool:
    """Let an agent work until it is killed at this step; false if it ended before."""

    def work() -> None:
        host.work(opener=Steps(step).instrument())

    status = finished(in_fork(work))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def kill_randomly(host: AtMostOnce, kills: int, chance: random.Random) -> Counter[str]:
    """Run a daemon, and kill it again and again while actions are sent; the states of these."""
    actions = []
    with (host.directory / "log").open("w") as log:
        for _ in range(kills):
            daemon = subprocess.Popen([PROGRAM, "--config", host.path, "agent"], stdout=log, stderr=log)
            for _ in range(3):
                actions.append(host.ask(len(actions)))
                time.sleep(chance.uniform(0.05, 0.6))  # the moment of the kill is random
            daemon.kill()
            daemon.wait()
    host.work()
    return host.check(actions)


def main(kills: int, seed: int) -> None:
    print(f"seed {seed}")  # a program
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o700)  # noqa: PTH101
        print(dict(kill_randomly(AtMostOnce(Path(directory)), kills, random.Random(seed))))


if __name__ == "__main__":
    main(*numbers(__doc__, kills=200, seed=random.randrange(10**6)))
