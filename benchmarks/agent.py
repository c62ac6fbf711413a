"""The resources that the agent needs: with many checks at once, and idle.

Real agents run, with real checks, which are shell scripts; each figure is printed with its limit.  The
processor time is the agent's own, without that of its checks.

    python -m benchmarks.agent [MINUTES]
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

CIMAA = os.fspath(Path(sys.executable).with_name("cimaa"))

# Busy: checks per tick, ticks, and seconds from one tick to the next.
BUSY, TICKS, INTERVAL = 200, 6, 10
# Idle: checks per minute.
IDLE = 50

DATABASE = "[database]\npath = store\n"
CHAT = "[alerter:chat]\nclass = apprise\nurls = json://localhost/\n"


class Figures(NamedTuple):
    """The resources that an idle agent used."""

    megabytes: float
    percent: float


def main(minutes: int) -> None:
    """Print all figures."""
    busy(10, 0)
    busy(BUSY, 2)
    for what, more in (("", ""), (", Apprise loaded", CHAT)):
        figures = idle(minutes, more)
        show(f"idle, {IDLE} checks per minute{what}: resident memory", figures.megabytes, 60, "MB")
        show(f"idle, {IDLE} checks per minute{what}: of a core", figures.percent, 1, "%")


def show(what: str, figure: float, limit: float, unit: str) -> None:
    """Print a figure."""
    print(f"{what:68} {figure:8.2f} {unit:2} {'of' if figure <= limit else 'EXCEEDS'} {limit} {unit}", flush=True)


def busy(parallel: int, seconds: int) -> None:
    """Run all checks at several ticks; each sleeps for ``seconds``."""
    what = f"{BUSY} checks of {seconds} s, {parallel} at once"
    check = f"sh -c 'sleep {seconds}; date +%s.%N >> ../done; echo fine'"
    with agent(BUSY, check, f"parallel = {parallel}\nbase_interval = {INTERVAL}s\n", "", "--count", str(TICKS)) as it:
        process, directory = it
        process.wait()
        samples = [json.loads(line) for line in (directory / "metrics").read_text().splitlines()]
        ended = sorted(float(line) for line in (directory / "done").read_text().split())
    missed = [sample["value"] for sample in samples if sample["name"] == "missed_ticks"]
    wrong = [sample["value"] for sample in samples if sample["name"] == "faults_error"]
    show(f"{what}: missed ticks", max(missed), 0, "")
    show(f"{what}: runs that did not happen", TICKS * BUSY - len(ended), 0, "")
    show(f"{what}: faults, slowness among them", max(wrong), 0, "")
    ticks = [ended[n : n + BUSY] for n in range(0, len(ended), BUSY)]
    show(f"{what}: from first to last", max(tick[-1] - tick[0] for tick in ticks), INTERVAL, "s")


def idle(minutes: int, more: str) -> Figures:
    """Run for some minutes, and leave out the first."""
    with agent(IDLE, "echo 'fine | a=1'", "", more, "--keep") as (started, directory):
        process = psutil.Process(started.pid)
        while not (directory / "metrics").exists():
            time.sleep(0.1)
        time.sleep(30)  # from the middle between two ticks to another such
        before, start = process.cpu_times(), time.monotonic()
        resident = 0
        while time.monotonic() < start + 60 * minutes:
            resident = max(resident, process.memory_info().rss)
            time.sleep(0.5)
        after = process.cpu_times()
        took = after.user + after.system - before.user - before.system
    return Figures(resident / 1e6, 100 * took / (60 * minutes))


@contextlib.contextmanager
def agent(
    count: int, command: str, settings: str, more: str, *options: str
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """An agent with ``count`` checks, and its directory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "checks").mkdir()
        sections = [f"[c{number}]\ncommand = {command}\n" for number in range(count)]
        (directory / "checks" / "many.cfg").write_text("".join(sections))
        sink = f"[metrics:file]\nclass = log\npath = {directory}/metrics\n"
        own = f"[agent]\nname = web1\ndirectory = checks\n{settings}"
        (directory / "cimaa.cfg").write_text(f"{DATABASE}{own}{sink}{more}")
        environment = {**os.environ, "CIMAA_CONFIG": os.fspath(directory / "cimaa.cfg")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(
            [CIMAA, "agent", *options], env=environment, cwd=directory, stderr=subprocess.DEVNULL
        )
        try:
            yield process, directory
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
