"""What the history costs on LMDB: ``python -m benchmarks.history [EVENTS] [changes] [reading] [size]``.

The files are in the current directory, or in the one that ``$BENCHMARK_DIRECTORY`` names: a real disk, please.  EVENTS
is how many events the large store has, by default 10,000,000; ``100_000`` is a short form.

*Bare* is a program that uses only LMDB and orjson: it reads the same records, and returns the same dicts.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import orjson

from benchmarks import field
from benchmarks.turns import by_turns
from zc.cimaa import history
from zc.cimaa.history import Event
from zc.cimaa.lmdb import DB, event_log
from zc.cimaa.testing import Clock

EVENTS = 10_000_000
AGENTS = 10_000
DAY = 24 * 60 * 60
HOUR = 60 * 60
MICROSECONDS = 1_000_000
WINDOW = 89 * DAY
MAP = "16GiB"
RUNS = 5
KEYS = Event._fields


@contextmanager
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_DIRECTORY", ".")))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def event(number: int, at: int) -> Event:
    """An event as in the field: a fault of some agent began, or ended."""
    agent = field.name(number * 7919 % AGENTS)
    check, message = field.CHECKS[number % len(field.CHECKS)]
    kind, severity = (history.BEGAN, 50) if number % 2 else (history.ENDED, 50)
    before, after = (None, severity) if kind == history.BEGAN else (severity, None)
    since = at // MICROSECONDS - 300 * (number % 2)
    return Event(at, agent, kind, f"//{agent}/{check}/0", before, after, since, message=message)


def fill(path: Path, events: int, now: float) -> None:
    """Store this number of events, evenly over the time before ``now``."""
    with DB({"path": str(path), "map_size": MAP}) as db:
        db.get_agents()
    start, step = int((now - WINDOW) * MICROSECONDS), WINDOW * MICROSECONDS // events
    index = []
    with lmdb.open(str(path), map_size=16 * field.GIB, sync=False, max_readers=1024) as environment:
        for first in range(0, events, 100_000):
            part = []
            for number in range(first, min(first + 100_000, events)):
                made = event(number, start + step * number)
                stamp, agent = made.time.to_bytes(8, "big"), made.agent.encode()
                part.append((event_log.LOG + stamp + agent, event_log.encode_events([made])))
                index.append(event_log.INDEX + agent + b"\0" + stamp)
            with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(part)
        index.sort()
        for first in range(0, events, 100_000):
            with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti([(key, b"") for key in index[first : first + 100_000]])
        environment.sync(True)


# Changes


def reports(db: DB, changes: int) -> Callable[[int], None]:
    """Reports of 100 agents, some of which change: a fault begins, or ends."""

    def report(call: int) -> None:
        agent, turn = call % 100, call // 100
        faults = 3 if (turn // changes) % 2 else 2
        db.set_faults(field.name(agent), field.report(agent, faults))

    return report


def changes(events: int) -> None:
    """Changed reports with history, without, and with many events behind them."""
    with directory() as made:
        fill(made / "behind", events, time.time())
        stores = {
            name: DB({"path": str(made / name.split()[0]), "map_size": MAP, "history": history_of})
            for name, history_of in (("none", "0s"), ("history", "90d"), ("behind", "90d"))
        }
        for share in (1, 10):
            ways = {name: reports(db, share) for name, db in stores.items()}
            ratios = [_ratios(ways, share) for _ in range(RUNS)]
            kept, many = (statistics.median(ratio[index] for ratio in ratios) for index in range(2))
            what = "each report changed" if share == 1 else f"one report in {share} changed"
            print(f"{what}: speed with history {kept:.2f} of that with none", flush=True)
            print(f"{what}: {many:.2f} times the time with {events:,} events behind it", flush=True)
        for db in stores.values():
            db.close()


def _ratios(ways: dict[str, Callable[[int], None]], share: int) -> tuple[float, float]:
    seconds = totals(ways, 100 * share)
    return seconds["none"] / seconds["history"], seconds["behind"] / seconds["history"]


def totals(ways: dict[str, Callable[[int], None]], calls: int) -> dict[str, float]:
    """The seconds of some rounds of calls of each variant, alternating."""
    found = dict.fromkeys(ways, 0.0)
    for turn in range(8):
        for name, way in ways.items():
            start = time.perf_counter()
            for call in range(turn * calls, (turn + 1) * calls):
                way(call)
            found[name] += time.perf_counter() - start
    return found


# Reading


def reading(events: int) -> None:
    """The last hour of many events, and the faults of an hour ago."""
    now = time.time()
    with directory() as made:
        fill(made / "store", events, now)
        with DB({"path": str(made / "store"), "map_size": MAP}) as db:
            since = int(now) - HOUR
            first = (since * MICROSECONDS).to_bytes(8, "big")
            environment = db._environment._shared.current().environment

            def bare(_: int) -> list[dict[str, Any]]:
                return _bare(environment, event_log.LOG + first)

            found = db.get_history(since=since)
            assert found == bare(0)
            show(f"the last hour of {events:,} events: {len(found)}", lambda _: db.get_history(since=since), bare)
    with directory() as made:
        _fill_faults(made / "store", int(now))
        with DB({"path": str(made / "store"), "map_size": MAP}, clock=lambda: now) as db:
            at = int(now) - HOUR
            assert len(db.faults_at(at)) == 20_000
            show(
                "faults_at an hour ago, 20,000 faults, 10,000 events since",
                lambda _: db.faults_at(at),
                lambda _: db.find_faults(),
            )


def size(events: int) -> None:
    """The pages that some events take, stored one after the other as reports do."""
    count = min(events, 200_000)
    with directory() as made, lmdb.open(str(made), map_size=16 * field.GIB, sync=False) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(count):
                event_log.append(transaction, [event(number, number * MICROSECONDS)])
        status = environment.stat()
        pages = status["branch_pages"] + status["leaf_pages"] + status["overflow_pages"]
        print(f"an event takes {pages * status['psize'] / count:.0f} bytes, index included")


def _bare(environment: Any, first: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with environment.begin() as transaction, transaction.cursor() as cursor:
        cursor.set_range(first)
        for key, value in cursor:
            at, agent = int.from_bytes(key[2:10], "big"), key[10:].decode()
            found += [
                {key: field for key, field in zip(KEYS, (at, agent, *one), strict=True) if field not in (None, "")}
                for one in orjson.loads(value)
            ]
    return found


def _fill_faults(path: Path, now: int) -> None:
    """20,000 faults of 2,000 agents a day ago; in the last hour 5,000 of them ended, and 5,000 others began."""
    clock = Clock(now - DAY)
    with DB({"path": str(path), "map_size": MAP}, clock=clock) as db:
        for agent in range(2000):
            db.set_faults(field.name(agent), field.report(agent, 10))
        for agent in range(1000):
            clock.now = now - HOUR + 1 + agent
            db.set_faults(field.name(agent), field.report(agent, 15)[5:])


def show(what: str, ours: Callable[[int], object], bare: Callable[[int], object]) -> None:
    seconds = by_turns({"ours": ours, "bare": bare}, 11)
    times = seconds["ours"] / seconds["bare"]
    print(f"{what}: {1e3 * seconds['ours']:.1f} ms, {times:.2f} times the {1e3 * seconds['bare']:.1f} ms of the other")


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given.pop(0).replace("_", "")) if given and given[0][0].isdigit() else EVENTS
    parts = {"changes": changes, "reading": reading, "size": size}
    for part in given or parts:
        parts[part](count)
