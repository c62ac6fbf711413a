"""Runs the command of a check, and ends it with all of its children."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..process_tree import Tree
from .rules.check import Check
from .rules.results import Finished, Flooded, NotStarted, Outcome, TimedOut

#: The limit of a check's output (bytes).
OUTPUT = 1024 * 1024

# Bytes of standard error that are kept for messages.
_ERRORS = 4 * 1024
# Seconds for which children may keep the output open after the check itself has exited.
_LINGER = 1


async def run(check: Check, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run the check's command in a new session; ``environment`` is added to that of this process.

    When this returns or is cancelled, every process that the check started has been killed,
    background processes included; the outcome names those that could not be killed.
    """
    tree = Tree()
    try:
        transport, process = await _start(check, tree, environment or {})
    except (OSError, ValueError) as error:
        await tree.end()
        return NotStarted(_reason(check, error))
    except BaseException:  # cancelled, or out of memory, say: the command may be running
        await tree.end()
        raise
    tree.started(transport.get_pid(), process.runs)
    try:
        async with asyncio.timeout(check.timeout):
            outcome: Finished | TimedOut | Flooded = await _outcome(transport, process)
    except TimeoutError:
        outcome = TimedOut(check.timeout)
    finally:
        left = await _end(transport, process, tree)
    return outcome._replace(left=tuple(left))


class _Process(asyncio.SubprocessProtocol):
    """The output of a process, and its state."""

    def __init__(self) -> None:
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
        room = (OUTPUT if fd == 1 else _ERRORS) - len(kept)
        kept += data[:room]
        if fd == 1 and len(data) > room:
            self.flooded = True
            self.over.set()

    def process_exited(self) -> None:
        """Called when it exited; children may still keep its output open."""
        self.exited.set()
        self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio passes it
        """Called when it exited, and its output is closed."""
        self.closed.set()


async def _start(
    check: Check, tree: Tree, environment: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, _Process]:
    """Start the command.

    Starting is not cancelled halfway: asyncio would then kill the command without its
    children, and wait until these close their output.
    """
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            _Process,
            *check.command,
            stdin=asyncio.subprocess.DEVNULL,
            cwd=check.directory,
            env={**tree.environment(), **environment},
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
        return Flooded(OUTPUT)
    status = transport.get_returncode()
    assert status is not None
    return Finished(status, bytes(process.written[1]), bytes(process.written[2]))


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


def _reason(check: Check, error: OSError | ValueError) -> str:
    program = check.command[0]
    if isinstance(error, FileNotFoundError):
        if "/" not in program:
            return f"command {program!r} not found on the PATH"
        if Path(program).exists():
            return f"cannot run {program}: the interpreter in its first line does not exist"
        return f"{program} does not exist"
    if isinstance(error, PermissionError):
        return f"no permission to run {program}: is it executable?"
    return f"cannot run {program!r}: {error.strerror if isinstance(error, OSError) else error}"
