"""The program that knew version 2 of the tables, as far as it reports: its statements, in its order, unchanged.

Later programs may change theirs; what was installed on hosts by then goes on sending these.
"""

import psycopg
from psycopg import pq, sql
from psycopg.errors import SerializationFailure
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from zc.cimaa import agents, faults
from zc.cimaa.agents import Instance
from zc.cimaa.faults import FaultDict, decode, encode
from zc.cimaa.postgres import records
from zc.cimaa.postgres.setup import versions

_NOW = "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
_FAULT = "agent, name, severity, since, message, extras::text"
_REPORTED = "json_to_recordset($6) AS fault (name text, severity bigint, since bigint, message text, extras jsonb)"

GREET = """
    SELECT version, current_setting('server_encoding'), current_setting('synchronous_commit') FROM {schema}.version
    """
TOUCH = "UPDATE {schema}.agents SET updated = {now} WHERE name = $2 AND digest = $3 AND instance = $4"
LOCK = "SELECT FROM {schema}.agents WHERE name = $1 FOR NO KEY UPDATE"
LOCKED = """
    SELECT json_build_array(
        {now},
        (SELECT json_build_array(updated, digest, instance) FROM {schema}.agents WHERE name = $2),
        (SELECT json_agg(json_build_array(id, host, pid, version, os, first, last))
        FROM {schema}.instances WHERE agent = $2),
        (SELECT json_agg(json_build_array({fault})) FROM {schema}.faults WHERE agent = $2))
    """
INSERT = """
    WITH mine AS (
        INSERT INTO {schema}.agents (name, updated, digest, instance) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING name),
    put AS (
        INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
        SELECT mine.name, fault.* FROM mine, {reported})
    SELECT set_config('synchronous_commit', $5, true) FROM mine
    """
UPDATE = """
    WITH mine AS (UPDATE {schema}.agents SET updated = $2, digest = $3, instance = $4 WHERE name = $1),
    put AS (
        INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
        SELECT $1, fault.* FROM {reported}
        ON CONFLICT (agent, name) DO UPDATE SET
            severity = excluded.severity, since = excluded.since,
            message = excluded.message, extras = excluded.extras),
    removed AS (
        DELETE FROM {schema}.faults
        WHERE agent = $1 AND name = ANY (ARRAY(SELECT json_array_elements_text($7))))
    SELECT set_config('synchronous_commit', $5, true)
    """
PUT_INSTANCES = """
    INSERT INTO {schema}.instances (agent, id, host, pid, version, os, first, last)
    SELECT $1, seen.* FROM json_to_recordset($2)
        AS seen (id uuid, host text, pid bigint, version text, os text, first bigint, last bigint)
    ON CONFLICT (agent, id) DO UPDATE SET first = excluded.first, last = excluded.last
    """

#: What setup-postgres granted to the role of the agents.
GRANTS = (
    "USAGE ON SCHEMA {schema}",
    "SELECT ON {schema}.version, {schema}.squelches",
    "SELECT, INSERT, UPDATE ON {schema}.agents",
    "SELECT, INSERT, UPDATE, DELETE ON {schema}.faults, {schema}.instances",
)


def make_tables(connection: psycopg.Connection[TupleRow], schema: str, role: str) -> None:
    """Make tables of version 2, and let the role use them as it might then."""
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    connection.execute(sql.SQL("CREATE SCHEMA {schema}; SET search_path TO {schema}").format(**names))
    for version in (1, 2):
        connection.execute(versions.migration(version))
    for grant in GRANTS:
        connection.execute(sql.SQL(f"GRANT {grant} TO {{role}}").format(**names))


class Refused(Exception):
    """The program would not have used these tables."""


class Reporter:
    """A connection over which one instance reports; it makes a new one where the program would have."""

    def __init__(self, dsn: str, schema: str, instance: Instance) -> None:
        parts = {"fault": sql.SQL(_FAULT), "now": sql.SQL(_NOW), "reported": sql.SQL(_REPORTED)}
        self._parts = {**parts, "schema": sql.Identifier(schema)}
        self._dsn = dsn
        self._instance = instance
        self._connection: psycopg.Connection[TupleRow] | None = None
        self.connect()

    def connect(self) -> None:
        """Connect again, as it did every hour or so, and check the version of the tables."""
        self.close()
        self._connection = psycopg.connect(self._dsn, autocommit=True)
        row = self._connection.execute(sql.SQL(GREET).format(**self._parts)).fetchone()
        if row is None or row[0] != 2:
            raise Refused(row)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def report(self, agent: str, reported: list[FaultDict]) -> None:
        report = faults.report(agent, reported, None)
        values = (None, agent.encode(), report.digest.encode(), self._instance.id.encode())
        if self._execute(TOUCH, *values).command_tuples == 1:
            return None
        for _ in range(10):
            try:
                return self._replace(agent, report)
            except SerializationFailure:
                self._execute("ROLLBACK")
        raise AssertionError("it was tried ten times")

    def _replace(self, agent: str, report: faults.Report) -> None:
        name = agent.encode()
        self._execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        found = self._execute(LOCK, name).ntuples
        now, row, seen, stored = decode(self._execute(LOCKED, None, name).get_value(0, 0) or b"")
        known = records.row(row, map(records.seen, seen or ())) if found else None
        old = [records.fault(columns)[1] for columns in stored or ()] if found else []
        new = agents.reported(known, report.digest, self._instance, now)
        changes = faults.changes(old, report.faults(), now // agents.MICROSECONDS)
        values = (
            *(name, b"%d" % new.updated, new.digest.encode(), new.instance.encode(), b"on"),
            records.encode_faults(changes.put),
        )
        if found:
            self._execute(UPDATE, *values, encode(changes.removed))
        elif not self._execute(INSERT, *values).ntuples:
            raise SerializationFailure
        self._execute(PUT_INSTANCES, name, records.encode_seen(new.instances))
        self._execute("COMMIT")

    def _execute(self, statement: str, *values: bytes | None) -> PGresult:
        query = sql.SQL(statement).format(**self._parts).as_bytes(None)
        assert self._connection is not None
        result = self._connection.pgconn.exec_params(query, values)
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise psycopg.errors.error_from_result(result)
        return result
