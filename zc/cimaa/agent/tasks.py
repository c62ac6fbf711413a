"""Helpers for asyncio: work of which one run is active at a time, and signals that end work."""

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

from ..threads import Call

T = TypeVar("T")

_LOG = logging.getLogger("zc.cimaa.agent")


class Coalesced:
    """Work that runs once at a time; requests made while it runs cause one more run, also after an error.

    Errors are logged.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Have the work run."""
        self._requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go())

    def tasks(self) -> list["asyncio.Task[None]"]:
        """The active task, if there is one."""
        return [] if self._task is None or self._task.done() else [self._task]

    async def _go(self) -> None:
        while self._requested:
            self._requested = False
            try:
                await self._work()
            except Exception as error:  # else it would not be noticed before the task is collected
                _LOG.exception("a bug in zc.cimaa, please report it: %s: %s", type(error).__name__, error)


async def in_thread(function: Callable[[], T]) -> T:
    """What the function returns, which runs in a thread.  If this is cancelled, the thread goes on."""
    call = Call(function)
    await call.ended()
    return call.result()


class Signalled(Exception):
    """A signal ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


async def until_signal(work: Coroutine[Any, Any, T], numbers: Collection[int]) -> T:
    """What the work returns; one of these signals cancels it.  Outside the main thread signals are ignored.

    :raises Signalled: once cancelled work has ended.
    """
    task, received = asyncio.ensure_future(work), asyncio.get_running_loop().create_future()

    def receive(number: int) -> None:
        if not received.done():
            received.set_result(number)

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, receive, number)
    try:
        await asyncio.wait([task, received], return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            await cancel([task])
    if received.done() and task.cancelled():
        raise Signalled(received.result())
    return task.result()


def run_until_signal(work: Coroutine[Any, Any, T], *numbers: int) -> T:
    """Run the work in an event loop of its own; see :func:`until_signal`.

    :raises SystemExit: with 128 and the signal's number, once cancelled work has ended.
    """
    try:
        return asyncio.run(until_signal(work, numbers))
    except Signalled as error:
        raise SystemExit(128 + error.number) from None


async def cancel(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
