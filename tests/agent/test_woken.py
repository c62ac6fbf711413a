"""A daemon that is woken: the client of the store says so after the report that returned it."""

import asyncio

import pytest

from tests.support.simulation import START, Away, SimulatedClock
from zc.cimaa import memory
from zc.cimaa.agent.store import StoreClient
from zc.cimaa.errors import StoreUnavailable


def test_a_report_says_that_the_agent_was_woken() -> None:
    db = memory.DB()

    async def run() -> None:
        client = StoreClient("web1", db, SimulatedClock(START))
        assert await client.report([], 300) is False
        db.wake(["web1"])
        assert [await client.report([], 300) for _ in range(2)] == [True, False]

    asyncio.run(run())


def test_an_answer_that_came_too_late_is_not_lost() -> None:
    db = Away()

    async def run() -> None:
        client = StoreClient("web1", db, SimulatedClock(START), patience=1)
        await client.report([], 300)
        db.wake(["web1"])
        db.hang()
        with pytest.raises(StoreUnavailable):
            await client.report([], 300)
        db.recover()
        await client.idle()
        assert [await client.report([], 300) for _ in range(2)] == [True, False]

    asyncio.run(run())
