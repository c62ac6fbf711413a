"""Processes that fight for a lease in real time, while they are killed, stopped and continued at random.

``python -m tests.support.lease_fight --minutes 10 lmdb`` (or ``postgres`` or ``dynamodb``) is the long form of
``tests/store/test_never_two.py``.

Each process notes when it has the lease, by its own judgment, and then increments a counter that refuses a token lower
than the highest it has seen.
"""

import argparse
import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import until
from zc.cimaa.agent.clock import monotonic
from zc.cimaa.config import Config
from zc.cimaa.errors import StoreError

MODULE = "tests.support.lease_fight"
NAME = "fight"
#: The length of the lease, and by how much the clocks of two processes differ at most (seconds).
SECONDS, MARGIN = 2, 2
PROCESSES = 8


class Claim(NamedTuple):
    """A process has the lease, as it judges itself: from the answer of the store until its own end."""

    since: float
    until: float
    token: int
    holder: str


def fight(directory: Path, skew: float) -> None:
    """Take the lease, keep it for a while, and release it or not, until killed."""
    holder = f"process {os.getpid()} {random.random()}"
    chance = random.Random(holder)
    db = Config.read(directory / "cimaa.cfg").open_database(clock=(lambda: time.time() + skew) if skew else None)
    while True:
        asked = monotonic()
        with contextlib.suppress(StoreError):
            lease = db.lease(NAME, holder, SECONDS)
            answered = monotonic()
            if lease.holder == holder and answered < asked + SECONDS:
                append(directory / "claims", Claim(answered, asked + SECONDS, lease.token, holder))
                time.sleep(chance.uniform(0, 0.2))
                if monotonic() < asked + SECONDS:
                    increment(directory, lease.token)
                if chance.random() < 0.05:
                    append(directory / "claims", Claim(monotonic(), -1, lease.token, holder))
                    db.release(NAME, holder)
        time.sleep(chance.uniform(0, 0.3))


def append(path: Path, value: tuple[object, ...]) -> None:
    """Append a line of JSON."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps(value).encode() + b"\n")
    os.close(descriptor)


def increment(directory: Path, token: int) -> None:
    """Increment the counter, unless it has seen a higher token; note which."""
    with (directory / "counter").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        highest, count = json.loads(file.read() or "[0, 0]")
        if token < highest:
            append(directory / "refused", (token, highest))
            return
        file.truncate(0)
        file.write(json.dumps([token, count + 1]))
        file.flush()
        append(directory / "accepted", (token, count + 1))


def lines(path: Path) -> Iterator[list[float]]:
    """The lines of a file, except one that was cut off by a kill."""
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def claims(directory: Path) -> list[Claim]:
    """The claims, each of which ends where its holder released the lease."""
    found: list[Claim] = []
    for line in lines(directory / "claims"):
        claim = Claim(*line)  # type: ignore[arg-type]  # as they were written
        if claim.until < 0:
            ended = (claim.holder, claim.since)
            found = [c._replace(until=min(c.until, ended[1])) if c.holder == ended[0] else c for c in found]
        else:
            found.append(claim)
    return sorted(found)


def overlaps(found: list[Claim]) -> list[tuple[Claim, Claim]]:
    """The claims of different holders that were valid at the same time."""
    wrong = []
    latest: Claim | None = None
    for claim in found:
        if latest is not None and latest.holder != claim.holder and claim.since < latest.until:
            wrong.append((latest, claim))
        if latest is None or claim.until > latest.until:
            latest = claim
    return wrong


def run(directory: Path, settings: Mapping[str, str], seconds: float, skew: float, seed: int = 1) -> list[Claim]:
    """Let processes fight, and check what they did: no two held the lease at once, and tokens only grew."""
    text = "".join(f"{key} = {value}\n" for key, value in settings.items())
    (directory / "cimaa.cfg").write_text(f"[database]\n{text}")
    chance = random.Random(seed)
    processes = [start(directory, chance, skew) for _ in range(PROCESSES)]
    try:
        until(lambda: claims(directory), 60)  # on a busy machine, eight processes take long to start
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(0, 0.6))
            disturb(directory, processes, chance, skew)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = claims(directory)
    assert overlaps(found) == []
    assert all(before.token <= after.token for before, after in pairwise(found))
    assert len({claim.token for claim in found}) == len({(claim.token, claim.holder) for claim in found})
    accepted = [*lines(directory / "accepted")]
    assert accepted == sorted(accepted)
    return found


def start(directory: Path, chance: random.Random, skew: float) -> "subprocess.Popen[bytes]":
    """A process, whose clock is wrong by up to half of the skew."""
    offset = chance.uniform(-skew / 2, skew / 2)
    return subprocess.Popen([sys.executable, "-m", MODULE, "--fight", str(directory), f"--skew={offset}"])


def disturb(directory: Path, processes: list["subprocess.Popen[bytes]"], chance: random.Random, skew: float) -> None:
    """Kill, stop or continue one of the processes."""
    number = chance.randrange(len(processes))
    what = chance.random()
    if what < 0.1:
        processes[number].kill()
        processes[number].wait()
        processes[number] = start(directory, chance, skew)
    else:
        processes[number].send_signal(signal.SIGSTOP if what < 0.4 else signal.SIGCONT)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", nargs="?", choices=["lmdb", "postgres", "dynamodb"])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--fight", type=Path)
    parser.add_argument("--skew", type=float, default=0)
    given = parser.parse_args()
    if given.fight:
        fight(given.fight, given.skew)
    with tempfile.TemporaryDirectory() as name, store(given.store, Path(name)) as settings:
        found = run(Path(name), settings, 60 * given.minutes, MARGIN if given.store == "dynamodb" else 0)
        print(f"{len(found)} claims, {found[-1].token} tenures, refused: {len([*lines(Path(name) / 'refused')])}")


@contextlib.contextmanager
def store(name: str, directory: Path) -> Iterator[dict[str, str]]:
    """The settings of an empty store."""
    from tests.support import dynamodb_servers, postgres_servers
    from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps

    if name == "lmdb":
        yield {"class": "zc.cimaa.lmdb", "path": f"{directory}/store"}
    elif name == "postgres":
        with postgres_servers.server_18() as server, postgres_servers.new_schema(server.socket_dsn) as schema:
            yield {"class": "zc.cimaa.postgres", "dsn": server.socket_dsn, "schema": schema}
    else:
        with dynamodb_servers.moto() as url:
            for step in steps(dynamodb_servers.plain_client(url), "fight", TableOptions()):
                step.do()
            yield dynamodb_settings({**dynamodb_servers.ACCESS, "endpoint_url": url, "prefix": "fight"})


def dynamodb_settings(given: Mapping[str, str]) -> dict[str, str]:
    """The settings of a store on DynamoDB, with a short margin."""
    return {"class": "zc.cimaa.dynamodb", **given, "clock_margin": f"{MARGIN}s"}


if __name__ == "__main__":
    main()
