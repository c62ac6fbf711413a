"""The store's SQL, its tables qualified by the schema that the operator chose.

Values are always parameters.  Times are microseconds since the epoch, but for
``since`` and what squelches have: whole seconds.  A time that is a parameter
stands in for the server's clock where it is not null.
"""

from typing import Any

from psycopg import sql

from .. import limits
from ..errors import ConfigurationError

#: The server's clock in microseconds, unless the parameter gives a time.
_NOW = "coalesce(%s::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"

#: A report that repeats the last one; it goes past the driver's own way with parameters.
_TOUCH = "UPDATE {schema}.agents SET updated = {now} WHERE name = $2 AND digest = $3 AND instance = $4"

_FAULT = "agent, name, severity, since, message, extras::text"
_WORST_FIRST = b" ORDER BY severity DESC, since, agent, name LIMIT %s"

_TEMPLATES = {
    # A new connection: is this a store of ours, and what does a transaction wait for unless told otherwise?
    "greet": """
        SELECT version, current_setting('server_encoding'), current_setting('synchronous_commit') FROM {schema}.version
        """,
    "settings": """
        SELECT set_config('synchronous_commit', %s, false), set_config('statement_timeout', %s, false),
            set_config('idle_in_transaction_session_timeout', %s, false)
        """,
    "now": "SELECT {now}",
    # A report that does not repeat the last one: one transaction, the agent's row locked first, in a statement of
    # its own, because a statement takes its snapshot before it waits for a lock.
    "lock": "SELECT updated, digest, instance FROM {schema}.agents WHERE name = %s FOR NO KEY UPDATE",
    "instances": """
        SELECT id, host, pid, version, os, first, last FROM {schema}.instances WHERE agent = %s ORDER BY first, id
        """,
    "faults": "SELECT {fault} FROM {schema}.faults WHERE agent = %s",
    "durable": "SELECT set_config('synchronous_commit', %s, true)",
    "insert_agent": """
        INSERT INTO {schema}.agents (name, updated, digest, instance) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING RETURNING name
        """,
    "update_agent": "UPDATE {schema}.agents SET updated = %s, digest = %s, instance = %s WHERE name = %s",
    "put_instances": """
        INSERT INTO {schema}.instances (agent, id, host, pid, version, os, first, last)
        SELECT %s, * FROM unnest(
            %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
        ON CONFLICT (agent, id) DO UPDATE SET first = excluded.first, last = excluded.last
        """,
    "keep_instances": "DELETE FROM {schema}.instances WHERE agent = %s AND id <> ALL (%s::uuid[])",
    "put_faults": """
        INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
        SELECT %s, * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[])
        ON CONFLICT (agent, name) DO UPDATE SET
            severity = excluded.severity, since = excluded.since, message = excluded.message, extras = excluded.extras
        """,
    "remove_faults": "DELETE FROM {schema}.faults WHERE agent = %s AND name = ANY (%s::text[])",
    # An agent's faults and instances go with its row.
    "remove_agent": "DELETE FROM {schema}.agents WHERE name = %s",
    # The fleet.
    "rows": "SELECT name, updated, digest, instance FROM {schema}.agents",
    "all_instances": """
        SELECT agent, id, host, pid, version, os, first, last FROM {schema}.instances ORDER BY agent, first, id
        """,
    "all_faults": "SELECT {fault} FROM {schema}.faults",
    "old": "SELECT name, updated FROM {schema}.agents WHERE updated <= (SELECT {now} - %s) ORDER BY name",
    "offline": """
        WITH clock AS MATERIALIZED (SELECT {now} AS now)
        SELECT name, updated FROM {schema}.agents
        WHERE updated <= (SELECT now - %s FROM clock) AND updated > (SELECT now - %s FROM clock) ORDER BY name
        """,
    "double": """
        WITH several AS (SELECT agent AS name FROM {schema}.instances GROUP BY agent HAVING count(*) > 1),
        lately AS MATERIALIZED (
            SELECT seen.* FROM {schema}.seen JOIN several ON name = agent WHERE last > (SELECT {now} - %s))
        SELECT agent, updated, host, pid, version, os, first, last FROM lately AS one
        WHERE EXISTS (
            SELECT FROM lately AS other
            WHERE other.agent = one.agent AND other.id <> one.id AND one.last > other.first AND other.last > one.first)
        ORDER BY agent, first, id
        """,
    # Squelches.
    "put_squelch": """
        INSERT INTO {schema}.squelches (regex, reason, "user", "time", permanent, expires)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (regex) DO UPDATE SET
            reason = excluded.reason, "user" = excluded."user", "time" = excluded."time",
            permanent = excluded.permanent, expires = excluded.expires
        """,
    "remove_squelch": "DELETE FROM {schema}.squelches WHERE regex = %s",
    "squelches": """SELECT regex, reason, "user", "time", permanent, expires FROM {schema}.squelches""",
}

# PostgreSQL cuts names at 63 bytes, and the roles' names have "_operator" after this one.
_SCHEMA_NAME = 63 - len("_operator")


class Statements:
    """The statements for the tables in one schema: an attribute for each name above.

    All but ``touch`` are to be executed with values always, if only with ``()``.
    """

    def __init__(self, schema: str) -> None:
        now = sql.SQL(_NOW.replace("%s", "$1"))
        self.touch = sql.SQL(_TOUCH).format(schema=sql.Identifier(schema), now=now).as_bytes(None)
        quoted = sql.Identifier(schema).as_string(None).replace("%", "%%")  # a lone one would stand for a parameter
        parts = {"schema": sql.SQL(quoted), "now": sql.SQL(_NOW), "fault": sql.SQL(_FAULT)}
        self._encoded = {name: sql.SQL(text).format(**parts).as_bytes(None) for name, text in _TEMPLATES.items()}

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
