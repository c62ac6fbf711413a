"""The environment of daemons in tests: a simulated and a fast clock, a store that fails, and checks."""

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from zc.cimaa import memory
from zc.cimaa.agent.clock import AsyncClock
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.daemon import Daemon
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result, of_outcome
from zc.cimaa.agent.store import StoreClient
from zc.cimaa.agents import Touch
from zc.cimaa.alerters import Alerter
from zc.cimaa.db import DB
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.faults import FaultDict
from zc.cimaa.outcomes import Outcome

#: A whole day's start (seconds since the epoch).
START = 1_700_006_400.0

Work = Callable[[Any, Check], Awaitable[Outcome]]


class SimulatedClock:
    """A clock that jumps to the next time that is waited for, once nothing else is left to be done.

    Threads are waited for, unless they hang.
    """

    skipped = False
    #: Real seconds after which a thread counts as hanging.
    HANGING = 0.3

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._turner: asyncio.Task[None] | None = None
        # Threads of earlier tests are not waited for.
        self._others = set(threading.enumerate())

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as if the process was suspended."""
        self._now += seconds
        self.skipped = True

    async def sleep_until(self, when: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (when, next(self._number), future))
        if self._turner is None or self._turner.done():
            self._turner = asyncio.create_task(self._turn())
        await future

    async def _turn(self) -> None:
        while self._waiting:
            await self._rest()
            when, _, future = heapq.heappop(self._waiting)
            if not future.done():
                self._now = max(self._now, when)
                future.set_result(None)
                del future
            await asyncio.sleep(0)

    async def _rest(self) -> None:
        """Return when the event loop has nothing to do, and no thread works on something."""
        ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        end = time.monotonic() + self.HANGING
        while True:
            await asyncio.sleep(0)
            # In this order: what a thread hands over before it ends is ready then.
            threads = self._threads() and time.monotonic() < end
            if ready:
                end = time.monotonic() + self.HANGING
            elif not threads:
                return
            else:
                await asyncio.sleep(0.0002)

    def _threads(self) -> bool:
        return threading.active_count() > 1 and not self._others.issuperset(threading.enumerate())


class FastClock:
    """A clock that runs ``speed`` times as fast as a real one."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start = time.monotonic()

    def time(self) -> float:
        return START + self._speed * (time.monotonic() - self._start)

    def monotonic(self) -> float:
        return self.time()

    async def sleep_until(self, when: float) -> None:
        while (left := when - self.time()) > 0:
            await asyncio.sleep(left / self._speed)


class Away(memory.DB):
    """A store that can be made unavailable, or made to hang."""

    away = False
    hanging: threading.Event | None = None

    def hang(self) -> None:
        self.hanging = threading.Event()

    def recover(self) -> None:
        self.away = False
        if self.hanging is not None:
            self.hanging.set()
            self.hanging = None

    def _answer(self) -> None:
        if self.hanging is not None:
            self.hanging.wait(20)
        if self.away:
            raise StoreUnavailable("the store is down")

    def _touch(self, agent: str, touch: Touch) -> bool:
        self._answer()
        return super()._touch(agent, touch)

    def _agent_faults(self, agent: str) -> Any:
        self._answer()
        return super()._agent_faults(agent)

    def _remove_agent(self, agent: str, user: str | None) -> None:
        self._answer()
        super()._remove_agent(agent, user)

    def _squelches(self) -> Any:
        self._answer()
        return super()._squelches()


class Simulation:
    """A daemon in simulated time, whose checks are run by ``work``."""

    def __init__(
        self,
        db: DB,
        checks: str,
        work: Work,
        directory: Any,
        alerters: dict[str, Alerter] | None = None,
        start: float = START,
        patience: float = 15,
        parallel: int = 10,
        name: str = "web1",
        clock: AsyncClock | None = None,
    ) -> None:
        (directory / "f.cfg").write_text(checks)
        self.db = db
        self.clock = clock or SimulatedClock(start)
        self.work = work
        self.settings = Settings(name, directory, 60, parallel)
        #: Called with the number of each tick, and when the results of a tick are in; tests may replace them.
        self.on_tick: Callable[[int], object] = lambda _tick: None
        self.on_report: Callable[[], object] = lambda: None
        self.store = StoreClient(name, db, self.clock, patience)
        self.daemon = Daemon(
            self.settings,
            self.store,
            alerters or {},
            self.clock,
            self._run,
            on_tick=lambda tick: self.on_tick(tick) and None,
            on_results=lambda _daemon: self.on_report() and None,
        )
        self.notifier = self.daemon.reporter.notifier
        self.runs: list[tuple[float, str]] = []

    def run(self, count: int) -> None:
        """Run ``count`` ticks."""
        asyncio.run(self.daemon.run(count))

    def at_ticks(self, **actions: Callable[[], Any]) -> None:
        """Call actions at ticks, counted from 1: ``at3=...``."""
        numbers = itertools.count(1)
        self.on_tick = lambda _: actions.get(f"at{next(numbers)}", lambda: None)()

    def times(self, section: str) -> list[float]:
        """When the check ran, in seconds since the first run of any check."""
        first = self.runs[0][0]
        return [round(time - first, 3) for time, name in self.runs if name == section]

    async def _run(self, agent: str, check: Check, before: Iterable[FaultDict]) -> Result:
        self.runs.append((self.clock.time(), check.section))
        return of_outcome(agent, check, await self.work(self.clock, check), before)
