"""Calls that block, each in a thread that holds up nothing, the end of the process included."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def start(function: Callable[..., T], *arguments: Any) -> "Future[T]":
    """Start the call in a daemon thread: if it never ends, the process may still."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from here on nobody can cancel it, as nobody can stop the thread

    def call() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=call, daemon=True, name=getattr(function, "__name__", "call")).start()
    return future


async def bounded(call: "Future[T]", seconds: float) -> T:
    """What the call returns.

    :raises TimeoutError: if that takes longer; the call goes on.
    """
    return await asyncio.wait_for(asyncio.wrap_future(call), seconds)
