"""Runs a command while this process has a lease, and ends it before the lease does."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from ..agent.clock import monotonic
from ..db import DB
from ..errors import StoreError
from ..leases import Lease
from ..process_tree import Tree
from ..threads import Call, within

#: The environment variable in which the command finds the token of the lease.
TOKEN = "CIMAA_LEASE_TOKEN"  # noqa: S105  # the name of a variable

# The part of its length after which a lease is renewed.
_RENEWAL = 1 / 3
# The command gets SIGKILL this long (seconds, and at most this part of the lease's length) after SIGTERM, and that no
# later than the lease ends.
_NOTICE, _NOTICE_PART = 10.0, 1 / 6
# The longest pause (seconds) before the clock is read again: the machine may have been suspended.
_PIECE = 10.0
# How long (seconds) the store may take to shorten or to end the lease; if it takes longer, the lease ends by itself.
_PATIENCE = 10.0


class LeaseLost(Exception):
    """The lease was lost.  The message says what happened to the command, and why."""


class LeasedRun:
    """A run of a command under a lease.  Times are those of the monotonic clock."""

    def __init__(
        self,
        db: DB,
        name: str,
        holder: str,
        seconds: int,
        report: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``report`` gets messages about the lease."""
        self._db = db
        self._name, self._holder, self._seconds = name, holder, seconds
        self._report = report
        self._clock = clock
        self._notice = min(_NOTICE, seconds * _NOTICE_PART)
        self._token = 0
        # When the lease was first asked for, when it was last renewed, and when it ends.
        self._began = self._renewed = self._until = 0.0

    def take(self) -> Lease:
        """The lease; it is not this run's if another has it.

        :raises StoreError: if the store is unavailable.
        """
        self._began = self._renewed = self._clock()
        lease = self._db.lease(self._name, self._holder, self._seconds)
        self._token, self._until = lease.token, self._began + self._seconds
        return lease

    async def run(self, command: Sequence[str]) -> int:
        """Run the command, and return its exit status, or 128 and the number of the signal that killed it.

        When this returns, raises an exception or is cancelled, all processes that the command started have ended.

        :raises OSError: if the command cannot be started.
        :raises LeaseLost: if the lease was lost.
        """
        if self._left() <= 0:
            raise LeaseLost("and the command was not started: the store took too long to grant it")
        tree = Tree()
        try:
            environment = {**tree.environment(), TOKEN: str(self._token)}
            process = subprocess.Popen(command, env=environment, start_new_session=True)
            tree.started(process.pid, lambda: process.poll() is None)
            await self._watch(process)
        finally:
            await tree.end()
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def finish(self, *, release: bool) -> None:
        """End the lease; unless ``release``, not before its length is over since it was taken."""
        left = self._began + self._seconds - self._clock()
        try:
            if release or left < 1:
                within(partial(self._db.release, self._name, self._holder), _PATIENCE)
            elif self._renewed != self._began:
                within(partial(self._db.lease, self._name, self._holder, left), _PATIENCE)
        except (StoreError, TimeoutError) as error:
            self._report(f"the lease {self._name} ends later by itself: {error}")

    async def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Renew the lease until the process has ended, and end it if the lease is lost."""
        exited = asyncio.ensure_future(Call(process.wait).ended())
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait([exited, keeping], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                raise LeaseLost(f"and the command was ended: {keeping.result()}")
        finally:
            keeping.cancel()
            if not exited.done():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                await asyncio.wait([exited], timeout=max(0.0, min(self._notice, self._until - self._clock())))

    def _left(self) -> float:
        """How long (seconds) it is until the command has to be ended, unless the lease is renewed."""
        return self._until - self._notice - self._clock()

    async def _keep(self) -> str:
        """Renew the lease until it is lost, or will be over soon; return why."""
        while (left := self._left()) > 0:
            await asyncio.sleep(min(left, self._seconds * _RENEWAL / 4, _PIECE))
            asked = self._clock()
            if asked - self._renewed < self._seconds * _RENEWAL:
                continue
            call = Call(partial(self._db.lease, self._name, self._holder, self._seconds))
            if not await call.ended(max(0.0, self._left())):
                break
            try:
                lease = call.result()
            except StoreError as error:
                self._report(f"the lease {self._name} is not renewed: {error}")
                continue
            if (lease.holder, lease.token) != (self._holder, self._token):
                self._until = self._clock() + self._notice
                return _why_lost(lease, self._holder)
            self._renewed, self._until = asked, asked + self._seconds
        return "it could not be renewed in time"


def _why_lost(lease: Lease, holder: str) -> str:
    """Why a renewal yielded this lease: if no other holder has taken it, the renewal took it again."""
    return "it was released" if lease.holder == holder else f"it was taken away; {lease.holder} has it now"
