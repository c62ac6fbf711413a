"""A report that changes something: one transaction, in which the agent's row is locked first."""

from psycopg.errors import SerializationFailure

from .. import agents, faults
from ..agents import Instance, Row, SeenInstance
from ..faults import FaultDict, Report, decode, encode
from . import records
from .session import COMMIT, WRITING, Call, Session
from .sql import Statements


def replace(
    session: Session, sql: Statements, agent: str, report: Report, instance: Instance, given: int | None
) -> None:
    """Store the agent's report, writing only what it changes; ``given`` replaces the current time.

    A report that changes a fault is durable when this returns.

    :raises SerializationFailure: if another report was the first for an agent without a row; it may be tried again.
    """
    name = agent.encode()
    try:
        row, old, now = _locked(session, sql, name, given)
        new = agents.reported(row, report.digest, instance, now)
        changes = faults.changes(old, report, now // agents.MICROSECONDS)
        level = session.durable if changes.put or changes.removed else session.heartbeats
        values = (
            *(name, b"%d" % new.updated, new.digest.encode(), new.instance.encode(), level.encode()),
            records.encode_faults(changes.put),
        )
        if row is not None:
            calls: list[Call] = [(sql.update, values)]
            if changes.removed:
                calls.append((_deleting(session, sql, "remove_{}faults"), (name, encode(changes.removed))))
            session.exchange(*calls, *_instances(session, sql, name, row.instances, new.instances), (COMMIT, ()))
        else:
            (inserted,) = session.exchange((sql.insert, values))
            if not inserted.ntuples:
                raise SerializationFailure("another report was the first of its agent")
            session.exchange(*_instances(session, sql, name, (), new.instances), (COMMIT, ()))
    finally:
        session.abandon()


def _locked(
    session: Session, sql: Statements, name: bytes, given: int | None
) -> tuple[Row | None, list[FaultDict], int]:
    """The agent's row, its faults, and the time: read by a statement that began once the row was locked."""
    clock = None if given is None else b"%d" % given
    _, lock, locked = session.exchange((WRITING, ()), (sql.lock, (name,)), (sql.locked, (clock, name)))
    now, row, seen, stored = decode(locked.get_value(0, 0) or b"")
    if lock.ntuples == 0:
        return None, [], now  # without a row, an agent has nothing else; if it has one by now, it is not locked
    old = [records.fault(columns)[1] for columns in stored or ()]
    return records.row(row, map(records.seen, seen or ())), old, now


def _instances(
    session: Session, sql: Statements, name: bytes, old: tuple[SeenInstance, ...], new: tuple[SeenInstance, ...]
) -> list[Call]:
    """What makes the new instances of the old ones."""
    calls: list[Call] = []
    if changed := [seen for seen in new if seen not in old]:
        calls.append((sql.put_instances, (name, records.encode_seen(changed))))
    kept = [seen.instance.id for seen in new]
    if any(seen.instance.id not in kept for seen in old):
        calls.append((_deleting(session, sql, "keep_{}instances"), (name, encode(kept))))
    return calls


def _deleting(session: Session, sql: Statements, statement: str) -> bytes:
    """The form of a statement that this login may use: a confined one deletes only by the schema's functions."""
    form: bytes = getattr(sql, statement.format("" if session.own_agent is None else "own_"))
    return form
