"""Calls in threads: what comes of them is never confused with whether they ended."""

import asyncio
import threading
from concurrent import futures

import pytest

from zc.cimaa.threads import Call, within

#: Exceptions that a waiting caller could take for its own: of its wait, or of its own end.
CONFUSING = [TimeoutError("theirs"), futures.CancelledError(), StopIteration("theirs")]
#: Exceptions that would end the task or the process that raises them.
ENDING = [asyncio.CancelledError("theirs"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


def failing(error: BaseException) -> Call[None]:
    def fail() -> None:
        raise error

    return Call(fail)


@pytest.fixture
def hanging() -> "Call[bool]":
    return Call(lambda: threading.Event().wait(20))


def test_a_call_has_the_result_of_its_function() -> None:
    call = Call(lambda: 7)
    assert call.wait(20)
    assert not call.is_running()
    assert call.result() == 7
    assert asyncio.run(Call(lambda: 7).ended(20))


def test_waiting_for_a_call_that_hangs_ends_and_says_so(hanging: "Call[bool]") -> None:
    assert not hanging.wait(0.01)
    assert not asyncio.run(hanging.ended(0.01))
    assert hanging.is_running()


@pytest.mark.parametrize("error", CONFUSING, ids=repr)
def test_an_exception_of_the_function_is_its_result(error: Exception) -> None:
    call = failing(error)
    assert asyncio.run(call.ended(20))
    with pytest.raises(type(error)) as raised:
        call.result()
    assert raised.value is error


@pytest.mark.parametrize("error", ENDING, ids=repr)
def test_what_would_end_the_caller_is_an_error_that_names_it(error: BaseException) -> None:
    call = failing(error)
    assert asyncio.run(call.ended(20))
    with pytest.raises(RuntimeError, match=type(error).__name__) as raised:
        call.result()
    assert raised.value.__cause__ is error


def test_a_waiter_that_is_cancelled_leaves_the_call_alone() -> None:
    go = threading.Event()
    call = Call(lambda: go.wait(20))

    async def cancelled() -> bool:
        waiter = asyncio.create_task(call.ended())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        go.set()
        return await call.ended(20)

    assert asyncio.run(cancelled())
    assert call.result()


def test_a_call_may_end_after_its_event_loop(hanging: "Call[bool]", capfd: pytest.CaptureFixture[str]) -> None:
    go = threading.Event()
    call = Call(lambda: go.wait(20))
    assert not asyncio.run(call.ended(0.01))
    go.set()
    assert call.wait(20)
    assert capfd.readouterr() == ("", "")


def their_timeout() -> None:
    raise TimeoutError("theirs")


def test_a_check_that_takes_too_long_is_told_from_one_that_fails() -> None:
    with pytest.raises(TimeoutError, match=r"no result within 0.01 s"):
        within(lambda: threading.Event().wait(20), 0.01)
    with pytest.raises(TimeoutError, match="theirs"):
        within(their_timeout, 20)
