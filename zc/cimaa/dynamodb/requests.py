"""Sends every request to DynamoDB: retries transient errors, and reads all pages of a query or a scan.

Transient errors (throttling, a conflict with another transaction, an internal error of the service, a refused or
broken connection) are retried with exponential backoff and jitter, for at most ``retry_for``.  Each is logged under
``zc.cimaa.dynamodb``; the line of a throttled try starts with ``throttled by DynamoDB``, so that operators can count
them.

A request may arrive twice, because its response may be lost: so every write is conditional or idempotent.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from uuid import uuid4

from .. import backoff
from ..errors import StoreUnavailable
from . import errors
from .connection import Connection
from .errors import ErrorKind
from .records import Item
from .writes import ConditionFailed, Write

logger = logging.getLogger("zc.cimaa.dynamodb")

# Seconds: see zc.cimaa.backoff.
_BASE_DELAY, _LONGEST_DELAY = 0.05, 5.0
# How many segments of a table are scanned in parallel.
_PARTS = 4


class Retries:
    """The retries of one operation, with exponential backoff, until a time limit."""

    def __init__(self, doing: str, connection: Connection, seconds: float) -> None:
        self._doing = doing
        self._connection = connection
        self._seconds = seconds
        self._start = time.monotonic()
        self._tries = 0

    def wait(self, kind: ErrorKind, reason: str, cause: Exception | None = None) -> None:
        """Wait before the next try.

        :raises StoreUnavailable: if the time limit is reached; it says what was tried, how often and for how long.
        """
        self._tries += 1
        spent = time.monotonic() - self._start
        delay = backoff.delay(self._tries, _BASE_DELAY, _LONGEST_DELAY)
        last = spent + delay > self._seconds or self._is_hopeless(kind)
        what = f"{kind.value} {self._connection.place} while {self._doing}"
        then = "giving up" if last else f"retrying in {delay:.2f} s"
        # The others do not deserve a warning if a retry succeeds, and otherwise the exception reports them.
        level = logging.WARNING if kind in (ErrorKind.THROTTLED, ErrorKind.FAILED) else logging.INFO
        logger.log(level, "%s (try %d): %s; %s", what, self._tries, reason, then)
        if last:
            tries = "1 try" if self._tries == 1 else f"{self._tries} tries"
            raise StoreUnavailable(
                f"{what}: gave up after {spent:.1f} s and {tries} ({reason}); {errors.advice(kind, self._connection)}"
            ) from cause
        time.sleep(delay)

    def wait_for_others(self, cause: Exception) -> None:
        """Wait before the next try, because another writer changed the row in between.

        :raises StoreUnavailable: if the time limit is reached.
        """
        self.wait(ErrorKind.BUSY, "another writer wrote first", cause)

    def _is_hopeless(self, kind: ErrorKind) -> bool:
        """True if the endpoint does not respond, and was derived from an unknown region."""
        return kind is ErrorKind.UNREACHABLE and self._connection.unknown_region is not None


class Requests:
    """Sends requests, for one handle.  It may be used from several threads."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        """Retry each request for at most ``seconds``."""
        self._connection = connection
        self._seconds = seconds

    def retries(self, doing: str) -> Retries:
        """The retries of an operation that takes several requests."""
        return Retries(doing, self._connection, self._seconds)

    def send(self, operation: str, doing: str, **parameters: Any) -> dict[str, Any]:
        """The response to a request; transient errors are retried.

        ``operation`` is the name of the client's method, ``doing`` its purpose for error messages, such as
        "reporting for agent 'x'".

        :raises ~zc.cimaa.dynamodb.writes.ConditionFailed: if the condition of a write fails.
        :raises StoreError: for every other error.
        """
        retries = None
        while True:
            try:
                answer: dict[str, Any] = getattr(self._connection.client, operation)(**parameters)
                return answer
            except errors.DRIVER_ERRORS as error:
                kind = errors.classify(error)
                if kind is ErrorKind.CONDITION:
                    raise ConditionFailed(errors.item_found(error)) from error
                if kind is ErrorKind.FINAL:
                    raise errors.translate(error, doing, self._connection, _tables(parameters)) from error
                retries = retries or self.retries(doing)
                retries.wait(kind, errors.reason(error), error)

    def transact(self, doing: str, entries: Sequence[Write]) -> None:
        """Do all of these writes, or none.

        :raises ~zc.cimaa.dynamodb.writes.ConditionFailed: if the condition of one of them fails.
        """
        if len(entries) > 1:
            token = uuid4().hex
            self.send("transact_write_items", doing, TransactItems=entries, ClientRequestToken=token)
        else:  # a single write costs half as much without a transaction
            [(operation, write)] = entries[0].items()
            self.send(f"{operation.lower()}_item", doing, **write)

    def write_batch(self, doing: str, table: str, writes: list[Write]) -> None:
        """Write a batch, without conditions; unprocessed items are sent again."""
        retries = None
        while writes:
            response = self.send("batch_write_item", doing, RequestItems={table: writes})
            unprocessed: list[Write] = response.get("UnprocessedItems", {}).get(table, [])
            if unprocessed:
                if retries is None or len(unprocessed) < len(writes):
                    retries = self.retries(doing)
                retries.wait(ErrorKind.THROTTLED, f"{len(unprocessed)} of {len(writes)} items were not processed")
            writes = unprocessed

    def query(self, doing: str, **parameters: Any) -> Iterator[Item]:
        """All items of a consistent query, in pages."""
        start: dict[str, Any] | None = {}
        while start is not None:
            page = self.send("query", doing, ConsistentRead=True, **parameters, **start)
            yield from page["Items"]
            start = _next(page)

    def scan(self, doing: str, **parameters: Any) -> Iterator[Item]:
        """All items of a consistent scan, in any order.

        A small table is one page (1 MB).  Of a larger one, several segments are read in parallel, and
        at most one page of each is in memory.
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


def _tables(parameters: Mapping[str, Any]) -> list[str]:
    """The names of the tables in a request."""
    if "TableName" in parameters:
        return [parameters["TableName"]]
    parts = [part for entry in parameters.get("TransactItems", ()) for part in entry.values()]
    return sorted({*parameters.get("RequestItems", ()), *(part["TableName"] for part in parts)})
