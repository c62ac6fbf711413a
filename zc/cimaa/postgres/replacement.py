"""A report that changes something: one transaction, in which the agent's row is locked first."""

from psycopg.errors import SerializationFailure

from .. import agents, faults
from ..agents import Instance, Row, Seen
from ..faults import Fault, Report, decode, encode
from . import records
from .connections import COMMIT, WRITING, Call, Connection
from .statements import Statements


def replace(
    connection: Connection, sql: Statements, agent: str, report: Report, instance: Instance, given: int | None
) -> None:
    """Make the report the agent's, and write no more than what it changes; ``given`` is a time that stands in for now.

    A report that changes a fault is durable when this returns.

    :raises SerializationFailure: if somebody else reported first for an agent without a row; it may be tried again.
    """
    name = agent.encode()
    try:
        row, old, now = _locked(connection, sql, name, given)
        new = agents.reported(row, report.digest, instance, now)
        changes = faults.changes(old, report, now // agents.MICROSECONDS)
        level = connection.durable if changes.put or changes.removed else connection.heartbeats
        values = (
            *(name, b"%d" % new.updated, new.digest.encode(), new.instance.encode(), level.encode()),
            records.encode_faults(changes.put),
        )
        if row is not None:
            write = (sql.update, (*values, encode(changes.removed)))
            connection.exchange(write, *_instances(sql, name, row.instances, new.instances), (COMMIT, ()))
        else:
            (inserted,) = connection.exchange((sql.insert, values))
            if not inserted.ntuples:
                raise SerializationFailure("another report was the first of its agent")
            connection.exchange(*_instances(sql, name, (), new.instances), (COMMIT, ()))
    finally:
        connection.abandon()


def _locked(
    connection: Connection, sql: Statements, name: bytes, given: int | None
) -> tuple[Row | None, list[Fault], int]:
    """The agent's row, its faults, and the time: read by a statement that began once the row was locked."""
    clock = None if given is None else b"%d" % given
    _, lock, locked = connection.exchange((WRITING, ()), (sql.lock, (name,)), (sql.locked, (clock, name)))
    now, row, seen, stored = decode(locked.get_value(0, 0) or b"")
    if lock.ntuples == 0:
        return None, [], now  # without a row, an agent has nothing else; if it has one by now, it is not locked
    old = [records.fault(columns)[1] for columns in stored or ()]
    return records.row(row, map(records.seen, seen or ())), old, now


def _instances(sql: Statements, name: bytes, old: tuple[Seen, ...], new: tuple[Seen, ...]) -> list[Call]:
    """What makes the new instances of the old ones."""
    calls: list[Call] = []
    if changed := [seen for seen in new if seen not in old]:
        calls.append((sql.put_instances, (name, records.encode_seen(changed))))
    kept = [seen.instance.id for seen in new]
    if any(seen.instance.id not in kept for seen in old):
        calls.append((sql.keep_instances, (name, encode(kept))))
    return calls
