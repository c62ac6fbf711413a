"""What actions cost on PostgreSQL: to deliver them to a fleet, and to count what became of them.

    python -m benchmarks.actions [--dsn DSN] [delivery] [sending]

Without a DSN it starts a server of its own, as benchmarks.postgres does.  The fleet has as many agents as the
environment variable AGENTS says: a million, which takes some minutes and 2 GB.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks.postgres import SCHEMA, fill, fresh, opened, run, table
from benchmarks.turns import by_turns
from tests.support.signed_actions import action_data
from zc.cimaa.actions.fleet_actions import PART, FleetActions

AGENTS = int(os.environ.get("AGENTS", "1_000_000"))
#: Into how many sections of the fleet the ratios are split.
SECTIONS = 10

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
        connection.execute(f"VACUUM ANALYZE {SCHEMA}.bare_agents")
        names = [name for (name,) in connection.execute(f"SELECT name FROM {SCHEMA}.agents ORDER BY name").fetchall()]
        fleet = FleetActions(opened(dsn))
        action = fleet.add(action_data(), b"", "jane")
        parts = fleet.deliver(action.document(), names)
        seconds: dict[str, list[float]] = {"delivered": [], "bare INSERT": [], "bare UPDATE": []}
        for listed in batched(names, PART):
            calls: dict[str, Callable[[], object]] = {
                "delivered": lambda: next(parts),
                "bare INSERT": lambda listed=listed: connection.execute(_INSERT, (action.id, 1, [*listed])),
                "bare UPDATE": lambda listed=listed: connection.execute(_MARK, ([*listed],)),
            }
            for what, call in calls.items():
                seconds[what].append(timed(call))
        rows = []
        each = max(1, len(seconds["delivered"]) // SECTIONS)
        for number, sections in enumerate(zip(*(batched(found, each) for found in seconds.values()), strict=True), 1):
            delivered, inserted, marked = map(sum, sections)
            rate = len(sections[0]) * PART / delivered
            rows.append([f"{number}", f"{rate:,.0f}", f"{(inserted + marked) / delivered:.2f}", f"{inserted / delivered:.2f}"])
        print({what: sum(found) for what, found in seconds.items()})
        table(["section", "agents a second", "of INSERT and UPDATE", "of INSERT alone"], rows)
        counting(connection, fleet, action)


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


def batched(items, size):
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PARTS: dict[str, Callable[[str], None]] = {"delivery": delivery}

if __name__ == "__main__":
    run(PARTS, sys.argv[1:])
