"""setup-postgres makes what a store needs, once and for all, and nothing that it should not."""

import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests import postgres_servers
from tests.postgres_servers import PASSWORD, Server
from zc.cimaa import errors
from zc.cimaa.postgres import DB, versions
from zc.cimaa.postgres.setup import main
from zc.cimaa.testing import fault

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A 15 with passwords and TLS."""
    with postgres_servers.server_15(tls=True) as server:
        yield server


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """The name of a database and its schema, of which nothing is left after the test."""
    name = f"fleet_{next(postgres_servers.numbers)}"
    yield name
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in (name, *(f"{name}_{kind}" for kind in ("agent", "operator", "reader"))):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def run(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a configuration of this dsn."""
    monkeypatch.setenv("PGUSER", "postgres")

    def run(dsn: str, *arguments: str) -> Result:
        config = tmp_path / "cimaa.cfg"
        config.write_text(f"[database]\nclass = zc.cimaa.postgres\ndsn = {dsn}\nschema = {name}\n")
        return CliRunner().invoke(main, [str(config), *arguments])

    return run


def local(server: Server, name: str) -> str:
    return f"host={server.directory} port={server.port} dbname={name} user=whoever"


def passwords(passfile: str) -> dict[str, str]:
    return {line.split(":")[3]: line.split(":")[4] for line in passfile.splitlines()}


def test_local_makes_everything_and_the_roles_can_work(server: Server, name: str, run: Run) -> None:
    done = run(local(server, name), "--local")
    assert done.exit_code == 0, done.output
    found = passwords(done.stdout)
    assert list(found) == [f"{name}_{kind}" for kind in ("agent", "operator", "reader")]
    assert len(set(found.values())) == 3
    with DB({"dsn": server.tcp_dsn(f"{name}_agent", found[f"{name}_agent"], name), "schema": name}) as db:
        db.set_faults("web1", [fault("disk")])
    with DB({"dsn": server.tcp_dsn(f"{name}_reader", found[f"{name}_reader"], name), "schema": name}) as db:
        assert [one["name"] for one in db.find_faults()] == ["disk"]


def test_to_run_it_again_changes_nothing(server: Server, name: str, run: Run) -> None:
    first = run(local(server, name), "--local")
    with DB({"dsn": f"{server.socket_dsn} dbname={name}", "schema": name}) as db:
        db.set_faults("web1", [fault("disk")])
        for again in (["--local"], []):
            done = run(f"{server.socket_dsn} dbname={name}", *again)
            assert (done.exit_code, done.stdout) == (0, "")
            assert "Up to date" in done.stderr
        assert [one["name"] for one in db.get_faults("web1")] == ["disk"]
    found = passwords(first.stdout)
    with DB({"dsn": server.tcp_dsn(f"{name}_agent", found[f"{name}_agent"], name), "schema": name}) as db:
        db.set_faults("web1", [])
