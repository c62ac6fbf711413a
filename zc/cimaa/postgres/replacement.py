"""A report that changes something: one transaction, in which the agent's row is locked first."""

from typing import Any

from .. import agents, faults
from ..agents import Instance, Row, Seen
from ..faults import Fault, Report
from . import records
from .connections import Connection, transaction
from .records import StoredRow
from .statements import Statements


def replace(
    connection: Connection, sql: Statements, agent: str, report: Report, instance: Instance, given: int | None
) -> None:
    """Make the report the agent's, and write no more than what it changes; ``given`` is a time that stands in for now.

    A report that changes a fault is durable when this returns.
    """
    with transaction(connection):
        while not _Replacement(connection, sql, agent).done(report, instance, given):
            pass


class _Replacement:
    """One try within the transaction."""

    def __init__(self, connection: Connection, sql: Statements, agent: str) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._sql = sql
        self._agent = agent

    def done(self, report: Report, instance: Instance, given: int | None) -> bool:
        """True if so; False if the agent had no row to lock, and somebody else gave it one meanwhile."""
        row, old, now = self._locked(given)
        new = agents.reported(row, report.digest, instance, now)
        if not self._put_row(row, new):
            return False
        self._put_instances(row.instances if row else (), new.instances)
        self._put_faults(faults.changes(old, report.faults(), now // agents.MICROSECONDS))
        return True

    def _locked(self, given: int | None) -> tuple[Row | None, list[Fault], int]:
        """The agent's row, its faults, and the time: each read by a statement that began once the row was locked."""
        key = (self._agent,)
        locked = self._execute(self._sql.lock, key)
        clock = self._execute(self._sql.now, (given,))
        seen = self._execute(self._sql.instances, key)
        stored = self._execute(self._sql.faults, key)
        row, ((now,),) = locked.fetchone(), clock.fetchall()
        if row is None:
            return None, [], now  # without a row, an agent has nothing else
        old = [records.fault(columns)[1] for columns in stored.fetchall()]
        return StoredRow(*row).row(map(records.seen, seen.fetchall())), old, now

    def _put_row(self, old: Row | None, new: Row) -> bool:
        if old is None:
            values: tuple[Any, ...] = (self._agent, new.updated, new.digest, new.instance)
            return self._execute(self._sql.insert_agent, values).fetchone() is not None
        self._execute(self._sql.update_agent, (new.updated, new.digest, new.instance, self._agent))
        return True

    def _put_instances(self, old: tuple[Seen, ...], new: tuple[Seen, ...]) -> None:
        if changed := [seen for seen in new if seen not in old]:
            self._execute(self._sql.put_instances, (self._agent, *records.seen_columns(changed)))
        kept = [seen.instance.id for seen in new]
        if any(seen.instance.id not in kept for seen in old):
            self._execute(self._sql.keep_instances, (self._agent, kept))

    def _put_faults(self, changes: faults.Changes) -> None:
        if changes.put or changes.removed:
            self._execute(self._sql.durable, (self._connection.durable,))
        if changes.removed:
            self._execute(self._sql.remove_faults, (self._agent, changes.removed))
        if changes.put:
            self._execute(self._sql.put_faults, (self._agent, *records.fault_columns(changes.put)))
