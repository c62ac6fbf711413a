"""The contract, kept in a PostgreSQL database."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from .. import agents, limits, squelches, types
from ..agents import Instance, Row, Seen
from ..db import DB as Contract
from ..db import Snapshot
from ..errors import ConfigurationError, StoreIncompatible, StoreNotSetUp
from ..faults import Fault, Report
from ..options import DURATION, FLAG, INTEGER, Option
from ..squelches import Squelch
from . import records, replacement
from .connections import SNAPSHOT, Connection, Connections, Pool, transaction
from .conninfo import ConnInfo
from .statements import Statements, check_schema
from .translate import SETUP
from .versions import VERSION

# The least of the store's roles that may do something; see roles.py.
_AGENT, _OPERATOR, _READER = "agent", "operator", "reader"

# What statements take for no limit, and for a time too long ago to count: far from overflow.
_LARGE = 2**61
# How many agents' last reports are remembered, by their digests, to spare a touch that would fail.
_REMEMBERED = 1000
# How many faults are fetched at once where it is not known how many will be wanted.
_PART = 2000


class DB(Contract):
    """A store in a schema of a PostgreSQL database.

    Its clock is the server's.  A report that changed a fault is durable when the
    call returns; a mere heartbeat may be lost if the server's machine fails,
    unless ``durable_heartbeats`` is on.
    """

    options = (
        Option("dsn", "a libpq connection string or URI; what it leaves out, PG* variables may give", secret=True),
        Option("schema", "the schema that holds the tables", default="cimaa"),
        Option("connect_timeout", "how long a call may wait for a connection, tries included", DURATION, "5s"),
        Option("statement_timeout", "how long the server may take for one statement; 0s: for ever", DURATION, "30s"),
        Option("pool_size", "how many connections a process keeps at most", INTEGER, "4"),
        Option("prepare", "prepare statements; off for a proxy that pools transactions", FLAG, "on"),
        Option("durable_heartbeats", "let a mere heartbeat wait for the disk as well", FLAG, "off"),
    )

    def _open(self) -> None:
        settings = self.settings
        if settings["pool_size"] < 1:
            raise ConfigurationError(f"[database] pool_size: there must be one at least, not {settings['pool_size']}")
        self._schema = check_schema(settings["schema"])
        self._sql = Statements(self._schema)
        # The digests of what was reported last, by agent.
        self._reported: dict[str, str] = {}
        patience = max(settings["connect_timeout"], 1)
        self._conninfo = ConnInfo(settings["dsn"], patience)
        self._connections = Connections(self._conninfo, self._schema, patience, self._make_pool)

    def _make_pool(self) -> Pool:
        settings = self.settings
        return Pool(
            self._conninfo, settings["pool_size"], settings["prepare"], max(settings["connect_timeout"], 1), self._greet
        )

    def _greet(self, connection: Connection) -> None:
        """See to it that a new connection leads to a store that this version reads, and set what holds for it."""
        greeting = connection.execute(self._sql.greet, ()).fetchone()
        if greeting is None:
            raise StoreNotSetUp(f"{self._conninfo.where}: the schema {self._schema} has no version: run {SETUP}")
        version, encoding, level = greeting
        if version != VERSION:
            todo = f"run {SETUP}" if version < VERSION else "upgrade zc.cimaa on this host"
            raise StoreIncompatible(
                f"{self._conninfo.where}: the tables in the schema {self._schema} have version {version}, and this"
                f" zc.cimaa needs {VERSION}: {todo}"
            )
        if encoding != "UTF8":
            raise StoreIncompatible(f"{self._conninfo.where} is encoded in {encoding}: zc.cimaa needs one in UTF8")
        connection.durable = "on" if level == "off" else level
        connection.heartbeats = level
        if self.settings["prepare"]:  # else the session is a proxy's, and not ours to set up
            connection.heartbeats = connection.durable if self.settings["durable_heartbeats"] else "off"
            timeout = str(self.settings["statement_timeout"] * 1000)
            connection.execute(self._sql.settings, (connection.heartbeats, timeout, timeout))

    def _close(self) -> None:
        self._connections.close()

    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        if self._reported.get(agent, digest) != digest:
            return False  # it would not match, unless another instance reported the same meanwhile: spare the way
        now = self._given_time()
        values = (None if now is None else b"%d" % now, agent.encode(), digest.encode(), instance.encode())
        return self._connections.run(lambda c: c.exchange((self._sql.touch, values))[0].command_tuples == 1, _AGENT)

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        now = self._given_time()
        self._connections.run(lambda c: replacement.replace(c, self._sql, agent, report, instance, now), _AGENT)
        if len(self._reported) >= _REMEMBERED:
            self._reported.clear()
        self._reported[agent] = report.digest

    def _remove_agent(self, agent: str) -> None:
        self._write(self._sql.remove_agent, (agent,))

    def _agent_faults(self, agent: str) -> Iterable[Fault]:
        return [records.fault(columns)[1] for columns in self._read(self._sql.faults, (agent,))]

    def _all_faults(self) -> Iterable[tuple[str, list[Fault]]]:
        return _each(self._read(self._sql.all_faults))

    def _rows(self) -> Iterable[tuple[str, Row]]:
        return _joined(*self._read_together(self._sql.rows, self._sql.all_instances))

    def _put_squelch(self, squelch: Squelch) -> None:
        self._write(self._sql.put_squelch, squelch)

    def _remove_squelch(self, regex: str) -> None:
        self._write(self._sql.remove_squelch, (regex,))

    def _squelches(self) -> Iterable[Squelch]:
        return [Squelch(*columns) for columns in self._read(self._sql.squelches)]

    def _snapshot(self) -> Iterable[Snapshot]:
        rows, faults, stored = self._read_together(self._sql.rows, self._sql.all_faults, self._sql.squelches)
        heartbeats = ((name, records.row(columns, ()).updated) for name, *columns in rows)
        yield Snapshot(heartbeats, _each(faults), [Squelch(*s) for s in stored])

    def _now(self) -> int:
        given = self._given_time()
        if given is not None:
            return given
        ((now,),) = self._read(self._sql.now, (None,))
        return int(now)

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[Fault]:
        most = None if limit is None else min(limit, _LARGE)
        if severity is not None and severity > limits.INTEGER_MAX:
            return []
        query, values = self._sql.worst(agent, severity)
        if pattern is None:
            return [_found(columns) for columns in self._read(query, (*values, most))]
        search = squelches.compiled(pattern).search
        return self._connections.run(lambda c: _matching(c, query, values, search, most), _READER)

    def _old_agents(self, age: float) -> list[types.Heartbeat]:
        return self._heartbeats_of(self._sql.old, _microseconds(age))

    def _offline_agents(self, seen_within: float, silent_for: float) -> list[types.Heartbeat]:
        return self._heartbeats_of(self._sql.offline, _microseconds(silent_for), _microseconds(seen_within))

    def _heartbeats_of(self, query: bytes, *ages: int) -> list[types.Heartbeat]:
        return [agents.heartbeat(*columns) for columns in self._read(query, (self._given_time(), *ages))]

    def _double_agents(self, within: float) -> list[types.Agent]:
        columns = self._read(self._sql.double, (self._given_time(), _microseconds(within)))
        return [_double(name, list(listed)) for name, listed in groupby(columns, key=itemgetter(0))]

    def _given_time(self) -> int | None:
        """What the clock says that a test gave; ``None`` leaves it to the server's."""
        return None if self._clock is time.time else super()._now()

    def _write(self, query: bytes, values: Iterable[Any]) -> None:
        """Do a statement of an operator's, durably."""

        def write(connection: Connection) -> None:
            with transaction(connection):
                connection.execute(self._sql.durable, (connection.durable,))
                connection.execute(query, tuple(values))

        self._connections.run(write, _OPERATOR)

    def _read(self, query: bytes, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connections.run(lambda c: c.execute(query, values).fetchall(), _READER)

    def _read_together(self, *queries: bytes) -> list[list[tuple[Any, ...]]]:
        """What the queries give, all from one snapshot."""

        def read(connection: Connection) -> list[list[tuple[Any, ...]]]:
            with transaction(connection, SNAPSHOT):
                return [cursor.fetchall() for cursor in [connection.execute(query, ()) for query in queries]]

        return self._connections.run(read, _READER)


def _microseconds(seconds: float) -> int:
    """So many seconds before the server's clock, which is whole microseconds, is what the pure rules say it is."""
    return min(math.ceil(seconds * agents.MICROSECONDS), _LARGE) if seconds < _LARGE else _LARGE


def _joined(rows: Iterable[tuple[Any, ...]], seen: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, Row]]:
    """The agents' names and rows; ``seen`` is sorted by agent."""
    instances = {agent: [records.seen(s[1:]) for s in listed] for agent, listed in groupby(seen, key=itemgetter(0))}
    return ((name, records.row(columns, instances.get(name, ()))) for name, *columns in rows)


def _each(faults: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, list[Fault]]]:
    return ((agent, [fault]) for agent, fault in map(records.fault, faults))


def _found(columns: tuple[Any, ...]) -> Fault:
    agent, fault = records.fault(columns)
    return {"agent": agent, **fault}


def _matching(
    connection: Connection, query: bytes, values: tuple[Any, ...], search: Callable[[str], object], limit: int | None
) -> list[Fault]:
    """The faults that a query gives and whose name matches, fetched in parts until there are ``limit``."""
    with connection.transaction(), connection.cursor("matching") as cursor:
        cursor.itersize = _PART
        cursor.execute(query, (*values, None))
        return [_found(columns) for columns in islice((c for c in cursor if search(c[1])), limit)]


def _double(name: str, listed: list[tuple[Any, ...]]) -> types.Agent:
    seen = [Seen(Instance(*columns[2:6]), *columns[6:]) for columns in listed]
    return agents.shown(name, Row(listed[0][1], "", "", ()), seen)
