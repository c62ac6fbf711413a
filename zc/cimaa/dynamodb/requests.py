"""Every request to DynamoDB goes through here: tried again while trying may help, and paged through.

What passes by itself (throttling, a conflict with another transaction, an error
of the service's, a broken connection) is tried again after a pause with jitter,
until a bound.  Each of these is logged under ``zc.cimaa.dynamodb``: one line for
each throttled try, with ``throttled`` in it, so that operations can count them.

Every request may be sent twice, as its answer may be lost on the way: so a write is
conditional, or the same however often it is done.
"""

import logging
import random
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ..errors import StoreUnavailable
from . import errors
from .connection import Connection
from .errors import Kind
from .records import Item
from .writes import ConditionFailed, Write

logger = logging.getLogger("zc.cimaa.dynamodb")

# Seconds: the longest pause after the first failure, which doubles with each, and the longest of all.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
# An address that does not answer so many times will not soon.
_UNREACHABLE_TRIES = 3
# How many parts of a table are scanned at once.
_PARTS = 4


class Patience:
    """How long one thing is tried: with pauses that grow, and are random so that a fleet does not keep step."""

    def __init__(self, doing: str, connection: Connection, seconds: float) -> None:
        self._doing = doing
        self._connection = connection
        self._seconds = seconds
        self._start = time.monotonic()
        self._tries = 0

    def pause(self, kind: Kind, reason: str, cause: Exception | None = None) -> None:
        """Wait before the next try.

        :raises StoreUnavailable: if there should be none: it says what was being done, how often and for how long.
        """
        self._tries += 1
        spent = time.monotonic() - self._start
        pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries))  # noqa: S311  # no secret
        last = spent + pause > self._seconds or (kind is Kind.UNREACHABLE and self._tries >= _UNREACHABLE_TRIES)
        what = f"{kind.value} {self._connection.place} while {self._doing}"
        then = "giving up" if last else f"trying again in {pause:.2f} s"
        # The rest is either no news when it helped to try again, or told by the error.
        level = logging.WARNING if kind in (Kind.THROTTLED, Kind.FAILED) else logging.INFO
        logger.log(level, "%s (try %d): %s; %s", what, self._tries, reason, then)
        if last:
            tries = "1 try" if self._tries == 1 else f"{self._tries} tries"
            raise StoreUnavailable(
                f"{what}: gave up after {spent:.1f} s and {tries} ({reason}); {errors.advice(kind, self._connection)}"
            ) from cause
        time.sleep(pause)

    def pause_for_others(self, cause: Exception) -> None:
        """Wait before the next try at what somebody else wrote to in between.

        :raises StoreUnavailable: if there should be none.
        """
        self.pause(Kind.BUSY, "somebody else wrote in between", cause)


class Requests:
    """Sends requests, for one handle.  It may be used from several threads."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        """Try each request again for at most so many seconds."""
        self._connection = connection
        self._seconds = seconds

    def patience(self, doing: str) -> Patience:
        """The patience for something that takes several requests."""
        return Patience(doing, self._connection, self._seconds)

    def send(self, operation: str, doing: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a request, which is sent again while that may help.

        ``operation`` is the name of the client's method, ``doing`` what it is for, to complete a
        message: "reporting for agent 'x'".

        :raises ~zc.cimaa.dynamodb.writes.ConditionFailed: if the condition of a write does not hold.
        :raises StoreError: for whatever else went wrong.
        """
        patience = None
        while True:
            try:
                answer: dict[str, Any] = getattr(self._connection.client, operation)(**parameters)
                return answer
            except (ClientError, BotoCoreError, ResponseParserError, OSError) as error:
                kind = errors.kind(error)
                if kind is Kind.CONDITION:
                    raise ConditionFailed(errors.item(error)) from error
                if kind is Kind.FINAL:
                    raise errors.translated(error, doing, self._connection) from error
                patience = patience or self.patience(doing)
                patience.pause(kind, errors.reason(error), error)

    def write_batch(self, doing: str, table: str, writes: list[Write]) -> None:
        """Write a batch, none of whose writes has a condition; what is left over is sent again."""
        left: dict[str, list[Write]] = {table: writes}
        patience = None
        while left:
            before = len(left[table])
            left = self.send("batch_write_item", doing, RequestItems=left).get("UnprocessedItems", {})
            if left:
                if patience is None or len(left[table]) < before:
                    patience = self.patience(doing)
                patience.pause(Kind.THROTTLED, f"{len(left[table])} of {before} items were not processed")

    def query(self, doing: str, **parameters: Any) -> Iterator[Item]:
        """All items of a consistent query, in pages."""
        start: dict[str, Any] | None = {}
        while start is not None:
            page = self.send("query", doing, ConsistentRead=True, **parameters, **start)
            yield from page["Items"]
            start = _next(page)

    def scan(self, doing: str, **parameters: Any) -> Iterator[Item]:
        """All items of a consistent scan, in any order.

        A small table is one page (1 MB).  Of a larger one, several parts are read at once; no
        more than a page of each is held at any moment.
        """
        page = self.send("scan", doing, ConsistentRead=True, **parameters)
        if _next(page) is None:
            return iter(page["Items"])
        return self._scan_parts(doing, parameters)

    def _scan_parts(self, doing: str, parameters: dict[str, Any]) -> Iterator[Item]:
        with ThreadPoolExecutor(_PARTS, thread_name_prefix="cimaa-scan") as pool:

            def ask(part: int, start: dict[str, Any]) -> Future[dict[str, Any]]:
                place = {"Segment": part, "TotalSegments": _PARTS, **start}
                return pool.submit(self.send, "scan", doing, ConsistentRead=True, **parameters, **place)

            running = {ask(part, {}): part for part in range(_PARTS)}
            try:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        part = running.pop(future)
                        page = future.result()
                        if (start := _next(page)) is not None:
                            running[ask(part, start)] = part
                        yield from page["Items"]
            finally:
                for future in running:
                    future.cancel()


def _next(page: dict[str, Any]) -> dict[str, Any] | None:
    return {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None
