"""A daemon that runs for months keeps nothing from tick to tick.  (benchmarks/memory.py measures a week of it.)"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.simulation import SimulatedClock, Simulation
from zc.cimaa import memory
from zc.cimaa.agent import check_process
from zc.cimaa.agent.publisher import Publisher
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.metrics import Sample
from zc.cimaa.metrics.prometheus import Sink
from zc.cimaa.outcomes import Finished

ROOT = Path(__file__).parents[2]
# There are fewer ticks in these days than in real ones; Python's free lists are full after this many days.
DAYS, TICKS = 5, 600


async def turns(clock: SimulatedClock, check: Check) -> Finished:
    """A fault that changes each time, and is over now and then."""
    minute = int(clock.time()) // 60
    return Finished(2 if minute % 7 else 0, f"bad at {minute} | n={minute}".encode(), b"")


def prometheus(path: Path) -> Sink:
    return Sink({"path": str(path), "port": None, "address": "127.0.0.1"})


def allocated(directory: Path) -> list[int]:
    """How many blocks of memory the process has at the end of each day of a daemon."""
    simulation = Simulation(memory.DB({"history": "0s"}), "[a]\ncommand = x\n[b]\ncommand = x\n", turns, directory)
    publisher = Publisher({"s": prometheus(directory / "x.prom")}, simulation.clock)
    simulation.on_report = lambda: publisher.publish(simulation.daemon)
    found: list[int] = []

    def at_tick(tick: int) -> None:
        simulation.runs.clear()  # the simulation's own memory
        if tick % TICKS == 0:
            found.append(sys.getallocatedblocks())

    simulation.on_tick = at_tick
    simulation.run(DAYS * TICKS)
    return found


def test_the_daemon_allocates_no_more_from_day_to_day(tmp_path: Path) -> None:
    # In a process of its own, as pytest keeps something of what it sees.
    command = [sys.executable, "-m", __name__, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    *_, before, after = map(int, done.stdout.split())
    assert after - before < TICKS / 10


def test_names_that_are_new_each_time_are_not_interned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interned: set[str] = set()
    real = sys.intern

    def intern(text: str) -> str:
        interned.add(text)
        return real(text)

    monkeypatch.setattr(sys, "intern", intern)
    sink = prometheus(tmp_path / "x.prom")
    samples = [Sample(0, "web1", "f/a", "n", 1.0)]
    check = Check("f", "a", ("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo fine"), 20, tmp_path)
    sizes = []
    for _ in range(4):
        sink.write(samples)
        assert asyncio.run(check_process.run(check)) == Finished(0, b"fine\n", b"")
        sizes.append(len(interned))
    assert sizes[-1] == sizes[1]


if __name__ == "__main__":
    print(*allocated(Path(sys.argv[1])))
