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

# Characters from the end of standard error that messages contain: the reason is there.  Bytes kept for that.
_SHOWN, _KEPT = 200, 1024
# Seconds to wait for the rest of standard error, which a child may keep open.
_LINGER = 1
# Seconds between checks whether background processes of the program have ended.
_PAUSE = 0.2

# Set when this process ends; and the threads that then end at once what programs put into the background.
_exiting = threading.Event()
_enders: set[threading.Thread] = set()


class Alerter(Base):
    """Runs a program for each alert, which reads it as one line of JSON, and exits with status 0 if it sent it."""

    options = (Option("command", "the command: split into words like a shell's, but not run by a shell", COMMAND),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if settings["command"] is None:
            raise ConfigurationError("command: the command is missing")

    def send(self, alert: Alert) -> None:
        """Run the program.  At the timeout it is killed with all processes that it started.

        Only its exit status says whether the alert was sent.  Its background processes may run
        until the timeout, or until this process ends.

        :raises AlertError: if it cannot be run, or its exit status is not 0.
        :raises TimeoutError: if it was killed at the timeout: it may have sent the alert.
        """
        command: list[str] = self.settings["command"]
        end = time.monotonic() + self.timeout
        tree = Tree()
        try:
            process = _start(command, tree, self.environment)
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
            reason = f"{command[0]} took longer than {self.timeout} s and was killed: it may have sent the alert"
            raise TimeoutError(reason) from error
        _enders.difference_update([ender for ender in tuple(_enders) if not ender.is_alive()])
        _enders.add(_in_background(_end_at, tree, end, command[0]))
        if status:
            said = errors.end()
            raise AlertError(f"{command[0]} exited with status {status}{f': {said}' if said else ''}")


class _Errors:
    """Reads a program's standard error, and keeps the end."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept = b""
        self._reader = _in_background(self._read, stream)

    def end(self) -> str:
        """The end of standard error, as far as it is available within a short time."""
        self._reader.join(_LINGER)
        return mask_text(self._kept.decode(errors="replace").strip())[-_SHOWN:]

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                self._kept = (self._kept + piece)[-_KEPT:]


def _start(command: list[str], tree: Tree, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**tree.environment(), **environment},
    )
    tree.started(process.pid, lambda: process.poll() is None)
    return process


def _write(stream: IO[bytes], data: bytes) -> None:
    with suppress(OSError), stream:  # the program need not read it
        stream.write(data)


def _end_at(tree: Tree, end: float, program: str) -> None:
    """Kill the remaining processes of the program at that time (of the monotonic clock), or when this process ends."""
    while not tree.is_over() and time.monotonic() < end and not _exiting.wait(_PAUSE):
        pass
    if left := asyncio.run(tree.end()):
        _LOG.warning("%s left processes behind that could not be killed: %s", program, ", ".join(left))


@atexit.register
def _end_all() -> None:
    _exiting.set()
    for ender in tuple(_enders):
        ender.join(PATIENCE)


def _in_background(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Call the function in a daemon thread."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
