"""The views of actions, commands and signatures, for people who query PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.postgres_servers import Server
from tests.support.signed_actions import action_data
from tests.support.ssh_keys import Keys
from zc.cimaa.actions import signers
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.entries import Entry
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.sql import Statements


@pytest.fixture
def db(postgres_server: Server, own_schema: str) -> Iterator[DB]:
    with DB({"dsn": postgres_server.socket_dsn, "schema": own_schema}) as db:
        yield db


def explained(server: Server, schema: str, action: str) -> str:
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute(f"VACUUM {schema}.entries".encode())
        lines = connection.execute(b"EXPLAIN " + Statements(schema).count_commands, (action, None)).fetchall()
    return "\n".join(line for (line,) in lines)


def rows(server: Server, schema: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.socket_dsn, options=f"-c search_path={schema}") as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_views_show_actions_commands_and_who_signed(
    db: DB, own_schema: str, postgres_server: Server, keys: Keys, tmp_path: Path
) -> None:
    data = action_data("who has it")
    given = b""
    for name, kind in (("jane", "ed25519"), ("joe", "ecdsa"), ("jim", "rsa")):
        keys.make(name, kind)
        given += keys.sign(name, data)
    fleet = FleetActions(db)
    action = fleet.add(data, given, "jane")
    list(fleet.deliver(action.document(), ["web1", "web2", "web3"]))
    first, second = (fleet.commands_of(name)[0] for name in ("web1", "web2"))
    claimed = fleet.claim(first)
    assert claimed
    fleet.finish(claimed, "success", found=True)
    fleet.finish(second, "refused", "no")
    query = "SELECT id, name, target, sender, cancelled_by, state FROM actions"
    shown = (action.id, "who has it", "agent=~.", "jane", None, "inflight")
    assert rows(postgres_server, own_schema, query) == [shown]
    query = "SELECT agent, state, found, reason FROM commands ORDER BY agent"
    assert rows(postgres_server, own_schema, query) == [
        ("web1", "success", True, None),
        ("web2", "refused", False, "no"),
        ("web3", "sent", False, None),
    ]
    signed = [signers.fingerprint(signature.key) for signature in signers.signatures(given)]
    assert [key for (key,) in rows(postgres_server, own_schema, "SELECT key FROM signatures ORDER BY number")] == signed
    fleet.cancel(action.id, "joe")
    assert rows(postgres_server, own_schema, "SELECT cancelled_by, state FROM actions") == [("joe", "cancelled")]
    query = "SELECT state FROM commands ORDER BY agent"
    assert rows(postgres_server, own_schema, query) == [("success",), ("refused",), ("cancelled",)]


def test_commands_are_counted_without_reading_their_rows(db: DB, own_schema: str, postgres_server: Server) -> None:
    fleet = FleetActions(db)
    action = fleet.add(action_data(), b"", "jane")
    names = [f"web{number}" for number in range(2000)]
    list(fleet.deliver(action.document(), names))
    plan = explained(postgres_server, own_schema, action.id)
    assert "Index Only Scan using entries_key" in plan
    assert "Sort" not in plan
    for name in names[:3]:
        fleet.finish(fleet.commands_of(name)[0], "refused", "no")
    counted = fleet.counters(action)
    assert (counted.sent, counted.states["sent"], counted.states["refused"]) == (2000, 1997, 3)


HOSTILE = [
    *(None, [], 5, {}, {"document": 5, "signatures": [], "sent": "x"}, {"document": "{", "sent": 1e300}),
    *({"document": '{"name": "\\u0000"}'}, {"document": '{"validfrom": "x"}'}, {"document": "[1]"}),
    {"signatures": "-----BEGIN SSH SIGNATURE-----\nAAAAA\n-----END SSH SIGNATURE-----"},
    {"signatures": "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAf////8=\n-----END SSH SIGNATURE-----"},
]


def test_what_is_not_an_action_or_a_command_does_not_prevent_reading_others(
    db: DB, own_schema: str, postgres_server: Server
) -> None:
    fleet = FleetActions(db)
    action = fleet.add(action_data(), b"", "jane")
    list(fleet.deliver(action.document(), ["web1"]))
    for number, value in enumerate(HOSTILE):
        db._swap("action", "", str(number), None, Entry("action", "", str(number), value, uuid4().hex))
        db._swap("command", "web1", str(number), None, Entry("command", "web1", str(number), value, uuid4().hex))
    for view in ("actions", "commands"):
        assert len(rows(postgres_server, own_schema, f"SELECT * FROM {view}")) == len(HOSTILE) + 1
    rows(postgres_server, own_schema, "SELECT * FROM signatures")
    assert len(fleet.actions()) == len(HOSTILE) + 1
    assert fleet.counters(action).sent == 1
