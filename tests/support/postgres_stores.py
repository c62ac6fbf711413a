"""Fixtures for tests that look at a PostgreSQL store from inside: its schema, handles with options, and SQL."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.postgres_servers import Server, new_schema
from zc.cimaa.postgres import DB

#: Runs SQL, and returns the rows.
Execute = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def schema(postgres_dsn: str) -> Iterator[str]:
    with new_schema(postgres_dsn) as schema:
        yield schema


@pytest.fixture
def own_schema(postgres_server: Server) -> Iterator[str]:
    """A schema on the server that the tests started, also if the environment names another one."""
    with new_schema(postgres_server.socket_dsn) as schema:
        yield schema


@pytest.fixture
def opened(postgres_dsn: str, schema: str) -> Iterator[Callable[..., DB]]:
    """Opens handles on the test's store, with these settings, and closes them."""
    handles: list[DB] = []

    def opened(options: str = "", **kwargs: Any) -> DB:
        given = {key: kwargs.pop(key) for key in ("instance", "clock") if key in kwargs}
        dsn = kwargs.pop("dsn", postgres_dsn)
        dsn = psycopg.conninfo.make_conninfo(dsn, options=options) if options else dsn
        handles.append(DB({"dsn": dsn, "schema": schema, **kwargs}, **given))
        return handles[-1]

    yield opened
    for handle in handles:
        handle.close()


@pytest.fixture
def execute(postgres_dsn: str, schema: str) -> Iterator[Execute]:
    """Runs SQL in the test's schema, over a connection of its own."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))

        def execute(query: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        yield execute
