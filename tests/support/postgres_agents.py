"""Agents that report without end, for tests of what happens to their server meanwhile."""

import itertools
import threading
from collections.abc import Callable
from contextlib import suppress

from zc.cimaa.faults import FaultDict
from zc.cimaa.testing import fault


def report(number: int) -> list[FaultDict]:
    """Two faults that must never be seen apart."""
    return [fault("one", number=number), fault(f"two-{number}", number=number)]


class Agent:
    """Reports one number after the other in a thread, each as a change and then unchanged.

    A report that fails with one of the ``given_up`` errors is given up; any other error ends the thread.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[str, list[FaultDict]], None],
        start: int = 1,
        given_up: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self.acknowledged = start - 1
        self._send = send
        self._given_up = given_up
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for number in itertools.count(self.acknowledged + 1):
                with suppress(*self._given_up):
                    self._report(number)
                if self._stop.is_set():
                    break
        except BaseException as error:
            self._error = error
        with self._progress:
            self._progress.notify_all()

    def _report(self, number: int) -> None:
        for _ in range(2):
            self._send(self.name, report(number))
            with self._progress:
                self.acknowledged = number
                self._progress.notify_all()

    def wait_for_more(self) -> None:
        """Return once a later number was acknowledged."""
        with self._progress:
            number = self.acknowledged
            self._progress.wait_for(lambda: self.acknowledged > number or self._error, 60)
        assert self._error is None
        assert self.acknowledged > number

    def stop(self) -> int:
        """The last number that was acknowledged."""
        self._stop.set()
        self._thread.join()
        assert self._error is None
        return self.acknowledged
