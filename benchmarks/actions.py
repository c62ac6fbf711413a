"""What actions cost on PostgreSQL: to deliver them to a fleet, and to count what became of them.

    python -m benchmarks.actions [--dsn DSN] [delivery] [sending]

Without a DSN it starts a server of its own, as benchmarks.postgres does.  The fleet has as many agents as the
environment variable AGENTS says: a million, which takes some minutes and 2 GB.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from benchmarks.postgres import SCHEMA, fill, fresh, opened, run, table
from benchmarks.turns import by_turns
from tests.support.signed_actions import action_data
from zc.cimaa.actions.entries_of_actions import StoredAction
from zc.cimaa.actions.fleet_actions import PART, FleetActions

AGENTS = int(os.environ.get("AGENTS", "1_000_000"))
#: In how many rounds the fleet is sent to: a part of it in each.
ROUNDS = 20

_BARE = f"""
    CREATE TABLE {SCHEMA}.bare_commands (agent text, action text, state text, sent bigint, PRIMARY KEY (agent, action));
    CREATE TABLE {SCHEMA}.bare_agents (name text PRIMARY KEY, marked boolean NOT NULL) WITH (fillfactor = 50);
    INSERT INTO {SCHEMA}.bare_agents SELECT name, false FROM {SCHEMA}.agents ORDER BY ctid;
    """
_INSERT = f"INSERT INTO {SCHEMA}.bare_commands SELECT agent, %s, 'sent', %s FROM unnest(%s::text[]) AS agent"
_MARK = f"UPDATE {SCHEMA}.bare_agents SET marked = true WHERE name = ANY (%s)"


def delivery(dsn: str) -> None:
    """Commands per second, against bare batched writes of as many rows, part by part in turns; then counting them."""
    with fresh(dsn) as connection:
        fill(connection, AGENTS, "random()")
        connection.execute(_BARE.encode())
        connection.execute(f"VACUUM ANALYZE {SCHEMA}.bare_agents".encode())
        names = [name for (name,) in connection.execute(f"SELECT name FROM {SCHEMA}.agents ORDER BY name").fetchall()]
        fleet = FleetActions(opened(dsn, pool_size="2"))
        action = fleet.add(action_data(), b"", "jane")
        size = -(-len(names) // ROUNDS)
        rows = []
        for start in range(0, len(names), size):
            listed = names[start:start+size]
            ways = {
              "deliver": lambda: deliver(fleet, action, listed),
              "insert": lambda: batched(connection, listed, lambda part: (_INSERT, (action.id, 1, part))),
              "update": lambda: batched(connection, listed, lambda part: (_MARK, (part,))),
            }
            seconds = {name: timed(way) for name, way in ways.items()}
            b = seconds["insert"]+seconds["update"]
            rows.append([len(listed)/seconds["deliver"], b/seconds["deliver"], seconds["insert"]/seconds["deliver"]])
        cells=[statistics.median(c) for c in zip(*rows)]
        for r in rows: print(" ".join(f"{x:.2f}" for x in r))
        print("median", " ".join(f"{x:.2f}" for x in cells))
        counting(connection, fleet, action)


def deliver(fleet, action, listed):
    added = sum(added for _, added in fleet.deliver(action.document(), listed))
    assert added == len(listed)


def batched(connection, names, statement):
    for start in range(0, len(names), PART):
        connection.execute(*statement(names[start:start+PART]))


def counting(connection, fleet, action) -> None:
    connection.execute(f"VACUUM ANALYZE {SCHEMA}.entries, {SCHEMA}.bare_commands")
    def bare(_):
        ((number,),) = connection.execute(f"SELECT count(*) FROM {SCHEMA}.bare_commands WHERE action = %s", (action.id,)).fetchall()
        assert number == AGENTS
    def bare_entries(_):
        ((number,),) = connection.execute(f"SELECT count(*) FROM {SCHEMA}.entries WHERE kind='command' and key = %s", (action.id,)).fetchall()
        assert number == AGENTS
    def ours(_):
        assert fleet.counters(action).sent == AGENTS
    found = by_turns({"bare": bare, "bare_entries":bare_entries, "counters": ours}, 7)
    print(found)


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PARTS: dict[str, Callable[[str], None]] = {"delivery": delivery}

if __name__ == "__main__":
    run(PARTS, sys.argv[1:])
