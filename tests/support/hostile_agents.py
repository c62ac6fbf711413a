"""Whole agents with real keys whose store is hostile: random histories, and a judge who knows what people signed.

``python -m tests.support.hostile_agents [histories [seed]]``

Daemons in simulated time, with their configurations and journals, look at a store that changes what it was given, as in
``hostile_papers``, and lies about claims.  Signatures are made by an ``ssh-agent`` and verified by ``ssh-keygen``, and
what runs are processes that note it in a file.  The seed determines what is asked and given, but not in which order
threads ask the store.
"""

import asyncio
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.hostile_keys import RealKeys
from tests.support.hostile_papers import (
    AGENTS,
    LONGEST,
    START,
    Broken,
    Papers,
    identity,
    in_memory,
    weights_of,
)
from tests.support.long_form import numbers
from tests.support.simulation import SimulatedClock, Simulation
from tests.support.ssh_keys import ssh_agent
from zc.cimaa import memory
from zc.cimaa.actions.entries_of_actions import ACTION, COMMAND, RUNNING, action_entry, command_entry
from zc.cimaa.actions.journal import TOLERANCE
from zc.cimaa.actions.judging import Given
from zc.cimaa.agent.action_duty import ActionDuty
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.config import Config
from zc.cimaa.entries import Entry
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.outcomes import Finished

#: The command of the configuration that each kind of document asks for.
COMMANDS = {"look": "note", "command": "restart"}
#: Ticks of an agent between two restarts, and within how long after a start it looks at its commands (seconds).
TICKS, FIRST_LOOK = 3, 60


def operation(kind: str, number: int) -> dict[str, Any]:
    return {"module": "command", "parameters": {"name": COMMANDS[kind], "arguments": [str(number)]}}


class WatchedClock(SimulatedClock):
    """A clock that knows the latest time that it gave."""

    latest: float = 0

    def time(self) -> float:
        now = super().time()
        self.latest = max(self.latest, now)
        return now


class Claim(NamedTuple):
    """The store let an agent claim an action, at this time of the agent's clock."""

    id: str
    time: float


class HostileStore(memory.DB):
    """A store that gives what it wants, also twice, and says what it wants about claims."""

    #: Where its lies come from; ``None``: it is honest.
    lies: random.Random | None = None
    agent_clock: SimulatedClock

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.agent_clock.time())
        self.claims: list[Claim] = []
        self.states: Counter[str] = Counter()

    def put(self, *entries: Entry) -> None:
        self._store.entries |= {(entry.kind, entry.owner, entry.key): entry for entry in entries}

    def all(self) -> list[Entry]:
        return list(self._store.entries.values())

    def restore(self, entries: Iterable[Entry]) -> None:
        """Be as in a backup."""
        self._store.entries.clear()
        self.put(*entries)

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> list[Entry]:
        found = list(super()._entries(kind, owner, key))
        if self.lies and kind == COMMAND:
            found += self.lies.choices(found, k=2) if found else []
            self.lies.shuffle(found)
        elif self.lies and kind == ACTION and self.lies.random() < 0.1:
            found = list(super()._entries(ACTION))[:1]
        return found

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        state = becomes.value["state"] if becomes is not None and kind == COMMAND else ""
        swapped = super()._swap(kind, owner, key, was, becomes)
        if self.lies:
            if state == RUNNING:
                self.agent_clock.skip(self.lies.choice((0, 0, 1, 60, 3600, -60)))
                swapped = self.lies.random() < 0.8
            if self.lies.random() < 0.1:
                raise StoreUnavailable("whether it was written remains open")
        if swapped and state == RUNNING:
            self.claims.append(Claim(key, self.agent_clock.time()))
        self.states[state] += bool(state and swapped)
        return swapped


class Host:
    """An agent's configuration, journal and clock."""

    def __init__(self, name: str, directory: Path, keys: RealKeys, record: Path) -> None:
        self.name = name
        self.directory = directory / name
        (self.directory / "checks").mkdir(parents=True)
        self.clock: float = START
        #: The latest time that the agent's journal certainly saw, the latest that it can have seen, and the ids that it
        #: may have claimed.
        self.latest: float = 0
        self.latest_possible: float = 0
        self.claimed: set[str] = set()
        self._config = self.directory / "cimaa.cfg"
        self._config.write_text(
            f"[agent]\nname = {name}\ndirectory = checks\ntags = {' '.join(AGENTS[name])}\n"
            f"[actions]\ninvestigators = {keys.investigators}\nrevoked = {keys.revoked}\njournal = journal\n"
            f"longest = {LONGEST}s\n"
            + "".join(
                _sections(command, f"sh {record} {name} {command}", weights_of(kind))
                for kind, command in COMMANDS.items()
            )
        )

    def run(self, store: HostileStore, count: int, **actions: Any) -> None:
        """Start the agent, let it tick, and stop it once its actions ended."""
        config = Config.read(self._config)
        store.agent_clock = clock = WatchedClock(self.clock)
        clock.HANGING = 20  # nothing hangs here, but ssh-keygen may be slow
        simulation = Simulation(
            store, "[a]\ncommand = x\n", _fine, self.directory / "checks", name=self.name, clock=clock
        )

        async def go() -> None:
            duty = ActionDuty(simulation.daemon, simulation.store, clock)
            duty.configure(config, Settings.load(config))
            simulation.at_ticks(**actions)
            at_tick = simulation.on_tick
            simulation.on_tick = lambda tick: (at_tick(tick), duty.tick())
            with suppress(StoreUnavailable):  # the last report may seem late, as the clock jumps
                await simulation.daemon.run(count)
            await duty.finish()

        asyncio.run(go())
        self.clock = clock.time()
        self.latest_possible = max(self.latest_possible, clock.latest)


def _sections(name: str, command: str, weights: dict[str, str]) -> str:
    permission = "".join(f"{key} = {value}\n" for key, value in weights.items())
    return f"[permission:command:{name}]\n{permission}[command:{name}]\ncommand = {command}\narguments = [0-9]+\n"


async def _fine(clock: SimulatedClock, check: Check) -> Finished:
    return Finished(0, b"", b"")


class History:
    """One random history."""

    def __init__(self, random_: random.Random, directory: Path, keys: RealKeys) -> None:
        self.random = random_
        self.papers = Papers(random_, keys, operation)
        self.store = HostileStore()
        self.ran = directory / "ran"
        record = directory / "record"
        record.write_text(f'echo "$*" >> {self.ran}\n')
        self.hosts = [Host(name, directory, keys, record) for name in AGENTS]
        self._backups: list[list[Entry]] = [[]]
        self._judged: Counter[str] = Counter()

    def play(self, steps: int) -> None:
        """Let people ask, the store lie, and agents run."""
        for _ in range(steps):
            choices = (self.papers.ask, self.papers.lie, self._run, self._run_honestly, self._pass_time)
            self.random.choices(choices, (4, 4, 3, 3, 3))[0]()
        for host in self.hosts:  # everything once more, as from a backup
            self._run(host)

    def _pass_time(self) -> None:
        jumps = (30, 120, 600, 3600, -60, -TOLERANCE, -TOLERANCE - 1, -900, -1800, -3600)
        self.random.choice(self.hosts).clock += self.random.choice(jumps)

    def _run(self, host: Host | None = None) -> None:
        """An agent is started, and the store lies to it."""
        host = host or self.random.choice(self.hosts)
        self.store.lies = random.Random(self.random.random())
        self._tamper(host)
        self._judge_run(host, at2=lambda: self._tamper(host))

    def _run_honestly(self) -> None:
        """An agent is started, and the store is honest: then the agent runs what it must."""
        if not (given := self.papers.given):
            return
        host = self.random.choice(self.hosts)
        due = [each for each in given if self.papers.must_run(host.name, each, host.clock)]
        one = self.random.choice(due if due and self.random.random() < 0.7 else given)
        self.store.lies = None
        self.store.restore(self._entries_of(host.name, one))
        is_new = one.id not in host.claimed and host.clock >= host.latest_possible - TOLERANCE
        must = is_new and all(self.papers.must_run(host.name, one, host.clock + late) for late in (0, FIRST_LOOK))
        began = host.clock
        ran = self._judge_run(host)
        if must and self.papers.documents[one.data].number not in ran:
            raise Broken(f"{host.name}, started at {began}, did not run {one.data!r}: {self.store.all()[-1]}")

    def _tamper(self, host: Host) -> None:
        """Give the agent some papers, or restore a backup, or the claims of any agent, and wake it."""
        entries = self.store.all()
        self._backups.append(entries)
        given = self.papers.given
        if self.random.random() < 0.3:
            entries = self.random.choice(self._backups)
        if self.random.random() < 0.7:
            entries = [*entries, *self._entries_of(host.name, *self.random.sample(given, min(3, len(given))))]
        commands = [entry for entry in entries if entry.kind == COMMAND]
        for entry in self.random.sample(commands, min(3, len(commands))):  # unclaimed, and for this agent
            entries.append(command_entry(entry.key, host.name, int(host.clock), int(host.clock) + LONGEST))
        for entry in entries[:1] if self.random.random() < 0.1 else ():
            entries.append(entry._replace(value=self.random.choice((None, [], 7, {"state": 1, "document": {}}))))
        self.store.restore(entries)
        self.store.wake([host.name])

    def _entries_of(self, agent: str, *given: Given) -> Iterator[Entry]:
        for each in given:
            data, signed = each.data.decode(errors="replace").encode(), each.signatures
            entry = action_entry(data, signed, "eve", START, START + 100 * LONGEST)
            yield entry._replace(key=each.id)
            yield command_entry(each.id, agent, START, START + 100 * LONGEST)

    def _judge_run(self, host: Host, **actions: Any) -> list[int]:
        """Run an agent, and judge what ran meanwhile; the numbers of it."""
        self.store.claims.clear()
        latest = host.latest
        host.latest = max(latest, host.clock)
        host.run(self.store, TICKS, **actions)
        lines = self.ran.read_text().splitlines() if self.ran.exists() else []
        new = Counter(lines) - self._judged
        self._judged = Counter(lines)
        for line in new.elements():
            self._judge(host, line, latest)
        host.claimed |= {claim.id for claim in self.store.claims}
        return [int(line.split()[-1]) for line in new]

    def _judge(self, host: Host, line: str, latest: float) -> None:
        """What ran was signed, for this agent, in its window, and ran for the first time."""
        name, command, number = line.split()
        data = list(self.papers.documents)[int(number)]
        times = [claim.time for claim in self.store.claims if claim.id == identity(data)]
        due = [time for time in times if self._is_due(host, data, time)]
        text = f"{host.name} ran {command} {data!r}"
        if (name, command) != (host.name, COMMANDS[self.papers.documents[data].kind]):
            raise Broken(f"{text}, which is not what was asked: {line}")
        if self._judged[line] > 1:
            raise Broken(f"{text} {self._judged[line]} times")
        if not due:
            raise Broken(f"{text}, claimed at {times}, signed by {self.papers.signers(data, host.clock)}")
        if max(due) < latest - TOLERANCE:
            raise Broken(f"{text} although its clock is behind: claimed at {times}, after {latest}")

    def _is_due(self, host: Host, data: bytes, time: float) -> bool:
        return self.papers.is_due(host.name, data, self.papers.signers(data, time), time)


def play(seed: int, keys: RealKeys, steps: int = 20) -> History:
    """One history."""
    with in_memory(seed) as directory:
        history = History(random.Random(seed), directory, keys)
        history.play(steps)
    return history


def main(histories: int, seed: int) -> None:
    """Play many histories, and print how the commands in them ended."""
    states: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory, ssh_agent():
        keys = RealKeys(Path(directory) / "keys")
        logging.disable()  # what agents refuse
        for number in range(histories):
            states += play(seed + number, keys).store.states
            if not (number + 1) % 50:
                print(f"{number + 1} histories: {dict(states)}", flush=True)
    print(f"{histories} histories from seed {seed}, none broken: {dict(states)}")


if __name__ == "__main__":
    main(*numbers(__doc__, histories=300, seed=0))
