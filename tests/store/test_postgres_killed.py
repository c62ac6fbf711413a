"""A server that is killed, again and again, while agents report: no acknowledged report is lost."""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql

from tests.support import postgres_servers
from tests.support.postgres_agents import Agent
from tests.support.postgres_servers import Server
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB

AGENTS = 16
KILLS = 10


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_servers.server_18(fsync=True) as server:
        yield server


def test_no_acknowledged_report_is_lost(server: Server) -> None:
    with postgres_servers.new_schema(server.socket_dsn, "killed", drop=False) as schema:
        pass
    settings = {"dsn": server.socket_dsn, "schema": schema, "connect_timeout": "1s", "pool_size": "1"}
    with ExitStack() as stack:
        agents = []
        for number in range(AGENTS):
            db = stack.enter_context(DB(settings, instance=Instance(f"agent{number}", number, "1", "os")))
            agents.append(Agent(f"agent{number}", db.set_faults, given_up=(errors.StoreUnavailable,)))
            stack.callback(agents[-1].stop)
        for _ in range(KILLS):
            for agent in agents:
                agent.wait_for_more()
            server.stop("immediate")
            promised = {agent.name: agent.acknowledged for agent in agents}
            server.start()
            for name, stored in stored_numbers(server, schema).items():
                assert len(set(stored)) == 1, f"half a report of {name}: {stored}"
                assert stored[0] >= promised[name]
        for agent in agents:
            agent.wait_for_more()
    with DB({"dsn": server.socket_dsn, "schema": schema}) as db:
        for agent in agents:
            assert {one["number"] for one in db.get_faults(agent.name)} == {agent.acknowledged}


def stored_numbers(server: Server, schema: str) -> dict[str, list[int]]:
    """The numbers in the faults of each agent."""
    query = "SELECT agent, array_agg((extras->>'number')::int) FROM {}.faults GROUP BY agent"
    with psycopg.connect(server.socket_dsn) as connection:
        return dict(connection.execute(sql.SQL(query).format(sql.Identifier(schema))).fetchall())
