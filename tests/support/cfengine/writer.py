"""A process that commits to an LMDB file as fast as it can, with CFEngine's settings.

Each commit writes one number to all of some keys, which are spread over many pages, and moves others about, so that
pages are freed and used again.  Run it with the file's path; it ends when its standard input does, and then writes how
many commits it made, and how long the slowest took.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from tests.support.cfengine import samples

KEYS = 60
_FILL = 300


def together(number: int) -> Iterator[tuple[bytes, bytes]]:
    """What one commit writes."""
    for key in range(KEYS):
        yield b"together%03d\0" % key, samples.lock(1, number, 0) + bytes(_FILL)


def number_of(entries: dict[bytes, bytes]) -> int:
    """The number of the commit that wrote these entries.

    :raises AssertionError: if several did.
    """
    for number in {int.from_bytes(entries[key][8:16], sys.byteorder) for key in entries if key.startswith(b"t")}:
        wanted = dict(together(number))
        assert {key: value for key, value in entries.items() if key.startswith(b"t")} == wanted
        assert len([key for key in entries if key.startswith(b"moved")]) == 20
        return number
    raise AssertionError("nothing was written")


def main(path: str) -> None:
    commits, slowest, first = 0, 0.0, True
    with lmdb.open(path, subdir=False, map_size=samples.MAP_SIZE, sync=False) as environment:
        while first or not select.select([0], [], [], 0)[0]:
            start = time.perf_counter()
            with environment.begin(write=True) as transaction:
                for key, value in together(commits):
                    transaction.put(key, value)
                for key in range(20):
                    transaction.delete(b"moved%06d\0" % (commits - 1 + key * 1000))
                    transaction.put(b"moved%06d\0" % (commits + key * 1000), b"x" * (commits % 700))
            slowest = max(slowest, time.perf_counter() - start)
            commits += 1
            if first:
                print("writing", flush=True)
                first = False
    print(commits, slowest, flush=True)


class Running:
    """A writer that runs: what it came to is known once it ended."""

    commits = 0
    slowest = 0.0


@contextmanager
def writing(path: Path) -> Iterator[Running]:
    """A writer to the file, for as long as the context lasts; it fails if a commit does."""
    command = [sys.executable, "-m", "tests.support.cfengine.writer", os.fspath(path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        running = Running()
        try:
            yield running
        finally:
            process.stdin.close()
            counted = process.stdout.read()
        assert process.wait(20) == 0
        running.commits, running.slowest = int(counted.split()[0]), float(counted.split()[1])


if __name__ == "__main__":
    main(sys.argv[1])
