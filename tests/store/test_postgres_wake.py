"""Waking agents on PostgreSQL: what it costs, lost responses, and older tables."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.postgres_relay import Relay
from tests.support.postgres_servers import Server
from zc.cimaa import errors
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import versions
from zc.cimaa.testing import fault

LOGGING = "-c log_statement=all -c log_min_duration_statement=-1"
FAULTS = [fault("disk")]


@pytest.fixture
def statements(postgres_server: Server) -> Callable[[Callable[[], object]], list[str]]:
    """The statements that a call sends, each up to the end of its first line."""

    def statements(call: Callable[[], object]) -> list[str]:
        before = postgres_server.log_size()
        call()
        lines = [line for line in postgres_server.log_since(before) if "statement: " in line or "execute " in line]
        return [line.partition(": ")[2].partition(": ")[2].strip() for line in lines]

    return statements


def test_a_report_of_an_agent_that_was_not_woken_is_one_statement(
    opened: Callable[..., DB], statements: Callable[..., list[str]]
) -> None:
    """As set_faults is, whose statement does not look at the mark, whether there is one or not."""
    db = opened(LOGGING)
    for _ in range(3):
        db.set_faults("web1", FAULTS, 300)
        db.report("web1", FAULTS, 300)
    [asked] = statements(lambda: db.report("web1", FAULTS, 300))
    [touch] = statements(lambda: db.set_faults("web1", FAULTS, 300))
    assert touch.startswith("UPDATE")
    assert "marked" not in touch
    assert asked == "" or asked.startswith("UPDATE")
    db.wake(["web1"])
    assert statements(lambda: db.set_faults("web1", FAULTS, 300)) == [touch]
    assert len(statements(lambda: db.report("web1", FAULTS, 300))) > 1
    assert statements(lambda: db.report("web1", FAULTS, 300)) == [asked]


def test_waking_is_one_durable_transaction(opened: Callable[..., DB], statements: Callable[..., list[str]]) -> None:
    db = opened(LOGGING)
    for number in range(3):
        db.set_faults(f"web{number}", FAULTS)
    sent = statements(lambda: db.wake(f"web{number}" for number in range(5)))
    assert [one.split()[0] if one else "WITH" for one in sent] == ["BEGIN", "SELECT", "WITH", "COMMIT"]
    assert "synchronous_commit" in sent[1]


def test_waking_and_the_report_that_follows_are_hot_updates(
    opened: Callable[..., DB], execute: Callable[..., list[Any]]
) -> None:
    db = opened()
    names = [f"web{number}" for number in range(50)]
    for name in names:
        db.set_faults(name, FAULTS)
    execute("VACUUM agents")
    execute("SELECT pg_stat_reset_single_table_counters('agents'::regclass)")
    for _ in range(10):
        assert db.wake(names) == db.wake(names) == 50  # the second one writes nothing
        assert all(db.report(name, FAULTS) for name in names)
    db.close()  # its session sends its statistics then
    for _ in range(500):
        query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'agents'::regclass"
        [(updates, hot)] = execute(query)
        if updates == 1000:
            break
        threading.Event().wait(0.02)
    assert updates == 1000
    assert hot >= 0.99 * updates


@pytest.mark.parametrize("faults", [FAULTS, [fault("load")]], ids=["same faults", "other faults"])
def test_an_answer_is_not_lost_with_its_response(
    opened: Callable[..., DB],
    relay: Relay,
    faults: list[dict[str, Any]],
) -> None:
    """The connection is lost after the server committed the report, which is sent again."""
    db = opened(dsn=relay.dsn)
    db.set_faults("web1", FAULTS)
    db.wake(["web1"])
    assert lose(relay, b"COMMIT\0", lambda: db.report("web1", faults)) is True
    assert db.report("web1", faults) is False


def test_a_wake_is_not_lost_with_its_response(opened: Callable[..., DB], relay: Relay) -> None:
    db = opened(dsn=relay.dsn)
    db.set_faults("web1", FAULTS)
    assert lose(relay, b"COMMIT\0", lambda: db.wake(["web1"])) == 1
    assert [db.report("web1", FAULTS), db.report("web1", FAULTS)] == [True, False]


def lose(relay: Relay, wanted: bytes, call: Callable[[], Any]) -> Any:
    """What the call returns if the connection breaks when the server first responds this."""
    lost = []

    def damage(data: bytes) -> bytes:
        if wanted in data and not lost:
            lost.append(data)
            raise ConnectionResetError
        return data

    relay.damage = damage
    try:
        return call()
    finally:
        assert lost


@pytest.mark.parametrize("version", range(1, versions.MARKS))
def test_on_older_tables_reports_go_on_and_waking_names_the_command(
    opened: Callable[..., DB], execute: Callable[..., list[Any]], schema: str, version: int
) -> None:
    execute(f'SET client_min_messages TO error; DROP SCHEMA "{schema}" CASCADE; CREATE SCHEMA "{schema}"')
    for older in range(1, version + 1):
        execute(versions.migration(older))
    db = opened()
    for faults in (FAULTS, FAULTS, [], FAULTS):
        assert db.report("web1", faults) is False
        db.set_faults("web1", faults)
        assert db.get_faults("web1") == [{"agent": "web1", **one} for one in faults]
    with pytest.raises(errors.StoreNotSetUp, match=f"have version {version}, .* run setup-postgres CONFIG"):
        db.wake(["web1"])
    for newer in range(version + 1, versions.VERSION + 1):
        execute(versions.migration(newer))
    db.close()
    db = opened()
    assert db.wake(["web1"]) == 1
    assert [db.report("web1", FAULTS), db.report("web1", FAULTS)] == [True, False]
