"""The contract, kept in a PostgreSQL database."""

import math
import time
from collections.abc import Callable, Iterable
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeVar
from uuid import uuid4

from .. import agents, limits, squelches, types
from ..agents import Instance, Row, SeenInstance
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError, StoreDenied, StoreIncompatible, StoreNotSetUp
from ..faults import FaultDict, Report, decode
from ..options import DURATION, FLAG, INTEGER, Option
from ..squelches import StoredSquelch
from . import records, writes
from .conninfo import ConnInfo
from .errors import SETUP
from .pool import Connections, Pool
from .session import SNAPSHOT, Session, transaction
from .setup import versions
from .setup.roles import AGENT as _AGENT
from .setup.roles import OPERATOR as _OPERATOR
from .setup.roles import READER as _READER
from .setup.versions import VERSION
from .sql import Statements, check_schema

T = TypeVar("T")
Rows = Iterable[tuple[Any, ...]]

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
        Option(
            "response_timeout",
            "how long the server may send nothing before the connection is given up; longer than statement_timeout",
            DURATION,
            "40s",
        ),
        Option("pool_size", "how many connections a process keeps at most", INTEGER, "4"),
        Option("prepare", "prepare statements; off for a proxy that pools transactions", FLAG, "on"),
        Option("durable_heartbeats", "let a mere heartbeat wait for the disk as well", FLAG, "off"),
    )

    def _open(self) -> None:
        settings = self.settings
        if settings["pool_size"] < 1:
            raise ConfigurationError(f"[database] pool_size: there must be one at least, not {settings['pool_size']}")
        _check_response_timeout(settings["response_timeout"], settings["statement_timeout"])
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

    def _greet(self, connection: Session) -> None:
        """See to it that a new connection leads to a store that this version reads, and set what holds for it."""
        connection.response_timeout = max(self.settings["connect_timeout"], 1)  # this is part of connecting
        greeting = connection.execute(self._sql.greet, ()).fetchone()
        if greeting is None:
            raise StoreNotSetUp(f"{self._conninfo.where}: the schema {self._schema} has no version: run {SETUP}")
        row, encoding, level = greeting
        tables = versions.read(decode(row))
        if tables.oldest > VERSION:
            raise StoreIncompatible(
                f"{self._conninfo.where}: the tables in the schema {self._schema} have version {tables.current}, which"
                f" programs may use that know version {tables.oldest} at least, and this one knows {VERSION}: upgrade"
                " zc.cimaa on this host"
            )
        connection.tables = tables.current
        if encoding != "UTF8":
            raise StoreIncompatible(f"{self._conninfo.where} is encoded in {encoding}: zc.cimaa needs one in UTF8")
        connection.durable = "on" if level == "off" else level
        connection.heartbeats = level
        if self.settings["prepare"]:  # otherwise the session is a proxy's, and shared with other clients
            connection.heartbeats = connection.durable if self.settings["durable_heartbeats"] else "off"
            timeout = str(self.settings["statement_timeout"] * 1000)
            connection.execute(self._sql.settings, (connection.heartbeats, timeout, timeout))
        if tables.current >= versions.LOGINS:
            ((connection.own_agent,),) = connection.execute(self._sql.own_agent, ()).fetchall()
        connection.response_timeout = self.settings["response_timeout"]

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

        def replace(connection: Session) -> None:
            self._check_own(connection, agent)
            writes.replace(connection, self._sql, agent, report, instance, now)

        self._connections.run(replace, _AGENT)
        if len(self._reported) >= _REMEMBERED:
            self._reported.clear()
        self._reported[agent] = report.digest

    def _remove_agent(self, agent: str) -> None:
        def remove(connection: Session) -> None:
            self._check_own(connection, agent)
            query = self._sql.remove_agent if connection.own_agent is None else self._sql.remove_own_agent
            self._write_over(connection, query, (agent,))

        self._connections.run(remove, _OPERATOR)

    def _check_own(self, connection: Session, agent: str) -> None:
        """Say clearly what the server would refuse less clearly."""
        if connection.own_agent not in (None, agent):
            raise StoreDenied(
                f"{self._conninfo.where}: this login may write for the agent {connection.own_agent} only,"
                f" not for {agent}"
            )

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return self._read(self._sql.faults, (agent,), lambda columns: records.fault(columns)[1])

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        return self._read(self._sql.all_faults, (), _each)

    def _rows(self) -> Iterable[tuple[str, Row]]:
        return self._read_together((self._sql.rows, self._sql.all_instances), _joined)

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        self._write(self._sql.put_squelch, squelch)

    def _remove_squelch(self, regex: str) -> None:
        self._write(self._sql.remove_squelch, (regex,))

    def _squelches(self) -> Iterable[StoredSquelch]:
        return self._read(self._sql.squelches, (), lambda columns: StoredSquelch(*columns))

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return self._read(self._sql.entries, (kind, owner, key, self._given_time()), records.entry)

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        place, now = (kind, owner, key), self._given_time()
        if becomes is None:
            return self._remove_entry(place, was)
        if was is None:
            return self._add([becomes]) == 1
        value = records.encode_value(becomes.value)
        values = (becomes.revision, value, becomes.expires, *place, becomes.revision, was, now)
        return self._changed(self._sql.change_entry, values, _AGENT) == 1

    def _add(self, entries: Iterable[Entry]) -> int:
        return self._changed(self._sql.add_entries, (records.encode_entries(entries), self._given_time()), _AGENT)

    def _remove_entry(self, place: tuple[str, str, str], was: str | None) -> bool:
        """Mark the entry as removed, and delete it then: a mark is recognized if its answer was lost."""
        mark = uuid4().hex
        marked = self._changed(self._sql.mark_entry, (mark, *place, mark, was, self._given_time()), _OPERATOR)
        if marked:
            self._changed(self._sql.remove_entry, (*place, mark), _OPERATOR)
        return marked == 1

    def _snapshot(self) -> Iterable[Snapshot]:
        return [self._read_together((self._sql.rows, self._sql.all_faults, self._sql.squelches), _snapshot)]

    def _now(self) -> int:
        given = self._given_time()
        if given is not None:
            return given
        (now,) = self._read(self._sql.now, (None,), lambda columns: int(columns[0]))
        return now

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[FaultDict]:
        most = None if limit is None else min(limit, _LARGE)
        if severity is not None and severity > limits.INTEGER_MAX:
            return []
        query, values = self._sql.worst(agent, severity)
        if pattern is None:
            return self._read(query, (*values, most), _found)
        search = squelches.searching(pattern)
        return self._connections.run(lambda c: _matching(c, query, values, search, most), _READER)

    def _old_agents(self, age: float) -> list[types.Heartbeat]:
        return self._heartbeats_of(self._sql.old, _microseconds(age))

    def _offline_agents(self, seen_within: float, silent_for: float) -> list[types.Heartbeat]:
        return self._heartbeats_of(self._sql.offline, _microseconds(silent_for), _microseconds(seen_within))

    def _heartbeats_of(self, query: bytes, *ages: int) -> list[types.Heartbeat]:
        given = self._given_time()

        def read(connection: Session) -> list[types.Heartbeat]:
            ((now,),) = connection.execute(self._sql.now, (given,)).fetchall()
            # Planned each time for these bounds: how many rows they leave decides between sorting and the primary key.
            found = connection.execute(query, [now - age for age in ages], prepare=False).fetchall()
            return [agents.heartbeat(*columns) for columns in found]

        return self._connections.run(read, _READER)

    def _double_agents(self, within: float) -> list[types.Agent]:
        values = (self._given_time(), _microseconds(within))

        def read(connection: Session) -> list[types.Agent]:
            rows = connection.execute(self._sql.double, values).fetchall()
            return [_double(name, list(listed)) for name, listed in groupby(rows, key=itemgetter(0))]

        return self._connections.run(read, _READER)

    def _given_time(self) -> int | None:
        """What the clock says that a test gave; ``None`` leaves it to the server's."""
        return None if self._clock is time.time else super()._now()

    def _write(self, query: bytes, values: Iterable[Any]) -> None:
        """Execute an operator's statement, durably."""
        self._changed(query, values, _OPERATOR)

    def _changed(self, query: bytes, values: Iterable[Any], role: str) -> int:
        """Execute a statement, durably; return how many rows it changed."""
        return self._connections.run(lambda connection: self._write_over(connection, query, values), role)

    def _write_over(self, connection: Session, query: bytes, values: Iterable[Any]) -> int:
        with transaction(connection):
            connection.execute(self._sql.durable, (connection.durable,))
            cursor = connection.execute(query, tuple(values))
        return cursor.rowcount

    def _read(self, query: bytes, values: tuple[Any, ...], make: Callable[[tuple[Any, ...]], T]) -> list[T]:
        """What is made of each row that a query gives: while the connection is held, in case it cannot be read."""
        return self._connections.run(lambda c: [make(row) for row in c.execute(query, values).fetchall()], _READER)

    def _read_together(self, queries: Iterable[bytes], make: Callable[..., T]) -> T:
        """What is made of the rows that the queries give, all from one snapshot."""

        def read(connection: Session) -> T:
            with transaction(connection, SNAPSHOT):
                cursors = [connection.execute(query, ()) for query in queries]
                return make(*[cursor.fetchall() for cursor in cursors])

        return self._connections.run(read, _READER)


def _microseconds(seconds: float) -> int:
    """The age in microseconds: compared with the server's clock, it gives what the pure rules give."""
    return min(math.ceil(seconds * agents.MICROSECONDS), _LARGE) if seconds < _LARGE else _LARGE


def _check_response_timeout(response: int, statement: int) -> None:
    if response <= statement:
        raise ConfigurationError(
            f"[database] response_timeout: {response}s must be longer than statement_timeout ({statement}s):"
            " otherwise a slow statement looks like a server that stopped responding"
        )


def _snapshot(rows: Rows, faults: Rows, stored: Rows) -> Snapshot:
    heartbeats = [(name, records.row(columns, ()).updated) for name, *columns in rows]
    return Snapshot(heartbeats, [_each(fault) for fault in faults], [StoredSquelch(*each) for each in stored])


def _joined(rows: Rows, seen: Rows) -> list[tuple[str, Row]]:
    """The agents' names and rows; ``seen`` is sorted by agent."""
    instances = {agent: [records.seen(s[1:]) for s in listed] for agent, listed in groupby(seen, key=itemgetter(0))}
    return [(name, records.row(columns, instances.get(name, ()))) for name, *columns in rows]


def _each(columns: tuple[Any, ...]) -> tuple[str, list[FaultDict]]:
    agent, fault = records.fault(columns)
    return agent, [fault]


def _found(columns: tuple[Any, ...]) -> FaultDict:
    agent, fault = records.fault(columns)
    return {"agent": agent, **fault}


def _matching(
    connection: Session, query: bytes, values: tuple[Any, ...], search: Callable[[str], object], limit: int | None
) -> list[FaultDict]:
    """The faults that a query gives and whose name matches, fetched in parts until there are ``limit``."""
    with connection.transaction(), connection.cursor("matching") as cursor:
        cursor.itersize = _PART
        cursor.execute(query, (*values, None))
        return [_found(columns) for columns in islice((c for c in cursor if search(c[1])), limit)]


def _double(name: str, listed: list[tuple[Any, ...]]) -> types.Agent:
    seen = [SeenInstance(Instance(*columns[2:6]), *columns[6:]) for columns in listed]
    return agents.shown(name, Row(listed[0][1], "", "", ()), seen)
