"""What writes: each write is one transaction, with the events that say what happened.

On tables of a version that has no history, nothing is recorded.
"""

from collections.abc import Iterable
from typing import NamedTuple

from psycopg.errors import SerializationFailure

from .. import history
from ..agents import Instance, Row, SeenInstance, Touch
from ..faults import FaultDict, Report, decode, encode
from ..history import SQUELCHES, Event
from ..squelches import StoredSquelch
from . import records
from .session import COMMIT, SNAPSHOT_WRITING, WRITING, Call, Session
from .sql import Statements


class TableWriter(NamedTuple):
    """One call's access to the tables."""

    session: Session
    sql: Statements
    #: Replaces the server's clock, if it is given (microseconds).
    given: int | None
    #: True if events are recorded.
    keep: bool

    def touch(self, agent: str, touch: Touch) -> bool:
        """See :meth:`zc.cimaa.db.DB._touch`."""
        values = (self._clock, agent.encode(), touch.digest.encode(), touch.instance.encode())
        due = (_text(touch.within),) if self.session.has_history else ()
        statement = self.sql.touch_unmarked if touch.unmarked else self.sql.touch
        return self.session.exchange((statement, (*values, *due)))[0].command_tuples == 1

    def replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        """Store the agent's report, writing only what it changes; return whether it removed the row's mark.

        A report that changes a fault is durable when this returns.

        :raises SerializationFailure: if another report was the first for an agent without a row; it may be tried again.
        """
        try:
            row, old, now, last = self._locked(agent)
            new = history.replacement(
                agent, row, old, report, instance, within, now, keep=self.keep, last=last, unmark=unmark
            )
            self._put(agent, row, new)
            return new.woken
        finally:
            self.session.abandon()

    def remove_agent(self, agent: str, user: str | None) -> None:
        """Remove the agent's row, and with it its faults and instances.

        :raises SerializationFailure: if the agent reported at the same time; it may be tried again.
        """
        name = agent.encode()
        try:
            # The row is not locked, which would need the privilege to update it.
            _, locked = self.session.exchange((SNAPSHOT_WRITING, ()), (self.sql.locked, (self._clock, name)))
            found = _stored(agent, locked.get_value(0, 0))
            events = history.removal(agent, found.row, found.faults, user, found.now) if self.keep else ()
            self._finish(events, (self._own("remove_{}agent"), (name,)))
        finally:
            self.session.abandon()

    def squelch(self, squelch: StoredSquelch) -> None:
        """Add the squelch, or replace the one with its regular expression."""
        self._squelch(squelch.regex, (self.sql.put_squelch, _texts(*squelch)), new=squelch)

    def unsquelch(self, regex: str, user: str | None) -> None:
        """Remove the squelch with this regular expression, if there is one."""
        self._squelch(regex, (self.sql.remove_squelch, _texts(regex)), user=user)

    def change(self, query: bytes, values: Iterable[str | int | None]) -> int:
        """Execute a statement; return how many rows it changed."""
        try:
            durable = (self.sql.durable, (self.session.durable.encode(),))
            results = self.session.exchange((WRITING, ()), durable, (query, _texts(*values)), (COMMIT, ()))
            return results[2].command_tuples or 0
        finally:
            self.session.abandon()

    def _squelch(self, regex: str, call: Call, new: StoredSquelch | None = None, user: str | None = None) -> None:
        events: tuple[Event, ...] = ()
        try:
            begin: list[Call] = [(WRITING, ()), (self.sql.lock_squelches, ())]
            if self.keep:
                read = self.session.exchange(*begin, (self.sql.squelch, (self._clock, regex.encode())))[-1]
                now, stored, last = decode(read.get_value(0, 0) or b"")
                old = StoredSquelch(*stored) if stored else None
                latest = None if last is None else Event(last, SQUELCHES, "")
                events = history.squelched(old, new, user, now, latest)
            else:
                self.session.exchange(*begin)
            self._finish(events, call)
        finally:
            self.session.abandon()

    def _locked(self, agent: str) -> "_Stored":
        """What is stored of the agent: read by a statement that began once its row was locked."""
        name = agent.encode()
        _, lock, locked = self.session.exchange(
            (WRITING, ()), (self.sql.lock, (name,)), (self.sql.locked, (self._clock, name))
        )
        stored = _stored(agent, locked.get_value(0, 0))
        # Without a row, an agent has nothing else; if it has one by now, it is not locked.
        return stored if lock.ntuples else stored._replace(row=None, faults=[])

    def _put(self, agent: str, old: Row | None, new: history.Replacement) -> None:
        name, row, changes = agent.encode(), new.row, new.changes
        durable = changes.put or changes.removed or new.events
        values: tuple[bytes | None, ...] = (
            *(name, b"%d" % row.updated, row.digest.encode(), row.instance.encode()),
            (self.session.durable if durable else self.session.heartbeats).encode(),
            records.encode_faults(changes.put),
        )
        if self.session.has_history:
            values += (*_texts(row.within, row.written, row.recorded), history.encode(new.events))
        if self.session.has_marks:
            values += _texts(row.marked)
        if old is not None:
            calls: list[Call] = [(self.sql.update, values)]
            if changes.removed:
                calls.append((self._own("remove_{}faults"), (name, encode(changes.removed))))
            self.session.exchange(*calls, *self._instances(name, old.instances, row.instances), (COMMIT, ()))
        else:
            (inserted,) = self.session.exchange((self.sql.insert, values))
            if not inserted.ntuples:
                raise SerializationFailure("another report was the first of its agent")
            self.session.exchange(*self._instances(name, (), row.instances), (COMMIT, ()))

    def _instances(self, name: bytes, old: tuple[SeenInstance, ...], new: tuple[SeenInstance, ...]) -> list[Call]:
        """What makes the new instances of the old ones."""
        calls: list[Call] = []
        if changed := [seen for seen in new if seen not in old]:
            calls.append((self.sql.put_instances, (name, records.encode_seen(changed))))
        kept = [seen.instance.id for seen in new]
        if any(seen.instance.id not in kept for seen in old):
            calls.append((self._own("keep_{}instances"), (name, encode(kept))))
        return calls

    def _finish(self, events: tuple[Event, ...], call: Call) -> None:
        """Store the events of one write, make the call, and commit, durably."""
        calls: list[Call] = [(self.sql.durable, (self.session.durable.encode(),))]
        if events:
            place = _texts(events[0].time, events[0].agent)
            calls.append((self.sql.record, (*place, history.encode(events))))
        self.session.exchange(*calls, call, (COMMIT, ()))

    def _own(self, statement: str) -> bytes:
        """The form of a statement that this login may use: a confined one deletes only by the schema's functions."""
        form: bytes = getattr(self.sql, statement.format("" if self.session.own_agent is None else "own_"))
        return form

    @property
    def _clock(self) -> bytes | None:
        return _text(self.given)


class _Stored(NamedTuple):
    row: Row | None
    faults: list[FaultDict]
    #: The time (microseconds).
    now: int
    #: The agent's latest event, with its time and kind alone, if no program that keeps a history wrote last.
    last: Event | None


def _stored(agent: str, encoded: bytes | None) -> _Stored:
    now, row, seen, faults, *latest = decode(encoded or b"")
    return _Stored(
        None if row is None else records.row(row, map(records.seen, seen or ())),
        [records.fault(columns)[1] for columns in faults or ()],
        now,
        next((Event(at, agent, kind) for at, kind in filter(None, latest)), None),
    )


def _texts(*values: str | int | bool | None) -> tuple[bytes | None, ...]:
    return tuple(map(_text, values))


def _text(value: str | int | bool | None) -> bytes | None:
    """The value as a parameter: Python's ``True`` is PostgreSQL's, too."""
    return None if value is None else str(value).encode()
