"""Agents whose store is away, or hangs, or is slow: alerts go out in time, and reports come when it is back."""

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import postgres_servers
from tests.support.postgres_servers import Server
from tests.support.simulation import START, Away, FastClock, Simulation
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.db import DB
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.outcomes import Finished
from zc.cimaa.postgres import DB as PostgresDB

OK = Finished(0, b"fine", b"")
CRITICAL = Finished(0, json.dumps({"faults": [{"severity": 50, "message": "bad"}]}).encode(), b"")
CHECK = "[a]\ncommand = x\n"
TICK = 60


class Pager(Alerter):
    """Records its alerts, with the time of the agent's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__({"timeout": 10})
        self._now = now
        self.alerts: list[tuple[float, Alert]] = []

    def send(self, alert: Alert) -> None:
        self.alerts.append((self._now(), alert))


class Host:
    """An agent with one check, which finds something critical from some time on."""

    def __init__(self, db: DB, directory: Path, name: str = "web1", **options: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.db = db
        self.bad_since = float("inf")
        #: When the check ran, and when it first found something critical.
        self.ran: list[float] = []
        self.found: float | None = None
        self.pager = Pager(lambda: self.simulation.clock.time())
        self.simulation = Simulation(db, CHECK, self._work, directory, {"pager": self.pager}, name=name, **options)

    async def _work(self, clock: Any, check: Check) -> Finished:
        now = clock.time()
        self.ran.append(now)
        if now < self.bad_since:
            return OK
        self.found = self.found or now
        return CRITICAL

    def events(self) -> list[str]:
        return [alert.event for _, alert in self.pager.alerts]

    def stored(self) -> dict[str, Any]:
        """What the store has of what the check found."""
        name = self.simulation.settings.name
        return next((fault for fault in self.db.get_faults(name) if fault["name"] == f"//{name}/f/a"), {})

    def later(self, seconds: float, action: Callable[[], Any]) -> None:
        """Call the action after these seconds."""
        clock = self.simulation.clock
        waiting = asyncio.ensure_future(clock.sleep_until(clock.time() + seconds))
        waiting.add_done_callback(lambda _: action())


# A real server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_servers.server_18() as server:
        yield server


def test_postgresql_stopped_for_three_minutes_under_ten_agents(server: Server, tmp_path: Path) -> None:
    speed = 16  # a tick lasts less than four seconds
    with postgres_servers.new_schema(server.socket_dsn, drop=False) as schema:
        settings = {"dsn": server.socket_dsn, "schema": schema, "connect_timeout": "1s", "pool_size": "1"}

    async def run(reader: DB, hosts: list[Host]) -> None:
        clock = hosts[0].simulation.clock
        agents = [asyncio.create_task(host.simulation.daemon.run()) for host in hosts]
        while len(await asyncio.to_thread(reader.get_agents)) < len(hosts):
            await asyncio.sleep(0.02)

        await asyncio.to_thread(server.stop, "immediate")
        stopped = clock.time()
        for number, host in enumerate(hosts):
            host.bad_since = stopped + 12 * number
        await clock.sleep_until(stopped + 3 * TICK)
        for host in hosts:
            assert host.found is not None
            ((when, alert),) = host.pager.alerts
            assert alert.event == "triggered"
            assert when - host.found < TICK

        await asyncio.to_thread(server.start)
        back, since = clock.time(), int(time.time())
        while not all(await asyncio.to_thread(lambda: [knows(reader, host, since) for host in hosts])):
            assert clock.time() - back < TICK
            await asyncio.sleep(0.02)
        assert not any(agent.done() for agent in agents)
        assert all(host.events() == ["triggered"] for host in hosts)
        gaps = [after - before for host in hosts for before, after in itertools.pairwise(host.ran)]
        assert TICK / 2 < min(gaps) <= max(gaps) < TICK * 1.5

        for agent in agents:
            agent.cancel()
        await asyncio.gather(*agents, return_exceptions=True)
        for host in hosts:
            await host.simulation.daemon.end(keep=True)

    with contextlib.ExitStack() as stack:
        clock = FastClock(speed)
        stores = [stack.enter_context(PostgresDB(settings)) for _ in range(11)]
        hosts = [
            Host(db, tmp_path / f"web{number}", f"web{number}", clock=clock, patience=15 / speed)
            for number, db in enumerate(stores[1:])
        ]
        asyncio.run(run(stores[0], hosts))


def knows(db: DB, host: Host, since: int) -> bool:
    """True if the agent has reported since then, and the store has its faults, and that alerts were sent."""
    updated = {agent["name"]: agent["updated"] for agent in db.get_agents()}
    return updated.get(host.simulation.settings.name, 0) >= since and any(host.stored().get("triggered", {}).values())


def test_a_server_that_freezes_holds_up_no_alert_and_learns_all_when_it_thaws(server: Server, tmp_path: Path) -> None:
    speed = 60
    with contextlib.ExitStack() as stack:
        schema = stack.enter_context(postgres_servers.new_schema(server.socket_dsn, drop=False))
        db = stack.enter_context(PostgresDB({"dsn": server.socket_dsn, "schema": schema}))
        host = Host(db, tmp_path / "web1", clock=FastClock(speed), patience=15 / speed)

        async def run() -> None:
            clock = host.simulation.clock
            agent = asyncio.create_task(host.simulation.daemon.run())
            while not await asyncio.to_thread(db.get_agents):
                await asyncio.sleep(0.01)
            postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
            frozen = [postmaster, *postmaster.children(recursive=True)]
            for process in frozen:
                process.suspend()
            try:
                host.bad_since = clock.time()
                await clock.sleep_until(clock.time() + 3 * TICK)
            finally:
                for process in frozen:
                    process.resume()
            back = clock.time()
            while not await asyncio.to_thread(knows, db, host, 0):
                assert clock.time() - back < TICK
                await asyncio.sleep(0.01)
            agent.cancel()
            await asyncio.gather(agent, return_exceptions=True)
            await host.simulation.daemon.end(keep=True)

        asyncio.run(asyncio.wait_for(run(), 30))
    ((when, _),) = host.pager.alerts
    assert host.found is not None
    assert when - host.found < TICK / 2


def test_a_server_that_takes_connections_and_never_answers_holds_up_no_alert(tmp_path: Path) -> None:
    speed = 60
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"dsn": f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=x", "connect_timeout": "2s"}
        with PostgresDB(settings) as db:
            host = Host(db, tmp_path / "web1", clock=FastClock(speed))
            # The first tick's alerts wait for the second: the store may have recorded that they were sent.
            host.simulation.at_ticks(at3=lambda: setattr(host, "bad_since", host.simulation.clock.time()))

            async def run() -> None:
                agent = asyncio.create_task(host.simulation.daemon.run())
                while not host.pager.alerts and not agent.done():
                    await asyncio.sleep(0.01)
                agent.cancel()
                await asyncio.gather(agent, return_exceptions=True)
                await host.simulation.daemon.end(keep=True)

            asyncio.run(asyncio.wait_for(run(), 20))
    assert host.found is not None
    assert host.pager.alerts[0][0] - host.found < TICK


# A store that hangs, is down, or responds late


def test_an_alert_waits_two_seconds_for_a_store_that_hangs(tmp_path: Path) -> None:
    host = Host(db := Away(), tmp_path / "web1")
    host.bad_since = START + 2 * TICK
    host.simulation.at_ticks(at2=db.hang, at5=db.recover)
    host.simulation.run(7)
    ((when, _),) = host.pager.alerts
    assert host.found is not None
    assert when - host.found <= 2
    assert host.stored()["triggered"]


def test_an_agent_that_starts_while_the_store_hangs_runs_its_checks_in_time(tmp_path: Path) -> None:
    host = Host(db := Away(), tmp_path / "web1")
    db.hang()
    host.simulation.at_ticks(at4=db.recover)
    host.simulation.run(5)
    assert host.ran[0] - START <= TICK + 2
    assert [round(after - before) for before, after in itertools.pairwise(host.ran)] == [TICK] * 4


def test_squelches_that_were_last_known_end_by_the_clock(tmp_path: Path) -> None:
    db = Away(clock=lambda: host.simulation.clock.time())
    host = Host(db, tmp_path / "web1")
    host.bad_since = START
    db.squelch("f/a$", "a deploy", "jane", expires=int(START) + 4 * TICK)
    db.squelch("nothing", "for ever", "jane", permanent=True)
    host.simulation.at_ticks(at2=lambda: setattr(db, "away", True), at7=db.recover)
    host.simulation.run(8)
    ((when, _),) = host.pager.alerts
    assert 4 * TICK <= when - START < 5 * TICK + 2


# An agent that starts without its store


@pytest.fixture
def alerted(tmp_path: Path) -> Away:
    """A store that has a fault of which an earlier process alerted."""
    host = Host(db := Away(), tmp_path / "web1")
    host.bad_since = START
    host.simulation.run(1)
    assert host.events() == ["triggered"]
    return db


def test_alerts_wait_one_tick_for_the_store_to_tell_what_was_sent(alerted: Away, tmp_path: Path) -> None:
    host = Host(alerted, tmp_path / "web1")
    host.bad_since = START
    alerted.away = True
    host.simulation.at_ticks(at1=lambda: host.later(TICK / 2, alerted.recover))
    host.simulation.run(4)
    assert host.events() == []
    assert host.stored()["triggered"]


def test_alerts_do_not_wait_longer(alerted: Away, tmp_path: Path) -> None:
    host = Host(alerted, tmp_path / "web1")
    host.bad_since = START
    alerted.away = True
    host.simulation.at_ticks(at5=alerted.recover)
    host.simulation.run(6)
    ((when, alert),) = host.pager.alerts
    assert (alert.event, alert.key) == ("triggered", "//web1/f/a")
    assert host.found is not None
    assert when - host.found == pytest.approx(TICK)


def test_what_was_held_back_goes_out_as_soon_as_the_store_is_there(alerted: Away, tmp_path: Path) -> None:
    host = Host(alerted, tmp_path / "web1")
    alerted.away = True
    host.simulation.at_ticks(at2=alerted.recover)
    host.simulation.run(3)
    assert host.events() == ["resolved"]


def test_an_agent_that_ends_after_one_tick_holds_nothing_back(tmp_path: Path) -> None:
    host = Host(db := Away(), tmp_path / "web1")
    host.bad_since = START
    db.away = True
    with pytest.raises(StoreUnavailable):
        host.simulation.run(1)
    assert host.events() == ["triggered"]
