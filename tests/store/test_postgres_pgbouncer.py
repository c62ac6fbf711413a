"""Through a proxy that pools transactions: PgBouncer, where it is installed."""

import logging
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.needs import missing
from tests.support.ports import free_port
from tests.support.postgres_servers import Server, new_schema, opener_for
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.postgres import DB
from zc.cimaa.testing import Conformance, Opener, fault

#: How many sessions the proxy has for all of its clients.
SESSIONS = 2


@pytest.fixture(scope="module")
def proxied(postgres_server: Server) -> Iterator[str]:
    """The dsn of a proxy before the tests' own server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        missing("there is no pgbouncer: install Debian's package of that name")
    port = free_port()
    directory = Path(tempfile.mkdtemp(prefix="cimaa-", dir="/tmp"))
    directory.chmod(0o755)
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"[databases]\npostgres = host={postgres_server.directory} port={postgres_server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SESSIONS}\n"
    )
    with subprocess.Popen([program, "-q", config], user=postgres_server.user, stderr=subprocess.DEVNULL) as proxy:
        dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        wait_for(dsn)
        yield dsn
        proxy.terminate()
    shutil.rmtree(directory)


def wait_for(dsn: str) -> None:
    waiting = threading.Event()
    for _ in range(100):
        try:
            return psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            waiting.wait(0.1)
    pytest.fail("the proxy does not answer")


class TestThroughPgBouncer(Conformance):
    """Without prepared statements."""

    examples = 5

    @pytest.fixture
    def opener(self, proxied: str, own_schema: str) -> Opener:
        return opener_for(proxied, own_schema, prepare="off")


def test_nothing_is_left_in_a_session(proxied: str, own_schema: str) -> None:
    with DB({"dsn": proxied, "schema": own_schema, "prepare": "off"}) as db:
        for number in range(10):
            db.set_faults("web1", [fault("disk", number=number // 3)])
            db.find_faults(pattern="d", limit=1)
    settings = "current_setting('synchronous_commit'), current_setting('statement_timeout')"
    with ExitStack() as stack:
        for connection in all_sessions(proxied, stack).values():
            found = connection.execute(f"SELECT {settings}, count(*) FROM pg_prepared_statements").fetchall()
            assert found == [("on", "0", 0)]


def all_sessions(dsn: str, stack: ExitStack) -> dict[int, psycopg.Connection[Any]]:
    """Connections in a transaction each, by the server's process: no other client gets any of the proxy's sessions."""
    held = {}
    for _ in range(SESSIONS):
        connection = stack.enter_context(psycopg.connect(dsn, prepare_threshold=None))
        held[connection.execute("SELECT pg_backend_pid()").fetchall()[0][0]] = connection
    return held


def test_prepared_statements_fail_with_a_message_that_says_so(
    proxied: str, own_schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        handles = [
            stack.enter_context(DB({"dsn": proxied, "schema": own_schema, "connect_timeout": "1s"})) for _ in range(3)
        ]

        def use_all() -> None:
            for handle in handles * 4:
                handle.dump()

        with pytest.raises(errors.StoreUnavailable, match="set prepare = off"):
            use_all()
    # Nothing more reaches standard error where logging is not configured.
    for record in caplog.records:
        names = [record.name.rsplit(".", dots)[0] for dots in range(record.name.count(".") + 1)]
        assert any(logging.getLogger(name).handlers for name in names)


def test_no_prepared_statement_is_taken_for_that_of_another_client(
    postgres_server: Server, proxied: str, own_schema: str
) -> None:
    """Two stores prepare statements of the same kind, each in a session; then one gets that of the other."""
    with new_schema(postgres_server.socket_dsn) as other, ExitStack() as stack:
        one, two = (
            stack.enter_context(DB({"dsn": proxied, "schema": each}, instance=Instance("host", 1, "1", "os")))
            for each in (own_schema, other)
        )
        held = all_sessions(proxied, stack)
        first, second = held
        for handle, session in ((one, first), (two, second)):
            with lent(held[session]):
                for _ in range(4):
                    handle.set_faults("web1", [])
        server = stack.enter_context(psycopg.connect(postgres_server.socket_dsn, autocommit=True))
        server.execute(f"UPDATE {own_schema}.agents SET updated = 0; UPDATE {other}.agents SET updated = 0")
        with lent(held[first]):
            two.set_faults("web1", [])
        assert server.execute(f"SELECT updated FROM {own_schema}.agents").fetchall() == [(0,)]
        assert server.execute(f"SELECT updated FROM {other}.agents").fetchall() != [(0,)]


@contextmanager
def lent(session: psycopg.Connection[Any]) -> Iterator[None]:
    """The proxy may give this one away for a while."""
    session.rollback()
    yield
    session.execute("SELECT")
