"""A confined agent reports like any other, and its password gives no access to another agent's rows."""

import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.postgres_fleet import Fleet, fleet  # noqa: F401  # a fixture
from zc.cimaa import errors, limits
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB
from zc.cimaa.testing import fault

#: How many confined agents report at once; a thousand take a minute.
FLEET = int(os.environ.get("CIMAA_TEST_FLEET", "200"))


@pytest.fixture
def two(fleet: Fleet) -> Fleet:  # noqa: F811
    """A fleet in which web1 and web2 are confined, and have reported."""
    fleet.setup("--agent", "web1", "--agent", "web2")
    for agent in ("web1", "web2"):
        with fleet.db(fleet.login(agent), Instance(agent, 1, "1", "os")) as db:
            db.set_faults(agent, [fault("disk", 50), fault("load")])
    with fleet.db() as db:
        db.squelch("net", "", "ops")
    return fleet


@pytest.fixture
def web1(two: Fleet) -> Iterator[DB]:
    with two.db(two.login("web1"), Instance("web1", 1, "1", "os")) as db:
        yield db


# What it may do


def test_it_reports_and_reads_and_removes_its_own(two: Fleet, web1: DB) -> None:
    for report in ([fault("disk", 40)], [fault("disk", 40)], [fault("net")], []):
        web1.set_faults("web1", report)
        assert [one["name"] for one in web1.get_faults("web1")] == [one["name"] for one in report]
    web1.set_faults("web1", [fault("disk")])
    assert [one["agent"] for one in web1.find_faults()] == ["web1"]
    assert [one["name"] for one in web1.get_agents()] == [one["name"] for one in web1.old_agents(0)] == ["web1"]
    assert web1.get_squelches() == ["net"]
    assert web1.get_faults("web2") == []
    web1.remove_agent("web1")
    with two.db() as db:
        assert [one["name"] for one in db.get_agents()] == ["web2"]
    web1.set_faults("web1", [fault("disk")])
    assert len(web1.find_faults()) == 1


def test_another_instance_of_it_takes_over(two: Fleet, web1: DB) -> None:
    for pid in range(20):
        with two.db(two.login("web1"), Instance("web1", pid, "1", "os")) as db:
            db.set_faults("web1", [fault("disk", pid=pid)])
    assert len(web1.get_agents()[0]["instances"]) == 16


def test_what_is_not_its_own_is_refused_in_plain_words(two: Fleet, web1: DB) -> None:
    before = two.contents()
    for tried in (lambda: web1.set_faults("web2", []), lambda: web1.remove_agent("web2")):
        with pytest.raises(errors.StoreDenied, match="may write for the agent web1 only, not for web2"):
            tried()
    for tried in (lambda: web1.squelch("x", "", "ops"), lambda: web1.unsquelch("net")):
        with pytest.raises(errors.StoreDenied, match=f"the role {two.name}_operator may do this"):
            tried()
    assert two.contents() == before


def test_an_agent_that_reported_before_can_be_confined_later(two: Fleet) -> None:
    with two.db(f"{two.name}_agent", Instance("db1", 1, "1", "os")) as shared:
        shared.set_faults("db1", [fault("disk")])
        two.setup("--agent", "db1")
        with two.db(two.login("db1"), Instance("db1", 1, "1", "os")) as db:
            db.set_faults("db1", [fault("disk")])
            shared.set_faults("db1", [fault("disk")])  # a host that still uses the shared role is not refused
            db.set_faults("db1", [fault("load")])
            assert [one["name"] for one in db.get_faults("db1")] == ["load"]


# What it may not do

MODES = (
    *("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"),
    *("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"),
)
TABLES = ("agents", "instances", "faults", "history", "squelches", "version", "logins", "seen")
UUID = "gen_random_uuid()"

REFUSED = {
    "locks": [
        *(f"LOCK TABLE {{s}}.{table} IN {mode} MODE" for table in TABLES for mode in MODES),
        *(
            f"SELECT FROM {{s}}.{table} FOR {how}"
            for table in ("squelches", "version", "history")
            for how in ("UPDATE", "KEY SHARE")
        ),
    ],
    "rows of others": [
        f"INSERT INTO {{s}}.agents (name, updated, digest, instance) VALUES ('web3', 1, {UUID}, {UUID})",
        f"INSERT INTO {{s}}.agents (name, updated, digest, instance) VALUES ('web2', 1, {UUID}, {UUID})"
        " ON CONFLICT (name) DO UPDATE SET updated = 0",
        f"INSERT INTO {{s}}.agents (name, updated, digest, instance, login) VALUES ('web3', 1, {UUID}, {UUID}, 'x')",
        "UPDATE {s}.agents SET name = 'web2'",
        "UPDATE {s}.agents SET login = 'x'",
        "INSERT INTO {s}.faults VALUES ('web2', 'x', 50, 1, '', '{{}}')",
        "INSERT INTO {s}.faults VALUES ('web2', 'disk', 50, 1, '', '{{}}') ON CONFLICT DO NOTHING",
        "INSERT INTO {s}.faults VALUES ('web2', 'disk', 0, 1, '', '{{}}')"
        " ON CONFLICT (agent, name) DO UPDATE SET severity = 0",
        "UPDATE {s}.faults SET agent = 'web2'",
        "UPDATE {s}.instances SET agent = 'web2'",
        f"INSERT INTO {{s}}.instances VALUES ('web2', {UUID}, 'h', 1, '1', 'os', 1, 1)",
        *(f"DELETE FROM {{s}}.{table}" for table in TABLES),
        *(f"TRUNCATE {{s}}.{table} CASCADE" for table in TABLES[:-1]),
        "INSERT INTO {s}.history (at, number, agent, kind) VALUES (1, 1, 'web2', 'removed')",
        "INSERT INTO {s}.history (at, number, agent, kind, fault) VALUES (1, 1, '_', 'squelched', '.')",
        "INSERT INTO {s}.history (at, number, agent, kind) SELECT at, number, agent, kind FROM {s}.history"
        " ON CONFLICT (agent, at, number) DO UPDATE SET kind = 'x'",
        *(f"UPDATE {{s}}.history SET {column} = NULL" for column in ("message", "at", "agent")),
        "COPY {s}.faults FROM STDIN",
        "MERGE INTO {s}.agents USING (SELECT 'web2' AS agent) AS o ON name = o.agent WHEN MATCHED THEN DELETE",
    ],
    "what is not for agents": [
        "INSERT INTO {s}.squelches VALUES ('.', '', '', 1, true, NULL)",
        "UPDATE {s}.squelches SET regex = '.'",
        "UPDATE {s}.squelches SET expires = 1",
        "UPDATE {s}.version SET version = 99",
        "UPDATE {s}.version SET oldest = 99",
        "INSERT INTO {s}.version VALUES (9, 9, 9)",
        "SELECT * FROM {s}.logins",
        "SELECT login FROM {s}.agents",
        "SELECT * FROM {s}.agents",
        "SELECT * FROM {s}.seen",
        "INSERT INTO {s}.logins VALUES ('x', 'web2')",
        "UPDATE {s}.logins SET agent = 'web2'",
    ],
    "row-level security": [
        "SET row_security = off; SELECT name FROM {s}.agents",
        "ALTER TABLE {s}.agents DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE {s}.agents NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY confined ON {s}.agents",
        "ALTER POLICY confined ON {s}.faults USING (true)",
        "CREATE POLICY mine ON {s}.faults USING (true)",
    ],
    "objects of the store": [
        "ALTER TABLE {s}.agents ADD COLUMN x int",
        "ALTER TABLE {s}.agents OWNER TO {me}",
        "DROP TABLE {s}.faults",
        "DROP TRIGGER name_login ON {s}.agents",
        "ALTER TABLE {s}.agents DISABLE TRIGGER ALL",
        "CREATE TRIGGER mine BEFORE INSERT ON {s}.agents EXECUTE FUNCTION {s}.name_login()",
        "CREATE RULE mine AS ON INSERT TO {s}.faults DO INSTEAD NOTHING",
        "CREATE INDEX ON {s}.agents (updated)",
        "CREATE STATISTICS {s}.mine ON agent, name FROM {s}.faults",
        "CREATE OR REPLACE FUNCTION {s}.own_agent() RETURNS text LANGUAGE sql AS $$SELECT 'web2'$$",
        "ALTER FUNCTION {s}.own_agent() SECURITY INVOKER",
        "ALTER FUNCTION {s}.remove_own_agent(text) RESET search_path",
        "DROP FUNCTION {s}.own_agent()",
        "CREATE OR REPLACE VIEW {s}.seen AS SELECT 1",
        "DROP VIEW {s}.seen",
        "COMMENT ON TABLE {s}.agents IS 'mine'",
        "REINDEX TABLE {s}.agents",
        "CLUSTER {s}.agents USING agents_pkey",
        "DROP SCHEMA {s} CASCADE",
        "ALTER SCHEMA {s} RENAME TO mine",
    ],
    "objects of its own": [
        "CREATE TABLE {s}.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE TEMPORARY TABLE agents AS SELECT name FROM {s}.agents",
        "CREATE SEQUENCE {s}.mine",
        "CREATE VIEW public.mine AS SELECT 1",
        "CREATE TYPE {s}.mine AS (x int)",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE EXTENSION pg_trgm",
        "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
        "CREATE PUBLICATION mine FOR ALL TABLES",
        "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION {s}.name_login()",
        "CREATE FOREIGN DATA WRAPPER mine",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_import('/etc/passwd')",
    ],
    "roles": [
        "CREATE ROLE mine",
        "SET ROLE {operator}",
        "SET ROLE {other}",
        "SET SESSION AUTHORIZATION {other}",
        "SET SESSION AUTHORIZATION {operator}",
        "GRANT {operator} TO {me}",
        "GRANT {confined} TO {other}",
        "GRANT SELECT ON {s}.logins TO {me}",
        "ALTER ROLE {me} SUPERUSER",
        "ALTER ROLE {me} BYPASSRLS",
        "ALTER ROLE {me} CONNECTION LIMIT 1000",
        "ALTER ROLE {me} RENAME TO mine",
        "ALTER ROLE {other} PASSWORD 'x'",
        "ALTER ROLE {other} SET statement_timeout = 1",
        "ALTER ROLE {confined} SET statement_timeout = 1",
        "ALTER ROLE {operator} PASSWORD 'x'",
        "DROP ROLE {other}",
        "REASSIGN OWNED BY {other} TO {me}",
        "DROP OWNED BY {other}",
    ],
    "the server": [
        "ALTER SYSTEM SET fsync = off",
        "SET session_replication_role = replica",
        "SET log_statement = 'none'",
        "ALTER DATABASE {s} SET statement_timeout = 1",
        "DROP DATABASE {s}",
        "SELECT pg_reload_conf()",
        "SELECT pg_rotate_logfile()",
        "SELECT pg_switch_wal()",
        "SELECT pg_stat_reset()",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT * FROM pg_authid",
        "COPY (SELECT 1) TO '/tmp/cimaa-mine'",
        "COPY {s}.agents (name) TO PROGRAM 'true'",
        "SELECT pg_create_physical_replication_slot('mine')",
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
        "SELECT pg_create_restore_point('mine')",
        "CHECKPOINT",
        "PREPARE TRANSACTION 'mine'",
    ],
}

#: Statements that succeed and change nothing, because the login sees no such row.
WITHOUT_EFFECT = [
    "UPDATE {s}.agents SET updated = 0 WHERE name = 'web2'",
    "UPDATE {s}.agents SET digest = gen_random_uuid() WHERE name <> 'web1'",
    "UPDATE {s}.faults SET severity = 0 WHERE agent = 'web2'",
    "UPDATE {s}.instances SET last = 0 WHERE agent <> 'web1'",
    "SELECT {s}.remove_own_agent('web2')",
    "SELECT {s}.remove_own_agent(NULL)",
    "SELECT {s}.remove_own_faults('web2', '[\"disk\"]')",
    "SELECT {s}.remove_own_faults(NULL, '[\"disk\"]')",
    "SELECT {s}.keep_own_instances('web2', '[]')",
    "SET search_path = pg_temp; SELECT {s}.remove_own_agent('web2'); RESET search_path",
    "VACUUM {s}.agents",
    "ANALYZE {s}.agents",
    "SET ROLE {confined}; UPDATE {s}.agents SET updated = 0 WHERE name = 'web2'; RESET ROLE",
    "ALTER ROLE {me} SET search_path = pg_temp",
    "SELECT set_config('cimaa.agent', 'web2', false)",
    "GRANT EXECUTE ON FUNCTION {s}.remove_own_agent(text) TO {other}",
    "DISCARD ALL",
]

#: Queries that return nothing.
EMPTY = [
    "SELECT name FROM {s}.agents WHERE name <> 'web1'",
    "SELECT agent FROM {s}.faults WHERE agent <> 'web1'",
    "SELECT agent FROM {s}.instances WHERE agent <> 'web1'",
    "SELECT agent FROM {s}.history WHERE agent NOT IN ('web1', '_')",
    "SELECT name FROM {s}.agents WHERE name = 'web2' FOR UPDATE",
    "SELECT agent FROM {s}.faults WHERE name = 'disk' AND agent = 'web2' FOR KEY SHARE",
    # An error in the condition would reveal a row of another agent.
    "SELECT name FROM {s}.agents WHERE name <> 'web1' AND 1 / (length(name) - 4) > 0",
]


#: Refused for want of a privilege; or nothing that this server, or this kind of object, has.
REFUSALS = ("42501", "42809", "0A000", "55000")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_host_that_was_broken_into_is_refused(two: Fleet, kind: str) -> None:
    before = two.contents()
    names = {"me": two.login("web1"), "other": two.login("web2")}
    names |= {role: f"{two.name}_{role}" for role in ("operator", "confined")}
    with two.connected(names["me"]) as connection:
        states = {text: state_of(connection, two.sql(text, **names)) for text in REFUSED[kind]}
    assert {text: state for text, state in states.items() if state not in REFUSALS} == {}
    assert two.contents() == before


def state_of(connection: psycopg.Connection[Any], statement: sql.Composed) -> str | None:
    """The SQLSTATE with which a statement fails, in a transaction if it may be in one; ``None`` if it succeeds."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.errors.ActiveSqlTransaction:
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            return error.sqlstate
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_what_is_not_refused_has_no_effect_on_others(two: Fleet) -> None:
    before = two.contents()
    me, other = two.login("web1"), two.login("web2")
    with two.connected(me) as connection:
        for text in (*WITHOUT_EFFECT, *EMPTY):
            statement = two.sql(text, me=me, other=other, confined=f"{two.name}_confined")
            cursor = connection.execute(statement)
            assert text not in EMPTY or cursor.fetchall() == [], text
        assert two.contents() == before
        # What it does without a condition strikes its own rows alone.
        assert connection.execute(two.sql("UPDATE {s}.faults SET severity = 7")).rowcount == 2
        assert connection.execute(two.sql("UPDATE {s}.agents SET updated = 7")).rowcount == 1
        after = two.contents()
        assert [row for row in after["faults"] if row[0] == "web2"] == [
            row for row in before["faults"] if row[0] == "web2"
        ]


UNREADABLE = (
    *("[1]", "1", "null", '{"x": 1e400}', '{"x": -1e126}', '{"x": [1e400]}', '{"x": {"y": [[1, 1e400]]}}'),
    *('{"agent": "web2"}', '{"name": 5}', '{"severity": "x"}', '{"since": null}', '{"message": 1}'),
    *(f'{{"x": 1{"0" * 10_000}}}', f'{{"x": {"[" * 3000}{"]" * 3000}}}', f'{{"x": {"[" * 22}{"]" * 22}}}'),
    f'{{"x": "{"x" * 9_000_000}"}}',
)


def test_it_cannot_write_a_fault_that_no_program_can_read(two: Fleet) -> None:
    """Else every list of faults would fail, and the whole fleet with it."""
    before = two.contents()
    with two.connected(two.login("web1")) as connection:
        for extras in UNREADABLE:
            for statement in (
                "UPDATE {s}.faults SET extras = %s",
                "INSERT INTO {s}.faults VALUES ('web1', 'new', 1, 1, '', %s)",
                "INSERT INTO {s}.faults VALUES ('web1', 'disk', 1, 1, '', %s)"
                " ON CONFLICT (agent, name) DO UPDATE SET extras = excluded.extras",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                    connection.execute(two.sql(statement).as_string(connection), (extras,))
        for column, size in (("name", limits.FAULT_NAME), ("message", limits.MESSAGE)):
            values = {"name": "new", "message": "", column: "x" * (size + 1)}
            insert = "INSERT INTO {s}.faults VALUES ('web1', %s, 1, 1, %s, '{{}}')"
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                connection.execute(two.sql(insert).as_string(connection), (values["name"], values["message"]))
    assert two.contents() == before


UNREADABLE_EVENTS = (
    *("('worse', 'disk', NULL, 1, '')", "('ended', 'disk', 50, NULL, '')", "('better', NULL, 50, 1, '')"),
    *(f"('began', repeat('x', {limits.FAULT_NAME + 1}), NULL, 1, '')", "('began', 'disk', NULL, 1, repeat('x', 1025))"),
    *("(repeat('x', 1000), 'disk', 1, 1, '')", "('ended', '', 50, 1, '')"),
)


@pytest.mark.parametrize("values", UNREADABLE_EVENTS)
def test_it_cannot_write_an_event_that_no_program_can_read(two: Fleet, values: str) -> None:
    """Otherwise every list of the fleet's past faults would fail."""
    insert = "INSERT INTO {s}.history (at, number, agent, kind, fault, before, since, message)"
    select = f" SELECT 1, 1, 'web1', * FROM (VALUES {values}) AS event (kind, fault, before, since, message)"
    select = select.replace("*", "kind, fault, before::bigint, since::bigint, message")
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security")
    with two.connected(two.login("web1")) as connection, refused:
        connection.execute(two.sql(insert + select))


@pytest.mark.parametrize("column", ["host", "version", "os", "pid"])
def test_it_cannot_write_an_instance_that_no_program_would(two: Fleet, column: str) -> None:
    values = {"host": "h", "pid": "1", "version": "1", "os": "os"}
    values[column] = "-1" if column == "pid" else "x" * (limits.AGENT + 1)
    statement = f"INSERT INTO {{s}}.instances VALUES ('web1', {UUID}, %s, %s, %s, %s, 1, 1)"
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security")
    with two.connected(two.login("web1")) as connection, refused:
        connection.execute(two.sql(statement).as_string(connection), list(values.values()))


@pytest.mark.parametrize(
    "tags", ["", " ", "db ", "a,b", "d\u00e9", "db\neu", "a  b", "x" * 129, f"{'x' * 64} {'y' * 65}", "x " * 16 + "x"]
)
def test_it_cannot_write_tags_that_no_program_would(two: Fleet, tags: str) -> None:
    insert = f"INSERT INTO {{s}}.instances VALUES ('web1', {UUID}, 'h', 1, '1', 'os', 1, 1, %s)"
    update = "UPDATE {s}.instances SET tags = %s WHERE agent = 'web1'"
    for statement in (insert, update):
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security")
        with two.connected(two.login("web1")) as connection, refused:
            connection.execute(two.sql(statement).as_string(connection), [tags])


@pytest.mark.parametrize(
    "tags", [(), ("db", "eu"), ("x" * 64, "y" * 64), tuple(f"r:{number:06}" for number in range(16)), ("A_.:/@+-z9",)]
)
def test_it_writes_any_tags_that_a_configuration_may_have(two: Fleet, web1: DB, tags: tuple[str, ...]) -> None:
    web1.set_faults("web1", [])
    for instance in (Instance("web1", 1, "1", "os", tags), Instance("web1", 2, "1", "os", tags)):
        with two.db(two.login("web1"), instance) as db:
            db.set_faults("web1", [fault("disk", pid=instance.pid)])
    assert [one.get("tags", []) for one in web1.get_agents()[0]["instances"]] == [[*tags]] * 2


def test_a_store_with_confined_agents_gets_the_checks_of_values_with_the_next_run(two: Fleet) -> None:
    with two.connected() as connection:
        connection.execute(two.sql("DROP POLICY valid ON {s}.faults; DROP POLICY valid ON {s}.history"))
        connection.execute(two.sql("DROP POLICY valid ON {s}.instances"))
        two.setup()
        query = "SELECT tablename FROM pg_policies WHERE schemaname = %s AND policyname = 'valid' ORDER BY tablename"
        tables = ["entries", "faults", "history", "instances"]
        assert connection.execute(query, (two.name,)).fetchall() == [(table,) for table in tables]


def test_it_reports_faults_of_the_largest_size_as_well(two: Fleet, web1: DB) -> None:
    nested: Any = 1
    for _ in range(limits.NESTING):
        nested = [nested]
    largest = {"x": [1e125] * (limits.FAULT // 8), "nested": nested, "least": -1e125, "integer": 2**63 - 1}
    whole = {**fault("n" * limits.FAULT_NAME), "message": "m" * limits.MESSAGE}
    for report in ([fault("largest", **largest)], [whole]):
        web1.set_faults("web1", report)
        assert [{**one, "agent": "web1"} for one in report] == web1.get_faults("web1")


@pytest.mark.parametrize("column", ["name", "message", "extras"])
def test_the_planner_has_no_statistics_that_would_disclose_values_of_others(two: Fleet, column: str) -> None:
    with two.connected() as connection:
        connection.execute("ANALYZE")
        query = "SELECT attname FROM pg_stats WHERE schemaname = %s AND tablename = 'faults'"
        names = {name for (name,) in connection.execute(query, (two.name,)).fetchall()}
    assert "severity" in names
    assert column not in names


def test_statistics_from_before_the_first_login_are_removed(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup()
    with fleet.db() as db, fleet.connected() as connection:
        db.set_faults("web1", [fault("disk")])
        connection.execute("ANALYZE")
        fleet.setup("--agent", "web1")
        query = "SELECT attname FROM pg_stats WHERE schemaname = %s AND tablename = 'faults'"
        names = {name for (name,) in connection.execute(query, (fleet.name,)).fetchall()}
    assert not names & {"message", "extras"}


def test_it_can_end_no_session_of_another(two: Fleet) -> None:
    with two.connected(two.login("web2")) as other, two.connected(two.login("web1")) as connection:
        for function in ("pg_terminate_backend", "pg_cancel_backend"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {function}({other.info.backend_pid})")


def test_its_unchanged_report_is_one_hot_update_by_primary_key(two: Fleet, web1: DB) -> None:
    web1.set_faults("web1", [fault("disk")], within=300)
    statement = web1._sql.touch.decode().replace("$1", "NULL").replace("$2", "'web1'").replace("$5", "300")
    for number, column in ((3, "digest"), (4, "instance")):
        statement = statement.replace(f"${number}", f"(SELECT {column} FROM {two.name}.agents)")
    with two.connected(two.login("web1")) as connection, connection.transaction():
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}").fetchall())
        assert "Index Scan using agents_pkey" in plan
        assert connection.execute(statement).rowcount == 1
        query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'agents'"
        assert connection.execute(query).fetchall() == [(1, 1)]


@pytest.mark.parametrize("fleet", ["postgres_server"], indirect=True)
def test_its_unchanged_report_is_one_statement(two: Fleet) -> None:
    with two.connected() as connection:
        connection.execute(two.sql("ALTER DATABASE {s} SET log_statement = 'all'"))
    with two.db(two.login("web1"), Instance("web1", 1, "1", "os")) as db:
        for _ in range(3):
            db.set_faults("web1", [fault("disk")])
        before = two.server.log_size()
        for _ in range(5):
            db.set_faults("web1", [fault("disk")])
        statements = [line for line in two.server.log_since(before) if "statement: " in line or "execute " in line]
    assert len(statements) == 5
    assert all("UPDATE" in statement for statement in statements)


def test_its_connections_are_limited(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup("--agent", "web1", "--connections", "2")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(fleet.connected(fleet.login("web1")))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            stack.enter_context(fleet.connected(fleet.login("web1")))


def test_what_the_page_lists_is_indeed_permitted(two: Fleet) -> None:
    """If one of these is refused in a later version, change the page."""
    me = two.login("web1")
    with two.connected(me) as connection:
        for text in (
            "SELECT pg_advisory_lock(1)",
            "SELECT rolname FROM pg_roles",
            "NOTIFY mine",
            "SELECT pg_logical_emit_message(false, 'mine', 'x')",
            "ALTER ROLE {me} SET statement_timeout = '1h'",
            "ALTER ROLE {me} PASSWORD 'mine'",
            "SET ROLE {confined}; ALTER ROLE {confined} PASSWORD 'mine'; RESET ROLE",
            "EXPLAIN ANALYZE SELECT name FROM {s}.agents WHERE name > 'web1'",
            "SELECT n_tup_upd FROM pg_stat_user_tables",
            "INSERT INTO {s}.faults SELECT 'web1', 'f' || n, 50, 1, '', '{{}}' FROM generate_series(1, 1000) AS n",
        ):
            connection.execute(two.sql(text, me=me, confined=f"{two.name}_confined"))


# The command


def test_logins_are_listed_renewed_and_removed(two: Fleet) -> None:
    assert two.setup("--list-agents").stdout == f"web1\t{two.login('web1')}\nweb2\t{two.login('web2')}\n"
    old = dict(two.passwords)
    two.setup("--renew", "--agent", "web1")
    assert two.passwords[two.login("web1")] != old[two.login("web1")]
    assert two.passwords[two.login("web2")] == old[two.login("web2")]
    with two.db(two.login("web1")) as web1, two.db(two.login("web2")) as web2:
        web1.set_faults("web1", [])
        two.setup("--remove", "--agent", "web1")
        with pytest.raises(errors.StoreError):  # though it is still connected
            web1.set_faults("web1", [fault("x")])
        web2.set_faults("web2", [])
    assert two.setup("--list-agents").stdout == f"web2\t{two.login('web2')}\n"
    with two.db() as db:
        assert [one["name"] for one in db.get_agents()] == ["web1", "web2"]
        db.set_faults("web1", [])


def test_a_login_cannot_prevent_its_removal(two: Fleet) -> None:
    with two.connected(two.login("web1")) as connection:
        connection.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    two.setup("--remove", "--agent", "web1")
    with two.connected() as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (two.login("web1"),)).fetchall() == []


def test_a_login_that_owns_something_in_another_database_can_no_longer_log_in(two: Fleet) -> None:
    role = two.login("web1")
    with psycopg.connect(two.server.socket_dsn, autocommit=True) as connection:
        connection.execute(two.sql("SET ROLE {role}", role=role))
        connection.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
        done = two.setup("--remove", "--agent", "web1")
        assert "cannot log in any more, and remain because they own something in another database" in done.stderr
        assert role in done.stderr
        query = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
        connection.execute("RESET ROLE")
        assert connection.execute(query, (role,)).fetchall() == [(False,)]
        connection.execute(two.sql("DROP OWNED BY {role}", role=role))
    assert two.setup("--list-agents").stdout == f"web2\t{two.login('web2')}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--renew", "--remove", "--agent", "web1"], "--renew and --remove exclude each other"),
        (["--list-agents", "--agent", "web1"], "--list-agents lists all agents"),
        (["--list-agents", "--check"], "--list-agents and --check exclude each other"),
    ],
)
def test_options_that_contradict_each_other_change_nothing(two: Fleet, arguments: list[str], said: str) -> None:
    done = two.try_setup(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert two.setup("--list-agents").stdout.count("\n") == 2


def test_an_empty_name_is_refused(two: Fleet) -> None:
    done = two.try_setup("--agent", "")
    assert done.exit_code == 1
    assert "the agent's name is empty" in done.stderr


def test_space_around_a_name_in_a_file_does_not_count(two: Fleet) -> None:
    two.setup("--agents-from", "-", input="  web3 \r\n\n\tweb4")
    listed = [line.split("\t")[0] for line in two.setup("--list-agents").stdout.splitlines()]
    assert listed == ["web1", "web2", "web3", "web4"]


def test_logins_are_listed_for_machines(two: Fleet) -> None:
    listed = json.loads(two.setup("--list-agents", "--json").stdout)
    assert listed == [{"agent": agent, "login": two.login(agent)} for agent in ("web1", "web2")]


def test_to_ask_for_a_login_again_changes_nothing(two: Fleet) -> None:
    done = two.setup("--agent", "web1")
    assert done.stdout == ""
    with two.db(two.login("web1")) as db:
        db.set_faults("web1", [])


@pytest.mark.parametrize("action", ["--renew", "--remove"])
def test_a_login_that_is_not_there_is_named(two: Fleet, action: str) -> None:
    done = two.try_setup(action, "--agent", "web9", "--agent", "web1")
    assert done.exit_code == 1
    assert "no login was made for web9" in done.stderr


ODD = ["Größe", "a b", "x" * 255, 'q"uote', "co:lon", "back\\slash", "per%cent", "{brace}", "_agent"]


def test_any_agent_may_have_a_login(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup("--agents-from", "-", input="\n".join(ODD))
    listed = dict(line.split("\t") for line in fleet.setup("--list-agents").stdout.splitlines())
    assert list(listed) == sorted(ODD)
    assert len(set(listed.values())) == len(ODD)
    assert all(len(login.encode()) <= 63 for login in listed.values())
    for agent, login in listed.items():
        with fleet.db(login) as db:
            db.set_faults(agent, [fault("disk")])
            db.set_faults(agent, [])
            db.remove_agent(agent)


def test_what_is_printed_makes_the_same(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup()
    shown = fleet.setup("--print", "--agent", "web1").stdout
    assert "CREATE ROLE" in shown
    fleet.server.psql(shown, fleet.name)
    assert fleet.setup("--list-agents").stdout == f"web1\t{fleet.login('web1')}\n"
    if not fleet.server.certificate.exists():  # else it has no password yet
        with fleet.db(fleet.login("web1")) as db:
            db.set_faults("web1", [fault("disk")])


def test_an_owner_that_may_create_roles_makes_logins(fleet: Fleet) -> None:  # noqa: F811
    """It needs to be no superuser; the rules for that changed in PostgreSQL 16."""
    fleet.setup()
    owner = f"{fleet.name}_dba"
    with fleet.connected() as connection:
        connection.execute(fleet.sql("CREATE ROLE {dba} LOGIN CREATEROLE IN ROLE {s}", dba=owner))
        connection.execute(fleet.sql("ALTER ROLE {s} CREATEROLE"))
    dsn = make_conninfo(fleet.server.socket_dsn, user=owner, dbname=fleet.name)
    if fleet.server.certificate.exists():
        dsn = make_conninfo(fleet.server.tcp_dsn(owner, "x", fleet.name))
        with fleet.connected() as connection:
            connection.execute(fleet.sql("ALTER ROLE {dba} PASSWORD 'x'", dba=owner))
    fleet.configure(dsn)
    for arguments in (["--agent", "web1"], ["--agent", "web2"], ["--renew", "--agent", "web1"]):
        fleet.setup(*arguments, place=())
    with fleet.db(fleet.login("web1")) as db:
        db.set_faults("web1", [fault("disk")])
        with pytest.raises(errors.StoreDenied):
            db.set_faults("web2", [])
    fleet.setup("--remove", "--agent", "web1", place=())
    assert fleet.setup("--list-agents", place=()).stdout == f"web2\t{fleet.login('web2')}\n"


def test_a_role_of_that_name_that_is_there_already_is_not_taken_over(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup()
    with fleet.connected() as connection:
        connection.execute(fleet.sql("CREATE ROLE {role} LOGIN", role=fleet.login("web1")))
    done = fleet.try_setup("--agent", "web1")
    assert done.exit_code == 1
    assert "already exists" in done.stderr


@pytest.mark.parametrize("fleet", ["postgres_server"], indirect=True)
def test_many_confined_agents_report_without_a_mistake(fleet: Fleet) -> None:  # noqa: F811
    names = [f"host-{number}.example.com" for number in range(FLEET)]
    fleet.setup("--agents-from", "-", input="\n".join(names))

    def report(number: int) -> None:
        name = names[number]
        with fleet.db(fleet.login(name), Instance(name, number, "1", "os")) as db:
            for count in (1, 1, 2):
                db.set_faults(name, [fault("disk", count=count, number=number), fault(f"only-{number}")])

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(report, range(FLEET)))
    with fleet.db() as db:
        stored = {agent: list(faults) for agent, faults in itertools.groupby(db.dump()["faults"], lambda f: f["agent"])}
    assert stored.keys() == {"_", *names}
    for number, name in enumerate(names):
        assert [one.get("count") for one in stored[name]] == [2, None]
        assert [one["name"] for one in stored[name]] == ["disk", f"only-{number}"]
        assert stored[name][0]["number"] == number
