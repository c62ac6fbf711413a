"""What the LMDB backend costs, against LMDB alone: ``python -m benchmarks.embedded [reports] [lists] [growth]``.

The files lie in the current directory, or in the one that ``$BENCHMARK_DIRECTORY`` names: a real disk, please.
Without a part, all parts run.

*Bare* is a program that knows nothing but LMDB and orjson, on a copy of the same file: it encodes the faults, and puts
the bytes that the backend would, with the durability that is named.  *By hand* is a loop that reads the same records,
decodes what is asked for, and returns the same dicts.  The lists are compared by processor time, the best of several.
"""

import gc
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import orjson

from benchmarks import field
from benchmarks.turns import by_turns
from zc.cimaa.lmdb import DB

GIB = field.GIB
FEW = 500
SIZES = (1000, 10_000, 100_000, 1_000_000)
NOW = field.START + 300
_HEAD, _SLOT, _LENGTH = struct.Struct("<q8sqB"), struct.Struct("<8sqI"), struct.Struct("<H")


@contextmanager
def store(agents: int, faults: int) -> Iterator[tuple[Path, DB]]:
    """A store of this number of agents, in a directory where copies of it may be made."""
    directory = Path(tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_DIRECTORY", ".")))
    try:
        field.fill(directory / "store", agents, faults)
        time.sleep(1.1)  # so that the directory's time is settled
        with DB({"path": str(directory / "store"), "map_size": "16GiB"}) as db:
            yield directory, db
    finally:
        shutil.rmtree(directory)


@contextmanager
def bare(directory: Path, **durability: bool) -> Iterator[lmdb.Environment]:
    """A copy of the store's file, opened bare."""
    copy = directory / "-".join(["bare", *durability])
    shutil.copytree(directory / "store", copy)
    with lmdb.open(str(copy), map_size=16 * GIB, max_readers=1024, **durability) as environment:
        yield environment


# Reports


def unchanged(agents: int, faults: int, rounds: int) -> None:
    """An unchanged report, beside a bare put of its row."""
    numbers = [number * (agents // FEW) for number in range(FEW)]
    reports = [field.report(number, faults) for number in numbers]
    with store(agents, faults) as (directory, db):
        for number, report in zip(numbers, reports, strict=True):
            db.set_faults(field.name(number), report)
        for what, durability in (("data synced", {"metasync": False}), ("nothing synced", {"sync": False})):
            with bare(directory, **durability) as environment:
                rows = [environment.begin().get(b"a:" + field.name(number).encode()) for number in numbers]

                def ours(call: int) -> None:
                    db.set_faults(field.name(numbers[call % FEW]), reports[call % FEW])

                def put(call: int, environment: Any = environment, rows: Any = rows) -> None:
                    orjson.dumps(reports[call % FEW])
                    with environment.begin(write=True) as transaction:
                        transaction.put(b"a:" + field.name(numbers[call % FEW]).encode(), rows[call % FEW])

                seconds = by_turns({"ours": ours, "bare": put}, rounds, 10)
                show(f"report unchanged, {faults} faults, {agents:,} agents; {what}", seconds)


def changed(agents: int, faults: int, rounds: int) -> None:
    """A report in which one fault changed, beside a bare put of its row and faults, fully synced."""
    numbers = [number * (agents // FEW) for number in range(FEW)]
    with store(agents, faults) as (directory, db), bare(directory) as environment:
        for number in numbers:
            db.set_faults(field.name(number), field.report(number, faults))
        rows = [environment.begin().get(b"a:" + field.name(number).encode()) for number in numbers]

        def ours(call: int) -> None:
            db.set_faults(field.name(numbers[call % FEW]), field.report(numbers[call % FEW], faults, call + 1))

        def put(call: int) -> None:
            number, name = numbers[call % FEW], field.name(numbers[call % FEW]).encode()
            encoded = orjson.dumps([{**one, "since": 1} for one in field.report(number, faults, call + 1)])
            with environment.begin(write=True) as transaction:
                transaction.put(b"a:" + name, rows[call % FEW])
                transaction.put(b"f:" + name, encoded)

        seconds = by_turns({"ours": ours, "bare": put}, rounds, 10)
        made = min(timed(lambda: field.report(0, faults, 1)) for _ in range(100))
        show(f"one fault changed, of {faults}, {agents:,} agents", {way: took - made for way, took in seconds.items()})


# Lists


class ByHand:
    """The lists, each in a loop."""

    def __init__(self, environment: lmdb.Environment, slots: Path) -> None:
        self._environment = environment
        self._slots = slots

    def old_agents(self) -> list[Any]:
        latest = (NOW - 60) * 10**6
        return [_heartbeat(key, updated) for key, _, updated, _ in self._rows() if updated <= latest]

    def get_agents(self) -> list[Any]:
        return [_agent(key, row, updated) for key, row, updated, _ in self._rows()]

    def double_agents(self) -> list[Any]:
        return [_agent(key, row, updated) for key, row, updated, count in self._rows() if count > 1]

    def dump(self) -> list[Any]:
        found: list[Any] = [{"agent": "_", "message": "", **_heartbeat(key, at)} for key, _, at, _ in self._rows()]
        for key, value in self._records(b"f:"):
            agent = key[2:].decode()
            for fault in orjson.loads(value[16:]):
                del fault["since"]
                found.append({"agent": agent, **fault})
        return found

    def find_faults(self) -> list[Any]:
        found = []
        for key, value in self._records(b"f:"):
            agent = key[2:].decode()
            for fault in orjson.loads(value[16:]):
                fault["agent"] = agent
                found.append(fault)
        found.sort(key=lambda fault: (-fault["severity"], fault["since"]))
        return found

    def _records(self, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(kind)
            for key, value in cursor:
                if not key.startswith(kind):
                    break
                yield key, value

    def _rows(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        slots = self._slots.read_bytes()
        for key, row in self._records(b"a:"):
            updated, revision, slot, count = _HEAD.unpack_from(row)
            found, at, checksum = _SLOT.unpack_from(slots, slot * 32)
            if found == revision and checksum == zlib.crc32(slots[slot * 32 : slot * 32 + 16]):
                updated = at
            yield key, row, updated, count


def _heartbeat(key: bytes, updated: int) -> dict[str, Any]:
    return {"name": key[2:].decode(), "updated": updated // 10**6}


def _agent(key: bytes, row: bytes, updated: int) -> dict[str, Any]:
    names = ("host", "pid", "version", "os", "first", "last")
    seen = orjson.loads(row[51 + _LENGTH.unpack_from(row, 49)[0] :])
    instances = [dict(zip(names, (*who, first // 10**6, last // 10**6), strict=True)) for *who, first, last in seen]
    return {**_heartbeat(key, updated), "instances": instances}


def lists(agents: int) -> None:
    with store(agents, 1) as (directory, _), bare(directory) as environment:
        hand = ByHand(environment, directory / "bare" / "heartbeats")
        with DB({"path": str(directory / "store"), "map_size": "16GiB"}, clock=lambda: NOW) as db:
            ours: dict[str, Callable[[], object]] = {
                "old_agents": lambda: db.old_agents(60),
                "get_agents": db.get_agents,
                "double_agents": lambda: db.double_agents(10**6),
                "dump": db.dump,
                "find_faults": db.find_faults,
            }
            for name, work in ours.items():
                times = [(timed(work), timed(getattr(hand, name))) for _ in range(7)]
                best = {"ours": min(one for one, _ in times), "bare": min(other for _, other in times)}
                show(f"{name}, {agents:,} agents, 1 fault each (processor time)", best)


def timed(work: Callable[[], object]) -> float:
    """The processor seconds of one call."""
    gc.collect()
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    del result
    return seconds


# Growth


def growth(sizes: tuple[int, ...]) -> None:
    """Reports, and the peak of the memory of whole processes, each of which makes one list."""
    for agents in sizes:
        unchanged(agents, 1, 50)
        with store(agents, 1) as (directory, _):
            for work in ("None", "db.old_agents(10**6)", "db.old_agents(60)", "db.find_faults(limit=20)", "db.dump()"):
                command = [sys.executable, "-m", "benchmarks.embedded", "peak", str(directory / "store"), work]
                print(f"{agents:>9,} agents", end=": ", flush=True)
                subprocess.run(command, check=True)


def peak(path: str, work: str) -> None:
    """Open the store, make one list, and print how much memory the process had at most."""
    with DB({"path": path, "map_size": "16GiB"}, clock=lambda: NOW) as db:
        db.get_faults("nobody")
        start = time.perf_counter()
        result = eval(work, {"db": db})
        seconds = time.perf_counter() - start
        # The pages of the file that were read count as the process's, but the system takes them back at will.
        # (VmHWM, because the maximum that getrusage returns includes the time before this program was executed.)
        status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        most = int(status["VmHWM"].split()[0]) - int(status["RssFile"].split()[0])
        print(f"{work:26} {seconds:6.2f} s, at most {most / 1024:6.0f} MB besides the file ({type(result).__name__})")


def show(what: str, seconds: dict[str, float]) -> None:
    ours, other = seconds["ours"], seconds["bare"]
    print(f"{what:<72} {1e6 * ours:9.0f} us {1e6 * other:9.0f} us {other / ours:6.2f}", flush=True)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["peak"]:
        peak(*arguments[1:])
        return
    parts = arguments or ["reports", "lists", "growth"]
    print(f"{'':<72} {'zc.cimaa':>12} {'bare':>12} {'speed':>6}")
    if "reports" in parts:
        for faults in (0, 2, 10, 100):
            unchanged(1000, faults, 100)
        for faults in (2, 10, 100):
            changed(1000, faults, 100)
    if "lists" in parts:
        lists(100_000)
    if "growth" in parts:
        growth(SIZES)


if __name__ == "__main__":
    main(sys.argv[1:])
