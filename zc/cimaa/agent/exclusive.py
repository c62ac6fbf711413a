"""Checks with ``once = yes``: one agent of several runs each of them, the one that has the check's lease.

What its next holder has to know is in the lease's state: the faults, the failures in a
row, and what alerters sent.  It is written with each renewal, once a tick, and whenever an
alert changed it.  An agent that loses the lease forgets these faults without a message
that they are over.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from .. import backoff
from ..errors import InvalidLease, StoreError
from ..faults import FaultDict
from ..leases import UNCHANGED, Lease
from .check_record import CheckRecord
from .check_state import CheckState, CheckStates
from .clock import Alarm, AsyncClock
from .notifier import Notifier
from .rules import tenure
from .rules.check import Broken, Check, path
from .rules.results import CHECK
from .rules.tenure import NOTHING, Handover, Tenure
from .store import StoreClient
from .tasks import Coalesced

_LOG = logging.getLogger("zc.cimaa.agent")

# The first delay (seconds) before the store is asked again after an error.
_FIRST_DELAY = 1.0


@dataclass
class Context:
    """What all exclusive checks of an agent use."""

    agent: str
    base_interval: float
    store: StoreClient
    clock: AsyncClock
    notifier: Notifier
    states: CheckStates
    #: Called when the faults of a check changed without a run.
    changed: Callable[[], None]
    #: Called when this agent is to run a check, starting now.
    taken: Callable[[CheckState], None] = lambda _state: None

    @property
    def seconds(self) -> int:
        """How long a lease lasts."""
        return tenure.length(self.base_interval)


class ExclusiveCheck:
    """One such check: whether this agent has its lease, and asking for it."""

    def __init__(self, state: CheckState, context: Context) -> None:
        self.state = state
        self.record = CheckRecord(state, context.notifier)
        self.name = state.check.section
        self._context = context
        self._tenure = Tenure()
        # What was to be kept at the end of the last tenure, and what the store has now.
        self._last: Handover | None = None
        self._written: Handover | None = None
        self._failures = 0
        self._due = False
        self._gone = False
        self._asking = Coalesced(self._ask)
        self._alarm = Alarm(context.clock, self._rung)
        if state.faults or state.task is not None:  # until now this agent ran it by itself
            self._lose()

    def tick(self) -> None:
        """Note that the lease has to be renewed in this tick; ask for it the first time."""
        self.expire()
        self._due = True
        if not (self.state.held or self._alarm.is_set() or self._asking.tasks()):
            self._asking.request()

    def expire(self) -> None:
        """Stop if the tenure is over by this agent's own clock, independently of the store."""
        if self.state.held and not self._tenure.holds(self._context.clock.monotonic()):
            _LOG.warning("%s: the lease is over: it was not renewed in time", path(self.state.check))
            self._lose()
            self._context.changed()

    def save(self) -> None:
        """Renew the lease if that is due in this tick, or if what it keeps changed."""
        self.expire()
        if self.state.held and (self._due or self.record.read() != self._written):
            self._due = False
            self._asking.request()

    def seed(self, faults: list[FaultDict]) -> None:
        """Begin with these faults, which this agent reported earlier, if the lease keeps none."""
        if self._last is None:
            self._last = Handover(faults, [])

    def leave(self) -> bool:
        """Stop running the check; true if :meth:`give_up` has to be called."""
        self._gone, held = True, self.state.held
        self._alarm.cancel()
        if held:
            self._lose()
        return held

    async def give_up(self, is_wanted: Callable[[], bool] = lambda: False) -> None:
        """Write what has to be kept, and end the lease; if the store is unavailable, it ends by itself.

        It is not ended if another check of this agent wants it, as a section may move to another file: the lease may
        be that check's already.
        """
        assert self._last is not None
        try:
            if self._last != self._written:
                await self._context.store.lease(self.name, self._context.seconds, self._last._asdict())
            if not is_wanted():
                await self._context.store.release(self.name)
        except (StoreError, InvalidLease) as error:
            _LOG.warning("%s: the lease is not given up: %s", path(self.state.check), error)

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active task, if there is one."""
        return self._asking.tasks()

    async def _ask(self) -> None:
        """Take or renew the lease."""
        asked = self._context.clock.monotonic()
        kept = self.record.read() if self.state.held else None
        if kept is not None:
            self.record.writing(kept)
        try:
            state = UNCHANGED if kept is None else kept._asdict()
            lease = await self._context.store.lease(self.name, self._context.seconds, state)
        except (StoreError, InvalidLease) as error:
            self._failed(error)
        else:
            self._failures, was_unknown, self.state.unknown = 0, self.state.unknown, None
            if not self._gone and (self._answered(lease, asked, kept) or was_unknown):
                self._context.changed()

    def _failed(self, error: Exception) -> None:
        _LOG.warning("%s: no answer about the lease: %s", path(self.state.check), error)
        self._failures += 1
        if self.state.unknown is None:
            self.state.unknown = str(error)
            if not self.state.held:
                self._context.changed()
        if not self._gone:
            base = self._context.base_interval
            self._alarm.set(backoff.delay(self._failures, _FIRST_DELAY, base, least=0.5), self._until())

    def _answered(self, lease: Lease, asked: float, kept: Handover | None) -> bool:
        """Take over what the store answered; true if this agent lost the lease."""
        held, before = self.state.held, self._tenure
        if lease.holder == self._context.agent:
            self._tenure = Tenure(lease.token, asked + self._context.seconds)
            if self._tenure.holds(self._context.clock.monotonic()):
                self._hold(lease, before, kept)
            self._alarm.set(math.inf, self._tenure.until)  # at once if the answer took too long
            return False
        if held:
            _LOG.warning("%s: %s runs it now", path(self.state.check), lease.holder)
            self._lose()
        self._tenure, self._last = Tenure(), None
        self._alarm.set(tenure.pause(lease, self._context.seconds))
        return held

    def _hold(self, lease: Lease, before: Tenure, kept: Handover | None) -> None:
        """Continue with what this agent knows if no other had the lease since, else with what the lease keeps."""
        if self.state.held and before.continues(lease) and kept is not None:
            self._written = kept
            self.record.written(kept)
            return
        if self.state.held:
            self._lose()
        _LOG.info("%s: this agent runs it now", path(self.state.check))
        self._written = tenure.read(self._context.agent, lease.state)
        known = self._last if self._written is None or before.continues(lease) else self._written
        self.record.take(known or self._written or NOTHING, self._written or NOTHING)
        self._context.taken(self.state)

    def _lose(self) -> None:
        """Forget the check's faults, except for the case that no other agent takes the lease."""
        others = (fault for state in self._context.states if state is not self.state for fault in state.faults)
        self._last = self.record.lose(list(others))

    def _until(self) -> float:
        """When the tenure ends, by the monotonic clock."""
        return self._tenure.until if self.state.held else math.inf

    def _rung(self) -> None:
        self.expire()
        self._asking.request()


class ExclusiveChecks:
    """The exclusive checks of an agent."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._checks: dict[CheckState, ExclusiveCheck] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.sync()

    def sync(self) -> None:
        """Take over the checks that are configured now."""
        for state in self.context.states:
            if state.check.once and state not in self._checks:
                self._checks[state] = ExclusiveCheck(state, self.context)

    def leave(self, found: Sequence[Check | Broken]) -> None:
        """Give up the leases of all checks that are not among those found; call it before they are replaced."""
        kept = {(check.file, check.section) for check in found if isinstance(check, Check) and check.once}
        for state in [state for state in self._checks if (state.check.file, state.check.section) not in kept]:
            check = self._checks.pop(state)
            if check.leave():
                task = asyncio.create_task(check.give_up(partial(self._wants, check.name)))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    def _wants(self, lease: str) -> bool:
        return any(check.name == lease for check in self._checks.values())

    def restore(self, stored: Iterable[FaultDict]) -> list[FaultDict]:
        """The faults that are not of these checks; the others count only if their lease has no state."""
        others: list[FaultDict] = []
        own: dict[ExclusiveCheck, list[FaultDict]] = {}
        for fault in stored:
            check = next((check for check in self._checks.values() if check.record.owns(fault)), None)
            (others if check is None else own.setdefault(check, [])).append(fault)
        for check, faults in own.items():
            check.seed(faults)
        return others

    def tick(self) -> None:
        """Note that a tick begins: leases that are held are renewed in it."""
        for check in self._checks.values():
            check.tick()

    def save(self) -> None:
        """Renew the leases for which that is due in this tick, or whose state changed."""
        for check in self._checks.values():
            check.save()

    def marked(self, faults: Iterable[FaultDict]) -> list[FaultDict]:
        """The faults, which are over, each with the check of which it was."""
        checks = self._checks.values()
        found = [(fault, next((check for check in checks if check.record.owns(fault)), None)) for fault in faults]
        return [fault if check is None else {**fault, CHECK: path(check.state.check)} for fault, check in found]

    async def give_up(self) -> None:
        """Give up all leases, as the agent ends."""
        for check in [check for check in self._checks.values() if check.leave()]:
            await check.give_up()

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active tasks."""
        return [*self._leaving, *(task for check in self._checks.values() for task in check.tasks())]
