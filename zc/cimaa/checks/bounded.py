"""Ends a check that takes too long, whatever it waits for."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def run(what: Callable[[], T], timeout: float) -> T:
    """Return what the function returns, or raise what it raises.

    It runs in a thread that does not keep the process from ending, because nothing
    else helps against a file system that does not answer: a signal would wait with it.

    :raises TimeoutError: if it takes longer than ``timeout`` seconds; the thread goes on.
    """
    thread = _Running(what)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError(f"no result within {timeout:g} s")
    if thread.error is not None:
        raise thread.error
    return thread.result  # type: ignore[no-any-return]


class _Running(threading.Thread, Generic[T]):
    def __init__(self, what: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._what = what
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Keep what comes of it."""
        try:
            self.result = self._what()
        except BaseException as error:  # raised in the thread that waits
            self.error = error
