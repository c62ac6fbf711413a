"""Several daemons with one store and one pager in simulated time, each of which can be killed."""

import asyncio
import contextvars
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support.simulation import START, SimulatedClock
from zc.cimaa import memory
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.daemon import Daemon
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result, of_outcome
from zc.cimaa.agent.store import StoreClient
from zc.cimaa.agents import Instance
from zc.cimaa.alerters import RESOLVED, Alert, Alerter
from zc.cimaa.db import DB
from zc.cimaa.entries import Entry
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.faults import FaultDict
from zc.cimaa.outcomes import Finished

SECTION = "//shop/orders"
CHECKS = f"[{SECTION}]\ncommand = x\nonce = yes\n"

_AGENT: contextvars.ContextVar[object] = contextvars.ContextVar("agent")
_names = itertools.count()
#: The tasks of each agent.
_tasks: "weakref.WeakKeyDictionary[asyncio.Task[Any], object]" = weakref.WeakKeyDictionary()


def _task(loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
    """A task, which belongs to the agent that starts it."""
    task = asyncio.Task(work, loop=loop, context=context)
    _tasks[task] = _AGENT.get(None) if context is None else context.get(_AGENT)
    return task


class Store(memory.DB):
    """A handle of the group's store, which counts the calls about leases, and can be cut off."""

    away = False
    refusal: Exception | None = None
    reads = writes = 0

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        self._answer_lease()
        self.reads += 1
        return super()._entries(kind, owner, key)

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        self._answer_lease()
        self.writes += 1
        return super()._swap(kind, owner, key, was, becomes)

    def _touch(self, *given: Any) -> bool:
        self._answer()
        return super()._touch(*given)

    def _agent_faults(self, agent: str) -> Any:
        self._answer()
        return super()._agent_faults(agent)

    def _squelches(self) -> Any:
        self._answer()
        return super()._squelches()

    def _answer_lease(self) -> None:
        self._answer()
        if self.refusal is not None:
            raise self.refusal

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is down")


class Pager(Alerter):
    """The group's pager, as one agent reaches it."""

    def __init__(self, group: "Group") -> None:
        super().__init__({"timeout": 10})
        self._group = group
        self.works = True
        self.hangs: threading.Event | None = None

    def send(self, alert: Alert) -> None:
        if self.hangs is not None:
            self.hangs.wait(20)
        if not self.works:
            raise StoreUnavailable("no route")
        self._group.alerts.append(alert)


class Member:
    """One process of an agent of the group."""

    def __init__(self, group: "Group", name: str, opened: Callable[..., DB], checks: str) -> None:
        self.group, self.name = group, name
        directory = group.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "f.cfg").write_text(checks)
        self.settings = Settings(name, directory, 60, 10)
        instance = Instance(name, next(_names), "1", "Linux")
        self.db = opened(instance=instance, clock=group.clock.time)
        self.pager = Pager(group)
        self.daemon = Daemon(
            self.settings, StoreClient(name, self.db, group.clock), {"pager": self.pager}, group.clock, self._run
        )
        #: When each check ran.
        self.sections: list[tuple[float, str]] = []
        self._main: asyncio.Task[None] | None = None

    def start(self) -> None:
        context = contextvars.copy_context()
        context.run(_AGENT.set, self)
        self._main = asyncio.create_task(self.daemon.run(), context=context)

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self.group.members.remove(self)
        for task in asyncio.all_tasks():
            if _tasks.get(task) is self:
                task.cancel()

    async def end(self, *, keep: bool = False) -> None:
        """As SIGTERM does."""
        assert self._main is not None
        self._main.cancel()
        await asyncio.wait([self._main])
        await self.daemon.end(keep=keep)
        self.kill()

    @property
    def holds(self) -> bool:
        return any(state.held for state in self.daemon.states)

    def faults(self) -> dict[str, FaultDict]:
        """What it reports at this moment."""
        return {fault["name"]: fault for fault in self.daemon.reporter.contents.faults()}

    async def _run(self, agent: str, check: Check, before: Iterable[FaultDict]) -> Result:
        now = self.group.clock.time() - START
        self.sections.append((now, check.section))
        if check.section != SECTION:
            return of_outcome(agent, check, Finished(0, b"fine", b""), before)
        self.group.runs.append((now, agent))
        return of_outcome(agent, check, self.group.finds(self.group.clock.time() - START), before)


class Group:
    """Agents that have the same check, of which one runs it."""

    def __init__(self, directory: Path, opened: Callable[..., DB] | None = None) -> None:
        self.directory = directory
        self.clock = SimulatedClock()
        self._opened = opened or functools.partial(Store, {"name": f"group {directory}"})
        self.store = self._opened(clock=self.clock.time)  # it exists while it is open
        self.members: list[Member] = []
        #: When the check ran (seconds since the start), and by whom.
        self.runs: list[tuple[float, str]] = []
        self.alerts: list[Alert] = []
        #: What the check finds, by the seconds since the start.
        self.finds: Callable[[float], Finished] = lambda _: Finished(0, b"fine", b"")

    def start(self, name: str, checks: str = CHECKS) -> Member:
        member = Member(self, name, self._opened, checks)
        self.members.append(member)
        member.start()
        return member

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.time() + seconds)

    @property
    def holders(self) -> list[Member]:
        return [member for member in self.members if member.holds]

    @property
    def holder(self) -> Member:
        (holder,) = self.holders
        return holder

    def play(self, story: Callable[[], Any]) -> None:
        """Run a story in simulated time, and see all along that no two hold the lease."""

        async def watch() -> None:
            while True:
                await self.wait(7)
                assert len(self.holders) <= 1, [member.name for member in self.holders]

        async def run() -> None:
            asyncio.get_running_loop().set_task_factory(_task)
            watching = asyncio.create_task(watch())
            playing = asyncio.create_task(story())
            try:
                done, _ = await asyncio.wait([watching, playing], return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for member in [*self.members]:
                    member.kill()
                watching.cancel()

        asyncio.run(run())

    def events(self) -> list[str]:
        """The alerts about the check: ``triggered`` and ``resolved``."""
        return [alert.event for alert in self.alerts if alert.key == SECTION]


def critical(message: bytes = b"bad") -> Finished:
    return Finished(0, b'{"faults": [{"severity": 50, "message": "%s"}]}' % message, b"")


__all__ = ["CHECKS", "RESOLVED", "SECTION", "Group", "Member", "Store", "critical"]
