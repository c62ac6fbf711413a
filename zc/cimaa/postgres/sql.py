"""The store's SQL, its tables qualified by the schema that the operator chose.

Values are always parameters.  Times are microseconds since the epoch, but for
``since`` and what squelches and entries have: whole seconds.  A time that is a parameter
replaces the server's clock where it is not null.

Those with "own" in their name are for a login that is confined to one agent:
it may delete only by the schema's functions.
"""

from collections.abc import Mapping
from typing import Any, Self

from psycopg import sql

from .. import limits
from ..errors import ConfigurationError
from .session import Session
from .setup.versions import COUNTED, HISTORY, MARKS, TAGS, VERSION

#: The server's clock in microseconds, unless the parameter gives a time.
_NOW = "coalesce(%s::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"

_FAULT = "agent, name, severity, since, message, extras::text"
_EVENT = """
    at, agent, kind, coalesce(fault, ''), before, after, since, until, coalesce(message, ''), coalesce(who, ''),
    coalesce(why, ''), number
    """
_LATEST_FIRST = "ORDER BY at DESC, agent DESC, number DESC"
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
    "rows": "SELECT name, updated, digest, instance{of_row} FROM {schema}.agents",
    # The same in pages, by name.
    "rows_after": """
        SELECT name, updated, digest, instance{of_row} FROM {schema}.agents WHERE name > %s ORDER BY name LIMIT %s
        """,
    "instances_between": """
        SELECT agent, id, host, pid, version, os, first, last{tags} FROM {schema}.instances
        WHERE agent >= %s AND agent <= %s ORDER BY agent, first, id
        """,
    "all_faults": "SELECT {fault} FROM {schema}.faults",
    "faults": "SELECT {fault} FROM {schema}.faults WHERE agent = %s",
    "old": "SELECT name, updated FROM {schema}.agents WHERE updated <= %s ORDER BY name",
    "offline": "SELECT name, updated FROM {schema}.agents WHERE updated <= %s AND updated > %s ORDER BY name",
    "late": """
        SELECT name, updated, given.within, now
        FROM {schema}.agents, LATERAL (SELECT coalesce(agents.within, %s::integer) AS within) AS given,
            (SELECT {now} AS now) AS clock
        WHERE now - updated > given.within * 1000000::bigint
        """,
    # Those with several instances, most often few, are found by the index alone, and then looked up one by one.
    "double": """
        WITH lately AS MATERIALIZED (
            SELECT * FROM {schema}.seen
            WHERE agent = ANY (ARRAY(SELECT agent FROM {schema}.instances GROUP BY agent HAVING count(*) > 1))
            AND last > (SELECT {now} - %s))
        SELECT agent, updated, id, host, pid, version, os, first, last{tags} FROM lately AS one
        WHERE EXISTS (
            SELECT FROM lately AS other
            WHERE other.agent = one.agent AND other.id <> one.id AND one.last > other.first AND other.last > one.first)
        ORDER BY agent, first, id
        """,
    "squelches": """SELECT regex, reason, "user", "time", permanent, expires FROM {schema}.squelches""",
    "entries": """
        SELECT kind, owner, key, value::text, revision, expires FROM {schema}.entries
        WHERE kind = %s AND owner = coalesce(%s, owner) AND key = coalesce(%s, key)
        AND coalesce(expires > {now} / 1000000, true)
        """,
    # From the index alone, with a comparison of the time for each group instead of each row.
    "count_commands": """
        SELECT {state}, {found}, count(*) FROM {schema}.entries WHERE kind = 'command' AND key = %s
        GROUP BY 1, 2, expires HAVING coalesce(expires > {now} / 1000000, true)
        """,
    # History: pages of events, from a place in the order on (time, agent, number).
    "events": """
        SELECT {event} FROM {schema}.history
        WHERE at >= %s AND (at, agent, number) < (%s, %s, %s) {latest_first} LIMIT %s
        """,
    "agents_events": """
        SELECT {event} FROM {schema}.history
        WHERE agent = %s AND at >= %s AND (at, number) < (%s, %s) ORDER BY at DESC, number DESC LIMIT %s
        """,
    "count_events": "SELECT count(*) FROM {schema}.history WHERE at < %s",
    # The latest message of each fault, of agents that are given with the time since when they are of interest.
    "messages": """
        SELECT agent, (SELECT json_object_agg(fault, message)::text FROM (
            SELECT DISTINCT ON (fault) fault, coalesce(message, '') AS message FROM {schema}.history
            WHERE agent = span.agent AND at >= span.since AND at < %s AND kind IN ('began', 'worse', 'better')
            ORDER BY fault, at DESC, number DESC) AS found)
        FROM json_to_recordset(%s) AS span (agent text, since bigint)
        """,
    "forget": """
        WITH gone AS (
            DELETE FROM {schema}.history WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {schema}.history WHERE at >= %s AND at < %s ORDER BY at LIMIT %s))
            RETURNING at)
        SELECT count(*), max(at) FROM gone
        """,
}

# What was: the current rows and faults of all agents (or of one), and of what happened since a moment, all events that
# concern an agent itself, and the first event of each fault, because it says what the fault was before.
_KEPT = {
    "rows": "SELECT agent, recorded FROM (SELECT name AS agent, recorded FROM {schema}.agents) AS of_agents {whose}",
    "faults": "SELECT agent, name, severity, since, message FROM {schema}.faults {whose}",
    "of_agents": "SELECT {event} FROM {schema}.history {whose} AND at > %s AND fault IS NULL {latest_first}",
    "of_faults": """
        SELECT DISTINCT ON (agent, fault) {event} FROM {schema}.history
        {whose} AND at > %s AND kind IN ('began', 'worse', 'better', 'ended') ORDER BY agent, fault, at, number
        """,
}

# Writes.  They go past the driver's own way with parameters, which are all text.
_WRITES = {
    # A report that repeats the last one.
    "touch": "UPDATE {schema}.agents SET updated = {now} WHERE name = $2 AND digest = $3 AND instance = $4{is_due}",
    # The same, if the agent was not woken.
    "touch_unmarked": """
        UPDATE {schema}.agents SET updated = {now}
        WHERE name = $2 AND digest = $3 AND instance = $4{is_due}{is_unmarked}
        """,
    # Any other: one transaction, the agent's row locked first, in a statement of its own, because a statement takes
    # its snapshot before it waits for a lock; then one that reads, and one that writes what changes.
    "lock": "SELECT FROM {schema}.agents WHERE name = $1 FOR NO KEY UPDATE",
    "locked": """
        SELECT json_build_array(
            {now},
            (SELECT json_build_array(updated, digest, instance{of_row}) FROM {schema}.agents WHERE name = $2),
            (SELECT json_agg(json_build_array(id, host, pid, version, os, first, last{tags}))
            FROM {schema}.instances WHERE agent = $2),
            (SELECT json_agg(json_build_array({fault})) FROM {schema}.faults WHERE agent = $2){last})
        """,
    # It gives a row if no other report inserted the agent meanwhile.
    "insert": """
        WITH mine AS (
            INSERT INTO {schema}.agents (name, updated, digest, instance{of_row}) VALUES ($1, $2, $3, $4{row})
            ON CONFLICT DO NOTHING RETURNING name),
        put AS (
            INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
            SELECT mine.name, fault.* FROM mine, {reported}){recorded_first}
        SELECT set_config('synchronous_commit', $5, true) FROM mine
        """,
    "update": """
        WITH mine AS (
            UPDATE {schema}.agents SET (updated, digest, instance{of_row}) = ROW ($2, $3, $4{row}) WHERE name = $1),
        put AS (
            INSERT INTO {schema}.faults (agent, name, severity, since, message, extras)
            SELECT $1, fault.* FROM {reported}
            ON CONFLICT (agent, name) DO UPDATE SET
                severity = excluded.severity, since = excluded.since,
                message = excluded.message, extras = excluded.extras){recorded}
        SELECT set_config('synchronous_commit', $5, true)
        """,
    "remove_faults": """
        DELETE FROM {schema}.faults WHERE agent = $1 AND name = ANY (ARRAY(SELECT json_array_elements_text($2)))
        """,
    "remove_own_faults": "SELECT {schema}.remove_own_faults($1, $2)",
    "put_instances": """
        INSERT INTO {schema}.instances (agent, id, host, pid, version, os, first, last{tags})
        SELECT $1, id, host, pid, version, os, first, last{tags} FROM json_to_recordset($2) AS seen (
            id uuid, host text, pid bigint, version text, os text, first bigint, last bigint, tags text)
        ON CONFLICT (agent, id) DO UPDATE SET first = excluded.first, last = excluded.last{set_tags}
        """,
    "keep_instances": """
        DELETE FROM {schema}.instances
        WHERE agent = $1 AND id <> ALL (ARRAY(SELECT json_array_elements_text($2)::uuid))
        """,
    "keep_own_instances": "SELECT {schema}.keep_own_instances($1, $2)",
    # An agent's faults and instances go with its row.
    "remove_agent": "DELETE FROM {schema}.agents WHERE name = $1",
    "remove_own_agent": "SELECT {schema}.remove_own_agent($1)",
    # It gives a row for each agent that exists.  A mark that a report is removing may be left alone: the report, which
    # returns that there was one, is committed after this statement began.
    "wake": """
        WITH wanted AS (SELECT ARRAY(SELECT json_array_elements_text($1)) AS names),
        woken AS (
            UPDATE {schema}.agents SET marked = true
            WHERE name = ANY ((SELECT names FROM wanted)::text[]) AND NOT marked)
        SELECT FROM {schema}.agents WHERE name = ANY ((SELECT names FROM wanted)::text[])
        """,
    # Squelches: one write at a time, so that their events are in order.
    "durable": "SELECT set_config('synchronous_commit', $1, true)",
    "lock_squelches": "LOCK TABLE {schema}.squelches IN SHARE ROW EXCLUSIVE MODE",
    "squelch": """
        SELECT json_build_array(
            {now},
            (SELECT json_build_array(regex, reason, "user", "time", permanent, expires)
            FROM {schema}.squelches WHERE regex = $2),
            (SELECT at FROM {schema}.history WHERE agent = '_' ORDER BY at DESC LIMIT 1))
        """,
    "put_squelch": """
        INSERT INTO {schema}.squelches (regex, reason, "user", "time", permanent, expires)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (regex) DO UPDATE SET
            reason = excluded.reason, "user" = excluded."user", "time" = excluded."time",
            permanent = excluded.permanent, expires = excluded.expires
        """,
    "remove_squelch": "DELETE FROM {schema}.squelches WHERE regex = $1",
    # Entries.  What was already written may be written again: its answer was lost.
    "add_entries": """
        INSERT INTO {schema}.entries AS stored (kind, owner, key, revision, value, expires)
        SELECT kind, owner, key, revision, coalesce(value, 'null'), expires FROM json_to_recordset($2)
            AS entry (kind text, owner text, key text, revision uuid, value jsonb, expires bigint)
        ON CONFLICT (kind, owner, key) DO UPDATE SET
            revision = excluded.revision, value = excluded.value, expires = excluded.expires
        WHERE stored.revision = excluded.revision OR stored.expires <= {now} / 1000000
        """,
    "change_entry": """
        UPDATE {schema}.entries SET revision = $2, value = $3, expires = $4
        WHERE kind = $5 AND owner = $6 AND key = $7
        AND (revision = $2 OR (revision = $8 AND coalesce(expires > {now} / 1000000, true)))
        """,
    # It does not delete, but is denied to those that may not.
    "mark_entry": """
        WITH nothing AS (DELETE FROM {schema}.entries WHERE false)
        UPDATE {schema}.entries SET revision = $2, value = 'null', expires = 0
        WHERE kind = $3 AND owner = $4 AND key = $5
        AND (revision = $2 OR (revision = $6 AND coalesce(expires > {now} / 1000000, true)))
        """,
    "remove_entry": "DELETE FROM {schema}.entries WHERE kind = $1 AND owner = $2 AND key = $3 AND revision = $4",
    "forget_entries": """
        DELETE FROM {schema}.entries WHERE expires <= {now} / 1000000 AND (kind, owner, key) IN (
            SELECT kind, owner, key FROM {schema}.entries WHERE expires <= {now} / 1000000 LIMIT $2::bigint)
        """,
    "record": "INSERT INTO {schema}.history ({of_event}) SELECT $1::bigint, $2, event.* FROM {events}",
}
_OF_EVENT = "kind, fault, before, after, since, until, message, who, why"
_WRITES_PARTS = {
    "reported": "json_to_recordset($6) AS fault (name text, severity bigint, since bigint, message text, extras jsonb)",
    "of_event": f"at, agent, {_OF_EVENT}, number",
}
_EVENTS = f"""ROWS FROM (json_to_recordset(%s) AS (
    kind text, fault text, before bigint, after bigint, since bigint, until bigint, message text, who text, why text
    )) WITH ORDINALITY AS event ({_OF_EVENT}, number)"""
# What tables without a history do not have.
_HISTORY_PARTS = {
    "of_row": ", within, written, recorded",
    "row": ", $7, $8, $9",
    "is_due": " AND within IS NOT DISTINCT FROM $5 AND ($5 IS NULL OR updated >= {now} - $5 * 1000000::bigint)",
    "last": """,
        (SELECT json_build_array(at, kind) FROM {schema}.history
        WHERE agent = $2 AND NOT EXISTS (SELECT FROM {schema}.agents WHERE name = $2 AND recorded IS NOT NULL)
        ORDER BY at DESC, number DESC LIMIT 1)""",
    "recorded": """,
        recorded AS (INSERT INTO {schema}.history ({of_event}) SELECT $8, $1, event.* FROM {events})""",
    "recorded_first": """,
        recorded AS (INSERT INTO {schema}.history ({of_event}) SELECT $8, mine.name, event.* FROM mine, {events})""",
}
# What tables have since agents can be woken.
_MARKS_PARTS = {
    "of_row": ", within, written, recorded, marked",
    "row": ", $7, $8, $9, $11",
    "is_unmarked": " AND NOT marked",
}
# What tables have since instances have tags.
_TAGS_PARTS = {"tags": ", tags", "set_tags": ", tags = excluded.tags"}

# What is counted of a command: columns since there is an index that holds them.
_COUNTED_PARTS = {"state": "state", "found": "found"}
_UNCOUNTED_PARTS = {"state": "value ->> 'state'", "found": """value @> '{"found": true}'"""}

# PostgreSQL cuts names at 63 bytes, and the roles' names have "_operator" after this one.
_SCHEMA_NAME = 63 - len("_operator")


class Statements:
    """The statements for the tables in one schema, at some version: an attribute for each name above.

    Those of writes are for ``Session.exchange``; all others are to be executed with values, if only with ``()``.
    """

    def __init__(self, schema: str, tables: int = VERSION) -> None:
        self._schema, self._tables = schema, tables
        self._older: dict[int, Self] = {}
        name = sql.Identifier(schema).as_string(None)
        parts = {"fault": _FAULT, "event": _EVENT, "latest_first": _LATEST_FIRST, **_WRITES_PARTS}
        now = _NOW.replace("%s", "$1")
        for part, text in _HISTORY_PARTS.items():
            given = {"schema": name, "now": now, "events": _EVENTS.replace("%s", "$10"), **_WRITES_PARTS}
            parts[part] = text.format(**given) if tables >= HISTORY else ""
        parts |= _MARKS_PARTS if tables >= MARKS else {"is_unmarked": ""}
        parts |= _TAGS_PARTS if tables >= TAGS else dict.fromkeys(_TAGS_PARTS, "")
        parts |= _COUNTED_PARTS if tables >= COUNTED else _UNCOUNTED_PARTS
        doubled = name.replace("%", "%%")  # a single one would mark a parameter
        self._encoded = _encoded(_TEMPLATES, schema=doubled, now=_NOW, **parts)
        self._kept = [
            _encoded(_KEPT, schema=doubled, whose=f"WHERE {whose}", **parts) for whose in ("true", "agent = %s")
        ]
        self._encoded |= _encoded(_WRITES, schema=name, now=now, events=_EVENTS.replace("%s", "$3"), **parts)

    def __getattr__(self, name: str) -> bytes:
        return self._encoded[name]

    def of(self, session: Session) -> Self:
        """Those for the tables of a session, which may be older than this version of zc.cimaa."""
        tables = session.tables
        if tables >= self._tables:
            return self
        if tables not in self._older:
            self._older[tables] = type(self)(self._schema, tables)
        return self._older[tables]

    def page(self, agent: str | None, since: int, place: tuple[Any, ...], size: int) -> tuple[bytes, tuple[Any, ...]]:
        """A query for at most ``size`` events of the agent, or of all, since a time, and its values.

        They come before a ``place`` in the order of time, agent (if it is not given) and number, the latest first.
        """
        if agent is None:
            return self.events, (since, *place, size)
        return self.agents_events, (agent, since, *place, size)

    def kept(self, agent: str | None, moment: int) -> list[tuple[bytes, tuple[Any, ...]]]:
        """The queries for what the store has of the agents, or of one, and their values: see ``DB._kept``."""
        queries, whose = self._kept[agent is not None], () if agent is None else (agent,)
        since = (*whose, moment)
        given = {"rows": whose, "faults": whose, "of_agents": since, "of_faults": since}
        return [(queries[name], values) for name, values in given.items()]

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
