"""A daemon that is woken: the client of the store says so after the report that returned it."""

import asyncio

import pytest

from tests.support.simulation import START, Away, SimulatedClock
from zc.cimaa import memory
from zc.cimaa.agent.store import StoreClient
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.testing import fault


def test_a_report_says_that_the_agent_was_woken() -> None:
    woken: list[str] = []
    db = memory.DB()

    async def run() -> None:
        client = StoreClient("web1", db, SimulatedClock(START), on_woken=lambda: woken.append("woken"))
        await client.report([], 300)
        assert woken == []
        db.wake(["web1"])
        for _ in range(2):
            await client.report([], 300)
            assert woken == ["woken"]

    asyncio.run(run())


def test_without_actions_reports_leave_the_agent_woken() -> None:
    db = memory.DB()

    async def run() -> None:
        client = StoreClient("web1", db, SimulatedClock(START))
        await client.report([], 300)
        db.wake(["web1"])
        await client.report([fault("f")], 300)

    asyncio.run(run())
    assert db.report("web1", []) is True


def test_an_answer_that_came_too_late_is_not_lost() -> None:
    woken: list[str] = []
    db = Away()

    async def run() -> None:
        client = StoreClient("web1", db, SimulatedClock(START), patience=1, on_woken=lambda: woken.append("woken"))
        await client.report([], 300)
        db.wake(["web1"])
        db.hang()
        with pytest.raises(StoreUnavailable):
            await client.report([], 300)
        assert woken == []
        db.recover()
        await client.idle()
        await client.report([], 300)
        assert woken == ["woken"]

    asyncio.run(run())
