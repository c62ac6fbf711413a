"""The PostgreSQL backend keeps the contract, and what it promises beyond: values, statements, secrets, and trouble."""

import os
import signal
import socket
import threading
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.postgres_calls import interruptible  # noqa: F401  # a fixture
from tests.support.postgres_servers import Server, new_schema, opener_for
from tests.support.postgres_stores import Execute
from zc.cimaa import errors, limits
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB
from zc.cimaa.testing import Conformance, Opener, fault
from zc.cimaa.testing.tools import exact


class TestPostgres(Conformance):
    @pytest.fixture
    def opener(self, postgres_opener: Opener) -> Opener:
        return postgres_opener


class TestThePostgres15OfTheMachine(Conformance):
    """Over TCP, with a password and TLS."""

    examples = 5

    @pytest.fixture
    def opener(self, postgres_15: Server) -> Iterator[Opener]:
        with new_schema(postgres_15.socket_dsn) as schema:
            yield opener_for(postgres_15.tcp_dsn(), schema)


# Values

FLOATS = st.floats(limits.FLOAT_MIN, limits.FLOAT_MAX) | st.floats(-limits.FLOAT_MAX, -limits.FLOAT_MIN) | st.just(0.0)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
KEYS = TEXTS.filter(lambda key: key not in ("", "agent", "since"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(KEYS, values),
    max_leaves=10,
)


def test_values_come_back_with_their_types(opened: Callable[..., DB]) -> None:
    db = opened(pool_size="1")

    @given(extras=st.dictionaries(KEYS.map("x{}".format), VALUES))
    @settings(max_examples=150)
    def check(extras: dict[str, Any]) -> None:
        db.set_faults("agent", [fault("disk", **extras)])
        assert exact(db.get_faults("agent")) == exact([fault("disk", agent="agent", **extras)])

    check()


def test_operators_can_query_extras_with_sql(opened: Callable[..., DB], execute: Execute) -> None:
    opened().set_faults("web1", [fault("disk", used=1e22, mount={"path": "/var"}), fault("load")])
    found = execute("SELECT agent, extras->'mount'->>'path' FROM faults WHERE (extras->>'used')::numeric > 90")
    assert found == [("web1", "/var")]


INJECTIONS = [
    "'; DROP TABLE agents CASCADE; --",
    '"; DROP TABLE agents CASCADE; --',
    "\\'; DROP TABLE agents CASCADE; --",
    "%s %(name)s %% {schema} $1 $$ :name ? \\x00 \\",
    "') ON CONFLICT DO NOTHING; DELETE FROM faults; --",
    "{\"a\": 'b'}",
    "{NULL,x}",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_string_is_taken_for_sql(opened: Callable[..., DB], execute: Execute, text: str) -> None:
    db = opened(instance=Instance(text, 1, text, text))
    faults = [fault(text, 50, text, **{text: text, "nested": {text: [text]}}), fault("other")]
    for _ in range(2):
        db.set_faults(text, faults)
    db.set_faults("bystander", [fault("f")])
    opened(instance=Instance(text + "2", 2, text, text)).set_faults(text, faults)
    assert db.get_faults(text) == sorted(({"agent": text, **one} for one in faults), key=lambda one: one["name"])
    regex = r"\Q" + text + r"\E"
    assert db.find_faults(agent=text, pattern=regex)[0][text] == text
    hosts = {agent["name"]: [seen["host"] for seen in agent["instances"]] for agent in db.get_agents()}
    assert hosts[text] == [text, f"{text}2"]
    db.squelch(regex, text, text)
    assert [(s["regex"], s["reason"], s["user"]) for s in db.get_squelch_details()] == [(regex, text, text)]
    db.unsquelch(regex)
    db.remove_agent(text)
    assert [agent["name"] for agent in db.get_agents()] == ["bystander"]
    assert execute("SELECT agent, name FROM faults") == [("bystander", "f")]


def test_a_schema_may_have_any_name(postgres_dsn: str) -> None:
    for name in ("'; DROP SCHEMA public; --", 'a"b', "Größe %s {}"):
        with new_schema(postgres_dsn, name), DB({"dsn": postgres_dsn, "schema": name}) as db:
            db.set_faults("web1", [fault("disk")])
            db.set_faults("web1", [fault("disk")])
            assert len(db.find_faults(agent="web1", severity=1, pattern="d", limit=1)) == 1
            assert db.double_agents() == db.old_agents(10) == []


# What a report costs, and how durable it is


def test_a_report_that_repeats_the_last_is_one_statement(
    postgres_server: Server, opened: Callable[..., DB], execute: Execute
) -> None:
    db = opened("-c log_statement=all -c log_min_duration_statement=-1")
    for _ in range(3):
        db.set_faults("web1", [fault("disk")])
    before = postgres_server.log_size()
    for _ in range(5):
        db.set_faults("web1", [fault("disk")])
    statements = [line for line in postgres_server.log_since(before) if "statement: " in line or "execute " in line]
    assert len(statements) == 5
    assert all("UPDATE" in statement for statement in statements)


def test_a_report_that_changes_a_fault_is_five_statements_with_those_of_its_transaction(
    postgres_server: Server, opened: Callable[..., DB]
) -> None:
    db = opened("-c log_statement=all -c log_min_duration_statement=-1")
    db.set_faults("web1", [fault("disk"), fault("load")])
    db.set_faults("web1", [fault("disk"), fault("load")])
    before = postgres_server.log_size()
    db.set_faults("web1", [fault("disk", 50), fault("load")])
    statements = [line for line in postgres_server.log_since(before) if "statement: " in line or "execute " in line]
    assert len(statements) == 5, statements
    assert "BEGIN" in statements[0]
    assert "COMMIT" in statements[-1]


@pytest.mark.parametrize(
    ("options", "given", "heartbeat", "change"),
    [
        ("", {}, "off", "on"),
        ("", {"durable_heartbeats": "on"}, "on", "on"),
        ("-c synchronous_commit=off", {}, "off", "on"),
        ("-c synchronous_commit=off", {"durable_heartbeats": "on"}, "on", "on"),
        ("-c synchronous_commit=local", {"durable_heartbeats": "on"}, "local", "local"),
        ("-c synchronous_commit=remote_apply", {}, "off", "remote_apply"),
        ("-c synchronous_commit=local", {"prepare": "off"}, "local", "local"),
    ],
)
def test_a_change_is_durable_and_a_heartbeat_need_not_be(
    opened: Callable[..., DB], execute: Execute, options: str, given: dict[str, str], heartbeat: str, change: str
) -> None:
    """A trigger notes what a commit of the writer's would wait for."""
    execute("""
        CREATE TABLE noted (id serial, setting text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            EXECUTE format('INSERT INTO %I.noted (setting) VALUES (%L)', TG_TABLE_SCHEMA,
                current_setting('synchronous_commit'));
            RETURN NULL; END $$;
        """)
    db = opened(options, **given)
    db.set_faults("web1", [])
    execute("CREATE TRIGGER note AFTER UPDATE ON agents EXECUTE FUNCTION note()")
    db.set_faults("web1", [])
    assert execute("SELECT setting FROM noted") == [(heartbeat,)]
    execute("DROP TRIGGER note ON agents")
    execute("CREATE TRIGGER note AFTER INSERT OR DELETE ON faults FOR EACH ROW EXECUTE FUNCTION note()")
    db.set_faults("web1", [fault("disk")])
    db.set_faults("web1", [])
    execute("DROP TRIGGER note ON faults")
    execute("CREATE TRIGGER note AFTER INSERT OR DELETE ON squelches EXECUTE FUNCTION note()")
    db.squelch("disk", "", "ops")
    db.unsquelch("disk")
    assert execute("SELECT setting FROM noted ORDER BY id")[1:] == [(change,)] * 4


def test_a_change_writes_only_what_changed(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened()
    faults = [fault(f"f{number}") for number in range(100)]
    db.set_faults("web1", faults)
    before = dict(execute("SELECT name, xmin::text FROM faults"))
    db.set_faults("web1", [*faults[1:99], fault("f99", 50), fault("new")])
    after = dict(execute("SELECT name, xmin::text FROM faults"))
    assert {name for name in after if after[name] != before.get(name)} == {"f99", "new"}
    assert before.keys() - after.keys() == {"f0"}


def test_a_fleet_is_read_in_parts(opened: Callable[..., DB], execute: Execute) -> None:
    """So that memory does not grow with it: an action may be sent to a million agents."""
    db = opened()
    execute("""
        INSERT INTO agents SELECT 'agent' || n, 0, gen_random_uuid(), gen_random_uuid()
        FROM generate_series(1, 15000) AS n
        """)
    execute("""
        INSERT INTO instances SELECT name, id, 'host of ' || name, 7, '1', 'os', 0, 0
        FROM agents, LATERAL (VALUES (instance), (gen_random_uuid())) AS seen (id)
        """)
    shown = db.get_agents()
    assert [agent["name"] for agent in shown] == sorted(f"agent{number}" for number in range(1, 15001))
    assert {len(agent["instances"]) for agent in shown} == {2}
    assert all(seen["host"] == f"host of {agent['name']}" for agent in shown for seen in agent["instances"])
    del shown
    peaks = []
    for kept in (1, None):
        tracemalloc.start()
        deque(db._shown_agents(), kept)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < peaks[1] / 2


def test_a_statement_that_the_server_forgot_is_no_trouble(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened(pool_size="1")
    for _ in range(4):
        db.set_faults("web1", [fault("disk")])
    db._connections.run(lambda connection: connection.execute("DEALLOCATE ALL"), "agent")
    execute("UPDATE agents SET updated = 0")
    for _ in range(4):
        db.set_faults("web1", [fault("disk")])
    assert db.old_agents(60) == []


def test_statements_that_fail_again_and_again_leave_the_connection_as_good_as_new(
    opened: Callable[..., DB], execute: Execute
) -> None:
    db = opened(pool_size="1", connect_timeout="1s")
    for turn in range(4):
        execute("ALTER TABLE squelches ADD CONSTRAINT broken CHECK (permanent) NOT VALID")
        execute("ALTER TABLE faults ADD CONSTRAINT broken CHECK (severity < 50) NOT VALID")
        with pytest.raises(errors.StoreError, match="broken"):
            db.squelch("disk", "", "ops")
        with pytest.raises(errors.StoreError, match="broken"):
            db.set_faults("web1", [fault("disk", 50, turn=turn)])
        execute("ALTER TABLE squelches DROP CONSTRAINT broken")
        execute("ALTER TABLE faults DROP CONSTRAINT broken")
        db.squelch("disk", "", "ops")
        db.set_faults("web1", [fault("disk", 50, turn=turn)])
        assert db.dump()["faults"][1]["turn"] == turn
        assert db.get_squelches() == ["disk"]


# Several at once


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
def test_a_first_report_waits_for_another_one_that_is_not_over(
    opened: Callable[..., DB], execute: Execute, ending: str
) -> None:
    db = opened()
    execute("BEGIN")
    execute("INSERT INTO agents SELECT 'web1', 1, gen_random_uuid(), gen_random_uuid()")
    with ThreadPoolExecutor() as executor:
        reported = executor.submit(db.set_faults, "web1", [fault("disk")])
        wait_for_a_lock(opened())
        execute(ending)
        reported.result()
    assert [one["name"] for one in db.get_faults("web1")] == ["disk"]


def test_a_report_waits_for_the_removal_of_its_agent(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened()
    db.set_faults("web1", [fault("disk"), fault("load")])
    execute("BEGIN")
    execute("DELETE FROM agents")
    with ThreadPoolExecutor() as executor:
        reported = executor.submit(db.set_faults, "web1", [fault("disk")])
        wait_for_a_lock(opened())
        execute("COMMIT")
        reported.result()
    assert [one["name"] for one in db.get_faults("web1")] == ["disk"]
    assert len(db.get_agents()[0]["instances"]) == 1


def rows(db: DB, query: bytes) -> list[tuple[Any, ...]]:
    """What a query gives over a connection of this handle's."""
    return db._connections.run(lambda connection: connection.execute(query).fetchall(), "reader")


def wait_for_a_lock(db: DB) -> None:
    """Return once some session of this database waits for a lock."""
    query = b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    eventually(lambda: rows(db, query) != [(0,)])


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    pytest.fail(f"not so within {seconds} seconds")


def test_serializable_transactions_are_tried_again(opened: Callable[..., DB]) -> None:
    options = "-c default_transaction_isolation=serializable"
    handles = [opened(options, connect_timeout="30s", instance=Instance(f"h{n}", n, "1", "os")) for n in range(4)]

    def report(number: int) -> None:
        for count in range(20):
            handles[number].set_faults("shared", [fault("f", count=count, by=number)])

    with ThreadPoolExecutor() as executor:
        list(executor.map(report, range(4)))
    assert len(opened().get_faults("shared")) == 1
    assert len(opened().get_agents()[0]["instances"]) == 4


# Connections


def test_nothing_is_connected_before_the_first_call() -> None:
    with DB({"dsn": "host=/nowhere"}) as db:
        db.close()
    before = threading.active_count()
    with DB({"dsn": "host=/nowhere"}):
        assert threading.active_count() == before


def test_a_fork_leaves_its_parents_connections_alone(opened: Callable[..., DB]) -> None:
    db = opened()
    db.set_faults("parent", [])
    parents = sessions(db)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            db.set_faults("child", [fault("disk")])
            status = 0 if not sessions(db) & parents else 2
            db.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sessions(db) == parents
    assert [one["name"] for one in db.get_faults("child")] == ["disk"]


def sessions(db: DB) -> set[int]:
    return {rows(db, b"SELECT pg_backend_pid()")[0][0] for _ in range(3)}


def test_a_lost_connection_is_replaced(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened()
    for report in ([fault("disk")], [fault("disk")], [], [fault("load")]):
        for (pid,) in execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'zc.cimaa'"):
            execute("SELECT pg_terminate_backend(%s, 10000)", pid)
        db.set_faults("web1", report)
        assert [one["name"] for one in opened().get_faults("web1")] == [one["name"] for one in report]


def test_an_idle_client_does_not_hold_its_lock_for_ever(opened: Callable[..., DB]) -> None:
    db = opened(statement_timeout="7s")
    assert rows(db, b"SHOW idle_in_transaction_session_timeout") == [("7s",)]
    assert rows(db, b"SHOW statement_timeout") == [("7s",)]


def test_a_statement_that_takes_too_long_may_be_tried_again(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened(statement_timeout="1s", connect_timeout="1s")
    db.set_faults("web1", [fault("disk")])
    execute("BEGIN")
    execute("SELECT FROM agents FOR UPDATE")
    for report in ([fault("disk")], [fault("load")]):
        with pytest.raises(errors.StoreUnavailable, match="statement_timeout"):
            db.set_faults("web1", report)
    execute("ROLLBACK")
    assert [one["name"] for one in db.get_faults("web1")] == ["disk"]
    db.set_faults("web1", [fault("load")])


def test_a_transaction_that_takes_too_long_may_be_tried_again(opened: Callable[..., DB], execute: Execute) -> None:
    if execute("SELECT current_setting('transaction_timeout', true)") == [(None,)]:
        pytest.skip("this server knows no transaction_timeout")
    db = opened("-c transaction_timeout=300ms", connect_timeout="1s")
    execute("BEGIN")
    execute("LOCK TABLE agents")
    with pytest.raises(errors.StoreUnavailable, match="transaction timeout"):
        db.set_faults("web1", [fault("disk")])
    execute("ROLLBACK")
    db.set_faults("web1", [fault("disk")])


def test_threads_wait_for_a_connection_of_a_small_pool(opened: Callable[..., DB]) -> None:
    db = opened(pool_size="2")
    with ThreadPoolExecutor(16) as executor:
        list(executor.map(lambda number: db.set_faults(f"a{number}", [fault("f")]), range(100)))
    assert len(db.find_faults()) == 100


@pytest.mark.parametrize("agent", ["web1", "new"])
@pytest.mark.parametrize("report", [[fault("disk")], [fault("load")]])
@pytest.mark.usefixtures("interruptible")
def test_a_call_that_waits_for_a_lock_may_be_interrupted(
    opened: Callable[..., DB], execute: Execute, agent: str, report: list[dict[str, Any]]
) -> None:
    db = opened(pool_size="1")
    for _ in range(3):
        db.set_faults("web1", [fault("disk")])
    execute("BEGIN")
    execute("SELECT FROM agents FOR UPDATE")
    execute("INSERT INTO agents SELECT 'new', 1, gen_random_uuid(), gen_random_uuid()")
    over = threading.Event()

    def interrupt() -> bool:
        """True if it was of use before the lock was gone."""
        wait_for_a_lock(opened())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        in_time = over.wait(5)
        execute("ROLLBACK")
        return in_time

    with ThreadPoolExecutor() as executor:
        interrupted = executor.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            db.set_faults(agent, report)
        over.set()
        assert interrupted.result()
    assert [one["name"] for one in db.get_faults("web1")] == ["disk"]
    db.set_faults(agent, report)
    assert db.get_faults(agent)[0]["name"] == report[0]["name"]


def test_a_pool_that_stays_busy_says_so(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened(pool_size="1", connect_timeout="1s")
    db.set_faults("web1", [])
    execute("BEGIN")
    execute("SELECT FROM agents FOR UPDATE")
    with ThreadPoolExecutor() as executor:
        waiting = executor.submit(db.set_faults, "web1", [])
        wait_for_a_lock(opened())
        with pytest.raises(errors.StoreUnavailable, match="pool_size"):
            db.get_agents()
        execute("ROLLBACK")
        waiting.result()


def test_the_application_has_a_name(opened: Callable[..., DB]) -> None:
    query = b"SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    assert rows(opened(), query) == [("zc.cimaa",)]


def test_the_first_host_that_is_there_serves(postgres_server: Server, schema: str) -> None:
    dsn = f"host=/nowhere,{postgres_server.directory} port=1,{postgres_server.port} user=postgres dbname=postgres"
    with DB({"dsn": dsn, "schema": schema}) as db:
        assert db.get_agents() == []


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine that does not respond, as if its host had vanished."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_silent_host_leaves_time_for_the_next_one(postgres_server: Server, schema: str, silent_port: int) -> None:
    hosts = f"host=127.0.0.1,{postgres_server.directory} port={silent_port},{postgres_server.port}"
    with DB({"dsn": f"{hosts} user=postgres dbname=postgres", "schema": schema}) as db:
        assert db.get_agents() == []


def test_a_server_that_does_not_answer_is_not_taken_for_a_pool_that_is_too_small(silent_port: int) -> None:
    with (
        DB({"dsn": f"host=127.0.0.1 port={silent_port}", "connect_timeout": "1s"}) as db,
        pytest.raises(errors.StoreUnavailable, match="cannot be reached: no response within 1 s"),
    ):
        db.get_agents()


# Errors say what to do, and no secret


def test_without_tables_the_message_names_the_command(postgres_dsn: str) -> None:
    with (
        DB({"dsn": postgres_dsn, "schema": "nobodys"}) as db,
        pytest.raises(errors.StoreNotSetUp, match=r"schema nobodys: run setup-postgres CONFIG"),
    ):
        db.set_faults("web1", [])


def test_without_a_database_the_message_names_the_command(postgres_server: Server) -> None:
    with (
        DB({"dsn": f"{postgres_server.socket_dsn} dbname=nobodys"}) as db,
        pytest.raises(errors.StoreNotSetUp, match="setup-postgres --local"),
    ):
        db.set_faults("web1", [])


def test_a_server_out_of_reach_may_be_tried_again() -> None:
    with (
        DB({"dsn": "host=/nowhere dbname=x", "connect_timeout": "1s"}) as db,
        pytest.raises(errors.StoreUnavailable, match=r"PostgreSQL at /nowhere, database x cannot be reached"),
    ):
        db.set_faults("web1", [])


def test_a_standby_is_no_place_to_write(opened: Callable[..., DB]) -> None:
    db = opened("-c default_transaction_read_only=on", connect_timeout="1s")
    with pytest.raises(errors.StoreUnavailable, match="target_session_attrs=read-write"):
        db.set_faults("web1", [])
    assert db.get_agents() == []


@pytest.mark.parametrize(
    "dsn",
    [
        "host=/nowhere password=hunter2 user=u",
        "postgresql://u:hunter2@127.0.0.1:1/db",
        "postgresql://u:hunter2@hunter2@127.0.0.1:1/db",
        "host=/nowhere password=x hunter2",
        "host=/nowhere pasword=hunter2",
        "postgresql://u:hunter2@[::1/db",
        "host=/nowhere password='hunter2",
    ],
)
def test_no_message_holds_a_password(dsn: str) -> None:
    with pytest.raises(errors.Error) as raised:
        DB({"dsn": dsn, "connect_timeout": "1s"}).set_faults("web1", [])
    error: BaseException | None = raised.value
    while error is not None:
        assert "hunter2" not in f"{error!r} {error}"
        error = error.__cause__


@pytest.mark.parametrize("password", ["postgres", "e"])
def test_a_password_that_is_a_common_word_spoils_no_message(password: str) -> None:
    with (
        DB({"dsn": f"host=/nowhere dbname=x password={password}", "connect_timeout": "1s"}) as db,
        pytest.raises(errors.StoreUnavailable, match=r"^PostgreSQL at /nowhere, database x cannot be reached: connect"),
    ):
        db.get_agents()


def test_a_handle_shows_no_dsn() -> None:
    assert "hunter2" not in repr(DB({"dsn": "host=/nowhere password=hunter2"}))


def test_a_refused_password_is_told_at_once(postgres_15: Server) -> None:
    wrong = postgres_15.tcp_dsn(password="hunter2")
    with DB({"dsn": wrong, "connect_timeout": "1h"}) as db, pytest.raises(errors.StoreDenied) as raised:
        db.get_agents()
    assert "hunter2" not in str(raised.value)


def test_a_certificate_that_cannot_be_verified_is_told_at_once(postgres_15: Server, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    unknown = psycopg.conninfo.make_conninfo(postgres_15.tcp_dsn(), sslrootcert=str(stranger))
    with DB({"dsn": unknown, "connect_timeout": "1h"}) as db, pytest.raises(errors.StoreUnavailable, match="no TLS"):
        db.get_agents()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dsn": "hots=x"}, "did you mean host"),
        ({"schema": ""}, "schema"),
        ({"schema": "pg_mine"}, "pg_"),
        ({"schema": "x" * 60}, "54 bytes"),
        ({"pool_size": "0"}, "pool_size"),
        ({"prepare": "maybe"}, "prepare"),
        ({"dns": "x"}, "did you mean dsn"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message):
        DB(settings)
