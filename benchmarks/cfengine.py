"""What ``cimaa cfengine`` takes for a hub of 50,000 hosts, against bare loops over LMDB's cursor.

*Bare* is a program that opens the file with LMDB, and loops over the cursor with the same decoding; for ``dump --json``
it also encodes and writes each entry.  It copies and examines nothing.  The check of an ordinary host is compared with
``cimaa --version``.  All run alternately, as processes of their own.  Times are medians of processor time, including
child processes, which depends less on other load of the machine than elapsed time.

    python -m benchmarks.cfengine [RUNS] [HOSTS]
"""

import hashlib
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lmdb

CIMAA = os.fspath(Path(sys.executable).with_name("cimaa"))
MAP_SIZE = 100 * 1024**2
BARE = """\
import sys
import lmdb
from zc.cimaa.cfengine import records
path = sys.argv[1]
with lmdb.open(path, subdir=False, readonly=True, lock=False) as environment, environment.begin() as transaction:
    for entry in records.decode("cf_lastseen.lmdb", transaction.cursor()):
        pass
"""
BARE_JSON = BARE.replace("import lmdb", "import lmdb\nimport orjson").replace(
    "pass", 'sys.stdout.write(orjson.dumps({"key": entry.key, "value": entry.value}).decode() + "\\n")'
)


def main(runs: int, hosts: int) -> None:
    """Print the medians, and the ratios."""
    with tempfile.TemporaryDirectory() as directory:
        hub, host = Path(directory, "hub"), Path(directory, "host")
        hub.mkdir()
        host.mkdir()
        lastseen = os.fspath(write_hub(hub / "cf_lastseen.lmdb", hosts))
        write_host(host)
        commands = {
            "bare loop": [sys.executable, "-c", BARE, lastseen],
            "hosts": [CIMAA, "cfengine", "hosts", "--state", os.fspath(hub)],
            "bare loop that writes JSON": [sys.executable, "-c", BARE_JSON, lastseen],
            "dump --json": [CIMAA, "cfengine", "dump", "--json", lastseen],
            "cimaa --version": [CIMAA, "--version"],
            "check of an ordinary host": [CIMAA, "check", "cfengine", "--state", os.fspath(host)],
        }
        taken: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                taken[name].append(measured(command))
    seconds = {name: statistics.median(second for second, _ in some) for name, some in taken.items()}
    for name, second in seconds.items():
        print(f"{name}: {1000 * second:.0f} ms, {max(size for _, size in taken[name]) / 1024:.0f} MB")
    print(f"hosts / bare loop: {seconds['hosts'] / seconds['bare loop']:.2f}")
    print(f"dump's rate: {seconds['bare loop that writes JSON'] / seconds['dump --json']:.2f} of the bare loop's")
    print(f"check / --version: {seconds['check of an ordinary host'] / seconds['cimaa --version']:.2f}")


def measured(command: Sequence[str]) -> tuple[float, int]:
    """Seconds of processors that the command takes, and the most memory (KiB) that it has resident."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def write_hub(path: Path, hosts: int) -> Path:
    """``cf_lastseen`` of a hub to which each host comes every five minutes; some fell silent."""
    now = int(time.time())
    with (
        lmdb.open(os.fspath(path), subdir=False, map_size=MAP_SIZE) as environment,
        environment.begin(write=True) as write,
    ):
        write.put(b"version\0", b"1\0")
        for number in range(hosts):
            key = b"SHA=" + hashlib.sha256(str(number).encode()).hexdigest().encode()
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}".encode()
            silent = number % 300 if number % 50 else number * 77
            write.put(b"k" + key + b"\0", address + b"\0")
            write.put(b"a" + address + b"\0", key + b"\0")
            write.put(b"qi" + key + b"\0", struct.pack("=q4d", now - silent, 300.5, 290.25 + number % 20, 12.125, -1.5))
    return path


def write_host(directory: Path) -> None:
    """The files of a host: a thousand promises, and some others."""
    now = int(time.time())
    contents = {
        "cf_lock": {
            f"last.bundle{number}.files.handle.-host.x_{number}_MD5={number:032x}": struct.pack(
                "=i4xqq", 9, now - 60, 5
            )
            for number in range(1000)
        },
        "cf_state": {f"class{number}": struct.pack("=II", now + 600, 0) + b"source=promise\0" for number in range(20)},
        "performance": {f"promise{number}": struct.pack("=q4d", now, 1, 1, 1, 1) for number in range(50)},
    }
    for name, entries in contents.items():
        path = os.fspath(directory / f"{name}.lmdb")
        with lmdb.open(path, subdir=False, map_size=MAP_SIZE) as environment, environment.begin(write=True) as write:
            for key, value in entries.items():
                write.put(key.encode() + b"\0", value)
    write_hub(directory / "cf_lastseen.lmdb", 1)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [9, 50_000][len(arguments) :]))
