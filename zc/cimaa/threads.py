"""Blocking calls in threads: callers wait for a limited time, and the process can exit while a call hangs.

Waiting only returns whether the call has ended.  :meth:`Call.result` returns or raises what
the function returned or raised, so that an exception of the function, such as
``TimeoutError``, is not mistaken for a call that is still running.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


def within(function: Callable[[], T], seconds: float) -> T:
    """Return what the function returns, or raise what it raises, if it ends within ``seconds``.

    :raises TimeoutError: if it takes longer; its thread goes on.
    """
    call = Call(function)
    if not call.wait(seconds):
        raise TimeoutError(f"no result within {seconds:g} s")
    return call.result()


class Call(Generic[T]):
    """A call of a function without arguments, in a daemon thread that starts at once."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._returned: list[T] = []
        self._raised: Exception | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._waiters: list[Future[None]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def is_running(self) -> bool:
        """True until the function has returned or raised an exception."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Block until the call has ended, for at most ``seconds``; True if it has."""
        return self._ended.wait(seconds)

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the call has ended, for at most ``seconds`` (``None``: no limit); True if it has."""
        # Imported here, as commands use this module that have no event loop, and should start quickly.
        import asyncio
        from concurrent.futures import Future

        waiter: Future[None] = Future()
        waiter.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        with self._lock:
            if self._ended.is_set():
                return True
            self._waiters.append(waiter)
        await asyncio.wait([asyncio.wrap_future(waiter)], timeout=seconds)
        return self._ended.is_set()

    def result(self) -> T:
        """What the function returned; the call must have ended.

        :raises Exception: what the function raised.  An exception that would end the caller's task or process, such as
            ``SystemExit`` or ``CancelledError``, becomes the cause of a ``RuntimeError`` that names it.
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
        with self._lock:
            self._ended.set()
        for waiter in self._waiters:
            waiter.set_result(None)
