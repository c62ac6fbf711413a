"""How much memory the daemon keeps as it runs: a week of ticks in a real process, as fast as it can do them.

A daemon with the memory store, real checks, an alerter and sinks runs in a process of its own.  On its clock a minute,
which is the time from one tick to the next, takes some milliseconds.  The resident memory is read at the end of each
day.  The figure is its rise from the end of the first day to the end of the last, for 1,000 ticks.

    python -m benchmarks.memory [DAYS]
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Ticks a day, one a minute.
DAY = 24 * 60
#: MiB for 1,000 ticks.
LIMIT = 0.05
#: Real seconds that a tick takes.
TICK = 0.02
#: Seconds since the epoch.
START = 1_700_006_400.0

CHECKS = """
[fine]
command = echo 'fine | waiting=3;;;0 age=40s'
[bad]
command = sh -c 'echo bad; exit 2'
[turns]
command = sh -c 'echo "$(date +%N)"; exit 1'
"""
CONFIGURATION = """
[database]
class = zc.cimaa.memory
history = 0s
[agent]
name = web1
directory = checks
[alerter:log]
class = log
[metrics:file]
class = log
path = /dev/null
[metrics:prometheus]
class = prometheus
path = figures.prom
"""


class FastClock:
    """A clock on which a minute takes one ``TICK``."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return START + 60 / TICK * (time.monotonic() - self._start)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.time()

    async def sleep_until(self, when: float) -> None:
        """Return when that time has come."""
        while (left := when - self.time()) > 0:
            await asyncio.sleep(left * TICK / 60)


def main(days: int) -> None:
    """Run the daemon in a process of its own for two days or more, and print its resident memory."""
    if days < 2:
        sys.exit("give at least 2 days: the rise is measured from the end of the first")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "checks").mkdir()
        (directory / "checks" / "f.cfg").write_text(CHECKS)
        (directory / "cimaa.cfg").write_text(CONFIGURATION)
        command = [sys.executable, __file__, "--daemon", str(days)]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
            assert daemon.stdout is not None
            resident = []
            for number, line in enumerate(daemon.stdout, 1):
                resident.append(int(line) / 2**20)
                print(f"day {number}: {resident[-1]:8.2f} MiB resident", flush=True)
    rise = (resident[-1] - resident[0]) / ((len(resident) - 1) * DAY / 1000)
    verdict = "of" if rise < LIMIT else "EXCEEDS"
    print(f"resident memory, for 1,000 ticks: {rise:.3f} MiB {verdict} {LIMIT} MiB")


def daemon(days: int) -> None:
    """Run the daemon; a line on standard output has the resident memory (bytes) at the end of each day."""
    from zc.cimaa.agent import reload, runner
    from zc.cimaa.agent.daemon import Daemon
    from zc.cimaa.agent.publisher import Publisher
    from zc.cimaa.agent.store import StoreClient
    from zc.cimaa.config import Config

    clock, configuration = FastClock(), reload.load(Config.read("cimaa.cfg"))
    name, publisher = configuration.agent.name, Publisher(configuration.sinks, clock)
    ticks = iter(range(1, days * DAY + 1))

    def at_tick(_tick: int) -> None:
        if next(ticks) % DAY == 0:
            print(resident(), flush=True)

    async def run() -> None:
        with configuration.config.open_database() as db:
            agent = Daemon(
                configuration.agent,
                StoreClient(name, db, clock),
                configuration.alerters,
                clock,
                runner.run,
                on_tick=at_tick,
                on_results=publisher.publish,
            )
            await agent.run(days * DAY)
            await publisher.finish()

    asyncio.run(run())


def resident() -> int:
    """This process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--daemon"]:
        daemon(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
