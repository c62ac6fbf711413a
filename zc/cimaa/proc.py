"""What Linux shows about processes in /proc."""

import os
from typing import NamedTuple

#: The environment variable that marks the processes of a program.
MARK = "CIMAA_PROCESS_TREE"


class ProcessInfo(NamedTuple):
    """A process."""

    pid: int
    name: str
    zombie: bool
    parent: int
    session: int
    #: Clock ticks since boot.
    began: int


def process(pid: int) -> ProcessInfo | None:
    """The process with this ID; ``None`` if there is none."""
    text = read(pid, "stat")
    if not text:
        return None
    before, _, after = text.rpartition(b")")
    fields = after.split()
    name = before.partition(b"(")[2].decode(errors="replace")
    return ProcessInfo(pid, name, fields[0] in b"ZX", int(fields[1]), int(fields[3]), int(fields[19]))


def pids() -> set[int]:
    """The IDs of all processes that this one may see."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208  # see read


def marks(pid: int) -> list[str]:
    """The marks in a process's environment."""
    start = f"{MARK}=".encode()
    found = [variable for variable in read(pid, "environ").split(b"\0") if variable.startswith(start)]
    return found[0].removeprefix(start).decode(errors="replace").split() if found else []


def read(pid: int, name: str) -> bytes:
    """The contents of a file of the process in /proc; empty if the process does not exist."""
    # No Path: each new one interns the parts of its name, and the table of interned strings grows.
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123  # see above
            return file.read()
    except OSError:
        return b""
