"""Keeps the map from being resized or closed, and the process from forking, while a thread has a transaction."""

import threading

from .group_commit import GroupCommit
from .scan import Scan
from .turns import Turns


class Gate:
    """The locks between the threads that use one environment.

    ``lock`` is held throughout each short read.  Scans and the thread that writes (which waits for the disk) do not
    hold it; they hold up only what no transaction may see: a resize of the map, the end of the environment, and a fork.
    It is reentrant: the garbage collector may end a scan that was interrupted, and may run while its thread has the
    lock.

    ``changes`` lets one thread write at a time, which takes ``lock`` only after that.  ``turns`` is held during the
    report of an unchanged agent, and taken before ``lock``, too.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changes = GroupCommit()
        self.turns = Turns()
        self._idle = threading.Condition(self.lock)
        self._scans: dict[Scan, int] = {}  # each with its thread
        self._writer: int | None = None
        self._waiting = 0

    def begin_scan(self, scan: Scan) -> None:
        """Note that this thread scans.  ``lock`` must be held."""
        self._scans[scan] = threading.get_ident()

    def end_scan(self, scan: Scan) -> None:
        """End the scan's transaction; ending it twice does nothing.  ``lock`` must be held."""
        if self._scans.pop(scan, None) is not None:
            scan.abort()
            self._notify()

    def begin_write(self) -> None:
        """Note that this thread writes.  ``lock`` must be held."""
        self._writer = threading.get_ident()

    def end_write(self) -> None:
        """Note that no thread writes any more.  ``lock`` must be held."""
        self._writer = None
        self._notify()

    def wait(self) -> None:
        """Wait until no other thread scans or writes.  This thread's own scans (they were interrupted) end here.

        ``lock`` must be held.  It is released while this waits, and held again when it returns.
        """
        this = threading.get_ident()
        for scan in [scan for scan, thread in self._scans.items() if thread == this]:
            self.end_scan(scan)
        self._waiting += 1
        try:
            while self._scans or self._writer not in (None, this):
                self._idle.wait()  # which releases the lock
        finally:
            self._waiting -= 1

    def _notify(self) -> None:
        if self._waiting:
            self._idle.notify_all()

    def reset_in_fork(self) -> None:
        """Let the child report: other threads of the parent may have been about to."""
        self.changes = GroupCommit()
        self.turns = Turns()
