"""A session with the server: every wait is bounded, and reports' statements are sent past the driver's cursors.

A server may stop responding while its connection stays open: it is suspended, its disk hangs, or a firewall dropped the
connection's state.  Neither ``statement_timeout`` nor TCP's keepalives end that wait, so the session does.
"""

import logging
import math
import select
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from hashlib import blake2b
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from .setup.versions import HISTORY, MARKS, VERSION

T = TypeVar("T")

#: How transactions begin: one that writes, one whose reads all see the same moment, and one that does both.
WRITING = b"BEGIN ISOLATION LEVEL READ COMMITTED"
SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SNAPSHOT_WRITING = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
COMMIT = b"COMMIT"

#: A statement with the parameters ``$1`` and so on, and their values, as text.
Call = tuple[bytes, Sequence[bytes | None]]

_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)

# The driver logs what is raised here anyway; where logging is not configured, it would appear on standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class NoResponse(psycopg.OperationalError):
    """The server sent nothing for too long; the connection has been closed."""


class Bounded(psycopg.Connection[TupleRow]):
    """A connection on which no wait is endless."""

    #: For how long the server may send nothing while a response is due (seconds).
    response_timeout: float = math.inf

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """What the driver's generator returns, which does all that is sent and received.

        :raises NoResponse: if the server sends nothing for ``response_timeout`` seconds.
        """
        within = self.response_timeout if timeout is None else min(timeout, self.response_timeout)
        try:
            return super().wait(_bounded(gen, within), interval)
        except NoResponse:
            self.close()  # what is under way is unknown
            raise


def _bounded(gen: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """The driver's generator, ended when nothing was ready for ``seconds`` (checked at each ``interval``)."""
    try:
        wanted = next(gen)
        last = time.monotonic()
        while True:
            ready = yield wanted
            now = time.monotonic()
            if ready:
                last = now
            elif now - last >= seconds:
                gen.close()
                raise _no_response(seconds)
            wanted = gen.send(ready)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _no_response(seconds: float) -> NoResponse:
    return NoResponse(f"no response within {seconds:g} s")


class Session(Bounded):
    """A connection that commits by itself where no transaction was begun."""

    #: What ``synchronous_commit`` must be for a commit to be durable, as this server understands it.
    durable: str = "on"

    #: What it is for a report that changed no fault.
    heartbeats: str = "on"

    #: The version of the store's tables.
    tables: int = VERSION

    #: The agent to which the server confines this login, if it does.
    own_agent: str | None = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # The statements that ran once, and those of them that are prepared by now.
        self._known: set[bytes] = set()
        self._prepared_here: set[bytes] = set()
        self._generation = 0
        self._poll: select.poll | None = None

    @property
    def has_history(self) -> bool:
        """True if the tables have a history."""
        return self.tables >= HISTORY

    @property
    def has_marks(self) -> bool:
        """True if agents' rows can be marked."""
        return self.tables >= MARKS

    def exchange(self, *calls: Call) -> list[PGresult]:
        """The results of statements that are sent together: a third of the work that the driver's pipeline makes.

        A statement is prepared when it comes for the second time.
        """
        sends = [self._send(*call) for call in calls]
        try:
            return self._exchanged(sends)
        except psycopg.errors.InvalidSqlStatementName:
            # The driver has the server forget all statements after some errors, but not those that came since.
            self._prepared_here.clear()
            self._generation += 1
            raise

    def abandon(self) -> None:
        """Roll back the transaction, if there is one under way."""
        if not self.closed and self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):  # the connection is lost, then; the error that led here says why
                self.rollback()

    def _send(self, query: bytes, values: Sequence[bytes | None]) -> Callable[[], None]:
        """What sends a statement."""
        if self.prepare_threshold is None or query not in self._known:
            self._known.add(query)
            return partial(self.pgconn.send_query_params, query, values)
        name = b"%s_%d" % (_name(query), self._generation)
        if query not in self._prepared_here:
            self._exchanged([partial(self.pgconn.send_prepare, name, query)])
            self._prepared_here.add(query)
        return partial(self.pgconn.send_query_prepared, name, values)

    def _exchanged(self, sends: Sequence[Callable[[], None]]) -> list[PGresult]:
        """The results of what is sent, up to the first that failed, which is raised."""
        pgconn = self.pgconn
        results: list[PGresult] = []
        pipeline = len(sends) > 1  # the touch is one alone, and every microsecond of it counts
        try:
            if pipeline:
                pgconn.enter_pipeline_mode()
            for send in sends:
                send()
            if pipeline:
                pgconn.pipeline_sync()
            self._fetch(results, pipeline)
            if pipeline:
                pgconn.exit_pipeline_mode()
        except BaseException as error:
            self.close()  # what is under way is unknown
            if isinstance(error, psycopg.Error):
                _check(results)  # perhaps the server said why it ends the session
            raise
        _check(results)
        return results

    def _fetch(self, results: list[PGresult], pipeline: bool) -> None:
        """Add the results as they come, up to the end of the pipeline; meanwhile, threads run and signals count."""
        pgconn = self.pgconn
        while pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)
        while True:
            while pgconn.is_busy():
                self._wait(select.POLLIN)
            result = pgconn.get_result()
            if result is None:
                if not pipeline:
                    return
                if pgconn.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError(pgconn.get_error_message())
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return
            else:
                results.append(result)

    def _wait(self, events: int) -> None:
        pgconn = self.pgconn
        poll = self._poll = self._poll or select.poll()
        poll.register(pgconn.socket, events)
        within = self.response_timeout
        if not poll.poll(None if math.isinf(within) else 1000 * within):
            raise _no_response(within)
        pgconn.consume_input()


def _check(results: Iterable[PGresult]) -> None:
    """Raise the first error among the results."""
    for result in results:
        if result.status not in _DONE:
            raise psycopg.errors.error_from_result(result)


@cache
def _name(query: bytes) -> bytes:
    """The name under which a statement is prepared: unlike any that another client gives in the same session."""
    return b"cimaa_" + blake2b(query, digest_size=16).hexdigest().encode()


@contextmanager
def transaction(session: Session, begin: bytes = WRITING) -> Iterator[None]:
    """All statements of the block in one transaction, sent together until a result is read."""
    try:
        with session.pipeline():
            session.execute(begin)
            yield
            session.execute(COMMIT)
    finally:
        session.abandon()
