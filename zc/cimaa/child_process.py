"""Runs a program within limits of time and output, and ends it with all of its children."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from . import process_guard
from .outcomes import Finished, Flooded, NotStarted, Outcome, TimedOut
from .process_tree import Tree

# Bytes of standard error that are kept for messages.
_ERRORS = 4 * 1024
# Seconds for which children may keep the output open after the program itself has exited.
_LINGER = 1


class Execution(NamedTuple):
    """A program to run, and its limits."""

    command: Sequence[str]
    #: Seconds.
    timeout: float
    #: Bytes of standard output that are kept.
    output: int
    #: Its working directory; ``None``: that of this process.
    directory: str | PathLike[str] | None = None
    #: Added to the environment of this process.
    environment: Mapping[str, str] = MappingProxyType({})
    #: The descriptor of its standard input.
    stdin: int = asyncio.subprocess.DEVNULL
    #: True: further output is dropped; false: the program is killed when it writes more.
    cut: bool = False


async def run(execution: Execution) -> Outcome:
    """Run the program in a new session, without a shell.

    When this returns or is cancelled, every process that the program started has been killed,
    background processes included; the outcome names those that could not be killed.  If this process
    itself is killed, they are killed within a second.
    """
    tree = Tree()
    with process_guard.guarded(tree.token):
        return await _run(execution, tree)


async def _run(execution: Execution, tree: Tree) -> Outcome:
    try:
        transport, process = await _start(execution, tree)
    except (OSError, ValueError) as error:
        await tree.end()
        return NotStarted(_reason(execution.command[0], error))
    except BaseException:  # cancelled, or out of memory, say: the program may be running
        await tree.end()
        raise
    tree.started(transport.get_pid(), process.runs)
    process_guard.started(tree.token, transport.get_pid())
    try:
        async with asyncio.timeout(execution.timeout):
            outcome: Finished | TimedOut | Flooded = await _outcome(transport, process)
    except TimeoutError:
        outcome = TimedOut(execution.timeout)
    finally:
        left = await _end(transport, process, tree)
    return outcome._replace(left=tuple(left))


class _Process(asyncio.SubprocessProtocol):
    """The output of a process, and its state."""

    def __init__(self, limit: int, cut: bool) -> None:
        """``limit`` is for its standard output (bytes), and ``cut`` true if more is dropped."""
        self.limit, self.cut = limit, cut
        #: Bytes of standard output that were dropped.
        self.dropped = 0
        self.written = {1: bytearray(), 2: bytearray()}
        self.flooded = False
        self.exited = asyncio.Event()
        #: It exited, or wrote too much.
        self.over = asyncio.Event()
        #: It exited, and its output is closed.
        self.closed = asyncio.Event()

    def runs(self) -> bool:
        """True until its exit is known."""
        return not self.exited.is_set()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Called when it wrote output."""
        kept = self.written[fd]
        room = (self.limit if fd == 1 else _ERRORS) - len(kept)
        kept += data[:room]
        if fd == 1 and len(data) > room:
            self.dropped += len(data) - room
            if not self.cut:
                self.flooded = True
                self.over.set()

    def process_exited(self) -> None:
        """Called when it exited; children may still keep its output open."""
        self.exited.set()
        self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio passes it
        """Called when it exited, and its output is closed."""
        self.closed.set()


async def _start(execution: Execution, tree: Tree) -> tuple[asyncio.SubprocessTransport, _Process]:
    """Start the program.

    Starting is not cancelled halfway: asyncio would then kill the program without its
    children, and wait until these close their output.
    """
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: _Process(execution.output, execution.cut),
            *execution.command,
            stdin=execution.stdin,
            cwd=execution.directory,
            env={**tree.environment(), **execution.environment},
            start_new_session=True,
        )
    )
    try:
        transport, process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        transport, process = await starting
        tree.started(transport.get_pid(), process.runs)
        transport.close()
        raise
    return transport, process


async def _outcome(transport: asyncio.SubprocessTransport, process: _Process) -> Finished | TimedOut | Flooded:
    await process.over.wait()
    if not process.flooded:
        await _wait(process.closed)
    if process.flooded:
        return Flooded(process.limit)
    status = transport.get_returncode()
    assert status is not None
    return Finished(status, bytes(process.written[1]), bytes(process.written[2]), dropped=process.dropped)


async def _end(transport: asyncio.SubprocessTransport, process: _Process, tree: Tree) -> list[str]:
    """Kill all remaining processes; the names of those that could not be killed."""
    left = await tree.end()
    if not left:
        await _wait(process.closed)
    if not (left or process.closed.is_set()):
        left = ["a process that keeps its output open"]
    transport.close()
    return left


async def _wait(event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), _LINGER)


def _reason(program: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        if "/" not in program:
            return f"command {program!r} not found on the PATH"
        if Path(program).exists():
            return f"cannot run {program}: the interpreter in its first line does not exist"
        return f"{program} does not exist"
    if isinstance(error, PermissionError):
        return f"no permission to run {program}: is it executable?"
    return f"cannot run {program!r}: {error.strerror if isinstance(error, OSError) else error}"
