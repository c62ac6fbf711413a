"""Entries and leases on PostgreSQL: what they cost, a connection that is cut, and tables of the last version."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.postgres_relay import Relay
from tests.support.postgres_servers import Server
from zc.cimaa import errors
from zc.cimaa.entries import SHARED_KINDS
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import roles, versions
from zc.cimaa.testing import fault
from zc.cimaa.testing.tools import entry

WHERE = ("test", "", "key")


@pytest.fixture
def db(relay: Relay, own_schema: str) -> Iterator[DB]:
    """A handle whose connections lead through the relay."""
    dsn = f"{relay.dsn} options='-c log_statement=all'"
    with DB({"dsn": dsn, "schema": own_schema, "pool_size": "1"}) as db:
        yield db


@pytest.fixture
def other(postgres_server: Server, own_schema: str) -> Iterator[DB]:
    with DB({"dsn": postgres_server.socket_dsn, "schema": own_schema}) as db:
        yield db


def statements(server: Server, call: Callable[[], object]) -> list[str]:
    """The statements about entries that the server got meanwhile from the handle ``db``."""
    start = server.log_size()
    call()
    log = "\n".join(server.log_since(start))
    return [message for message in log.split("LOG:") if ".entries" in message]


def test_a_renewal_is_one_update_and_no_read(db: DB, own_schema: str, postgres_server: Server) -> None:
    """Besides the question for the server's time; the update is HOT."""
    for state in range(3):
        db.lease("job", "a", 60, state={"state": str(state)})
    [statement] = statements(postgres_server, lambda: db.lease("job", "a", 60))
    assert "UPDATE" in statement
    with psycopg.connect(postgres_server.socket_dsn) as connection:
        changed = "jsonb_set(value, '{until}', '1') || '{\"state\": \"other\"}'"
        query = f"UPDATE {own_schema}.entries SET revision = gen_random_uuid(), value = {changed}"
        assert connection.execute(query.encode()).rowcount == 1
        query = "SELECT pg_stat_get_xact_tuples_hot_updated(%s::regclass)"
        assert connection.execute(query, (f"{own_schema}.entries",)).fetchall() == [(1,)]


def test_an_agent_that_waits_reads_and_does_not_write(db: DB, other: DB, postgres_server: Server) -> None:
    other.lease("job", "b", 60)
    for _ in range(3):
        db.lease("job", "a", 60)
    [statement] = statements(postgres_server, lambda: db.lease("job", "a", 60))
    assert "SELECT" in statement
    assert "UPDATE" not in statement


def cut(relay: Relay) -> threading.Event:
    """The next answer to a commit is lost, with its connection; then the event is set."""
    done = threading.Event()

    def damage(data: bytes) -> bytes:
        if b"COMMIT\0" in data and not done.is_set():
            done.set()
            raise ConnectionResetError
        return data

    relay.damage = damage
    return done


def test_a_write_whose_answer_was_lost_is_recognized(relay: Relay, db: DB, other: DB) -> None:
    one, two, three = entry(value=1), entry(value=2), entry(value=3)
    for was, becomes in ((None, one), (one.revision, two)):
        lost = cut(relay)
        assert db._swap(*WHERE, was, becomes)
        assert lost.is_set()
        assert list(other._entries(*WHERE)) == [becomes]
    lost = cut(relay)
    assert not db._swap(*WHERE, one.revision, three)
    assert lost.is_set()
    lost = cut(relay)
    assert db._swap(*WHERE, two.revision, None)
    assert lost.is_set()
    assert list(other._entries(*WHERE)) == []
    lost = cut(relay)
    assert db._add([one, entry(key="another")]) == 2
    assert lost.is_set()


def test_a_lease_whose_answer_was_lost_is_the_holders(relay: Relay, db: DB, other: DB) -> None:
    for _ in range(2):
        lost = cut(relay)
        taken = db.lease("job", "a", 60)
        assert ((taken.holder, taken.token), lost.is_set()) == (("a", 1), True)
    lost = cut(relay)
    assert db.release("job", "a")
    assert lost.is_set()
    assert other.lease("job", "b", 60).token == 2


@pytest.fixture
def tables_of_version_3(postgres_server: Server, own_schema: str) -> str:
    with psycopg.connect(postgres_server.socket_dsn, autocommit=True) as connection:
        connection.execute(
            f"SET client_min_messages TO error; DROP SCHEMA {own_schema} CASCADE; CREATE SCHEMA {own_schema}"
        )
        connection.execute(f"SET search_path TO {own_schema}, pg_temp")
        for version in (1, 2, 3):
            connection.execute(versions.migration(version))
    return own_schema


def test_an_agent_works_on_older_tables_until_it_wants_an_entry(tables_of_version_3: str, other: DB) -> None:
    other.set_faults("web1", [fault("f")])
    calls = (lambda: other.lease("job", "a", 60), lambda: other.release("job", "a"), other.get_leases)
    for call in (*calls, lambda: other.forget_lease("job")):
        wanted = f"the tables in the schema {tables_of_version_3} have version 3, and this needs .*: run setup-postgres"
        with pytest.raises(errors.StoreNotSetUp, match=wanted):
            call()
    other.set_faults("web1", [])
    assert other.dump()["faults"]


def test_the_policies_name_the_kinds_that_agents_write() -> None:
    for condition in (roles.ADDED_ENTRIES[roles.AGENT], roles.CHANGED_ENTRIES[roles.CONFINED]):
        assert f"kind IN ({', '.join(map(repr, SHARED_KINDS))})" in condition
