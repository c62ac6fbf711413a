"""The contract, kept in a PostgreSQL database."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeVar
from uuid import uuid4

from psycopg import Cursor

from .. import agents, limits, squelches, types
from ..agents import Instance, Row, Touch
from ..db import DB as Contract
from ..db import Snapshot
from ..entries import Entry
from ..errors import ConfigurationError, StoreDenied, StoreIncompatible, StoreNotSetUp
from ..faults import FaultDict, Report, decode, encode
from ..history import Event, Kept
from ..options import DURATION, FLAG, INTEGER, Option
from ..squelches import StoredSquelch
from . import records
from .conninfo import ConnInfo
from .errors import SETUP, outdated
from .pool import Connections, Pool
from .session import SNAPSHOT, Session, transaction
from .setup import versions
from .setup.roles import AGENT as _AGENT
from .setup.roles import OPERATOR as _OPERATOR
from .setup.roles import READER as _READER
from .setup.roles import adding_role
from .setup.versions import VERSION
from .sql import Statements, check_schema
from .writes import TableWriter

logger = logging.getLogger(__name__)

T = TypeVar("T")
Rows = Sequence[tuple[Any, ...]]

# What statements take for no limit, and for a time too long ago to count: far from overflow.
_LARGE = 2**61
# How many agents' last reports are remembered, by their digests, to spare a touch that would fail.
_REMEMBERED = 1000
# How many faults are fetched at once where it is not known how many will be wanted.
_PART = 2000
# How many events are fetched at once: few at first, because often only the latest are wanted.
_FIRST_PAGE, _PAGE = 500, 4000


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
        *Contract.options,
    )

    def _open(self) -> None:
        settings = self.settings
        if settings["pool_size"] < 1:
            raise ConfigurationError(f"[database] pool_size: there must be one at least, not {settings['pool_size']}")
        _check_response_timeout(settings["response_timeout"], settings["statement_timeout"])
        self._schema = check_schema(settings["schema"])
        self._sql = Statements(self._schema)
        # What the agents' rows have since their last reports, by agent.
        self._reported: dict[str, Touch] = {}
        self._warned = False
        # Everything before this time (microseconds) was deleted by this handle.
        self._forgotten = 0
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

    def _touch(self, agent: str, touch: Touch) -> bool:
        if self._reported.get(agent, touch)[:3] != touch[:3]:
            return False  # it would not match, unless another instance reported the same meanwhile: spare the way
        return self._connections.run(lambda connection: self._writer(connection).touch(agent, touch), _AGENT)

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        attempts = 0

        def replace(connection: Session) -> bool:
            nonlocal attempts
            attempts += 1
            self._check_own(connection, agent)
            return self._recorder(connection).replace(agent, report, instance, within, unmark)

        woken = self._connections.run(replace, _AGENT)
        if len(self._reported) >= _REMEMBERED:
            self._reported.clear()
        self._reported[agent] = Touch(report.digest, instance.id, within)
        return woken or (unmark and attempts > 1)  # an attempt whose response was lost may have removed the mark

    def _wake(self, agents: Sequence[str]) -> int:
        return self._changed(self._sql.wake, (encode(agents).decode(),), _OPERATOR)

    def _remove_agent(self, agent: str, user: str | None) -> None:
        def remove(connection: Session) -> None:
            self._check_own(connection, agent)
            self._recorder(connection).remove_agent(agent, user)

        self._connections.run(remove, _OPERATOR)

    def _writer(self, connection: Session, keep: bool = False) -> TableWriter:
        return TableWriter(connection, self._sql.of(connection), self._given_time(), keep)

    def _recorder(self, connection: Session) -> TableWriter:
        """A writer that records events, if the configuration says so and the tables can hold them."""
        if self._keeps_history and not connection.has_history and not self._warned:
            self._warned = True
            logger.warning(
                "%s; until then, no history is kept", outdated(self._conninfo, self._schema, connection.tables)
            )
        return self._writer(connection, self._keeps_history and connection.has_history)

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

    def _rows(self) -> Iterator[tuple[str, Row]]:
        """In pages, each by a transaction of its own: memory does not grow with the fleet."""
        last: str | None = ""
        while last is not None:
            page = self._rows_after(last)
            yield from page
            last = page[-1][0] if len(page) == _PART else None

    def _rows_after(self, last: str) -> list[tuple[str, Row]]:
        """A page of the rows, sorted by name, after this name."""

        def read(connection: Session) -> list[tuple[str, Row]]:
            sql = self._sql.of(connection)
            with transaction(connection, SNAPSHOT):
                rows = connection.execute(sql.rows_after, (last, _PART)).fetchall()
                between = (rows[0][0], rows[-1][0]) if rows else ("", "")
                return _joined(rows, connection.execute(sql.instances_between, between).fetchall())

        return self._connections.run(read, _READER)

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        self._connections.run(lambda connection: self._recorder(connection).squelch(squelch), _OPERATOR)

    def _remove_squelch(self, regex: str, user: str | None) -> None:
        self._connections.run(lambda connection: self._recorder(connection).unsquelch(regex, user), _OPERATOR)

    def _squelches(self) -> Iterable[StoredSquelch]:
        return self._read(self._sql.squelches, (), lambda columns: StoredSquelch(*columns))

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return self._read(self._sql.entries, (kind, owner, key, self._given_time()), records.entry)

    def _count_commands(self, key: str) -> Iterable[tuple[str | None, bool, int]]:
        values = (key, self._given_time())

        def read(connection: Session) -> list[tuple[Any, ...]]:
            return connection.execute(self._sql.of(connection).count_commands, values).fetchall()

        return [(state, found, number) for state, found, number in self._connections.run(read, _READER)]

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        place = (kind, owner, key)
        if becomes is None:
            return self._remove_entry(place, was)
        if was is None:
            return self._add([becomes]) == 1
        value = records.encode_value(becomes.value)
        values = (self._given_time(), becomes.revision, value, becomes.expires, *place, was)
        return self._changed(self._sql.change_entry, values, _AGENT) == 1

    def _add(self, entries: Iterable[Entry]) -> int:
        listed = list(entries)
        role = adding_role(listed[0].kind) if listed else _AGENT
        return self._changed(self._sql.add_entries, (self._given_time(), records.encode_entries(listed)), role)

    def _forget_entries(self, limit: int) -> int:
        return self._changed(self._sql.forget_entries, (self._given_time(), limit), _OPERATOR)

    def _remove_entry(self, place: tuple[str, str, str], was: str | None) -> bool:
        """Mark the entry as removed, and delete it then: a mark is recognized if its answer was lost."""
        mark = uuid4().hex
        marked = self._changed(self._sql.mark_entry, (self._given_time(), mark, *place, was), _OPERATOR)
        if marked:
            self._changed(self._sql.remove_entry, (*place, mark), _OPERATOR)
        return marked == 1

    def _changed(self, query: bytes, values: Iterable[str | int | None], role: str) -> int:
        """Execute a statement, durably; return how many rows it changed."""
        return self._connections.run(lambda connection: self._writer(connection).change(query, values), role)

    def _snapshot(self) -> Iterable[Snapshot]:
        return [self._read_together(lambda sql: (sql.rows, sql.all_faults, sql.squelches), _snapshot)]

    def _events(self, agent: str | None, since: int, until: int) -> Iterator[Event]:
        """In pages, each by a statement of its own: no connection is held between them."""
        place: tuple[Any, ...] = (until, 0) if agent else (until, "", 0)
        size = _FIRST_PAGE
        while True:
            query, values = self._sql.page(agent, since, place, size)
            page = self._read(query, values, tuple, prepare=False)
            yield from records.events(page)
            if len(page) < size:
                return
            time, name, *_, number = page[-1]
            place, size = (time, number) if agent else (time, name, number), _PAGE

    def _kept(self, agent: str | None, moment: int) -> Iterable[tuple[str, Kept]]:
        """Only what the faults at the moment depend on: memory does not grow with other agents and events."""
        queries = self._sql.kept(agent, moment)

        def read(connection: Session) -> list[tuple[str, Kept]]:
            with transaction(connection, SNAPSHOT):
                found = [connection.execute(query, values, prepare=False) for query, values in queries]
                return _kept(agent, moment, *map(_parts, found))

        return self._connections.run(read, _READER)

    def _set_messages(self, missing: Mapping[str, dict[str, FaultDict]], moment: int) -> None:
        spans = []
        for agent, named in missing.items():
            since = min(fault["since"] for fault in named.values()) * agents.MICROSECONDS
            spans.append({"agent": agent, "since": min(max(since, 0), moment)})
        values = (moment + 1, encode(spans).decode())
        for agent, messages in self._read(self._sql.messages, values, _messages, prepare=False):
            for name, fault in missing[agent].items():
                fault["message"] = messages.get(name, fault["message"])

    def _late_agents(self, otherwise: int | None) -> Iterable[types.LateAgent]:
        found = self._read(self._sql.late, (otherwise, self._given_time()), _late)
        return (late for late in found if late)

    def _count_events(self, until: int) -> int:
        (number,) = self._read(self._sql.count_events, (until,), itemgetter(0), prepare=False)
        return int(number)

    def _forget(self, until: int, limit: int) -> int:
        """Skip what this handle deleted before: the index has it until it is vacuumed."""
        since, self._forgotten = self._forgotten, 0
        values = (since, until, limit)
        number: int
        ((number, last),) = self._read(self._sql.forget, values, tuple, prepare=False, role=_OPERATOR)
        if number < limit and since:
            return number + self._forget(until, limit - number)
        self._forgotten = last or 0
        return number

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
            rows = connection.execute(self._sql.of(connection).double, values).fetchall()
            return [_double(name, list(listed)) for name, listed in groupby(rows, key=itemgetter(0))]

        return self._connections.run(read, _READER)

    def _given_time(self) -> int | None:
        """What the clock says that a test gave; ``None`` leaves it to the server's."""
        return None if self._clock is time.time else super()._now()

    def _read(
        self,
        query: bytes,
        values: tuple[Any, ...],
        make: Callable[[tuple[Any, ...]], T],
        prepare: bool | None = None,
        role: str = _READER,
    ) -> list[T]:
        """What is made of each row that a query gives: while the connection is held, in case it cannot be read.

        With ``prepare=False`` the query is planned for these values: where they decide which index is the best.
        """

        def read(connection: Session) -> list[T]:
            return [make(row) for row in connection.execute(query, values, prepare=prepare).fetchall()]

        return self._connections.run(read, role)

    def _read_together(self, queries: Callable[[Statements], Iterable[bytes]], make: Callable[..., T]) -> T:
        """What is made of the rows that the queries give, all from one snapshot."""

        def read(connection: Session) -> T:
            with transaction(connection, SNAPSHOT):
                cursors = [connection.execute(query, ()) for query in queries(self._sql.of(connection))]
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


def _parts(cursor: Cursor[tuple[Any, ...]]) -> Iterator[Rows]:
    """The rows in parts: the garbage collector would go through all of them again and again."""
    while part := cursor.fetchmany(_PART):
        yield part


def _kept(
    agent: str | None,
    moment: int,
    rows: Iterable[Rows],
    faults: Iterable[Rows],
    of_agents: Iterable[Rows],
    of_faults: Iterable[Rows],
) -> list[tuple[str, Kept]]:
    """What is known of each agent, or at least of one; without its instances and the faults' extra keys."""
    recorded: dict[str, int | None] = {name: since for part in rows for name, since in part}
    records.check_numbers(*recorded.values())
    stored: dict[str, list[FaultDict]] = defaultdict(list)
    for part in faults:
        for name, fault in records.plain_faults(part):
            stored[name].append(fault)
    happened: dict[str, list[Event]] = defaultdict(list)
    for part in (*of_agents, *of_faults):
        for event in records.events(part):
            happened[event.agent].append(event)
    incomplete = {name for name, since in recorded.items() if since is None or since > moment}
    names = incomplete | stored.keys() | happened.keys() if agent is None else [agent]
    return [
        (name, Kept(_row(recorded[name]) if name in recorded else None, stored.get(name, ()), happened.get(name, ())))
        for name in names
    ]


def _row(recorded: int | None) -> Row:
    return Row(0, "", "", (), recorded=recorded)


def _messages(columns: tuple[Any, ...]) -> tuple[str, dict[str, str]]:
    """An agent's name, and the latest messages of its faults by name."""
    agent, encoded = columns
    return agent, {} if encoded is None else decode(encoded)


def _late(columns: tuple[Any, ...]) -> types.LateAgent | None:
    name, updated, within, now = columns
    return agents.late(name, Row(updated, "", "", (), within), now)


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
    seen = [records.seen(columns) for _, _, *columns in listed]
    return agents.shown(name, Row(listed[0][1], "", "", ()), seen)
