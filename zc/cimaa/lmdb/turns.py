"""Lets the threads of a process take turns at short pieces of work."""

import threading
import time
from typing import Final

# How long (seconds) a thread may keep taking the lock while another one waits for it.
_TURN: Final = 0.0005


class Turns:
    """A lock for work of some microseconds with several system calls; to be held in a ``with`` statement.

    A system call releases the interpreter.  If several threads work at the same time, each call hands the interpreter
    to another thread, often on another processor, which costs more than the work.  An ordinary lock does not help
    enough, as it is handed over after each piece of work.  So the first thread that waits for this lock leaves it to
    the others for a while; the other waiting threads queue behind it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._due = False

    def __enter__(self) -> None:
        if not self._due and self._lock.acquire(blocking=False):
            return
        with self._queue:
            time.sleep(_TURN)
            self._due = True  # from now on, other threads queue
            try:
                self._lock.acquire()
            finally:
                self._due = False

    def __exit__(self, *_: object) -> None:
        self._lock.release()
