"""setup-postgres makes what a store needs, once and for all, and nothing that it should not."""

import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support import postgres_servers
from tests.support.postgres_servers import PASSWORD, Server
from zc.cimaa import errors
from zc.cimaa.cli.commands.setup_postgres import setup_postgres as main
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import versions
from zc.cimaa.testing import fault

Run = Callable[..., Result]


@pytest.fixture
def server(postgres_15: Server) -> Server:
    return postgres_15


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """The name of a database and its schema, of which nothing is left after the test."""
    name = f"fleet_{next(postgres_servers.numbers)}"
    yield name
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in (name, *(f"{name}_{kind}" for kind in ("agent", "operator", "investigator", "reader"))):
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
    return f"host={server.directory} port={server.port} dbname={name} user=any"


def passwords(passfile: str) -> dict[str, str]:
    return {line.split(":")[3]: line.split(":")[4] for line in passfile.splitlines()}


def test_local_makes_everything_and_the_roles_can_work(server: Server, name: str, run: Run) -> None:
    done = run(local(server, name), "--local")
    assert done.exit_code == 0, done.output
    found = passwords(done.stdout)
    assert list(found) == [f"{name}_{kind}" for kind in ("agent", "operator", "investigator", "reader")]
    assert len(set(found.values())) == 4
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


def test_the_passwords_go_to_a_new_file_that_only_its_owner_may_read(
    server: Server, name: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "passfile"
    done = run(local(server, name), "--local", "--passwords", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    whole = conninfo_to_dict(server.tcp_dsn(f"{name}_reader", database=name))
    reader = make_conninfo("", **{**whole, "password": None, "passfile": str(file)})
    with DB({"dsn": reader, "schema": name}) as db:
        assert db.get_agents() == []


def test_a_file_that_is_there_already_stays_and_nothing_is_made(
    server: Server, name: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / ".pgpass"
    file.write_text("mine")
    done = run(local(server, name), "--local", "--passwords", str(file))
    assert done.exit_code == 1
    assert str(file) in done.stderr
    assert file.read_text() == "mine"
    with psycopg.connect(server.socket_dsn) as connection:
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"{name}\\_%",)).fetchall()
    assert roles == []


def test_no_password_reaches_the_servers_log(server: Server, name: str, run: Run) -> None:
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
        done = run(local(server, name), "--local")
        connection.execute("ALTER SYSTEM RESET log_statement")
        connection.execute("SELECT pg_reload_conf()")
    log = (server.data / "log").read_text()
    assert f'CREATE ROLE "{name}_agent" LOGIN PASSWORD' in log
    assert not [password for password in passwords(done.stdout).values() if password in log]


@pytest.mark.parametrize("arguments", [["--local"], []])
def test_print_shows_what_would_be_run_and_runs_nothing(
    server: Server, name: str, run: Run, arguments: list[str]
) -> None:
    shown = run(local(server, name), "--print", *arguments)
    assert shown.exit_code == 0, shown.output
    with psycopg.connect(server.socket_dsn) as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchall() == []
    if not arguments:
        server.psql(f'CREATE DATABASE "{name}"', "postgres")
    server.psql(shown.stdout, "postgres" if arguments else name)
    done = run(f"{server.socket_dsn} dbname={name}", "--print", *arguments)
    assert done.exit_code == 0, done.output
    assert "CREATE" not in done.stdout
    with DB({"dsn": f"{server.socket_dsn} dbname={name}", "schema": name}) as db:
        assert db.get_agents() == []


@pytest.fixture
def owner_dsn(server: Server, name: str) -> str:
    """Over TLS, as a role that owns only the database."""
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        role = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, PASSWORD))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
    return server.tcp_dsn(name, database=name)


def test_remote_works_as_a_role_that_owns_only_the_database(
    server: Server, name: str, run: Run, owner_dsn: str
) -> None:
    done = run(owner_dsn, "--remote")
    assert done.exit_code == 0, done.output
    assert f"{name}_agent, {name}_operator, {name}_investigator, {name}_reader are missing" in done.stderr
    with DB({"dsn": owner_dsn, "schema": name}) as db:
        db.set_faults("web1", [fault("disk")])
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(f"{name}_agent"), PASSWORD)
        )
    again = run(owner_dsn, "--remote")
    assert again.exit_code == 0, again.output
    with DB({"dsn": server.tcp_dsn(f"{name}_agent", database=name), "schema": name}) as db:
        db.set_faults("web1", [])


def test_remote_makes_the_roles_where_it_may(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(name)))
    done = run(owner_dsn, "--remote")
    assert done.exit_code == 0, done.output
    found = passwords(done.stdout)
    with DB({"dsn": server.tcp_dsn(f"{name}_operator", found[f"{name}_operator"], name), "schema": name}) as db:
        db.squelch("disk", "", "ops")


def test_remote_makes_logins_of_agents_where_it_may(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    refused = run(owner_dsn, "--agent", "web1")
    assert refused.exit_code == 1
    assert "logins of agents are roles, and this role may not create any" in refused.stderr
    server.psql(f'ALTER ROLE "{name}" CREATEROLE')
    done = run(owner_dsn, "--agent", "web1")
    assert done.exit_code == 0, done.output
    login = f"{name}_agent_web1"
    with DB({"dsn": server.tcp_dsn(login, passwords(done.stdout)[login], name), "schema": name}) as db:
        db.set_faults("web1", [fault("disk")])
        with pytest.raises(errors.StoreDenied):
            db.set_faults("web2", [])
    assert run(owner_dsn, "--list-agents").stdout == f"web1\t{login}\n"
    assert run(owner_dsn, "--remove", "--agent", "web1").exit_code == 0


def test_logins_are_listed_for_the_owner_alone(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    found = passwords(run(local(server, name), "--local").stdout)
    dsn = server.tcp_dsn(f"{name}_reader", found[f"{name}_reader"], name)
    done = run(dsn, "--list-agents")
    assert done.exit_code == 1
    assert f"belongs to the role {name}" in done.stderr
    assert f"to do: run this as the role {name}, or as a superuser" in run(dsn, "--check").stdout


def test_remote_lets_the_roles_connect_where_not_everybody_may(
    server: Server, name: str, run: Run, owner_dsn: str
) -> None:
    server.psql(f'ALTER ROLE "{name}" CREATEROLE; REVOKE ALL ON DATABASE "{name}" FROM PUBLIC', "postgres")
    done = run(owner_dsn, "--remote")
    assert done.exit_code == 0, done.output
    found = passwords(done.stdout)
    with DB({"dsn": server.tcp_dsn(f"{name}_agent", found[f"{name}_agent"], name), "schema": name}) as db:
        db.set_faults("web1", [])


def test_the_owner_of_the_schema_alone_need_not_own_the_database(
    server: Server, name: str, run: Run, owner_dsn: str
) -> None:
    server.psql(f'ALTER DATABASE "{name}" OWNER TO postgres', "postgres")
    server.psql(f'CREATE SCHEMA "{name}" AUTHORIZATION "{name}"; CREATE ROLE "{name}_agent"', name)
    done = run(owner_dsn, "--remote")
    assert done.exit_code == 0, done.output


def test_local_tells_whoever_is_no_superuser_how_to_become_one(
    server: Server, name: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGUSER", "nobody_here")
    done = run(local(server, name), "--local")
    assert done.exit_code == 1
    assert "sudo -u postgres" in done.stderr


def test_a_standby_is_no_place_to_set_up(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    done = run(make_conninfo(owner_dsn, options="-c default_transaction_read_only=on"))
    assert done.exit_code == 1
    assert "can only be read" in done.stderr


def test_remote_refuses_a_connection_without_tls(server: Server, name: str, run: Run) -> None:
    done = run(server.socket_dsn, "--remote")
    assert done.exit_code == 1
    assert "not encrypted" in done.stderr


def test_a_schema_of_somebody_elses_is_left_alone(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    server.psql(f'CREATE SCHEMA "{name}"', name)
    done = run(owner_dsn)
    assert done.exit_code == 1
    assert "belongs to the role postgres" in done.stderr


def test_it_stops_at_the_first_error_and_leaves_nothing(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    with psycopg.connect(f"{server.socket_dsn} dbname={name}", autocommit=True) as connection:
        schema = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(schema, schema))
        connection.execute(sql.SQL("CREATE TABLE {}.faults (mine int)").format(schema))
    done = run(owner_dsn)
    assert done.exit_code == 1
    assert 'relation "faults" already exists' in done.stderr
    assert done.stderr.count("\n") == 1
    with psycopg.connect(f"{server.socket_dsn} dbname={name}") as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (name,)).fetchall()
    assert tables == [("faults",)]


def test_what_others_may_do_in_a_database_of_theirs_is_left_alone(
    server: Server, name: str, run: Run, owner_dsn: str
) -> None:
    """Their programs may need large objects and temporary tables."""
    done = run(local(server, name), "--local")
    assert done.exit_code == 0, done.output
    reader = f"{name}_reader"
    with psycopg.connect(server.tcp_dsn(reader, passwords(done.stdout)[reader], name)) as connection:
        connection.execute("SELECT lo_create(0)")
        connection.execute("CREATE TEMPORARY TABLE theirs (x int)")
        connection.rollback()
    checked = run(local(server, name), "--local", "--check").stdout
    assert "large objects: every role may make some\ntemporary tables: every role may make some\n" in checked


def test_newer_tables_are_left_alone(server: Server, name: str, run: Run, owner_dsn: str) -> None:
    run(owner_dsn)
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("UPDATE {}.version SET current = 99, oldest = 98").format(sql.Identifier(name)))
    done = run(owner_dsn)
    assert done.exit_code == 1
    assert "version 99" in done.stderr
    with pytest.raises(errors.StoreIncompatible, match=r"version 99.*know version 98.*upgrade zc\.cimaa"):
        DB({"dsn": owner_dsn, "schema": name}).get_agents()


@pytest.mark.parametrize("version", range(versions.VERSION))
def test_migrating_from_an_earlier_version_gives_what_creating_anew_gives(
    server: Server, name: str, run: Run, owner_dsn: str, version: int
) -> None:
    """From version 0, which is nothing, by the migrations alone."""
    schema = sql.Identifier(name)
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}; SET search_path TO {}, pg_temp").format(schema, schema))
        for earlier in range(1, (version or versions.VERSION) + 1):
            connection.execute(versions.migration(earlier))
    assert run(owner_dsn).exit_code == 0
    migrated = described(server, name)
    server.psql(f'SET client_min_messages TO error; DROP SCHEMA "{name}" CASCADE', name)
    assert run(owner_dsn).exit_code == 0
    assert migrated == described(server, name)


def described(server: Server, name: str) -> str:
    """The schema as pg_dump has it, with what is in the table version."""
    dumped = subprocess.run(
        [server.programs / "pg_dump", "-n", name, "--restrict-key=x", f"{server.socket_dsn} dbname={name}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dumped.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class = zc.cimaa.memory\n", "this command is for zc.cimaa.postgres"),
        ("class = zc.cimaa.postgres\ndsn = host=/nowhere hots=x\n", "did you mean host?"),
        ("class = zc.cimaa.postgres\ndsn = host=/nowhere\nschema = pg_x\n", "schema: 'pg_x'"),
        ("class = zc.cimaa.postgres\ndsn = host=/nowhere dbname=x\nconnect_timeout = 1s\n", "cannot be reached"),
        ("class = zc.cimaa.postgres\nshema = x\n", "did you mean schema?"),
        ("class = zc.cimaa.postgres\ndsn = host=x sslmode=requre\n", "invalid sslmode 'requre'; did you mean require?"),
        ("class = zc.cimaa.postgres\ndsn = postgresql:///x?sslmode=verify\n", "invalid sslmode 'verify'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "cimaa.cfg"
    config.write_text(f"[database]\n{text}")
    done = CliRunner().invoke(main, [str(config)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_usage_is_told_from_failure() -> None:
    assert CliRunner().invoke(main, ["x.cfg", "--lokal"]).exit_code == 2
    assert CliRunner().invoke(main, ["x.cfg", "--local", "--remote"]).exit_code == 2
    assert CliRunner().invoke(main, ["x.cfg", "--renew"]).exit_code == 2
    assert CliRunner().invoke(main, ["x.cfg", "--agents-from", "-"], input=b"\xff").exit_code == 2
    assert CliRunner().invoke(main, ["/nowhere/x.cfg"]).exit_code == 1


@pytest.mark.parametrize("agent", ["_", "x" * 256, "a\0b"])
def test_what_can_be_no_agent_gets_no_login(tmp_path: Path, agent: str) -> None:
    config = tmp_path / "cimaa.cfg"
    config.write_text("[database]\nclass = zc.cimaa.postgres\ndsn = host=/nowhere\n")
    done = CliRunner().invoke(main, [str(config), "--agents-from", "-"], input=agent)
    assert done.exit_code == 1
    assert "agent" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["agent", "operator", "investigator", "reader"])
def test_a_role_may_do_nothing_beyond_its_work(server: Server, name: str, run: Run, kind: str) -> None:
    found = passwords(run(local(server, name), "--local").stdout)
    dsn = server.tcp_dsn(f"{name}_{kind}", found[f"{name}_{kind}"], name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in FORBIDDEN[kind]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL(statement).format(schema=sql.Identifier(name)))


EVERYBODY = (
    "CREATE SCHEMA mine",
    "CREATE TABLE {schema}.mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "UPDATE {schema}.version SET version = 1",
    "TRUNCATE {schema}.agents CASCADE",
    "ALTER TABLE {schema}.agents DROP COLUMN digest",
    "DROP TABLE {schema}.faults",
    "CREATE ROLE mine",
    "COPY {schema}.agents TO PROGRAM 'true'",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT * FROM {schema}.logins",
    "UPDATE {schema}.history SET at = 0",
    "TRUNCATE {schema}.history",
)
PRUNING = ("DELETE FROM {schema}.history",)
REPORTING = (
    "INSERT INTO {schema}.agents SELECT",
    "UPDATE {schema}.agents SET updated = 0",
    "DELETE FROM {schema}.faults",
)
OPERATING = ("DELETE FROM {schema}.agents", "DELETE FROM {schema}.squelches", "INSERT INTO {schema}.squelches SELECT")
ADDING = "INSERT INTO {{schema}}.entries VALUES ('{}', '{}', 'x', '00000000-0000-0000-0000-000000000000', '1')"
SENDING = (ADDING.format("action", ""), ADDING.format("command", "web1"))
NOT_SENDING = (
    ADDING.format("lease", ""),
    ADDING.format("answer", "web1"),
    "UPDATE {schema}.entries SET kind = 'action'",
    "DELETE FROM {schema}.entries",
)
READING = (*EVERYBODY, *REPORTING, *OPERATING, *PRUNING, "INSERT INTO {schema}.history SELECT")
FORBIDDEN = {
    "agent": (*EVERYBODY, *OPERATING[1:], *PRUNING, *SENDING),
    "operator": (*EVERYBODY, *REPORTING, *SENDING),
    "investigator": (*READING, *NOT_SENDING),
    "reader": (*READING, *SENDING, *NOT_SENDING),
}
