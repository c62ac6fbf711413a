"""A server that is killed, again and again, while agents report: no acknowledged report is lost."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from tests.support import postgres_servers
from tests.support.postgres_servers import Server
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB
from zc.cimaa.testing import fault

AGENTS = 16
KILLS = 10


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_servers.server_18(fsync=True) as server:
        yield server


class Agent:
    """Reports a number, and then the next, in a thread, until it is told to stop; a report that failed is given up."""

    def __init__(self, number: int, dsn: str, schema: str) -> None:
        self.name = f"agent{number}"
        self.acknowledged = 0
        self._unexpected: BaseException | None = None
        self._settings = {"dsn": dsn, "schema": schema, "connect_timeout": "1s", "pool_size": "1"}
        self._instance = Instance(self.name, number, "1", "os")
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with DB(self._settings, instance=self._instance) as db:
                for number in itertools.count(1):
                    if self._stop.is_set():
                        break
                    with suppress(errors.StoreUnavailable):
                        self._report(db, number)
        except BaseException as error:
            self._unexpected = error

    def _report(self, db: DB, number: int) -> None:
        # Two faults that must never be seen apart, first as a change, then as a heartbeat.
        for _ in range(2):
            db.set_faults(self.name, [fault("one", number=number), fault(f"two-{number}", number=number)])
            with self._progress:
                self.acknowledged = number
                self._progress.notify_all()

    def wait_beyond(self, number: int) -> None:
        """Return once a report with a higher number was acknowledged."""
        with self._progress:
            self._progress.wait_for(lambda: self.acknowledged > number or self._unexpected, 60)
        assert self._unexpected is None
        assert self.acknowledged > number

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_no_acknowledged_report_is_lost(server: Server) -> None:
    with postgres_servers.new_schema(server.socket_dsn, "killed", drop=False) as schema:
        pass
    agents = [Agent(number, server.socket_dsn, schema) for number in range(AGENTS)]
    try:
        for _ in range(KILLS):
            for agent in agents:
                agent.wait_beyond(agent.acknowledged)
            server.stop("immediate")
            promised = {agent.name: agent.acknowledged for agent in agents}
            server.start()
            for name, stored in stored_numbers(server, schema).items():
                assert len(set(stored)) == 1, f"half a report of {name}: {stored}"
                assert stored[0] >= promised[name]
        for agent in agents:
            agent.wait_beyond(agent.acknowledged)
    finally:
        for agent in agents:
            agent.stop()
    with DB({"dsn": server.socket_dsn, "schema": schema}) as db:
        for agent in agents:
            assert {one["number"] for one in db.get_faults(agent.name)} == {agent.acknowledged}


def stored_numbers(server: Server, schema: str) -> dict[str, list[int]]:
    """The numbers in the faults of each agent."""
    query = "SELECT agent, array_agg((extras->>'number')::int) FROM {}.faults GROUP BY agent"
    with psycopg.connect(server.socket_dsn) as connection:
        return dict(connection.execute(sql.SQL(query).format(sql.Identifier(schema))).fetchall())
