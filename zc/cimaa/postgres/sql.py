"""The store's SQL, its tables qualified by the schema that the operator chose.

Values are always parameters.  Times are microseconds since the epoch, but for
``since`` and what squelches and entries have: whole seconds.  A time that is a parameter
replaces the server's clock where it is not null.

Those with "own" in their name are for a login that is confined to one agent:
it may delete only by the schema's functions.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from .. import limits
from ..errors import ConfigurationError

#: The server's clock in microseconds, unless the parameter gives a time.
_NOW = "coalesce(%s::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"

_FAULT = "agent, name, severity, since, message, extras::text"
_WORST_FIRST = b" ORDER BY severity DESC, since, agent, name LIMIT %s"

_TEMPLATES = {
    # A new connection: which versions have the tables, and what does a transaction wait for by default?
    "greet": """
        SELECT to_json(found)::text, current_setting('server_encoding'), current_setting('synchronous_commit')
        FROM {schema}.version AS found
        """,
    "own_agent": "SELECT {schema}.own_agent()",
    "settings": """
        SELECT set_config('synchronous_commit', %s, false), set_config('statement_timeout', %s, false),
            set_config('idle_in_transaction_session_timeout', %s, false)
        """,
    "now": "SELECT {now}",
    # An agent's faults and instances go with its row.
    "remove_agent": "DELETE FROM {schema}.agents WHERE name = %s",
    "remove_own_agent": "SELECT {schema}.remove_own_agent(%s)",
    # The fleet.
    "rows": "SELECT name, updated, digest, instance FROM {schema}.agents",
    "all_instances": """
        SELECT agent, id, host, pid, version, os, first, last FROM {schema}.instances ORDER BY agent, first, id
        """,
    "all_faults": "SELECT {fault} FROM {schema}.faults",
    "faults": "SELECT {fault} FROM {schema}.faults WHERE agent = %s",
    "old": "SELECT name, updated FROM {schema}.agents WHERE updated <= %s ORDER BY name",
    "offline": "SELECT name, updated FROM {schema}.agents WHERE updated <= %s AND updated > %s ORDER BY name",
    # Those with several instances, most often few, are found by the index alone, and then looked up one by one.
    "double": """
        WITH lately AS MATERIALIZED (
            SELECT * FROM {schema}.seen
            WHERE agent = ANY (ARRAY(SELECT agent FROM {schema}.instances GROUP BY agent HAVING count(*) > 1))
            AND last > (SELECT {now} - %s))
        SELECT agent, updated, host, pid, version, os, first, last FROM lately AS one
        WHERE EXISTS (
            SELECT FROM lately AS other
            WHERE other.agent = one.agent AND other.id <> one.id AND one.last > other.first AND other.last > one.first)
        ORDER BY agent, first, id
        """,
    # Squelches.
    "durable": "SELECT set_config('synchronous_commit', %s, true)",
    "put_squelch": """
        INSERT INTO {schema}.squelches (regex, reason, "user", "time", permanent, expires)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (regex) DO UPDATE SET
            reason = excluded.reason, "user" = excluded."user", "time" = excluded."time",
            permanent = excluded.permanent, expires = excluded.expires
        """,
    "remove_squelch": "DELETE FROM {schema}.squelches WHERE regex = %s",
    "squelches": """SELECT regex, reason, "user", "time", permanent, expires FROM {schema}.squelches""",
    # Entries.  What was already written may be written again: its answer was lost.
    "entries": """
        SELECT kind, owner, key, value::text, revision, expires FROM {schema}.entries
        WHERE kind = %s AND owner = coalesce(%s, owner) AND key = coalesce(%s, key)
        AND coalesce(expires > {now} / 1000000, true)
        """,
    "add_entries": """
        INSERT INTO {schema}.entries AS stored (kind, owner, key, revision, value, expires)
        SELECT kind, owner, key, revision, coalesce(value, 'null'), expires FROM json_to_recordset(%s)
            AS entry (kind text, owner text, key text, revision uuid, value jsonb, expires bigint)
        ON CONFLICT (kind, owner, key) DO UPDATE SET
            revision = excluded.revision, value = excluded.value, expires = excluded.expires
        WHERE stored.revision = excluded.revision OR stored.expires <= {now} / 1000000
        """,
    "change_entry": """
        UPDATE {schema}.entries SET revision = %s, value = %s, expires = %s
        WHERE kind = %s AND owner = %s AND key = %s
        AND (revision = %s OR (revision = %s AND coalesce(expires > {now} / 1000000, true)))
        """,
    # It does not delete, but is denied to those that may not.
    "mark_entry": """
        WITH nothing AS (DELETE FROM {schema}.entries WHERE false)
        UPDATE {schema}.entries SET revision = %s, value = 'null', expires = 0
        WHERE kind = %s AND owner = %s AND key = %s
        AND (revision = %s OR (revision = %s AND coalesce(expires > {now} / 1000000, true)))
        """,
    "remove_entry": "DELETE FROM {schema}.entries WHERE kind = %s AND owner = %s AND key = %s AND revision = %s",
}

# Reports.  They go past the driver's own way with parameters, which are all text.
_REPORTS = {
    # One that repeats the last one.
    "touch": "UPDATE {schema}.agents SET updated = {now} WHERE name = $2 AND digest = $3 AND instance = $4",
    # Any other: one transaction, the agent's row locked first, in a statement of its own, because a statement takes
    # its snapshot before it waits for a lock; then one that reads, and one that writes what changes.
    "lock": "SELECT FROM {schema}.agents WHERE name = $1 FOR NO KEY UPDATE",
    "locked": """
        SELECT json_build_array(
            {now},
            (SELECT json_build_array(updated, digest, instance) FROM {schema}.agents WHERE name = $2),
            (SELECT json_agg(json_build_array(id, host, pid, version, os, first, last))
            FROM {schema}.instances WHERE agent = $2),
            (SELECT json_agg(json_build_array({fault})) FROM {schema}.faults WHERE agent = $2))
        """,
    # It gives a row if no other report inserted the agent meanwhile.
    "insert": """
        WITH mine AS (
            INSERT INTO {schema}.agents (name, updated, digest, instance) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING RETURNING name),
        put AS (
            INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
            SELECT mine.name, fault.* FROM mine, {reported})
        SELECT set_config('synchronous_commit', $5, true) FROM mine
        """,
    "update": """
        WITH mine AS (UPDATE {schema}.agents SET updated = $2, digest = $3, instance = $4 WHERE name = $1),
        put AS (
            INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
            SELECT $1, fault.* FROM {reported}
            ON CONFLICT (agent, name) DO UPDATE SET
                severity = excluded.severity, since = excluded.since,
                message = excluded.message, extras = excluded.extras)
        SELECT set_config('synchronous_commit', $5, true)
        """,
    "remove_faults": """
        DELETE FROM {schema}.faults WHERE agent = $1 AND name = ANY (ARRAY(SELECT json_array_elements_text($2)))
        """,
    "remove_own_faults": "SELECT {schema}.remove_own_faults($1, $2)",
    "put_instances": """
        INSERT INTO {schema}.instances (agent, id, host, pid, version, os, first, last)
        SELECT $1, seen.* FROM json_to_recordset($2)
            AS seen (id uuid, host text, pid bigint, version text, os text, first bigint, last bigint)
        ON CONFLICT (agent, id) DO UPDATE SET first = excluded.first, last = excluded.last
        """,
    "keep_instances": """
        DELETE FROM {schema}.instances
        WHERE agent = $1 AND id <> ALL (ARRAY(SELECT json_array_elements_text($2)::uuid))
        """,
    "keep_own_instances": "SELECT {schema}.keep_own_instances($1, $2)",
}
_REPORTED = "json_to_recordset($6) AS fault (name text, severity bigint, since bigint, message text, extras jsonb)"

# PostgreSQL cuts names at 63 bytes, and the roles' names have "_operator" after this one.
_SCHEMA_NAME = 63 - len("_operator")


class Statements:
    """The statements for the tables in one schema: an attribute for each name above.

    Those of reports are for ``Session.exchange``; all others are to be executed with values, if only with ``()``.
    """

    def __init__(self, schema: str) -> None:
        name = sql.Identifier(schema).as_string(None)
        parts = {"fault": _FAULT, "reported": _REPORTED}
        doubled = name.replace("%", "%%")  # a single one would mark a parameter
        self._encoded = _encoded(_TEMPLATES, schema=doubled, now=_NOW, **parts)
        self._encoded |= _encoded(_REPORTS, schema=name, now=_NOW.replace("%s", "$1"), **parts)

    def __getattr__(self, name: str) -> bytes:
        return self._encoded[name]

    def worst(self, agent: str | None, severity: int | None) -> tuple[bytes, tuple[Any, ...]]:
        """A query for faults, worst first, and its values but for the last, which is the limit.

        ``severity`` is less than the largest that can be stored.
        """
        wanted = {"agent = %s": agent, "severity >= %s": severity and max(severity, limits.INTEGER_MIN)}
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        return self.all_faults + where.encode() + _WORST_FIRST, tuple(given.values())


def _encoded(templates: Mapping[str, str], **parts: str) -> dict[str, bytes]:
    formats = {name: sql.SQL(text) for name, text in parts.items()}
    return {name: sql.SQL(text).format(**formats).as_bytes(None) for name, text in templates.items()}


def check_schema(name: str) -> str:
    """The schema's name, if PostgreSQL takes it as it is.

    :raises ConfigurationError: if it does not.
    """
    if not name or "\0" in name or name.startswith("pg_") or len(name.encode()) > _SCHEMA_NAME:
        raise ConfigurationError(
            f"[database] schema: {name!r} cannot be the name of one: it must have 1 to {_SCHEMA_NAME} bytes,"
            " and not start with pg_"
        )
    return name
