"""What the history costs on PostgreSQL: writing it, reading it, and deleting what is old.

    python -m benchmarks.history_postgres [--dsn DSN] [writing] [reading] [pruning] [heartbeats]

Without a DSN it starts a server of its own, as benchmarks.postgres does.  "reading" and "pruning" fill a history with
as many events as the environment variable EVENTS says (ten million), which takes some minutes and 3 GB.
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from benchmarks.postgres import SCHEMA, faults, fresh, growth, opened, run, table
from benchmarks.turns import by_turns
from zc.cimaa.postgres import DB

EVENTS = int(os.environ.get("EVENTS", "10_000_000"))
FLEET, FAULTS = 4_000, 5
#: How many events happened in the last hour, before which "faults_at" is asked for.
LATELY = 10_000
_DAYS = 90
_HOUR = 3600
_MICROSECONDS = 1_000_000


def writing(dsn: str) -> None:
    """Reports with history against reports without, and ten million events against an empty history, alternating."""
    with fresh(dsn):
        names = [f"agent-{n}.example.com" for n in range(100)]
        stores = {"history = 0s": opened(dsn, history="0s"), "history = 90d": opened(dsn)}
        rows = []
        for what, every in (("unchanged", 0), ("one in ten changed", 10), ("changed", 1)):
            ways = {
                name: reporter(db, [f"{name[-3:]}-{agent}" for agent in names], every) for name, db in stores.items()
            }
            for way in ways.values():
                for n in range(2 * len(names)):
                    way(n)
            runs = [by_turns_mean(ways, rounds=40, each=50) for _ in range(5)]
            ratios = sorted(run["history = 0s"] / run["history = 90d"] for run in runs)
            us = [f"{1e6 * statistics.median(run[name] for run in runs):.0f}" for name in stores]
            rows.append([what, *us, f"{statistics.median(ratios):.2f}", " ".join(f"{ratio:.2f}" for ratio in ratios)])
        table(["report", "us, 0s", "us, 90d", "ratio of speeds", "of each run"], rows)


def reporter(db: DB, agents: list[str], every: int) -> Callable[[int], None]:
    """Reports for one agent after the other; the severity of a fault changes in each of ``every`` reports."""

    def report(n: int) -> None:
        turn, agent = divmod(n, len(agents))
        listed = faults()
        listed[0]["severity"] = 30 + 10 * ((turn + agent) // every % 2) if every else 40
        db.set_faults(agents[agent], listed)

    return report


def by_turns_mean(ways: dict[str, Callable[[int], None]], rounds: int, each: int) -> dict[str, float]:
    """The seconds of one call of each way: the median of the rounds, of the mean of the calls in each."""
    counts = dict.fromkeys(ways, 0)

    def several(name: str) -> Callable[[int], None]:
        def call(_: int) -> None:
            for _ in range(each):
                ways[name](counts[name])
                counts[name] += 1

        return call

    return {name: seconds / each for name, seconds in by_turns({name: several(name) for name in ways}, rounds).items()}


def reading(dsn: str) -> None:
    """The last hour of all events, and the faults of an hour ago, against the bare rows and the present faults."""
    with fresh(dsn) as connection:
        db = opened(dsn, statement_timeout="10m", response_timeout="11m")
        now = fill(connection, EVENTS)
        since = now // _MICROSECONDS - _HOUR
        bare = f"SELECT * FROM {SCHEMA}.history WHERE at >= {since * _MICROSECONDS} ORDER BY at"
        compared(f"the last hour of {EVENTS:,} events", {
            "bare SELECT": lambda: connection.execute(bare, prepare=False).fetchall(),
            "get_history": partial(db.get_history, since=since),
        })  # fmt: skip
        report_past(connection, db, now)
        moment = now // _MICROSECONDS - _HOUR
        assert len(db.faults_at(moment)) == FLEET * FAULTS
        compared(f"{FLEET * FAULTS:,} faults, and {LATELY:,} events since", {
            "find_faults()": db.find_faults, "faults_at(an hour ago)": partial(db.faults_at, moment),
        })  # fmt: skip
        size = connection.execute(f"SELECT pg_total_relation_size('{SCHEMA}.history')").fetchall()[0][0]
        print(f"{size / (EVENTS + FLEET * (FAULTS + 1) + LATELY):.0f} bytes on disk for each event\n")
        writer = opened(dsn)
        with_events = reporter(writer, ["a", "b"], 1)
        seconds = by_turns_mean({"full": with_events}, rounds=40, each=50)["full"]
        connection.execute(f"TRUNCATE {SCHEMA}.history")
        empty = by_turns_mean({"empty": with_events}, rounds=40, each=50)["empty"]
        print(f"a change, with this history against an empty one: {seconds / empty:.2f}\n")


def fill(connection: psycopg.Connection[Any], number: int) -> int:
    """Events of a fleet, evenly over the period; the present time (microseconds)."""
    now = int(time.time() * _MICROSECONDS)
    connection.execute(f"""
        INSERT INTO {SCHEMA}.agents (name, updated, digest, instance, written, recorded)
        SELECT 'agent-' || n || '.example.com', {now}, gen_random_uuid(), gen_random_uuid(), {now}, 0
        FROM generate_series(0, {FLEET - 1}) AS n
        """)
    connection.execute(f"""
        INSERT INTO {SCHEMA}.history (at, number, agent, kind, fault, before, after, since, message)
        SELECT {now} - ({_DAYS * 24 * _HOUR}::numeric * {_MICROSECONDS} * ({number} - n) / {number})::bigint, 1,
            'agent-' || n * 7919::bigint % {FLEET} || '.example.com',
            'alerted', '//web/check-' || n % 5, 40, 50, {now // _MICROSECONDS}, 'it is bad: 92 % of the disk are used'
        FROM generate_series(1, {number}) AS n
        """)
    connection.execute(f"VACUUM ANALYZE {SCHEMA}.history")
    return now


def report_past(connection: psycopg.Connection[Any], db: DB, now: int) -> None:
    """Have the fleet report two hours ago, and change something lately."""
    db.close()
    clock = {"time": now / _MICROSECONDS - 2 * _HOUR}
    past = DB(db.settings, instance=db.instance, clock=lambda: clock["time"])
    for n in range(FLEET):
        past.set_faults(f"past-{n}.example.com", faults())
    clock["time"] += 1.5 * _HOUR
    changed = faults()
    for fault in changed:
        fault["severity"] = 50
    for n in range(LATELY // FAULTS):
        past.set_faults(f"past-{n}.example.com", changed)
    past.close()
    db._closed = False
    db._open()
    connection.execute(f"ANALYZE {SCHEMA}.history, {SCHEMA}.faults, {SCHEMA}.agents")


def compared(what: str, ways: dict[str, Callable[[], Any]]) -> None:
    """Print the time of each variant as a ratio to that of the first: the median of five alternating runs."""
    runs = [by_turns({name: lambda _, way=way: way() for name, way in ways.items()}, rounds=5) for _ in range(5)]
    first = next(iter(ways))
    table(
        [what, "ms", "ratio"],
        [
            [
                name,
                f"{1000 * statistics.median(run[name] for run in runs):.1f}",
                f"{statistics.median(run[name] / run[first] for run in runs):.2f}",
            ]
            for name in ways
        ],
    )


def pruning(dsn: str) -> None:
    """How long reports take while old events are deleted: by the store, and by bare statements at the same rate."""
    with fresh(dsn) as connection:
        now = fill(connection, EVENTS)
        db, reporting = opened(dsn, history="1d"), opened(dsn)
        report = reporter(reporting, [f"pruned-{n}" for n in range(100)], 2)
        bare = f"""
            DELETE FROM {SCHEMA}.history WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {SCHEMA}.history WHERE at < {now} ORDER BY at LIMIT 1000))
            """
        rows = []
        for what, prune in (
            ("nothing", None),
            ("bare deletes", partial(connection.execute, bare)),
            ("prune_history", partial(db.prune_history, 1000)),
        ):
            times, parts = timed_beside(report, prune)
            ordered = sorted(times)
            cells = [f"{1000 * ordered[int(len(ordered) * part)]:.2f}" for part in (0.5, 0.99)]
            rows.append([what, f"{len(times)}", f"{parts}", *cells])
        table(["beside", "reports", "parts of 1000", "p50, ms", "p99, ms"], rows)
        start, parts = time.perf_counter(), 0
        while db.prune_history(1000):
            parts += 1
        print(f"the other {parts} parts, without pauses: {time.perf_counter() - start:.0f} s\n")


#: For how long reports are made beside deletions (seconds), and the time between two of those.
_BESIDE, _PAUSE = 60, 0.05


def timed_beside(report: Callable[[int], None], prune: Callable[[], object] | None) -> tuple[list[float], int]:
    """The time that each of some reports took, and how many parts were deleted beside them."""
    over, parts = threading.Event(), 0

    def delete() -> None:
        nonlocal parts
        while prune and not over.wait(_PAUSE):
            prune()
            parts += 1

    thread = threading.Thread(target=delete)
    thread.start()
    times: list[float] = []
    end = time.perf_counter() + _BESIDE
    while time.perf_counter() < end:
        start = time.perf_counter()
        report(len(times))
        times.append(time.perf_counter() - start)
    over.set()
    thread.join()
    return times, parts


PARTS: dict[str, Callable[[str], None]] = {
    "writing": writing,
    "reading": reading,
    "pruning": pruning,
    "heartbeats": growth,
}


if __name__ == "__main__":
    run(PARTS, sys.argv[1:])
