"""Runs a program for each alert."""

import asyncio
import atexit
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

from ..errors import AlertError, ConfigurationError
from ..faults import encode
from ..masking import mask_text
from ..options import COMMAND, Option
from ..process_tree import PATIENCE, Tree
from . import Alert
from . import Alerter as Base

_LOG = logging.getLogger("zc.cimaa.alerts")

# Characters of standard error that a message has, from its end: there the reason is.  Bytes that are kept for it.
_SHOWN, _KEPT = 200, 1024
# Seconds to wait for the rest of standard error, which a child may hold open.
_LINGER = 1
# Seconds between two looks at what the program put into the background.
_PAUSE = 0.2

# Set when this process ends; and the threads that then end at once what programs put into the background.
_exiting = threading.Event()
_enders: set[threading.Thread] = set()


class Alerter(Base):
    """Runs a program for each alert, which reads it as one line of JSON, and ends with status 0 if it passed it on."""

    options = (Option("command", "what to run: words as a shell splits them, but no shell runs them", COMMAND),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if settings["command"] is None:
            raise ConfigurationError("command: the command is missing")

    def send(self, alert: Alert) -> None:
        """Run the program; if it takes too long, it is killed with all processes that it started.

        Its exit status alone tells whether the alert was passed on.  What it put into
        the background may go on until the timeout is over, or this process ends.
        """
        command: list[str] = self.settings["command"]
        end = time.monotonic() + self.timeout
        tree = Tree()
        try:
            process = _start(command, tree)
        except (OSError, ValueError) as error:
            asyncio.run(tree.end())
            reason = error.strerror if isinstance(error, OSError) else error
            raise AlertError(f"cannot run {command[0]}: {reason}") from error
        errors = _Errors(process.stderr)
        _in_background(_write, process.stdin, encode(alert._asdict()) + b"\n")
        try:
            status = process.wait(self.timeout)
        except subprocess.TimeoutExpired as error:
            asyncio.run(tree.end())
            raise AlertError(f"{command[0]} took longer than {self.timeout} s, and was killed") from error
        _enders.difference_update([ender for ender in tuple(_enders) if not ender.is_alive()])
        _enders.add(_in_background(_end_at, tree, end, command[0]))
        if status:
            said = errors.end()
            raise AlertError(f"{command[0]} ended with status {status}{f': {said}' if said else ''}")


class _Errors:
    """Reads what a program writes on standard error, and keeps the end."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept = b""
        self._reader = _in_background(self._read, stream)

    def end(self) -> str:
        """The end of it, as far as it is there within a short time."""
        self._reader.join(_LINGER)
        return mask_text(self._kept.decode(errors="replace").strip())[-_SHOWN:]

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                self._kept = (self._kept + piece)[-_KEPT:]


def _start(command: list[str], tree: Tree) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=tree.environment(),
    )
    tree.started(process.pid, lambda: process.poll() is None)
    return process


def _write(stream: IO[bytes], data: bytes) -> None:
    with suppress(OSError), stream:  # a program need not read
        stream.write(data)


def _end_at(tree: Tree, end: float, program: str) -> None:
    """Kill what is left of the program when that time (of the monotonic clock) has come, or this process ends."""
    while not tree.is_over() and time.monotonic() < end and not _exiting.wait(_PAUSE):
        pass
    if left := asyncio.run(tree.end()):
        _LOG.warning("%s left processes behind that could not be ended: %s", program, ", ".join(left))


@atexit.register
def _end_all() -> None:
    _exiting.set()
    for ender in tuple(_enders):
        ender.join(PATIENCE)


def _in_background(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Start it in a thread that does not keep this process from ending."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
