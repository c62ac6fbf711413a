"""How setup-postgres goes about it: over which connections, what comes after what, and all of it or nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ...errors import ConfigurationError
from ..conninfo import ConnInfo
from ..errors import is_lost, setup_failed
from ..session import Bounded
from ..sql import check_schema
from . import roles
from .steps import Facts, Show, Steps
from .versions import VERSION

# Where servers have their sockets: Debian's and Red Hat's, and PostgreSQL's own.
_SOCKETS = ("/var/run/postgresql", "/tmp")  # noqa: S108

# What of the agents' connection does not hold for an administrator's, over the socket of this machine.
_NOT_LOCAL = ("service", "hostaddr", "user", "password", "passfile", "sslmode", "sslrootcert", "target_session_attrs")


class Installation:
    """One run of setup-postgres."""

    def __init__(
        self, settings: dict[str, Any], place: str | None, wait: int, show: Show | None, tell: Callable[[str], None]
    ) -> None:
        """Prepare it: ``place`` is ``local``, ``remote`` or neither; ``tell`` is for what people should know.

        A statement may take ``wait`` seconds.
        """
        self._schema = check_schema(settings["schema"])
        self._conninfo = ConnInfo(settings["dsn"], max(settings["connect_timeout"], 1))
        self._place = place
        self._wait = wait
        self._show = show
        self._tell = tell

    def run(self, keep: Callable[[str], None]) -> str:
        """Do it; the new roles' passwords as a passfile, which ``keep`` gets as well, just before all is committed.

        :raises Error: at the first thing that fails.
        """
        with ExitStack() as stack:
            if self._place == "local":
                return self._run_local(stack, keep)
            connection = self._connected(self._conninfo, stack)
            if self._place == "remote" and connection is not None:
                _require_tls(connection, self._conninfo)
            return self._make(connection, self._conninfo, keep)

    def _run_local(self, stack: ExitStack, keep: Callable[[str], None]) -> str:
        administrator = _administrator(self._conninfo)
        connection = self._connected(administrator, stack)
        with _translated(administrator):
            made = self._steps(connection).make_database(_database(self._conninfo))
        conninfo = administrator.but({"dbname": _database(self._conninfo)})
        if self._show is not None:
            self._show(f"\\connect {sql.Identifier(_database(self._conninfo)).as_string(None)}")
        if connection is None or (made and self._show is not None):
            return self._make(None, conninfo, keep)
        return self._make(self._connected(conninfo, stack), conninfo, keep)

    def _make(self, connection: Bounded | None, conninfo: ConnInfo, keep: Callable[[str], None]) -> str:
        """Make roles and tables, in one transaction."""
        steps = self._steps(connection)
        with _translated(conninfo), steps.transaction():
            facts = steps.facts() if connection is not None else Facts(owner=self._new_owner)
            existing, missing = self._sorted_out(facts)
            passwords = steps.make_roles(missing)
            if facts.grants_connect:
                steps.let_connect([*existing, *missing], _database(self._conninfo))
            steps.make_tables(facts)
            steps.grant([*existing, *missing])
            passfile = roles.passfile(_database(self._conninfo), passwords) if passwords else ""
            if passfile:
                keep(passfile)
        if self._show is None:
            self._tell(_told(facts, conninfo, self._schema))
        return passfile

    def _sorted_out(self, facts: Facts) -> tuple[list[str], list[str]]:
        """Those of the roles that exist, and those to be made."""
        names = roles.names(self._schema)
        existing = [name for name in names if name in facts.roles]
        missing = [name for name in names if name not in facts.roles]
        if self._place is None:
            return existing, []
        if missing and not facts.creates_roles:
            self._tell(
                f"The roles {', '.join(missing)} are missing, and this one may not make any: have somebody who may"
                " make them (CREATE ROLE ... LOGIN), and run this again."
            )
            return existing, []
        return existing, missing

    @property
    def _new_owner(self) -> str | None:
        """Who owns the schema where everything is missing."""
        return self._schema if self._place == "local" else None

    def _connected(self, conninfo: ConnInfo, stack: ExitStack) -> Bounded | None:
        """A connection; if it is only to show what is missing, and there is none, everything is."""
        try:
            connection = stack.enter_context(Bounded.connect(str(conninfo), autocommit=True))
            connection.response_timeout = self._wait
            return connection
        except psycopg.Error as error:
            failed = setup_failed(error, conninfo, self._place == "local")
            if self._show is None or not is_lost(error):
                raise failed from error
            self._tell(f"{failed}; shown is what makes everything anew")
            return None

    def _steps(self, connection: Bounded | None) -> Steps:
        return Steps(connection, self._schema, self._show)


def _administrator(conninfo: ConnInfo) -> ConnInfo:
    """How the superuser connects to the server of this machine: as who runs this, or says ``PGUSER``."""
    hosts = (conninfo.get("host") or "", os.environ.get("PGHOST", ""), *_SOCKETS)
    host = next(host for host in hosts if host.startswith("/") and Path(host).is_dir())
    return conninfo.but({**dict.fromkeys(_NOT_LOCAL), "host": host, "dbname": "postgres"})


def _database(conninfo: ConnInfo) -> str:
    database = conninfo.get("dbname")
    if not database:
        raise ConfigurationError("[database] dsn names no database: add dbname=cimaa, say")
    return database


def _require_tls(connection: Bounded, conninfo: ConnInfo) -> None:
    if not connection.pgconn.ssl_in_use:
        raise ConfigurationError(
            f"[database] dsn: the connection to {conninfo.where} is not encrypted: add sslmode=verify-full"
            " (for the server of this machine there is --local)"
        )


def _told(facts: Facts, conninfo: ConnInfo, schema: str) -> str:
    where = f"the tables in the schema {schema}, {conninfo.where}"
    if facts.version == VERSION:
        return f"Up to date, at version {VERSION}: {where}"
    before = f"brought from version {facts.version}" if facts.version else "made"
    return f"Now {before}, at version {VERSION}: {where}"


@contextmanager
def _translated(conninfo: ConnInfo) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise setup_failed(error, conninfo) from error
