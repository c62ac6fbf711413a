"""What actions cost: an agent that they are not for; and on PostgreSQL, sending one to a fleet, and counting.

    python -m benchmarks.actions [--dsn DSN] [idle] [delivery] [sending]

Without a DSN it starts a server of its own, as benchmarks.postgres does.  The fleet has as many agents as the
environment variable AGENTS says (a million), which takes some minutes and 3 GB.
"""

import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import field
from benchmarks.postgres import SCHEMA, fill, fresh, opened, run, table
from benchmarks.turns import by_turns
from tests.support.signed_actions import action_data
from tests.support.ssh_keys import Keys
from zc.cimaa.actions.documents import document_id
from zc.cimaa.actions.entries_of_actions import StoredAction
from zc.cimaa.actions.fleet_actions import PART, FleetActions
from zc.cimaa.db import DB
from zc.cimaa.lmdb import DB as LMDB
from zc.cimaa.postgres.setup import roles

AGENTS = int(os.environ.get("AGENTS", "1_000_000"))
#: In each round, a part of the fleet is sent to.
ROUNDS = 20
COUNTS = 15
#: How many actions are in force, and the agent that they are not for.
FOREIGN, AGENT = 100, field.name(0)

Connection = psycopg.Connection[Any]

_BARE = f"""
    CREATE TABLE {SCHEMA}.bare_commands (agent text, action text, state text, sent bigint, PRIMARY KEY (agent, action));
    CREATE TABLE {SCHEMA}.bare_agents (name text PRIMARY KEY, marked boolean NOT NULL) WITH (fillfactor = 50);
    INSERT INTO {SCHEMA}.bare_agents SELECT name, false FROM {SCHEMA}.agents ORDER BY ctid;
    """
_INSERT = f"INSERT INTO {SCHEMA}.bare_commands SELECT agent, %s, 'sent', 1 FROM unnest(%s::text[]) AS agent"
_UPDATE = f"UPDATE {SCHEMA}.bare_agents SET marked = true WHERE name = ANY (%s)"
_BARE_COUNT = f"SELECT count(*) FROM {SCHEMA}.bare_commands WHERE action = %s"


def idle(dsn: str) -> None:
    """An unchanged report with 100 actions in force that are for another agent, against one that asks for no actions.

    ``set_faults`` is as fast as a report was before there were actions: its condition does not have the mark.
    """
    rows = []
    with fresh(dsn), tempfile.TemporaryDirectory() as name, opened(dsn) as postgres, LMDB({"path": name}) as lmdb:
        for store, db in {"PostgreSQL": postgres, "LMDB": lmdb}.items():
            fleet = FleetActions(db)
            for number in range(FOREIGN):
                action = fleet.add(action_data(name=f"question {number}"), b"", "jane")
                list(fleet.deliver(action.document(), ["other"]))
            rows.append([store, *(f"{ratio:.2f}" for ratio in idle_ratios(db))])
    table(["speed, relative to set_faults, two faults", "median", "least", "most"], rows)


def idle_ratios(db: DB) -> tuple[float, float, float]:
    """Of five runs: the median, the least and the most."""
    faults = field.report(0, 2)
    db.report(AGENT, faults)
    ways: dict[str, Callable[[int], object]] = {
        "report": lambda _: db.report(AGENT, faults),
        "set_faults": lambda _: db.set_faults(AGENT, faults),
    }
    runs = [by_turns(ways, 200, 20) for _ in range(5)]
    ratios = sorted(seconds["set_faults"] / seconds["report"] for seconds in runs)
    return ratios[2], ratios[0], ratios[-1]


def delivery(dsn: str) -> None:
    """Commands per second, against bare batched writes of as many rows, part by part in turns; then counting them."""
    with investigator(dsn) as (connection, theirs):
        connection.execute(_BARE.encode())
        connection.execute(f"VACUUM ANALYZE {SCHEMA}.bare_agents".encode())
        names = [name for (name,) in connection.execute(f"SELECT name FROM {SCHEMA}.agents ORDER BY name".encode())]
        fleet = FleetActions(opened(theirs, pool_size="2"))
        action = fleet.add(action_data(), b"", "jane")
        size = -(-len(names) // ROUNDS)
        rounds = [
            delivered(connection, fleet, action, names[start : start + size]) for start in range(0, len(names), size)
        ]
        columns = [[found[what] for found in rounds] for what in rounds[0]]
        head = [f"{len(names):,} agents, {PART} at a time", "median", "first tenth", "last tenth"]
        part = max(1, len(rounds) // 10)
        table(head, [
            [what, *(f"{statistics.median(some):{form}}" for some in (column, column[:part], column[-part:]))]
            for what, form, column in zip(rounds[0], (",.0f", ".2f", ".2f"), columns, strict=True)
        ])  # fmt: skip
        counting(connection, fleet, action, "just sent")
        connection.execute(f"VACUUM ANALYZE {SCHEMA}.entries, {SCHEMA}.bare_commands".encode())
        counting(connection, fleet, action, "vacuumed")
        answer(connection)
        counting(connection, fleet, action, "a tenth has changed since")


def delivered(connection: Connection, fleet: FleetActions, action: StoredAction, names: list[str]) -> dict[str, float]:
    """How fast these agents are sent to, and bare statements write as many rows."""
    parts = [names[start : start + PART] for start in range(0, len(names), PART)]

    def deliver() -> None:
        assert sum(added for _, added in fleet.deliver(action.document(), names)) == len(names)

    def insert() -> None:
        for part in parts:
            connection.execute(_INSERT.encode(), (action.id, part))

    def update() -> None:
        for part in parts:
            connection.execute(_UPDATE.encode(), (part,))

    seconds, inserting, updating = map(timed, (deliver, insert, update))
    return {
        "agents a second": len(names) / seconds,
        "speed, relative to a bare INSERT and a bare UPDATE": (inserting + updating) / seconds,
        "speed, relative to a bare INSERT alone": inserting / seconds,
    }


def answer(connection: Connection) -> None:
    """Change a tenth of the commands, as answers do, and of the bare rows."""
    connection.execute(
        f"""
        UPDATE {SCHEMA}.entries SET revision = gen_random_uuid(), value = value || '{{"state": "success"}}'
        WHERE kind = 'command' AND owner LIKE '%7.example.com'""".encode()
    )
    query = f"UPDATE {SCHEMA}.bare_commands SET state = 'success' WHERE agent LIKE '%7.example.com'"
    connection.execute(query.encode())


def counting(connection: Connection, fleet: FleetActions, action: StoredAction, when: str) -> None:
    """Print how long the counters of the action take, and bare counts."""

    def bare(_: int) -> None:
        assert connection.execute(_BARE_COUNT.encode(), (action.id,)).fetchall() == [(AGENTS,)]

    def by_state(_: int) -> None:
        query = _BARE_COUNT.replace("SELECT", "SELECT state,") + " GROUP BY state"
        assert sum(number for _, number in connection.execute(query.encode(), (action.id,))) == AGENTS

    def counters(_: int) -> None:
        assert fleet.counters(action).sent == AGENTS

    ways = {"bare count": bare, "bare count by state": by_state, "counters": counters}
    seconds = by_turns(ways, COUNTS)
    rows = [[what, f"{1000 * found:.1f}", f"{found / seconds['bare count']:.2f}"] for what, found in seconds.items()]
    table([f"{AGENTS:,} commands, {when}", "ms", "ratio"], rows)


def sending(dsn: str) -> None:
    """The command ``cimaa action send`` on a terminal, as fast as it can: how long it takes, and its peak memory."""
    with investigator(dsn) as (_, theirs), tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        keys = Keys(directory / "keys")
        keys.make("jane")
        (directory / "q.json").write_bytes(action_data())
        (directory / "q.json.sig").write_bytes(keys.sign("jane", action_data()))
        database = {"class": "zc.cimaa.postgres", "dsn": theirs, "schema": SCHEMA}
        lines = ["[database]", *(f"{key} = {text}" for key, text in database.items())]
        (directory / "cimaa.cfg").write_text("\n".join(lines))
        send = ["send", "q.json", "--yes", "--rate", "10000000"]
        ways = {"send": send, "send again": send, "status": ["status", document_id(action_data())]}
        rows = []
        for what, arguments in ways.items():
            seconds, peak = cimaa(directory, arguments)
            rows.append([what, f"{seconds:.1f}", f"{peak:.0f}"])
        table([f"{AGENTS:,} agents", "seconds", "peak memory, MB"], rows)


def cimaa(directory: Path, arguments: list[str]) -> tuple[float, float]:
    """Run ``cimaa action`` with a terminal for its messages: its time (seconds), and its peak memory (MB)."""
    terminal, its_end = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(terminal, shown))
    reader.start()
    start = time.perf_counter()
    command = [os.fspath(Path(sys.executable).with_name("cimaa")), "action", *arguments]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=its_end) as process:
        os.close(its_end)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    reader.join()
    os.close(terminal)
    messages = b"".join(shown).decode()
    assert process.returncode == 0, messages
    assert arguments[0] != "send" or "100%" in messages  # the progress bar
    return seconds, usage.ru_maxrss / 1024


def read_all(terminal: int, shown: list[bytes]) -> None:
    with suppress(OSError):  # the other end is closed
        while data := os.read(terminal, 65536):
            shown.append(data)


@contextmanager
def investigator(dsn: str) -> Iterator[tuple[Connection, str]]:
    """A fleet that has reported: a connection of the tables' owner, and the DSN of who may send actions."""
    role = roles.role_name(SCHEMA, roles.INVESTIGATOR)
    with fresh(dsn) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN".encode())
        for statement in (*roles.grants(SCHEMA, [role]), *roles.policies(SCHEMA, [role], [])):
            connection.execute(statement)
        fill(connection, AGENTS, "random()")
        yield connection, psycopg.conninfo.make_conninfo(dsn, user=role)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {role}".encode())


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PARTS: Mapping[str, Callable[[str], None]] = {"idle": idle, "delivery": delivery, "sending": sending}

if __name__ == "__main__":
    run(PARTS, sys.argv[1:])
