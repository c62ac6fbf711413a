"""Group commit: the thread that writes also commits the changes of the threads that wait to write."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from . import files
from .heartbeats import Heartbeats
from .records import Transaction

T = TypeVar("T")

# How many changes one transaction has at most: each needs space on disk that is allocated in advance.
_LARGEST: Final = 8
# How long (seconds) a thread waits before it looks itself whether it may write.
_LONGEST: Final = 1


class PendingChange(Generic[T]):
    """A change that a thread makes, which :meth:`GroupCommit.commit` commits."""

    #: What the work returned; valid once the change is committed.
    result: T

    def __init__(
        self, work: Callable[[Transaction], T], key: bytes, heartbeats: Heartbeats | None = None, size: int = 0
    ) -> None:
        """Parameters as of ``Environment.write``."""
        self.heartbeats = heartbeats
        self.size = size
        self.committed = False
        #: A group with this change failed.
        self.alone = False
        self._work = work
        self._key = key
        self._woken: SimpleQueue[None] = SimpleQueue()

    def wait(self) -> None:
        """Wait until another thread calls :meth:`wake`; not at all if it did since the last time.

        This returns after a second in any case: a thread that was interrupted may not have woken another.
        """
        with suppress(Empty):
            self._woken.get(timeout=_LONGEST)

    def wake(self) -> None:
        """Wake the thread that makes the change: it was committed, or no thread writes."""
        self._woken.put(None)

    def apply(self, transaction: Transaction) -> int:
        """Do the work, perhaps again after a transaction failed; return how many bytes must be left for later ones."""
        left = files.AFTER_ADDING if transaction.get(self._key) is None else files.AFTER_CHANGING
        self.result = self._work(transaction)
        return left


class GroupCommit:
    """The changes that threads of this process wait for."""

    def __init__(self) -> None:
        # Held by the thread that writes.  Only "with" takes it: otherwise a thread that is interrupted could keep it.
        self._writing = threading.Lock()
        self._waiting: list[PendingChange[Any]] = []
        self._group: list[PendingChange[Any]] = []

    def commit(self, change: PendingChange[Any], write: Callable[[Sequence[PendingChange[Any]]], None]) -> None:
        """Return when the change is committed.  ``write`` makes several changes in one transaction, or none of them.

        If it raises an error for a group, each thread makes its own change, so that an error affects no other change.
        """
        self._waiting.append(change)
        writes = False
        try:
            while self._writing.locked() and not change.committed:
                change.wait()
            if not change.committed:
                writes = True
                with self._writing:  # if another thread was quicker, this waits for it
                    self._write(change, write)
        finally:
            self._waiting.remove(change)
            if change in self._group and not change.committed:  # interrupted, as by Ctrl-C
                self.exclude(lambda: None)  # the agent's lock must be held until the group is committed, or failed
            if writes or not change.committed:
                self._wake_next()

    def exclude(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, during which no other thread writes."""
        try:
            with self._writing:
                return work()
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        """Wake the thread that has waited longest; if another one writes already, it waits again."""
        for waiting in [*self._waiting]:
            if not waiting.committed:
                waiting.wake()
                break

    def _write(self, change: PendingChange[Any], write: Callable[[Sequence[PendingChange[Any]]], None]) -> None:
        """Make this change, and others that wait."""
        if not change.committed and not self._write_group(change, write):
            write([change])

    def _write_group(self, change: PendingChange[Any], write: Callable[[Sequence[PendingChange[Any]]], None]) -> bool:
        """Make this change and others that wait; False if there are none, or one of them failed."""
        others = [other for other in self._waiting if other is not change and not (other.committed or other.alone)]
        if change.alone or not others:
            return False
        self._group = [change, *others[: _LARGEST - 1]]
        try:
            write(self._group)
        except Exception:  # which of them it was shows when each is made alone
            for failed in self._group:
                failed.alone = True
            return False
        else:
            for committed in self._group:
                committed.committed = True
                committed.wake()
            return True
        finally:
            self._group = []
