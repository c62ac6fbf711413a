"""The daemon's link to its store, which may be away: no call holds up anything else, and none waits for ever."""

import asyncio
import math
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ..db import DB
from ..errors import StoreError, StoreUnavailable
from ..faults import SEVERITIES, Fault
from ..squelches import Matcher, Squelch, in_force
from ..units import format_duration, format_time
from . import threads
from .clock import Clock
from .naming import fault_name
from .results import fault as make_fault

T = TypeVar("T")

#: How long (seconds) the daemon waits for one call.
PATIENCE = 15
#: For how long (seconds) after an absence the report tells of it.
REMEMBERED = 60 * 60

_FIRST_DELAY = 1.0


@dataclass
class Figures:
    """What the calls came to."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    #: When the last report was stored (seconds since the epoch).
    last_report: float = 0.0


class Link:
    """Calls of a store for one agent."""

    def __init__(self, agent: str, db: DB, clock: Clock, patience: float = PATIENCE) -> None:
        self._agent = agent
        self._db = db
        self._clock = clock
        self._patience = patience
        self._turn = asyncio.Lock()
        self._hanging: Future[Any] | None = None
        # The squelches last known; what matches those in force until some time, and that time.
        self._squelches: list[Squelch] = []
        self._match: Callable[[str], object] = Matcher(()).matching
        self._matches_until = math.inf
        #: Since when (seconds since the epoch) the store has been away.
        self.away_since: float | None = None
        self._absence: tuple[float, float] | None = None
        self.figures = Figures()

    async def report(self, faults: list[Fault]) -> None:
        """Store the agent's faults."""
        await self._call(self._db.set_faults, self._agent, faults)
        self.figures.last_report = self._clock.time()

    async def faults(self) -> list[Fault]:
        """The agent's faults that the store has."""
        stored = await self._call(self._db.get_faults, self._agent)
        return [{key: value for key, value in fault.items() if key != "agent"} for fault in stored]

    async def refresh_squelches(self) -> None:
        """Learn which squelches there are."""
        details = await self._call(self._db.get_squelch_details)
        known = [Squelch(**squelch) for squelch in details]
        if known != self._squelches:
            self._squelches = known
            self._prepare()

    def silenced(self, name: str) -> object:
        """True if a squelch that is in force now matches the fault's name, by the squelches last known."""
        if self._clock.time() >= self._matches_until:
            self._prepare()
        return self._match(name)

    def _prepare(self) -> None:
        now = self._clock.time()
        counting = [squelch for squelch in self._squelches if in_force(squelch, now)]
        self._match = Matcher(squelch.regex for squelch in counting).matching
        self._matches_until = min((s.expires for s in counting if s.expires is not None), default=math.inf)

    async def remove(self) -> None:
        """Remove the agent."""
        if self._hanging is not None:
            await asyncio.wait([asyncio.wrap_future(self._hanging)])
        await self._call(self._db.remove_agent, self._agent)

    def told(self) -> list[Fault]:
        """A fault, a mere piece of information, that tells how long the store was away lately."""
        if self._absence is None or self._clock.time() > self._absence[1] + REMEMBERED:
            return []
        start, end = self._absence
        text = f"the store was away for {format_duration(end - start)}, until {format_time(end)}"
        return [make_fault(fault_name(self._agent, "agent", "store"), SEVERITIES["info"], text)]

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the store's method returns; one call at a time.

        :raises StoreError: if the store is away; that is noted.
        """
        async with self._turn:
            return await self._bounded(function, *arguments)

    async def _bounded(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._hanging is not None and not self._hanging.done():
            raise StoreUnavailable("the store has not answered an earlier call yet")
        self.figures.calls += 1
        start = self._clock.time()
        self._hanging = call = threads.start(function, *arguments)
        try:
            result = await threads.bounded(call, self._patience)
        except TimeoutError:
            error: StoreError = StoreUnavailable(f"the store did not answer within {format_duration(self._patience)}")
            self._failed()
            raise error from None
        except Exception as cause:  # a backend is somebody else's code, and must not end the agent
            self._failed()
            if isinstance(cause, StoreError):
                raise
            raise StoreUnavailable(f"the store failed: {type(cause).__name__}: {cause}") from cause
        finally:
            self.figures.seconds += self._clock.time() - start
        self._came_back()
        return result

    def _failed(self) -> None:
        self.figures.errors += 1
        if self.away_since is None:
            self.away_since = self._clock.time()

    def _came_back(self) -> None:
        if self.away_since is not None:
            self._absence = self.away_since, self._clock.time()
            self.away_since = None


def delay(failures: int, most: float, chance: Callable[[], float] = random.random) -> float:
    """How long (seconds) to wait after so many failures in a row: twice as long each time, never more than ``most``.

    From half of that to all of it, by chance, so that the agents of a fleet do not
    come back together.
    """
    longest: float = min(most, _FIRST_DELAY * 2 ** min(failures, 30))
    return longest * (0.5 + chance() / 2)
