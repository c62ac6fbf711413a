"""The page of roles has each call and each command that opens a store, and says what the backends' tables say."""

import pytest

from tests.support.role_table import COLUMNS, WITHOUT_STORE, role_table
from zc.cimaa.cli import COMMANDS
from zc.cimaa.db import DB
from zc.cimaa.dynamodb.setup import policies
from zc.cimaa.postgres.setup import roles


def calls(table: dict[str, dict[str, str]]) -> set[str]:
    return {name for name in table if not name.startswith(("cimaa ", "setup-"))}


def commands(table: dict[str, dict[str, str]]) -> set[str]:
    return {name.removeprefix("cimaa ") for name in table if name.startswith("cimaa ")}


@pytest.mark.parametrize("store", COLUMNS)
def test_each_call_has_a_row(store: str) -> None:
    public = {name for name in vars(DB) if not name.startswith("_") and callable(getattr(DB, name))}
    assert {name.split()[0] for name in calls(role_table(store))} == public - {"close", "inherited"}


@pytest.mark.parametrize("store", COLUMNS)
def test_each_command_that_opens_a_store_has_a_row(store: str) -> None:
    assert {name.split()[0] for name in commands(role_table(store))} == COMMANDS.keys() - WITHOUT_STORE


def test_postgresql_grants_what_the_page_says() -> None:
    table = role_table("PostgreSQL")
    assert COLUMNS["PostgreSQL"] == roles.ROLES
    for name in calls(table):
        assert table[name] == {role: roles.may(role, name.split()[0]) for role in roles.ROLES}, name
    for name in commands(table):
        known = name if name in roles.COMMANDS else name.split()[0]
        assert table[f"cimaa {name}"] == {role: roles.may_run(role, known) for role in roles.ROLES}, name
    assert {name if name in roles.COMMANDS else name.split()[0] for name in commands(table)} == roles.COMMANDS.keys()


def test_dynamodb_grants_what_the_page_says() -> None:
    table = role_table("DynamoDB")
    assert COLUMNS["DynamoDB"] == tuple(policies.ROLES)
    assert calls(table) == policies.CALLS.keys()
    for name in calls(table):
        for role, granted in policies.ROLES.items():
            everywhere = (*granted.any, *granted.entries)
            assert table[name][role] == ("yes" if name in everywhere else "own" if name in granted.own else "no"), name


def test_the_owner_of_an_embedded_store_may_do_everything() -> None:
    assert {word for row in role_table("LMDB").values() for word in row.values()} == {"yes"}
