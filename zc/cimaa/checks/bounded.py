"""Ends a check that takes too long, whatever it waits for."""

from collections.abc import Callable
from typing import TypeVar

from ..threads import Call

T = TypeVar("T")


def run(what: Callable[[], T], timeout: float) -> T:
    """Return what the function returns, or raise what it raises.

    It runs in a thread that does not keep the process from ending, because nothing
    else helps against a file system that does not answer: a signal would wait with it.

    :raises TimeoutError: if it takes longer than ``timeout`` seconds; the thread goes on.
    """
    call = Call(what)
    if not call.wait(timeout):
        raise TimeoutError(f"no result within {timeout:g} s")
    return call.result()
