"""The child process in which a module looks at the host.

It reads the request from standard input, and writes the answer, as JSON.  It ends by itself even
if the agent was killed, and takes what others need only after them.
"""

import math
import os
import resource
import signal
import sys
import time
from importlib import import_module
from typing import Any

import orjson

from . import answers
from .answers import Answer, failed
from .modules import Bounds, Inspector

# Bytes of address space: far more than a module needs.
_ADDRESS_SPACE = 2 * 1024**3
_DESCRIPTORS = 1024
# A process of this niceness also waits for the disk after others.
_NICENESS = 10
# Seconds after the deadline at which the process ends by itself; the agent ends it before.
_LATER = 60


def main() -> None:
    """Answer the request on standard input."""
    request = orjson.loads(sys.stdin.buffer.read())
    _limit(request["deadline"])
    sys.stdout.buffer.write(answers.encode(answered(request)))
    sys.stdout.buffer.flush()


def request(module: type[Inspector], parameters: Any, bounds: Bounds) -> bytes:
    """The request to have this module look."""
    asked = {"module": module.__module__, "class": module.__qualname__, "parameters": parameters}
    return orjson.dumps({**asked, "deadline": bounds.deadline, "within": list(bounds.within)})


def answered(request: dict[str, Any]) -> Answer:
    """The module's answer.  Errors in it are named without their messages, which could have content of files."""
    module: type[Inspector] = getattr(import_module(request["module"]), request["class"])
    values = module.check(request["parameters"])
    try:
        return module.inspect(values, Bounds(request["deadline"], request["within"]))
    except MemoryError:
        return failed("it needed too much memory")
    except Exception as error:
        return failed(f"{_kind(error)}: this is a bug in zc.cimaa, please report it")


def _kind(error: Exception) -> str:
    """The type of an exception, and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
    return f"{type(error).__name__}{place}"


def _limit(deadline: float) -> None:
    """Limit what this process takes; ``deadline`` is of the monotonic clock."""
    os.nice(_NICENESS)
    signal.alarm(math.ceil(max(0, deadline - time.monotonic())) + _LATER)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit, wanted in ((resource.RLIMIT_AS, _ADDRESS_SPACE), (resource.RLIMIT_NOFILE, _DESCRIPTORS)):
        hard = resource.getrlimit(limit)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (most, most))
