"""Runs one check's command and sees to its end, and to that of its children."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from .files import Check
from .results import Finished, Flooded, NotStarted, Outcome, TimedOut

#: How many bytes a check may write.
OUTPUT = 1024 * 1024

# Of standard error, so much is kept for a message.
_ERRORS = 4 * 1024
# So long (seconds) may children hold the output open when the check itself has ended.
_LINGER = 1
# So long may a killed process take to go: one that waits for a dead disk stays.
_REAP = 5


async def run(check: Check) -> Outcome:
    """Run the check's command, in a session of its own.

    Nothing of that session is left when this returns or is cancelled, but what
    the check put into the background with its output closed.
    """
    try:
        transport, process = await _start(check)
    except (OSError, ValueError) as error:
        return NotStarted(_reason(check, error))
    try:
        async with asyncio.timeout(check.timeout):
            return await _outcome(transport, process)
    except TimeoutError:
        return TimedOut(check.timeout)
    finally:
        await _end(transport, process)


class _Process(asyncio.SubprocessProtocol):
    """What a process wrote, and whether it is over."""

    def __init__(self) -> None:
        self.written = {1: bytearray(), 2: bytearray()}
        self.flooded = False
        self.exited = asyncio.Event()
        #: It exited, or wrote too much.
        self.over = asyncio.Event()
        #: It exited, and its output is closed.
        self.closed = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        kept = self.written[fd]
        room = (OUTPUT if fd == 1 else _ERRORS) - len(kept)
        kept += data[:room]
        if fd == 1 and len(data) > room:
            self.flooded = True
            self.over.set()

    def process_exited(self) -> None:
        """It exited; children may still hold its output open."""
        self.exited.set()
        self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio passes it
        """It exited, and its output is closed."""
        self.closed.set()


async def _start(check: Check) -> tuple[asyncio.SubprocessTransport, _Process]:
    """Start the command.

    It is not cancelled halfway: asyncio would then kill the command, but not its
    children, and wait until these close their output.
    """
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            _Process, *check.command, stdin=asyncio.subprocess.DEVNULL, cwd=check.directory, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(*await starting)
        raise


async def _outcome(transport: asyncio.SubprocessTransport, process: _Process) -> Outcome:
    await process.over.wait()
    if not process.flooded:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.closed.wait(), _LINGER)
    if process.flooded:
        return Flooded(OUTPUT)
    status = transport.get_returncode()
    assert status is not None
    return Finished(status, bytes(process.written[1]), bytes(process.written[2]))


async def _end(transport: asyncio.SubprocessTransport, process: _Process) -> None:
    """Kill what is left."""
    if not process.closed.is_set():
        _kill(transport.get_pid())
        with suppress(TimeoutError):
            await asyncio.wait_for(process.exited.wait(), _REAP)
    transport.close()


def _kill(pid: int) -> None:
    """Kill the process, its group, and those of its children that left the group."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        children = []
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for child in children:
        with suppress(psutil.Error):
            child.kill()


def _reason(check: Check, error: OSError | ValueError) -> str:
    program = check.command[0]
    if isinstance(error, FileNotFoundError):
        if "/" not in program:
            return f"there is no command {program!r} on the PATH"
        if Path(program).exists():
            return f"cannot run {program}: the interpreter that its first line names is not there"
        return f"there is no file {program}"
    if isinstance(error, PermissionError):
        return f"no permission to run {program}: is it executable?"
    return f"cannot run {program!r}: {error.strerror if isinstance(error, OSError) else error}"
