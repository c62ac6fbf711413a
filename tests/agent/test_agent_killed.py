"""An agent that is killed again and again while its store and its pager fail: no alert is lost, and few are repeated.

All in simulated time.  Whether an alert is a repetition, and of which kind (those that
``alerts.rst`` names), is determined by what the pager has, and by what the store had
when the process started that sent it.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support.simulation import START, Simulation
from zc.cimaa import memory
from zc.cimaa.agent.rules import alerting
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.alerters import RESOLVED, TRIGGERED, Alert, Alerter
from zc.cimaa.errors import AlertError, StoreUnavailable
from zc.cimaa.faults import FaultDict
from zc.cimaa.outcomes import Finished

T = TypeVar("T")

CHECKS = ("a", "b", "c", "d")
KILLS = 200
#: The kinds of repetition that ``alerts.rst`` names.
NOT_STORED, INTERRUPTED, NO_STORE, REMOVED, FAILED = "not stored", "interrupted", "no store", "removed", "failed"
KINDS = {NOT_STORED, INTERRUPTED, NO_STORE, REMOVED, FAILED}


class KilledError(Exception):
    """The process was killed: nothing that it would have done is done."""


@dataclass
class Sent:
    """The last alert about a fault that the pager has."""

    process: "Process"
    alert: Alert
    #: True if the last call of the store failed or timed out.
    away: bool
    #: True once the store has that it was sent; and once the agent was removed from the store.
    stored: bool = False
    removed: bool = False


@dataclass
class World:
    """A host, its faults, its store and its pager."""

    chance: random.Random
    name: str
    now: float = START
    #: What is wrong, by check.
    wrong: dict[str, str] = field(default_factory=dict)
    away: bool = False
    #: The pager is down, and then some calls fail although it has the alert.
    down: bool = False
    calm: bool = False
    #: What is open at the pager, and the last alert about each fault.
    open: dict[str, str] = field(default_factory=dict)
    last: dict[str, Sent] = field(default_factory=dict)
    #: Faults about which an alerter's call failed so that it is unknown whether the alert was sent.
    doubtful: set[str] = field(default_factory=set)
    repeated: "Counter[str | None]" = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)
    sent: int = 0
    kills: int = 0

    def change(self) -> None:
        """Let a minute pass for the host, the store and the pager."""
        if self.calm:
            return
        for check in CHECKS:
            if self.chance.random() < 0.25:
                self.wrong.pop(check, None)
                if self.chance.random() < 0.6:
                    self.wrong[check] = self.chance.choice(["bad", "worse"])
        self.away = self.chance.random() < (0.7 if self.away else 0.08)
        self.down = self.chance.random() < (0.6 if self.down else 0.08)

    def critical(self) -> dict[str, str]:
        return {f"//web1/f/{check}": message for check, message in self.wrong.items()}


class Process:
    """One life of the agent."""

    def __init__(self, world: World, directory: Path, kill_at: int | None) -> None:
        self.world = world
        self.dead = False
        #: True if the last call of the store failed.
        self.away = False
        self._kill_at = kill_at
        self._steps = 0
        #: What the store had of each fault when it was first asked.
        self.marks: dict[str, str] | None = None
        #: The faults about which it sent something.
        self.alerted: set[str] = set()
        checks = "".join(f"[{check}]\ncommand = x\n" for check in CHECKS)
        db = Store(self)
        pager = Pager(self)
        self.simulation = Simulation(db, checks, self._work, directory, {"pager": pager}, start=world.now)
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def live(self, at_tick: Callable[[int], None] = lambda number: None) -> None:
        """Run until it is killed, or cancelled by :meth:`stop`."""
        ticks = 0

        def tick(_: int) -> None:
            nonlocal ticks
            ticks += 1
            self.world.change()
            at_tick(ticks)

        async def run() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(self.simulation.daemon.run())
            await asyncio.wait([self._task])

        self.simulation.on_tick = tick
        asyncio.run(run())
        self.world.now = self.simulation.clock.time()
        self.simulation.db.close()

    def kill(self) -> None:
        """As ``kill -9`` does: from now on nothing that it does counts."""
        if not self.dead:
            self.dead = True
            self.world.kills += 1
            assert self._loop is not None
            assert self._task is not None
            self._loop.call_soon_threadsafe(self._task.cancel)

    def step(self) -> None:
        """Between any two things that others see the process may be killed."""
        self._steps += 1
        if self._steps == self._kill_at:
            self.kill()
        if self.dead:
            raise KilledError

    async def _work(self, clock: Any, check: Check) -> Finished:
        message = self.world.wrong.get(check.section)
        faults = [] if message is None else [{"severity": "critical", "message": message}]
        return Finished(0, json.dumps({"faults": faults}).encode(), b"")


class Store(memory.DB):
    """The store as one process sees it."""

    def __init__(self, process: Process) -> None:
        super().__init__({"name": process.world.name})
        self._process = process

    def set_faults(self, agent: str, faults: Iterable[FaultDict], within: int | None = None) -> None:
        listed = list(faults)
        self._call(lambda: memory.DB.set_faults(self, agent, listed, within))
        if self._process.world.chance.random() < 0.05:
            self._process.away = True
            raise StoreUnavailable("the answer is lost")

    def get_faults(self, agent: str) -> list[FaultDict]:
        found = self._call(lambda: memory.DB.get_faults(self, agent))
        if self._process.marks is None:
            self._process.marks = marks(found)
        return found

    def get_squelch_details(self) -> list[dict[str, Any]]:
        return self._call(lambda: memory.DB.get_squelch_details(self))

    def _call(self, function: Callable[[], T]) -> T:
        self._process.step()
        self._process.away = self._process.world.away
        if self._process.away:
            raise StoreUnavailable("the store is down")
        result = function()
        self._note()
        self._process.step()
        return result

    def _note(self) -> None:
        """Note which of the pager's alerts the store knows now."""
        known = marks(memory.DB.get_faults(self, "web1"))
        for name, sent in self._process.world.last.items():
            expected = alerting.digest(sent.alert.message) if sent.alert.event == TRIGGERED else None
            if sent.process is self._process and known.get(name) == expected:
                sent.stored = True


def marks(faults: Iterable[FaultDict]) -> dict[str, str]:
    return {f["name"]: f["triggered"]["pager"] for f in faults if "pager" in f.get("triggered", {})}


class Pager(Alerter):
    """A pager, as one process sees it."""

    def __init__(self, process: Process) -> None:
        super().__init__({"timeout": 10})
        self._process = process

    def send(self, alert: Alert) -> None:
        self._process.step()
        world = self._process.world
        if world.down and world.chance.random() < 0.6:
            raise AlertError("no route")
        if world.down and world.chance.random() < 0.5:
            world.doubtful.add(alert.name)
            raise TimeoutError("no connection")
        self._take(alert)
        self._process.step()
        if world.down and world.chance.random() < 0.5:
            world.doubtful.add(alert.name)
            raise TimeoutError("no answer")
        world.doubtful.discard(alert.name)

    def _take(self, alert: Alert) -> None:
        world = self._process.world
        world.sent += 1
        name = alert.name
        if world.open.get(name) == (alert.message if alert.event == TRIGGERED else None):
            kind = self._kind(name)
            world.repeated[kind] += 1
            if kind is None:
                world.unnamed.append(f"kill {world.kills}: {alert}")
        if alert.event == RESOLVED:
            world.open.pop(name, None)
        else:
            world.open[name] = alert.message
        world.last[name] = Sent(self._process, alert, self._process.away)
        self._process.alerted.add(name)

    def _kind(self, name: str) -> str | None:
        """Why an alert is sent again."""
        process, last = self._process, self._process.world.last.get(name)
        if name in process.world.doubtful:
            return FAILED
        if process.marks is None:
            return NO_STORE
        if name in process.alerted:
            return None
        if last is not None and last.removed:
            return REMOVED
        if process.marks.get(name) == "":
            return INTERRUPTED
        if last is not None and last.process is not process and last.away and not last.stored:
            return NOT_STORED
        return None


def check(process: Process, resolved: bool) -> None:
    """See that the pager has what is critical, and (``resolved``) nothing else that the agent can know of."""
    world, critical = process.world, process.world.critical()
    assert critical.keys() <= world.open.keys()
    for name, message in world.open.items():
        last = world.last[name]
        unknown = last.process is not process and (last.removed or (last.away and not last.stored))
        if name in critical:
            assert message == critical[name] or unknown
        elif resolved:
            assert unknown
            assert process.marks is not None
            assert name not in process.marks


def test_two_hundred_kills_lose_no_alert_and_repeat_only_what_the_page_names(tmp_path: Path) -> None:
    world = World(random.Random(1), str(tmp_path))
    checked = 0
    with memory.DB({"name": world.name}) as store:
        while world.kills < KILLS:
            for _ in range(world.chance.randrange(4)):  # no process runs
                world.change()
                world.now += 60
            if world.chance.random() < 0.05:
                store.remove_agent("web1")
                for sent in world.last.values():
                    sent.removed = True
            if world.chance.random() < 0.3:
                checked += 1
                world.calm, world.down = True, False
                world.away = world.chance.random() < 0.3
                process = Process(world, tmp_path, None)

                def at_tick(number: int, process: Process = process) -> None:
                    if number == 5:
                        check(process, resolved=not world.away)
                        process.kill()

                process.live(at_tick)
                world.calm = False
            else:
                Process(world, tmp_path, world.chance.randrange(1, 60)).live()
    assert world.unnamed == []
    assert checked > KILLS / 10
    assert {INTERRUPTED, NO_STORE} <= set(world.repeated) <= KINDS
    assert world.repeated.total() < world.sent / 2
