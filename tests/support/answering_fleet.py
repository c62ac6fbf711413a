"""Many real agents, each with a journal and a key of its own, that answer one signed action within two ticks.

``python -m tests.support.answering_fleet lmdb`` (or ``postgres``, ``dynamodb``), with ``--agents`` and ``--tick``, is
the long form of ``tests/agent/test_answering_fleet.py``.

The agents are the daemons of a few processes, in real time: each has its own configuration, client of the store and
tasks; those of one process share its connections.  Their checks do nothing.  On a real fleet, each agent has a host of
its own; here all share one machine, on which an answer takes about a third of a second of processor time.  So the tick
must be long enough for all of them.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import lease_fight
from tests.support.dynamodb_servers import Proxy
from tests.support.killed_agents import PROGRAM
from tests.support.questions import Questions
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agent.action_duty import ActionDuty
from zc.cimaa.agent.clock import SystemClock
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.daemon import Daemon
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result, of_outcome
from zc.cimaa.agent.store import StoreClient
from zc.cimaa.config import Config
from zc.cimaa.db import DB
from zc.cimaa.faults import FaultDict
from zc.cimaa.outcomes import Finished

PROCESSES = 4
# Seconds between the starts of two agents of a process.
_APART = 0.05


class Figures(NamedTuple):
    """How a fleet answered."""

    #: Agents by the states of their commands.
    states: Mapping[str, int]
    #: Answers whose signatures are those of their agents.
    verified: int
    #: When half of the agents had ended their commands, and when the last one had (ticks after the command to send).
    median: float
    last: float


# The agents


async def healthy(agent: str, check: Check, before: Iterable[FaultDict]) -> Result:
    return of_outcome(agent, check, Finished(0, b"ok", b""), before)


async def live(config: Config, db: DB, start: float) -> None:
    """Do what the process of a daemon does, after ``start`` seconds, until it is killed."""
    await asyncio.sleep(start)
    settings, clock = Settings.load(config), SystemClock()
    store = StoreClient(settings.name, db, clock)
    daemon = Daemon(settings, store, {}, clock, healthy, on_tick=lambda _tick: actions.tick())
    actions = ActionDuty(daemon, store, clock)
    actions.configure(config, settings)
    await daemon.run()


async def live_together(files: Iterable[Path]) -> None:
    configs = [Config.read(file) for file in files]
    with configs[0].open_database() as db:
        # One after the other: of 1,000 requests at once, moto's server refuses some.
        await asyncio.gather(*(live(config, db, number * _APART) for number, config in enumerate(configs)))


# What they are asked


class Stores(NamedTuple):
    """The settings of one store, for agents, for who sends, and for who only looks."""

    agents: Mapping[str, str]
    sender: Mapping[str, str]
    others: Mapping[str, str]


class Fleet:
    """Agents in a directory, with the people who ask them."""

    def __init__(self, directory: Path, stores: "Stores", agents: int, tick: int) -> None:
        self.directory, self.stores, self.tick = directory, stores, tick
        self.questions = Questions(directory)
        self.names = [f"agent{number:04}" for number in range(agents)]
        (directory / "checks").mkdir()
        (directory / "checks" / "f.cfg").write_text("[a]\ncommand = true\n")
        for name in self.names:
            self.configure(name)
        lines = [f"{name} {(directory / name / 'key.pub').read_text()}" for name in self.names]
        (directory / "agents.keys").write_text("".join(lines))

    def configure(self, name: str) -> None:
        place = self.directory / name
        place.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", place / "key"], check=True)
        agent = {"name": name, "directory": "../checks", "base_interval": f"{self.tick}s"}
        actions = {"investigators": "../keys/investigators", "journal": "journal", "key": "key"}
        permission = {"minimum": "2", "weights": "jane 2, joe 1"}
        write_sections(
            place / "cimaa.cfg",
            {"database": self.stores.agents, "agent": agent, "actions": actions, "permission:default": permission},
        )

    def run(self, have_looked: Callable[[], bool] = lambda: True) -> Figures:
        """Let the agents live, and ask them when all have reported, and looked at their commands."""
        write_sections(self.directory / "send.cfg", {"database": self.stores.sender})
        write_sections(self.directory / "results.cfg", {"database": self.stores.others})
        with ExitStack() as stack:
            db = stack.enter_context(Config.read(self.directory / "results.cfg").open_database())
            for number in range(PROCESSES):
                stack.callback(end, self.start(self.names[number::PROCESSES]))
            self.wait(lambda: len(db.get_agents()) == len(self.names) and have_looked(), "report")
            return self.ask(FleetActions(db))

    def start(self, names: list[str]) -> "subprocess.Popen[bytes]":
        files = [str(self.directory / name / "cimaa.cfg") for name in names]
        return subprocess.Popen([sys.executable, "-m", "tests.support.answering_fleet", "--live", *files])

    def ask(self, fleet: FleetActions) -> Figures:
        begin = fleet.now()
        parameters = {"path": "/", "type": "directory", "depth": 0}
        data = self.questions.document("file", begin, end=20 * 3600, parameters=parameters)
        file = self.directory / "question.json"
        file.write_bytes(data)
        file.with_name("question.json.sig").write_bytes(self.questions.keys.sign("jane", data))
        self.cimaa("send", str(file), "--yes", "--rate", "100000")
        [action] = fleet.actions()
        self.wait(lambda: fleet.counters(action).done == len(self.names), "answer")
        commands = fleet.commands(action)
        assert [command.agent for command in commands] == self.names
        times = [(command.time - begin) / self.tick for command in commands]
        shown = json.loads(self.cimaa("results", action.id, "--verify", "agents.keys", "--json"))
        verified = sum(1 for answer in shown if answer["found"] and answer["operations"])
        return Figures(Counter(command.state for command in commands), verified, statistics.median(times), max(times))

    def wait(self, condition: Any, what: str) -> None:
        end = time.monotonic() + 3 * self.tick + 30
        while not condition():
            assert time.monotonic() < end, f"some agents do not {what}"
            time.sleep(self.tick / 10)  # real agents, with a bound

    def cimaa(self, *arguments: str) -> str:
        command = [PROGRAM, "--config", f"{arguments[0]}.cfg", "action", *arguments]
        return subprocess.run(command, cwd=self.directory, check=True, stdout=subprocess.PIPE, text=True).stdout


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def write_sections(file: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    lines = [
        line
        for name, keys in sections.items()
        for line in (f"[{name}]", *(f"{key} = {text}" for key, text in keys.items()))
    ]
    file.write_text("\n".join([*lines, ""]))


# What it costs on DynamoDB


#: What was asked for, and what was answered: the operation, the request and the response.
Request = tuple[str, dict[str, Any], dict[str, Any]]


class Used(NamedTuple):
    """Requests, and units as DynamoDB bills them, as far as they follow from sizes; moto does not know them."""

    requests: float = 0
    writes: float = 0
    reads: float = 0


def used(requests: Iterable[Request]) -> Used:
    """The sum over requests."""
    found = [(1, written(operation, body), read(operation, body, answer)) for operation, body, answer in requests]
    return Used(*map(sum, zip(*found, strict=True)))


def is_report(request: Request) -> bool:
    """True if it is the first request of an agent's report, which it makes anyway."""
    operation, body, _ = request
    return operation == "UpdateItem" and body["TableName"].endswith(".agents")


def written(operation: str, body: dict[str, Any]) -> int:
    if operation == "TransactWriteItems":
        return sum(2 * units(write.get("Item", {})) for each in body["TransactItems"] for write in each.values())
    if operation == "BatchWriteItem":
        return sum(units(each["PutRequest"]["Item"]) for listed in body["RequestItems"].values() for each in listed)
    return units(body.get("Item", {})) if operation in ("PutItem", "UpdateItem", "DeleteItem") else 0


def read(operation: str, body: dict[str, Any], answer: dict[str, Any]) -> float:
    if operation not in ("GetItem", "Query", "Scan"):
        return 0
    items = answer.get("Items") or [answer.get("Item", {})]
    read = -(-sum(map(size, items)) // 4096) or 1
    return read if body.get("ConsistentRead") else read / 2


def units(item: dict[str, Any]) -> int:
    return max(1, -(-size(item) // 1024))


def size(item: Mapping[str, Mapping[str, str]]) -> int:
    """The size of an item as DynamoDB bills it, but for numbers, of which it bills less."""
    return sum(len(f"{name}{text}".encode()) for name, value in item.items() for text in value.values())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", nargs="?", choices=["lmdb", "postgres", "dynamodb"])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--tick", type=int, default=300, help="seconds")
    parser.add_argument("--live", nargs="*", type=Path)
    given = parser.parse_args()
    if given.live is not None:
        asyncio.run(live_together(given.live))
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, lease_fight.store(given.store, Path(name)) as settings:
        figures, total = ask(Path(name), settings, given.agents, given.tick)
        print(figures)
        print(f"for each agent: {Used(*(number / given.agents for number in total))}")


def ask(directory: Path, settings: Mapping[str, str], agents: int, tick: int) -> tuple[Figures, Used]:
    """Ask a fleet on this store; how it answered, and on DynamoDB what that used."""
    if "endpoint_url" not in settings:
        return Fleet(directory, Stores(settings, settings, settings), agents, tick).run(), Used()
    agents_way, senders_way = Proxy(settings["endpoint_url"]), Proxy(settings["endpoint_url"])

    def have_looked() -> bool:
        looks = sum(
            operation == "Query" and body["TableName"].endswith(".entries") for operation, body, _ in agents_way.seen
        )
        if looks >= agents:
            agents_way.clear()
        return looks >= agents

    try:
        behind = ({**settings, "endpoint_url": way.url} for way in (agents_way, senders_way))
        figures = Fleet(directory, Stores(*behind, settings), agents, tick).run(have_looked)
        return figures, used([*(each for each in agents_way.seen if not is_report(each)), *senders_way.seen])
    finally:
        for way in (agents_way, senders_way):
            way.close()


if __name__ == "__main__":
    main()
