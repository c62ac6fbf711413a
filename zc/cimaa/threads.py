"""Blocking calls in threads: the caller waits for a limited time, and the process can end although a call hangs.

Waiting tells whether the call ended, and nothing else.  What the function returned or
raised is asked for apart, so that an exception of the function, a ``TimeoutError`` say,
is never taken for a call that still runs.
"""

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """A call of a function without arguments, in a daemon thread that starts at once."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._returned: list[T] = []
        self._raised: Exception | None = None
        self._ended: futures.Future[None] = futures.Future()
        threading.Thread(target=self._run, daemon=True).start()

    def is_running(self) -> bool:
        """True until the function returned, or raised an exception."""
        return not self._ended.done()

    def wait(self, seconds: float) -> bool:
        """Block until the call ended, for at most ``seconds``; True if it did."""
        futures.wait([self._ended], seconds)
        return self._ended.done()

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the call ended, for at most ``seconds`` (``None``: as long as it takes); True if it did."""
        import asyncio  # here, as commands use this module that have no event loop, and should start quickly

        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=seconds)
        return self._ended.done()

    def result(self) -> T:
        """What the function returned; the call must have ended.

        :raises Exception: what the function raised.  What would end the caller's task or process, such as
            ``SystemExit`` or ``CancelledError``, is the cause of a ``RuntimeError`` that names it.
        """
        if self._raised is not None:
            raise self._raised
        return self._returned[0]

    def _run(self) -> None:
        try:
            self._returned.append(self._function())
        except Exception as error:
            self._raised = error
        except BaseException as error:
            self._raised = RuntimeError(f"{type(error).__name__}: {error}")
            self._raised.__cause__ = error
        self._ended.set_result(None)
