"""Kept connections to a server: made when first needed, in each process its own, and tried again where that is safe.

psycopg_pool keeps them.  What is added here:

- Nothing is connected, and no thread started, before the first call.
- No connection survives a fork: the child leaves its parent's alone, and makes its own.
- A call that got no connection says why, and does so at once if waiting will not help.
- Work that met a transient error is repeated, with jitter, for as long as a call may wait.
- A server that stops responding is given up after a time, and a response that cannot be read is an error of the store.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakSet

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from .. import backoff
from ..errors import StoreClosed, StoreError, StoreUnavailable
from .conninfo import ConnInfo
from .errors import UNREADABLE, is_lost, may_pass, translated, unreadable
from .session import Session
from .setup.versions import VERSION

T = TypeVar("T")

# Seconds: see zc.cimaa.backoff.
_BASE_DELAY, _LONGEST_DELAY = 0.025, 1.0


class PooledSession(Session):
    """A session that a pool keeps."""

    @classmethod
    def connect(cls, conninfo: str = "", *, keeper: "Pool", **kwargs: Any) -> Self:  # type: ignore[override]
        """A new connection for this keeper, which learns why if there is none."""
        keeper.connecting = True
        try:
            connection = super().connect(conninfo, **kwargs)
            try:
                keeper.greet(connection)
            except BaseException:
                connection.close()
                raise
        except (psycopg.Error, StoreError, *UNREADABLE) as error:
            keeper.failed(error)
            raise
        finally:
            keeper.connecting = False
        keeper.failure = None
        return connection


class Pool:
    """The connections of one process; whether one is being made; why the last attempt to make one failed, if it did."""

    def __init__(
        self, conninfo: ConnInfo, size: int, prepare: bool, patience: float, greet: Callable[[Session], None]
    ) -> None:
        self.failure: Exception | None = None
        self.connecting = False
        self.greet = greet
        self._pool = ConnectionPool(
            str(conninfo),
            connection_class=PooledSession,
            kwargs={"keeper": self, "autocommit": True, "prepare_threshold": 1 if prepare else None},
            min_size=0,
            max_size=size,
            num_workers=1,
            # Those who wait give up then: longer pauses would outlast them.
            reconnect_timeout=patience,
            open=True,
        )

    def failed(self, error: Exception) -> None:
        """Remember why there is no connection; if waiting will not help, let all waiting calls fail."""
        self.failure = error
        if not (isinstance(error, psycopg.Error) and may_pass(error)):
            # This is a thread of the pool's, which cannot wait for its own end.
            threading.Thread(target=self.close, daemon=True).start()

    def take(self, timeout: float) -> PooledSession:
        """A connection, which must be given back."""
        return self._pool.getconn(timeout)

    def give_back(self, connection: PooledSession) -> None:
        """Return a connection, for others to take."""
        self._pool.putconn(connection)

    def renew(self) -> None:
        """Replace all connections: the server is another one, or has been restarted."""
        self._pool.drain()

    def close(self) -> None:
        """Close all connections, at the latest when they are given back."""
        self._pool.close()

    @property
    def closed(self) -> bool:
        """True once the pool is closed."""
        return self._pool.closed


class Connections:
    """Connections to one server, for the threads of the current process."""

    _all: ClassVar[WeakSet["Connections"]] = WeakSet()
    # The pools of a parent, in its child: closing them would end the parent's sessions.
    _parents: ClassVar[list[Pool]] = []

    def __init__(self, conninfo: ConnInfo, schema: str, patience: float, make: Callable[[], Pool]) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._patience = patience
        self._make = make
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._closed = False
        Connections._all.add(self)

    def run(self, work: Callable[[Session], T], role: str) -> T:
        """What ``work`` makes of a connection; ``role`` is the least of the store's roles that may do it.

        Work that met a passing error is done again, so it must do all or nothing,
        and do no harm if it is done twice.

        :raises StoreError: if it failed for good, or for too long, or the response could not be read.
        """
        deadline = time.monotonic() + self._patience
        tries, tables = 0, VERSION
        while True:
            pool = self._current()
            try:
                connection = pool.take(max(deadline - time.monotonic(), 0.001))
                tables = connection.tables
                try:
                    return work(connection)
                except UNREADABLE as error:
                    connection.close()  # what else comes over it cannot be relied on
                    raise unreadable(error, self._conninfo) from error
                finally:
                    pool.give_back(connection)
            except (PoolTimeout, PoolClosed) as error:
                raise self._in_vain(pool, role) from (pool.failure or error)
            except psycopg.Error as error:
                tries += 1
                longest = backoff.longest(tries, _BASE_DELAY, _LONGEST_DELAY)
                if not may_pass(error) or time.monotonic() + longest > deadline:
                    raise translated(error, self._conninfo, self._schema, role, tables) from error
                if is_lost(error):
                    pool.renew()
            time.sleep(backoff.delay(tries, _BASE_DELAY, _LONGEST_DELAY))

    def close(self) -> None:
        """Close all connections; no new ones are opened."""
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.close()

    def _current(self) -> Pool:
        pool = self._pool
        if pool is not None and not pool.closed:
            return pool
        with self._lock:
            if self._closed:
                raise StoreClosed("this zc.cimaa.postgres store has been closed")
            if self._pool is None or self._pool.closed:
                self._pool = self._make()
            return self._pool

    def _in_vain(self, pool: Pool, role: str) -> StoreError:
        failure = pool.failure
        if isinstance(failure, psycopg.Error):
            return translated(failure, self._conninfo, self._schema, role)
        if isinstance(failure, StoreError):
            return type(failure)(*failure.args)
        if failure is not None:
            return unreadable(failure, self._conninfo)
        if self._closed:
            return StoreClosed("this zc.cimaa.postgres store has been closed")
        if pool.connecting:
            return StoreUnavailable(f"{self._conninfo.where} cannot be reached: no response within {self._patience} s")
        return StoreUnavailable(
            f"no connection to {self._conninfo.where} was free in time: all of this process's are in use; set a larger"
            " pool_size in the [database] section, or a longer connect_timeout"
        )

    @classmethod
    def _after_fork(cls) -> None:
        """In the child: the locks may be held by threads that are not there, and the connections are the parent's."""
        for connections in cls._all:
            connections._lock = threading.Lock()
            if connections._pool is not None:
                cls._parents.append(connections._pool)
                connections._pool = None


os.register_at_fork(after_in_child=Connections._after_fork)
