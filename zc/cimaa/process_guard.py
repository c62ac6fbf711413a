"""Kills the programs of this process if it is itself killed with SIGKILL, and cannot end them.

A second process, the guard, reads from a pipe which programs are running.  The end of file says that this process is
gone, however it ended: then the guard kills what is running, with all descendants, and exits.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from .proc import ProcessInfo, marks, pids, process

# Seconds for which the guard tries to kill, and between its looks at all processes.
_PATIENCE, _PAUSE = 5.0, 0.02
_GUARD = "import sys; sys.path.append(sys.argv[1]); from zc.cimaa.process_guard import main; main()"


class _Guard:
    """The guard of this process.  It may be used from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[str, int] = {}
        self._pid, self._pipe = 0, -1

    def report(self, token: str, session: int | None) -> None:
        """Report a program, or with ``None`` its end; a guard that is gone is replaced.

        If there cannot be one, as the host has too many processes, programs run without it.
        """
        with self._lock, suppress(OSError):
            if session is None:
                self._running.pop(token, None)
            else:
                self._running[token] = session
            try:
                self._write({token: session})
            except OSError:
                self._replace()
                self._write(self._running)

    def forget(self) -> None:
        """Leave the guard to the process from which this one was forked."""
        if self._pipe >= 0:
            os.close(self._pipe)
        self.__init__()  # type: ignore[misc]  # the lock may have been held in the other process

    def _write(self, sessions: Mapping[str, int | None]) -> None:
        lines = [f"{token} {'' if session is None else session}\n" for token, session in sessions.items()]
        os.write(self._pipe, "".join(lines).encode())

    def _replace(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid:
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        self._pid, self._pipe = 0, -1
        reading, self._pipe = os.pipe()
        try:
            os.set_blocking(self._pipe, False)  # a guard that was stopped must not stop this process
            self._pid = _spawn(reading)
        finally:
            os.close(reading)


_guard = _Guard()
os.register_at_fork(after_in_child=_guard.forget)


@contextmanager
def guarded(token: str) -> Iterator[None]:
    """Have processes with this token in their mark killed if this process is killed meanwhile."""
    _guard.report(token, 0)
    try:
        yield
    finally:
        _guard.report(token, None)


def started(token: str, session: int) -> None:
    """Note the session of the program with this token, as it may clear its environment."""
    _guard.report(token, session)


def main() -> None:
    """Be the guard of the process that writes to standard input."""
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends when the guarded process does
        signal.signal(number, signal.SIG_IGN)
    running: dict[str, int] = {}
    for line in sys.stdin:
        token, _, session = line.strip().partition(" ")
        running.pop(token, None)
        if session:
            running[token] = int(session)
    if running:
        _kill(running)


def _spawn(reading: int) -> int:
    """Start the guard: in this process's session, so that it is not considered an orphan, but out of its group."""
    command = [sys.executable, "-I", "-S", "-c", _GUARD, os.fspath(Path(__file__).parents[2])]
    actions = [
        (os.POSIX_SPAWN_DUP2, reading, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setpgroup=0)


def _kill(running: Mapping[str, int]) -> None:
    """Kill these programs with all their descendants."""
    end, clean = time.monotonic() + _PATIENCE, 0
    while clean < 2 and time.monotonic() < end:  # a process that is just executing a program shows no environment
        found = [pid for pid in pids() if _kill_if_ours(pid, running)]
        clean = 0 if found else clean + 1
        time.sleep(_PAUSE)


def _kill_if_ours(pid: int, running: Mapping[str, int]) -> bool:
    """Kill the process, if it is of these programs and runs; true if it was killed.

    Between the look and the signal its ID cannot be reused: Linux gives out all others before.
    """
    found = process(pid)
    if found is None or found.zombie or not _is_ours(found, running):
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:  # it just ended, or is another user's
        return False
    return True


def _is_ours(found: ProcessInfo, running: Mapping[str, int]) -> bool:
    return found.session in set(running.values()) - {0} or not running.keys().isdisjoint(marks(found.pid))
