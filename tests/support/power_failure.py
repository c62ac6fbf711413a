"""Power failures, made by replaying what a program wrote: ``python -m tests.support.power_failure [failures [seed]]``.

``record`` runs a program under strace and returns what it wrote.  ``Disk`` knows which of it must be on disk at a
moment, and makes the files as a power failure at that moment might leave them: with any of the writes that were not
synced, in any order, each of them whole, in part, or not at all; and with any of the names that were made since the
last sync of their directory, in order.

The assumptions: a sector of 512 bytes is written whole or not at all, ``fdatasync`` writes a file's data and its size,
a write to a file that was opened with ``O_DSYNC`` writes that much of it, and ``fsync`` of a directory its names.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.long_form import numbers
from zc.cimaa.agents import Instance
from zc.cimaa.lmdb import DB
from zc.cimaa.testing import Clock, fault

SECTOR = 512
_NAME_CALLS = ("openat", "mkdir", "rename", "unlink", "unlinkat", "rmdir")
_FILE_CALLS = ("lseek", "write", "writev", "pwrite64", "pwritev", "fallocate", "ftruncate", "fsync", "fdatasync")
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")


class Call(NamedTuple):
    """A system call that succeeded."""

    name: str
    path: str
    data: bytes = b""
    offset: int = 0
    synced: bool = False


def record(program: list[str], log: Path) -> list[Call]:
    """Run a program, and return the calls that changed files."""
    traced = f"trace={','.join(_NAME_CALLS + _FILE_CALLS)}"
    strace = ["strace", "-f", "-y", "-xx", "-s", str(2**24), "-e", traced, "-o", str(log)]
    subprocess.run([*strace, *program], check=True, timeout=300)
    calls: list[Call] = []
    positions: dict[str, int] = {}
    synced: set[str] = set()
    for line in log.read_text().splitlines():
        if (match := _LINE.match(line)) and int(match[3]) >= 0:
            calls += _calls(match[1], match[2], match[3], positions, synced)
    return calls


def _calls(name: str, arguments: str, result: str, positions: dict[str, int], synced: set[str]) -> list[Call]:
    strings = [_bytes(text) for text in _STRING.findall(arguments)]
    if name in _NAME_CALLS:
        return _name_calls(name, arguments, result, strings, synced)
    match = _DESCRIPTOR.match(arguments)
    if match is None or arguments.startswith("(deleted)", match.end()):
        return []
    descriptor, path = match[1], os.fsdecode(_bytes(match[2]))
    numbers = [int(number) for number in re.findall(r", (-?\d+)(?=[,)]|$)", _STRING.sub("", arguments))]
    if name == "lseek":
        positions[descriptor] = int(result)
        return []
    if name in ("write", "writev"):
        data = b"".join(strings)[: int(result)]
        offset = positions.get(descriptor, 0)
        positions[descriptor] = offset + len(data)
        return [Call("write", path, data, offset, descriptor in synced)]
    if name in ("pwrite64", "pwritev"):
        return [Call("write", path, b"".join(strings)[: int(result)], numbers[-1], descriptor in synced)]
    if name == "fallocate":
        return [Call("grow", path, offset=numbers[1] + numbers[2])]
    if name == "ftruncate":
        return [Call("cut", path, offset=numbers[0])]
    return [Call("sync", path)]


def _name_calls(name: str, arguments: str, result: str, strings: list[bytes], synced: set[str]) -> list[Call]:
    directory = _DESCRIPTOR.search(arguments)
    paths = [os.fsdecode(text) for text in strings]
    if directory is not None:  # unlinkat and openat: relative to it
        paths = [os.fspath(Path(os.fsdecode(_bytes(directory[2])), path)) for path in paths]
    if name == "openat":
        synced.discard(result)
        if "O_DSYNC" in arguments:
            synced.add(result)
        return [Call("create", paths[0])] if "O_CREAT" in arguments else []
    if name == "rename":
        return [Call("rename", paths[0], os.fsencode(paths[1]))]
    if name == "mkdir":
        return [Call("mkdir", paths[0])]
    return [Call("remove", paths[0])]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class File:
    """What is on disk of a file, and what may be."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        """Write for good."""
        _put(self.content, offset, data)

    def sync(self) -> None:
        """Write all that is pending."""
        for offset, data in self.pending:
            self.write(offset, data)
        self.pending.clear()

    def after_failure(self, dice: random.Random, under_way: list[tuple[int, bytes]]) -> bytes:
        """The content with some of what is pending, or under way."""
        content = bytearray(self.content)
        keep = dice.choice([0, 0.1, 0.5, 0.9, 1])
        pending = self.pending + under_way
        parts = [part for offset, data in pending for part in _sectors(offset, data) if dice.random() < keep]
        dice.shuffle(parts)
        for offset, data in parts:
            _put(content, offset, data)
        return bytes(content)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    end = offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[offset:end] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """A write in parts, none of which crosses the border of a sector."""
    parts = []
    while data:
        size = SECTOR - offset % SECTOR
        parts.append((offset, data[:size]))
        offset, data = offset + size, data[size:]
    return parts or [(offset, b"")]


class Disk:
    """The files below a directory, call by call."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._files: dict[str, File] = {}  # under their present names
        # The names as they were after each change since the last sync of a directory.
        self._names: list[dict[str, File]] = [{}]

    def add(self, path: Path) -> None:
        """Take a file that is on disk already."""
        self._files[os.fspath(path)] = File(bytearray(path.read_bytes()))
        self._names = [dict(self._files)]

    def play(self, call: Call) -> None:
        """Do what a call did."""
        if call.path != self._root and not call.path.startswith(self._root + "/"):
            return
        if call.name in ("create", "rename", "remove"):
            self._rename(call)
        elif call.path not in self._files:
            if call.name == "sync":  # of a directory: names are synced in order, in all directories
                self._names = self._names[-1:]
        else:
            self._change(self._files[call.path], call)

    def _rename(self, call: Call) -> None:
        before = dict(self._files)
        if call.name == "create":
            self._files.setdefault(call.path, File())
        elif call.name == "rename":
            self._files[os.fsdecode(call.data)] = self._files.pop(call.path)
        else:
            self._files.pop(call.path, None)
        if self._files != before:
            self._names.append(dict(self._files))

    def _change(self, file: File, call: Call) -> None:
        if call.name == "sync":
            file.sync()
        elif call.name == "write" and call.synced:
            file.write(call.offset, call.data)
        elif call.name == "write":
            file.pending.append((call.offset, call.data))
        elif call.name == "grow":
            file.pending.append((call.offset, b""))
        elif call.offset == 0:  # cut
            file.content.clear()
            file.pending.clear()

    def after_failure(self, dice: random.Random, under_way: Call, path: Path) -> None:
        """Make the files in ``path`` as a power failure may leave them, during a call that may or may not be done."""
        for name, file in dice.choice(self._names).items():
            written = under_way.name == "write" and self._files.get(under_way.path) is file
            made = path / os.path.relpath(name, self._root)
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(file.after_failure(dice, [(under_way.offset, under_way.data)] if written else []))


# The program that is recorded, and what must be there after a power failure

AGENTS = [f"agent{number}" for number in range(8)]
START = 1_764_000_000
LOST = 15 * 60
_HOST = Instance("host", None, "1", "Linux")


def write(path: Path, acknowledgements: Path, seed: int) -> None:
    """Use a store, and write to a file what begins and what was acknowledged, a line of JSON each."""
    dice, clock = random.Random(seed), Clock(START)
    reports: dict[str, list[dict[str, Any]]] = {}
    with DB({"path": str(path)}, instance=_HOST, clock=clock) as db, acknowledgements.open("wb", buffering=0) as log:
        for step in range(300):
            clock.now += dice.choice([1, 60, 300, 1000])
            agent, what = dice.choice(AGENTS), dice.choice(["same"] * 6 + ["change"] * 3 + ["remove"])
            if what == "change" or (what == "same" and agent not in reports):
                size = dice.choice([1, 10, 3000, 20000])
                reports[agent] = [fault(f"f{index}", 40, f"step {step} " + "m" * size) for index in range(step % 3)]
            elif what == "remove":
                reports.pop(agent, None)
            state = [agent, clock.now if agent in reports else None, reports.get(agent)]
            log.write(json.dumps(["begin", *state]).encode() + b"\n")
            if what == "remove":
                db.remove_agent(agent)
            else:
                db.set_faults(agent, reports[agent])
            log.write(json.dumps(["done", *state]).encode() + b"\n")


def check(path: Path, begun: list[Any], done: dict[str, Any]) -> None:
    """See that a store has what was acknowledged, or what had begun."""
    with DB({"path": str(path)}, instance=_HOST, clock=Clock(START)) as db:
        found = {one["name"]: one["updated"] for one in db.get_agents()}
        for agent in AGENTS:
            faults = [{key: one[key] for key in one if key != "agent"} for one in db.get_faults(agent)]
            allowed = [done.get(agent, (None, None))]
            if begun and begun[0] == agent:
                allowed.append((begun[1], begun[2]))
            matching = [
                updated
                for updated, report in allowed
                if (agent in found) == (report is not None) and sorted_by_name(report or []) == faults
            ]
            assert matching, (agent, found.get(agent), [one["name"] for one in faults])
            if agent in found:
                assert found[agent] >= min(matching) - LOST, (agent, found[agent], matching)
        db.set_faults("another", [])
        db.set_faults("another", [])


def sorted_by_name(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(faults, key=lambda one: str(one["name"]))


def fail(failures: int, seed: int) -> int:
    """Record once, and let the power fail at this number of moments, checking the store each time.

    Returns how many calls were recorded.
    """
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "root")
        root.mkdir()
        acknowledgements = Path(directory, "acknowledgements")
        program = [sys.executable, "-m", "tests.support.power_failure", "write"]
        calls = record([*program, str(root / "store"), str(acknowledgements), str(seed)], Path(directory, "log"))
        moments = sorted(dice.randrange(len(calls)) for _ in range(failures))
        disk, begun, done = Disk(root), [], {}
        for number, call in enumerate(calls):
            while moments and moments[0] == number:
                moments.pop(0)
                after = Path(directory, "after")
                disk.after_failure(dice, call, after)
                check(after / "store", begun, done)
                shutil.rmtree(after, ignore_errors=True)
            if call.path == os.fspath(acknowledgements) and call.name == "write":
                what, agent, *state = json.loads(call.data)
                if what == "begin":
                    begun = [agent, *state]
                else:
                    begun, done[agent] = [], state
            disk.play(call)
        assert done, "nothing was recorded"
        return len(calls)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["write"]:
        write(Path(arguments[1]), Path(arguments[2]), int(arguments[3]))
        return
    failures, seed = numbers(__doc__, failures=1000, seed=1)
    calls = fail(failures, seed)
    print(f"{failures} power failures in {calls} calls (seed {seed}): nothing was lost.")


if __name__ == "__main__":
    main(sys.argv[1:])
