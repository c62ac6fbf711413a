"""Modules that misbehave, each in a way of its own; their child processes import them from here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from zc.cimaa.actions.answers import Answer
from zc.cimaa.actions.modules import Bounds, Inspector
from zc.cimaa.actions.parameters import ONE_TEXT, Parameter, ParameterValues

SECRET = "correct horse battery staple"

# A grandchild that leaves its session, its environment and its parent, ignores signals, and writes its number.
_RUNAWAY = """
trap '' TERM HUP INT
echo $$ >> "$1"
while :; do sleep 1000 & echo $! >> "$1"; wait; done
"""


class _Hostile(Inspector):
    name = "hostile"
    summary = "misbehaves"
    parameters = (Parameter("file", ONE_TEXT, "where it leaves the numbers of its processes", "/dev/null"),)


class Hanging(_Hostile):
    """Starts processes in sessions of their own, and does not end."""

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(3):
            subprocess.Popen(["setsid", "-f", "sh", "-c", _RUNAWAY, "sh", values["file"]])
        subprocess.Popen(["sh", "-c", _RUNAWAY, "sh", values["file"]], start_new_session=True)
        with Path(values["file"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            time.sleep(1000)


class Leaving(_Hostile):
    """Answers, and leaves processes behind."""

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        subprocess.run(["setsid", "-f", "sh", "-c", _RUNAWAY, "sh", values["file"]])
        while Path(values["file"]).read_text().count("\n") < 2:
            time.sleep(0.01)
        return Answer(True, True)


class Flooding(_Hostile):
    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        sys.stdout.write("x" * 1024 * 1024)
        return Answer(True, True)


class Answering(_Hostile):
    """Has far more elements than an answer can have."""

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        return Answer(True, True, [{"path": "x" * 100} for _ in range(100_000)])


class Raising(_Hostile):
    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        print(SECRET, file=sys.stderr)
        raise RuntimeError(SECRET)


class Devouring(_Hostile):
    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        return Answer(True, True, [{"size": len(b"x" * 2**33)}])


class Exiting(_Hostile):
    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        os._exit(3)


class Crashing(_Hostile):
    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        os.kill(os.getpid(), signal.SIGSEGV)
        return Answer(True, True)


class Chattering(_Hostile):
    """Writes something that is not an answer, and exits with status 0."""

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        sys.stdout.write('{"found": true}')
        sys.stdout.flush()
        os._exit(0)


class Limited(_Hostile):
    """Says how its process is limited."""

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        own = {"nice": os.nice(0), "directory": str(Path.cwd()), "input": sys.stdin.read(), "session": os.getsid(0)}
        return Answer(True, True, [{**own, "pid": os.getpid(), "within": list(bounds.within), "over": bounds.over()}])
