"""What the LMDB backend costs, against LMDB alone: ``python benchmarks/embedded.py [AGENTS ...]``.

The files lie in the current directory, or in the one that ``$BENCHMARK_DIRECTORY`` names: a real disk, please.

Bare is a program that knows nothing but LMDB and orjson, on a copy of the same file, with the same durability: it
encodes the faults, and puts the bytes that the backend would.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import orjson
from turns import by_turns

from zc.cimaa.lmdb import DB

FaultDict = dict[str, Any]
GIB = 1024**3


def report(agent: int, faults: int, change: int = 0) -> list[FaultDict]:
    """A report; the first fault's message tells how often it changed."""
    return [
        {
            "name": f"//agent{agent:07}/checks/check{number}",
            "severity": 40,
            "message": f"it is bad: 95 % used, {change if number == 0 else 0} changes",
        }
        for number in range(faults)
    ]


@contextmanager
def stores(agents: int, faults: int) -> Iterator[tuple[DB, Callable[..., lmdb.Environment]]]:
    """A store of so many agents, and a function that opens a copy of its file bare."""
    directory = tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_DIRECTORY", "."))
    opened = []
    try:
        path = Path(directory, "store")
        fill(path, agents, faults)

        def bare(name: str, metasync: bool) -> lmdb.Environment:
            copy = Path(directory, name)
            shutil.copytree(path, copy)
            opened.append(lmdb.open(str(copy), metasync=metasync, map_size=4 * GIB, max_readers=1024))
            return opened[-1]

        with DB({"path": str(path)}) as db:
            db.get_faults("agent0000000")
            yield db, bare
    finally:
        for environment in opened:
            environment.close()
        shutil.rmtree(directory)


def fill(path: Path, agents: int, faults: int) -> None:
    """Make the store quickly: the backend writes one agent, the bytes of which all others get."""
    with DB({"path": str(path)}) as db:
        db.set_faults("agent0000000", report(0, faults))
    with lmdb.open(str(path), map_size=4 * GIB, sync=False, max_readers=1024) as environment:
        with environment.begin(write=True) as transaction:
            row = transaction.get(b"a:agent0000000")
            for number in range(1, agents):
                name = b"agent%07d" % number
                # The digest is not theirs yet: the first report of each is a change.
                transaction.put(b"a:" + name, row)
                stored = [{**fault, "since": 1} for fault in report(number, faults)]
                if stored:
                    transaction.put(b"f:" + name, orjson.dumps(stored, option=orjson.OPT_SORT_KEYS))
        environment.sync(True)


def unchanged(agents: int, faults: int, rounds: int) -> tuple[float, float]:
    """Seconds of an unchanged report, and of a bare put of its row."""
    few = min(agents, 500)
    step = agents // few
    with stores(agents, faults) as (db, bare):
        reports = {number * step: report(number * step, faults) for number in range(few)}
        for number, faults_ in reports.items():
            db.set_faults(f"agent{number:07}", faults_)
        environment = bare("bare", metasync=False)
        rows = dict(_rows(environment, reports))

        def ours(call: int) -> None:
            number = call % few * step
            db.set_faults(f"agent{number:07}", reports[number])

        def put(call: int) -> None:
            number = call % few * step
            orjson.dumps(reports[number])
            with environment.begin(write=True) as transaction:
                transaction.put(b"a:agent%07d" % number, rows[number])

        seconds = by_turns({"ours": ours, "bare": put}, rounds, 10)
    return seconds["ours"], seconds["bare"]


def changed(agents: int, faults: int, rounds: int) -> tuple[float, float]:
    """Seconds of a report in which one fault changed, and of a bare put of its row and faults, both fully synced."""
    few = min(agents, 500)
    step = agents // few
    with stores(agents, faults) as (db, bare):
        for number in range(few):
            db.set_faults(f"agent{number * step:07}", report(number * step, faults))
        environment = bare("bare", metasync=True)
        rows = dict(_rows(environment, range(0, few * step, step)))

        def ours(call: int) -> None:
            number = call % few * step
            db.set_faults(f"agent{number:07}", report(number, faults, call + 1))

        def put(call: int) -> None:
            number = call % few * step
            encoded = orjson.dumps([{**fault, "since": 1} for fault in report(number, faults, call + 1)])
            with environment.begin(write=True) as transaction:
                transaction.put(b"a:agent%07d" % number, rows[number])
                transaction.put(b"f:agent%07d" % number, encoded)

        seconds = by_turns({"ours": ours, "bare": put}, rounds, 10)
    return seconds["ours"], seconds["bare"]


def listing(agents: int, faults: int, rounds: int) -> tuple[float, float]:
    """Seconds of listing all faults, worst first, and of reading and decoding them bare."""
    with stores(agents, faults) as (db, bare):
        environment = bare("bare", metasync=True)

        def decode(_: int) -> list[FaultDict]:
            found = []
            with environment.begin() as transaction, transaction.cursor() as cursor:
                cursor.set_range(b"f:")
                for key, value in cursor:
                    if not key.startswith(b"f:"):
                        break
                    found += orjson.loads(value)
            return found

        assert len(db.find_faults()) == len(decode(0)) == agents * faults
        seconds = by_turns({"ours": lambda _: db.find_faults(), "bare": decode}, rounds)
    return seconds["ours"], seconds["bare"]


def _rows(environment: lmdb.Environment, numbers: Any) -> Iterator[tuple[int, bytes]]:
    with environment.begin() as transaction:
        for number in numbers:
            yield number, transaction.get(b"a:agent%07d" % number)


def show(what: str, ours: float, bare: float) -> None:
    print(f"{what:<58} {1e6 * ours:9.0f} us {1e6 * bare:9.0f} us {bare / ours:6.2f}")


def main(sizes: list[int]) -> None:
    print(f"{'':<58} {'zc.cimaa':>12} {'bare':>12} {'speed':>6}")
    for faults in (0, 1, 10, 100):
        show(f"report unchanged, {faults} faults, 1,000 agents", *unchanged(1000, faults, 200))
    for faults in (1, 10, 100):
        show(f"report with one fault changed, of {faults}, 1,000 agents", *changed(1000, faults, 100))
    for agents, faults in ((200, 100), (20_000, 1)):
        show(f"listing {agents * faults:,} faults of {agents:,} agents", *listing(agents, faults, 15))
    for agents in sizes:
        show(f"report unchanged, 1 fault, {agents:,} agents", *unchanged(agents, 1, 150))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1000, 10_000, 100_000, 1_000_000])
