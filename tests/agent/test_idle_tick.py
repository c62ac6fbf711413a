"""What an idle daemon asks of its store, counted at each backend: ten idle minutes of an agent with three alerters.

Actions are in force, and none is for it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import lmdb as driver
import psycopg
import pytest

from tests.support.dynamodb_servers import Proxy
from tests.support.postgres_servers import Server, new_schema, server_18
from tests.support.simulation import Away, SimulatedClock, Simulation
from zc.cimaa import dynamodb, lmdb, memory, postgres
from zc.cimaa.actions.documents import format_time
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agents import Touch
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.db import DB
from zc.cimaa.outcomes import Finished
from zc.cimaa.squelches import StoredSquelch

MINUTES = 10
#: What the daemon does before it is idle: two ticks.
STARTING = 2


class Pager(Alerter):
    def __init__(self) -> None:
        super().__init__({"timeout": 5})
        self.events: list[str] = []

    def send(self, alert: Alert) -> None:
        self.events.append(alert.event)


async def failing(clock: SimulatedClock, check: Check) -> Finished:
    """A warning: a fault that does not change, and about which no alert is due."""
    return Finished(1, b"a bit", b"")


def idle(db: DB, directory: Path, count: Callable[[], int]) -> int:
    """Run a daemon with three alerters; what the count of its requests grows by in ten idle minutes."""
    alerters: dict[str, Alerter] = {name: Pager() for name in "abc"}
    simulation = Simulation(db, "[a]\ncommand = x\n", failing, directory, alerters)
    counts: list[int] = []
    simulation.on_tick = lambda _tick: counts.append(count())
    simulation.run(STARTING + MINUTES + 1)
    reports = [fault["message"] for fault in db.get_faults("web1")]
    assert reports == ["a bit"]
    return counts[-1] - counts[STARTING]


def ask_others(db: DB) -> None:
    """Send 100 actions, which are in force and not for this agent."""
    fleet, now = FleetActions(db), time.time()
    for number in range(100):
        document = {
            "name": f"question {number}",
            "target": "agent=web2",
            "operations": [{"module": "look", "parameters": {}}],
            "validfrom": format_time(now - 60),
            "expireafter": format_time(now + 3600),
            "syntaxversion": 3,
        }
        action = fleet.add(json.dumps(document).encode(), b"", "jane")
        list(fleet.deliver(action.document(), ["web2"]))


class Counting(memory.DB):
    """A memory store that counts the calls of its primitives."""

    def _open(self) -> None:
        super()._open()
        self.calls: list[str] = []

    def _touch(self, agent: str, touch: Touch) -> bool:
        self.calls.append("touch")
        return super()._touch(agent, touch)

    def _replace(self, *arguments: Any) -> None:
        self.calls.append("replace")
        super()._replace(*arguments)

    def _agent_faults(self, agent: str) -> Iterable[Any]:
        self.calls.append("faults")
        return super()._agent_faults(agent)

    def _squelches(self) -> Iterable[StoredSquelch]:
        self.calls.append("squelches")
        return super()._squelches()


def test_on_the_memory_store_an_idle_tick_is_one_touch(tmp_path: Path) -> None:
    db = Counting()
    ask_others(db)
    requests = idle(db, tmp_path, lambda: len(db.calls))
    assert requests <= MINUTES + 1
    assert db.calls[:3] == ["faults", "squelches", "touch"]
    assert db.calls.count("squelches") <= 2  # at the start, and after ten minutes
    assert db.calls.count("replace") == 1


def test_on_lmdb_an_idle_tick_is_at_most_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    opened = driver.open

    class Environment:
        """The driver's environment, whose class cannot be derived from."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._environment = opened(*arguments, **options)

        def begin(self, *arguments: Any, **options: Any) -> Any:
            begun.append(bool(options.get("write")))
            return self._environment.begin(*arguments, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._environment, name)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            self._environment.close()

    monkeypatch.setattr(driver, "open", Environment)
    with lmdb.DB({"path": str(tmp_path / "store")}) as db:
        ask_others(db)
        assert idle(db, tmp_path, lambda: len(begun)) <= MINUTES + 1
    assert begun


@pytest.fixture
def proxy(dynamodb_settings: dict[str, str]) -> Iterator[Proxy]:
    proxy = Proxy(dynamodb_settings["endpoint_url"])
    yield proxy
    proxy.close()


def test_on_dynamodb_an_idle_tick_is_one_request(
    tmp_path: Path, proxy: Proxy, dynamodb_settings: dict[str, str]
) -> None:
    with dynamodb.DB({**dynamodb_settings, "endpoint_url": proxy.url}) as db:
        ask_others(db)
        before = len(proxy.operations)
        assert idle(db, tmp_path, lambda: len(proxy.seen)) <= MINUTES + 1
    updates = [operation for operation in proxy.operations[before:] if operation == "UpdateItem"]
    assert len(updates) >= MINUTES


@pytest.fixture
def server() -> Iterator[Server]:
    with server_18() as server:
        yield server


def test_on_postgresql_an_idle_tick_is_one_statement(tmp_path: Path, server: Server) -> None:
    log = server.log_size()

    def statements() -> int:
        return len([line for line in server.log_since(log) if "statement: " in line or "execute " in line])

    with new_schema(server.socket_dsn) as schema:
        dsn = psycopg.conninfo.make_conninfo(server.socket_dsn, options="-c log_statement=all")
        with postgres.DB({"dsn": dsn, "schema": schema}) as db:
            ask_others(db)
            log = server.log_size()
            assert idle(db, tmp_path, statements) <= MINUTES + 1
            assert statements() > MINUTES


def test_a_squelch_is_read_while_an_alert_is_withheld(tmp_path: Path) -> None:
    """Also when the squelch is removed: the fault is triggered at the next tick."""
    db, pager = Counting(), Pager()
    db.squelch("/a$", "tests", "admin")

    async def bad(clock: SimulatedClock, check: Check) -> Finished:
        return Finished(0, b'{"faults": [{"severity": "critical", "message": "bad"}]}', b"")

    simulation = Simulation(db, "[a]\ncommand = x\n", bad, tmp_path, {"pager": pager})
    simulation.at_ticks(at4=lambda: db.unsquelch("/a$"))
    events: list[int] = []
    simulation.run(3)
    assert pager.events == []
    assert db.calls.count("squelches") >= 3
    simulation = Simulation(db, "[a]\ncommand = x\n", bad, tmp_path, {"pager": pager})
    simulation.at_ticks(at2=lambda: (db.unsquelch("/a$"), events.append(len(pager.events))))
    simulation.run(3)
    assert (events, pager.events) == ([0], ["triggered"])


def test_squelches_are_read_every_ten_minutes_for_the_next_outage(tmp_path: Path) -> None:
    """A squelch that was made while nothing was due counts when the store is down and the fault appears."""
    db, pager = Away(), Pager()

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        return Finished(0, b'{"faults": [{"severity": "critical", "message": "bad"}]}' if db.away else b"fine", b"")

    simulation = Simulation(db, "[a]\ncommand = x\n", work, tmp_path, {"pager": pager})
    simulation.at_ticks(
        at2=lambda: db.squelch("/a$", "tests", "admin"),
        at14=lambda: setattr(db, "away", True),
        at17=db.recover,
    )
    simulation.run(19)
    assert pager.events == []
