"""A database that setup-postgres sets up on a test server, and the logins that use it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.postgres_servers import Server, numbers
from zc.cimaa.agents import Instance
from zc.cimaa.cli.commands.setup_postgres import setup_postgres as main
from zc.cimaa.postgres import DB


class Fleet:
    """A database and a schema of the same name, which setup-postgres makes as the server's superuser."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.name = f"fleet_{next(numbers)}"
        self.passwords: dict[str, str] = {}
        self._config = directory / f"{self.name}.cfg"
        self.configure(f"host={server.directory} port={server.port} dbname={self.name}")

    def configure(self, dsn: str) -> None:
        """Have setup-postgres use this dsn."""
        self._config.write_text(f"[database]\nclass = zc.cimaa.postgres\ndsn = {dsn}\nschema = {self.name}\n")

    def try_setup(self, *arguments: str, input: str | None = None, place: Sequence[str] = ("--local",)) -> Result:
        return CliRunner().invoke(main, [str(self._config), *place, *arguments], input=input)

    def setup(self, *arguments: str, input: str | None = None, place: Sequence[str] = ("--local",)) -> Result:
        """Run setup-postgres, and remember the passwords that it made."""
        done = self.try_setup(*arguments, input=input, place=place)
        assert done.exit_code == 0, done.output
        for line in done.stdout.splitlines():
            if line.startswith("*:*:"):
                _, _, _, role, password = line.split(":")
                self.passwords[role] = password
        return done

    def login(self, agent: str) -> str:
        """The name of a plain agent's login."""
        return f"{self.name}_agent_{agent}"

    def dsn(self, role: str) -> str:
        if role == "postgres" or not self.server.certificate.exists():
            return make_conninfo(self.server.socket_dsn, user=role, dbname=self.name)
        return self.server.tcp_dsn(role, self.passwords[role], self.name)

    def settings(self, role: str) -> dict[str, str]:
        return {"dsn": self.dsn(role), "schema": self.name, "pool_size": "1", "connect_timeout": "5s"}

    def db(self, role: str = "postgres", instance: Instance | None = None) -> DB:
        return DB(self.settings(role), instance=instance)

    @contextmanager
    def connected(self, role: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.dsn(role), autocommit=True) as connection:
            yield connection

    def sql(self, text: str, **parts: str) -> sql.Composed:
        """A statement in which ``{s}`` is the schema, and other names are identifiers."""
        names = {name: sql.Identifier(part) for name, part in parts.items()}
        return sql.SQL(text).format(s=sql.Identifier(self.name), **names)

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of all tables."""
        tables = ("version", "logins", "agents", "instances", "faults", "squelches", "entries", "history")
        with self.connected() as connection:
            return {
                table: connection.execute(self.sql(f"SELECT * FROM {{s}}.{table} ORDER BY 1, 2")).fetchall()
                for table in tables
            }

    def contents_of_catalog(self) -> list[tuple[Any, ...]]:
        """All relations and functions of the schema, and all roles, with their privileges."""
        query = """
            SELECT relname::text, relacl::text FROM pg_class WHERE relnamespace = %(s)s::regnamespace
            UNION SELECT proname::text, proacl::text FROM pg_proc WHERE pronamespace = %(s)s::regnamespace
            UNION SELECT rolname::text, rolconfig::text FROM pg_roles ORDER BY 1, 2"""
        with self.connected() as connection:
            return connection.execute(query, {"s": f'"{self.name}"'}).fetchall()

    def remove(self) -> None:
        with psycopg.connect(self.server.socket_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))
            query = "SELECT rolname FROM pg_roles WHERE rolname = %s OR starts_with(rolname::text, %s) ORDER BY rolname"
            for (role,) in connection.execute(query, (self.name, f"{self.name}_")).fetchall():
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(params=["postgres_server", "postgres_15"], ids=["18", "15"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A new database, on a server of each version."""
    monkeypatch.setenv("PGUSER", "postgres")
    fleet = Fleet(request.getfixturevalue(request.param), tmp_path)
    yield fleet
    fleet.remove()
