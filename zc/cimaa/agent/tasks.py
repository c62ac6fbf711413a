"""Work that is asked for again and again, and done by one task at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("zc.cimaa.agent")


class Errand:
    """Some work; whoever asks for it while it is done has it done once more, also if it fails, which is logged."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Have it done."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go())

    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is being done now."""
        return [] if self._task is None or self._task.done() else [self._task]

    async def _go(self) -> None:
        while self._asked:
            self._asked = False
            try:
                await self._work()
            except Exception as error:  # else it would not be noticed before the task is collected
                _LOG.exception("a bug in zc.cimaa, please report it: %s: %s", type(error).__name__, error)
