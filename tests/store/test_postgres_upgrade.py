"""Tables are upgraded first, and programs after: no report is refused, and none is lost."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest

from tests.support import postgres_version_2
from tests.support.postgres_agents import Agent, report
from tests.support.postgres_fleet import Fleet, fleet  # noqa: F401  # a fixture
from tests.support.postgres_servers import new_schema
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.entries import Entry
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import versions

AGENTS = 16


@pytest.fixture
def old(fleet: Fleet) -> Fleet:  # noqa: F811
    """A database as setup-postgres left it when version 2 was the newest."""
    fleet.setup()
    with fleet.connected() as connection:
        connection.execute(fleet.sql("SET client_min_messages TO error; DROP SCHEMA {s} CASCADE; SET ROLE {s}"))
        postgres_version_2.make_tables(connection, fleet.name, f"{fleet.name}_agent")
    return fleet


def assert_stored(fleet: Fleet, name: str, number: int) -> None:  # noqa: F811
    with fleet.db() as db:
        stored = db.get_faults(name)
    assert [(one["name"], one["number"]) for one in stored] == [("one", number), (f"two-{number}", number)]


def test_sixteen_agents_of_the_version_before_report_through_the_upgrade(old: Fleet) -> None:
    names = [f"web{number}" for number in range(AGENTS)]
    shared = old.dsn(f"{old.name}_agent")
    reporters = [postgres_version_2.Reporter(shared, old.name, Instance(name, 1, "0.1", "os")) for name in names]
    running = {name: Agent(name, reporter.report) for name, reporter in zip(names, reporters, strict=True)}
    stack = ExitStack()
    try:
        for agent in running.values():
            agent.wait_for_more()
        done = old.setup("--agents-from", "-", input="\n".join(names))  # the tables first, and the logins
        assert "brought from version 2" in done.stderr
        for agent in running.values():
            agent.wait_for_more()
        # Then the agents one by one, with their own logins, while those of the version before go on.
        for name, reporter in zip(names, reporters, strict=True):
            number = running[name].stop()
            assert_stored(old, name, number)
            reporter.connect()  # it is not refused either if it connects again
            reporter.report(name, report(number))
            reporter.close()
            db = stack.enter_context(old.db(old.login(name), Instance(name, 2, "0.2", "os")))
            running[name] = Agent(name, db.set_faults, number + 1)
            running[name].wait_for_more()
    finally:
        last = {name: agent.stop() for name, agent in running.items()}
        stack.close()
    for name, number in last.items():
        assert_stored(old, name, number)


def test_an_upgrade_makes_the_policies_that_changed_again(old: Fleet) -> None:
    """In the same run: otherwise, confined agents would not be confined until the next one."""
    query = "SELECT tablename, policyname, qual, with_check FROM pg_policies WHERE schemaname = %s"
    with old.connected() as connection:
        connection.execute(old.sql("SET ROLE {s}; SET search_path TO {s}, pg_temp"))
        for version in range(3, versions.TAGS):
            connection.execute(versions.migration(version))
        for table, policy in (("instances", "valid"), ("entries", "confined")):
            connection.execute(old.sql(f"CREATE POLICY {policy} ON {{s}}.{table} AS RESTRICTIVE USING (true)"))
        old.setup("--agent", "web1")
        upgraded = {row[:2]: row[2:] for row in connection.execute(query, (old.name,)).fetchall()}
        old.setup()
        assert upgraded == {row[:2]: row[2:] for row in connection.execute(query, (old.name,)).fetchall()}
    assert "tags" in upgraded["instances", "valid"][1]
    assert "own_agent" in upgraded["entries", "confined"][0]


def test_an_upgrade_waits_for_a_long_transaction_and_reports_do_not(old: Fleet) -> None:
    """A backup, for one, locks all tables against being changed, and may take an hour."""
    reporter = postgres_version_2.Reporter(old.dsn(f"{old.name}_agent"), old.name, Instance("web1", 1, "0.1", "os"))
    results: list[str] = []
    waiting = threading.Event()
    with ExitStack() as stack:
        backup = stack.enter_context(psycopg.connect(old.dsn("postgres")))
        backup.execute(old.sql("SELECT count(*) FROM {s}.agents"))
        agent = Agent("web1", reporter.report)
        thread = threading.Thread(target=lambda: results.append(old.setup("--wait", "60s").stderr))
        thread.start()
        with old.connected() as watching:
            query = (
                "SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = %s)"
            )
            while not watching.execute(query, (old.name,)).fetchall():
                waiting.wait(0.01)
        for _ in range(3):  # longer than setup-postgres waits for a lock at a time
            agent.wait_for_more()
            waiting.wait(1)
        assert results == []
        backup.rollback()
        thread.join()
        agent.wait_for_more()
        number = agent.stop()
    assert "another transaction holds a lock on the tables; trying again" in results[0]
    assert "brought from version 2" in results[0]
    assert_stored(old, "web1", number)
    reporter.close()


def test_an_upgrade_that_waited_for_too_long_says_for_what(old: Fleet) -> None:
    before = old.contents_of_catalog()
    with psycopg.connect(old.dsn("postgres")) as backup:
        backup.execute(old.sql("SELECT count(*) FROM {s}.agents"))
        done = old.try_setup("--wait", "3s")
    assert done.exit_code == 1
    assert "another transaction holds a lock on the tables: canceling statement due to lock timeout" in done.stderr
    assert old.contents_of_catalog() == before


@pytest.fixture
def older(postgres_dsn: str, request: pytest.FixtureRequest) -> Iterator[DB]:
    """A handle on tables of an older version."""
    with new_schema(postgres_dsn) as schema:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(
                f"SET client_min_messages TO error; DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}"
            )
            connection.execute(f"SET search_path TO {schema}, pg_temp")
            for version in range(1, request.param + 1):
                connection.execute(versions.migration(version))
        with DB({"dsn": postgres_dsn, "schema": schema}) as db:
            yield db


@pytest.mark.parametrize("older", range(1, versions.VERSION), indirect=True)
def test_a_newer_program_reports_to_older_tables(older: DB) -> None:
    for number in (1, 1, 2):
        older.set_faults("web1", report(number))
        assert [one["number"] for one in older.get_faults("web1")] == [number, number]
    assert [one["name"] for one in older.old_agents(0)] == ["web1"]
    older.remove_agent("web1")
    assert older.get_agents() == []


@pytest.mark.parametrize(
    ("older", "version"), [(version, version) for version in range(2, versions.TAGS)], indirect=["older"]
)
def test_tags_are_stored_once_the_tables_are_upgraded(older: DB, version: int, postgres_dsn: str) -> None:
    """Until then there are none, and everything else works; after it, the next changed report stores them."""
    settings = {"dsn": postgres_dsn, "schema": older.settings["schema"]}
    tagged = Instance("web1", 1, "0.2", "os", ("db", "eu"))

    def reported(*numbers: int) -> list[tuple[int | None, object]]:
        with DB(settings, instance=tagged) as db, DB(settings, instance=tagged._replace(pid=2, tags=())) as other:
            for number in numbers:
                db.set_faults("web1", report(number))
                other.set_faults("web1", report(number))
            assert [one["number"] for one in db.get_faults("web1")] == [numbers[-1]] * 2
            [agent], [double] = db.get_agents(), db.double_agents()
            assert agent["instances"] == double["instances"]
            return [(one["pid"], one.get("tags")) for one in agent["instances"]]

    assert reported(1, 1, 2) == [(1, None), (2, None)]
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {settings['schema']}, pg_temp")
        for newer in range(version + 1, versions.VERSION + 1):
            connection.execute(versions.migration(newer))
    assert [(one["pid"], one.get("tags")) for one in older.get_agents()[0]["instances"]] == [(1, None), (2, None)]
    assert reported(2, 3) == [(1, ["db", "eu"]), (2, None)]


@pytest.mark.parametrize("older", [1], indirect=True)
def test_it_names_the_command_where_it_needs_what_is_not_there(older: DB) -> None:
    older.set_faults("web1", report(1))
    needed = (
        rf"the tables in the schema \w+ have version 1, and this needs {versions.VERSION}: run setup-postgres CONFIG$"
    )
    with pytest.raises(errors.StoreNotSetUp, match=needed):
        older.double_agents()
    older.set_faults("web1", report(1))


def test_the_check_says_what_is_there_and_what_would_be_done(old: Fleet) -> None:
    before = old.contents_of_catalog()
    lines = old.setup("--check", "--agent", "web1").stdout.splitlines()
    assert lines == [
        f"tables: version 2 in the schema {old.name}; programs that know version 2 or later may use them, and this one"
        f" knows {versions.VERSION}",
        f"roles: {old.name}_agent, {old.name}_operator, {old.name}_investigator, {old.name}_reader",
        "confined agents: 0",
        "large objects: only superusers may make some",
        "temporary tables: only the owner of the database may make some",
        f"to do: bring the tables from version 2 to {versions.VERSION}; agents go on reporting meanwhile",
        f"to do: login of web1: {old.login('web1')} is made",
    ]
    assert old.contents_of_catalog() == before
    old.setup("--agent", "web1")
    lines = old.setup("--check").stdout.splitlines()
    assert lines[0].startswith(f"tables: version {versions.VERSION} ")
    assert json.loads(old.setup("--check", "--json").stdout) == {
        "schema": old.name,
        "version": versions.VERSION,
        "oldest": 2,
        "known": versions.VERSION,
        "roles": [f"{old.name}_{role}" for role in ("agent", "operator", "investigator", "reader")],
        "confined_agents": 1,
        "large_objects": False,
        "temporary_tables": False,
        "to_do": [],
    }
    assert lines[-1] == "nothing to do"


def values_of_version_7(db: DB) -> list[tuple[str | None, bool, int]]:
    """Commands as an agent may have left them, and what is counted of them."""
    values = [{"state": "sent"}, {"state": "sent"}, {"state": "success", "found": True}, {"state": "x" * 5000}]
    for number, value in enumerate(values):
        entry = Entry("command", f"web{number}", "id", value, uuid4().hex)
        assert db._swap("command", entry.owner, "id", None, entry)
    counted = Counter[tuple[str | None, bool]]()
    for state, found, number in db._count_commands("id"):
        counted[state and state[:32], found] += number
    return sorted((state, found, number) for (state, found), number in counted.items())


@pytest.mark.parametrize("older", [7], indirect=True)
def test_commands_are_counted_before_and_after_the_upgrade(older: DB, postgres_dsn: str) -> None:
    """Also if an agent wrote a state that is too long for an index."""
    found = values_of_version_7(older)
    assert found == [("sent", False, 2), ("success", True, 1), ("x" * 32, False, 1)]
    schema = older.settings["schema"]
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {schema}, pg_temp".encode())
        connection.execute(versions.migration(8).encode())
    with DB({"dsn": postgres_dsn, "schema": schema}) as upgraded:
        assert sorted(upgraded._count_commands("id"), key=str) == found
