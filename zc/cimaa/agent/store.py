"""The daemon's access to its store: calls run in threads, one at a time, and each is waited for a limited time."""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..db import DB
from ..errors import Error, StoreError, StoreUnavailable, unexpected
from ..faults import SEVERITIES, FaultDict
from ..leases import UNCHANGED, Lease
from ..masking import mask_urls
from ..naming import fault_name
from ..squelches import Matcher, StoredSquelch, in_force
from ..threads import Call
from ..units import format_duration, format_time
from .clock import AsyncClock
from .rules.results import make_fault

T = TypeVar("T")

_LOG = logging.getLogger("zc.cimaa.agent")

#: Seconds that the daemon waits for one call.
PATIENCE = 15
#: Seconds for which an outage is reported after its end.
OUTAGE_REPORTED = 60 * 60
#: Seconds after which squelches are read again even if no alert is due, so that those known are fresh in an outage.
SQUELCHES_FRESH = 10 * 60


@dataclass
class Figures:
    """Statistics of the calls."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    #: The time of the last stored report (seconds since the epoch).
    last_report: float = 0.0


class StoreClient:
    """The calls of a store for one agent."""

    def __init__(self, agent: str, db: DB, clock: AsyncClock, patience: float = PATIENCE) -> None:
        self._agent = agent
        self._woken = False
        self._db = db
        self._clock = clock
        self._patience = patience
        self._turn = asyncio.Lock()
        self._hanging: Call[Any] | None = None
        # The squelches last read, when that was, and a matcher of those in force with the time until which it is valid.
        self._squelches: list[StoredSquelch] = []
        self._squelches_read = -math.inf
        self._match: Callable[[str], object] = Matcher(()).matching
        self._matches_until = math.inf
        #: When the current outage of the store began (seconds since the epoch).
        self.away_since: float | None = None
        self._outage: tuple[float, float] | None = None
        self.figures = Figures()

    async def report(self, faults: list[FaultDict], within: int) -> bool:
        """Store the agent's faults, and the time (seconds) ``within`` which the next report comes; true if woken."""
        await self._call(self._report, faults, within)
        self.figures.last_report = self._clock.time()
        woken, self._woken = self._woken, False
        return woken

    def _report(self, faults: list[FaultDict], within: int) -> None:
        if self._db.report(self._agent, faults, within):
            self._woken = True  # also if the call timed out: then the next report has it

    async def ask(self, function: Callable[[DB], T]) -> T:
        """What a function of the store returns.

        A store that refuses the call is not unavailable: it may have no table for it yet, and take reports all the
        same.

        :raises StoreError: if the store is unavailable, or refuses the call.
        """
        result: T | Error = await self._call(_refused, function, self._db)
        if isinstance(result, Error):
            raise result
        return result

    async def faults(self) -> list[FaultDict]:
        """The agent's faults in the store."""
        stored = await self._call(self._db.get_faults, self._agent)
        return [{key: value for key, value in fault.items() if key != "agent"} for fault in stored]

    async def lease(self, name: str, seconds: float, state: Any = UNCHANGED) -> Lease:
        """Take or renew a lease for the agent: see :meth:`zc.cimaa.db.DB.lease`."""
        return await self.ask(lambda db: db.lease(name, self._agent, seconds, state=state))

    async def release(self, name: str) -> None:
        """End a lease of the agent."""
        await self.ask(lambda db: db.release(name, self._agent))

    async def read_squelches(self) -> None:
        """Read the squelches."""
        start = self._clock.time()
        details = await self._call(self._db.get_squelch_details)
        self._squelches_read = start
        known = [StoredSquelch(**squelch) for squelch in details]
        if known != self._squelches:
            self._squelches = known
            self._prepare()

    def squelches_are_stale(self) -> bool:
        """True if the squelches should be read again although no alert is due."""
        return not 0 <= self._clock.time() - self._squelches_read < SQUELCHES_FRESH

    def silenced(self, name: str) -> object:
        """True if a squelch in force matches the fault's name, according to the squelches last read."""
        if self._clock.time() >= self._matches_until:
            self._prepare()
        return self._match(name)

    def _prepare(self) -> None:
        now = self._clock.time()
        active = [squelch for squelch in self._squelches if in_force(squelch, now)]
        self._match = Matcher(squelch.regex for squelch in active).matching
        self._matches_until = min((s.expires for s in active if s.expires is not None), default=math.inf)

    async def idle(self) -> None:
        """Wait until no call runs any more, not even one that timed out."""
        if self._hanging is not None:
            await self._hanging.ended()

    async def remove(self) -> None:
        """Remove the agent."""
        await self.idle()
        await self._call(self._db.remove_agent, self._agent)

    def outage_notice(self) -> list[FaultDict]:
        """A fault of severity ``info`` that reports an outage of the store within the last hour."""
        if self._outage is None or self._clock.time() > self._outage[1] + OUTAGE_REPORTED:
            return []
        start, end = self._outage
        text = f"the store was unavailable for {format_duration(end - start)}, until {format_time(end)}"
        return [make_fault(fault_name(self._agent, "agent", "store"), SEVERITIES["info"], text)]

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the store's method returns; one call at a time.

        :raises StoreError: if the store is unavailable.
        """
        async with self._turn:
            return await self._bounded(function, *arguments)

    async def _bounded(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._hanging is not None and self._hanging.is_running():
            raise StoreUnavailable("the store has not answered an earlier call yet")
        self.figures.calls += 1
        start = self._clock.time()
        self._hanging = call = Call(lambda: function(*arguments))
        try:
            if not await call.ended(self._patience):
                raise StoreUnavailable(f"the store did not answer within {format_duration(self._patience)}")
            result = call.result()
        except Exception as cause:  # a backend is foreign code, and must not end the agent
            self._failed()
            if isinstance(cause, StoreError):
                raise
            if unexpected(cause):
                _LOG.error("a bug in the store's backend: %s: %s", type(cause).__name__, cause, exc_info=cause)
            raise StoreUnavailable(f"the store failed: {type(cause).__name__}: {mask_urls(str(cause))}") from cause
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
            self._outage = self.away_since, self._clock.time()
            self.away_since = None


def _refused(function: Callable[[DB], T], db: DB) -> T | Error:
    """What the function returns, or its error, unless the store is unavailable."""
    try:
        return function(db)
    except StoreUnavailable:
        raise
    except Error as error:
        return error
