"""How setup-postgres goes about it: over which connections, what comes after what, and all of it or nothing."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ... import backoff
from ...errors import ConfigurationError, StoreDenied
from ..conninfo import ConnInfo
from ..errors import LOCKED, is_lost, setup_failed
from ..session import Bounded
from ..sql import check_schema
from .facts import Facts
from .logins import LoginRequest
from .passwords import passfile
from .plan import Plan, SetupReport, plan, report
from .step_runner import Show
from .steps import Steps
from .versions import VERSION, dropped_policies

# Seconds: see zc.cimaa.backoff.
_BASE_DELAY, _LONGEST_DELAY = 0.5, 2.0

# Where servers have their sockets: Debian's and Red Hat's, and PostgreSQL's own.
_SOCKETS = ("/var/run/postgresql", "/tmp")  # noqa: S108

# What of the agents' connection does not hold for an administrator's, over the socket of this machine.
_NOT_LOCAL = ("service", "hostaddr", "user", "password", "passfile", "sslmode", "sslrootcert", "target_session_attrs")


class Installation:
    """One run of setup-postgres."""

    def __init__(
        self,
        settings: dict[str, Any],
        notify: Callable[[str], None],
        *,
        place: str | None = None,
        wait: int = 600,
        show: Show | None = None,
        request: LoginRequest | None = None,
    ) -> None:
        """Prepare it: ``place`` is ``local``, ``remote`` or neither; ``notify`` gets messages for the user.

        A statement may take ``wait`` seconds, and so may the wait for other transactions.  ``request`` is about the
        logins of confined agents.
        """
        self._schema = check_schema(settings["schema"])
        self._conninfo = ConnInfo(settings["dsn"], max(settings["connect_timeout"], 1))
        self._place = place
        self._wait = wait
        self._show = show
        self._notify = notify
        self._request = request or LoginRequest()

    def check(self) -> SetupReport:
        """What is there, and what a run would do; nothing is changed.

        :raises Error: if the server cannot be asked.
        """
        return report(self._schema, self._plan(self._asked()))

    def logins(self) -> dict[str, str]:
        """The login of each confined agent.

        :raises StoreDenied: if the connected role may not see them.
        :raises Error: if the server cannot be asked.
        """
        facts = self._asked()
        facts.require_owner(self._schema)
        return dict(facts.logins)

    def run(self, keep: Callable[[str], None]) -> None:
        """Do it; ``keep`` gets the new passwords, if any, as a passfile, just before all is committed.

        :raises Error: at the first thing that fails.
        """
        with ExitStack() as stack:
            if self._place == "local":
                self._run_local(stack, keep)
                return
            connection = self._connected(self._conninfo, stack)
            if self._place == "remote" and connection is not None:
                _require_tls(connection, self._conninfo)
            self._make(connection, self._conninfo, keep)

    def _asked(self) -> Facts:
        conninfo = _local_conninfo(self._conninfo) if self._place == "local" else self._conninfo
        with ExitStack() as stack, _translated(conninfo):
            connection = self._connected(conninfo, stack)
            assert connection is not None  # it is None only if something is shown
            return self._steps(connection).facts()

    def _run_local(self, stack: ExitStack, keep: Callable[[str], None]) -> None:
        administrator = _administrator(self._conninfo)
        connection = self._connected(administrator, stack)
        with _translated(administrator):
            made = self._steps(connection).make_database(_database(self._conninfo))
        conninfo = _local_conninfo(self._conninfo)
        if self._show is not None:
            self._show(f"\\connect {sql.Identifier(_database(self._conninfo)).as_string(None)}")
        nothing = connection is None or (made and self._show is not None)
        self._make(None if nothing else self._connected(conninfo, stack), conninfo, keep)

    def _make(self, connection: Bounded | None, conninfo: ConnInfo, keep: Callable[[str], None]) -> None:
        """Make roles and tables, in one transaction, repeated if it meets the lock of another one.

        Reports wait behind a statement that waits for a lock on their tables, so none may do so for long.
        """
        deadline = time.monotonic() + self._wait
        with _translated(conninfo):
            for attempt in itertools.count(1):
                try:
                    self._attempt(self._steps(connection), connection is not None, conninfo, keep)
                    return
                except LOCKED:
                    if time.monotonic() > deadline:
                        raise
                self._notify(f"{conninfo.where}: another transaction holds a lock on the tables; trying again")
                time.sleep(backoff.delay(attempt, _BASE_DELAY, _LONGEST_DELAY))

    def _attempt(self, steps: Steps, connected: bool, conninfo: ConnInfo, keep: Callable[[str], None]) -> None:
        with steps.transaction():
            plan = self._plan(steps.facts() if connected else _facts_of_nothing(self._schema, self._place == "local"))
            self._check(plan)
            passwords = self._make_roles(steps, plan)
            steps.make_tables(plan.facts)
            steps.grant(plan.roles, plan.facts.policies - dropped_policies(plan.facts.versions.current))
            if plan.new_logins:
                steps.map_logins(plan.new_logins)
            if plan.removed_logins:
                steps.unmap_logins(plan.removed_logins)
            if passwords:
                keep(passfile(_database(self._conninfo), passwords))
        if self._show is None:
            self._notify(_outcome(plan, conninfo, self._schema))

    def _make_roles(self, steps: Steps, plan: Plan) -> dict[str, str]:
        """What the connected role does to roles, before it acts as the owner of the schema; the new passwords."""
        if plan.forbids_large_objects:
            steps.forbid_large_objects()
        made = steps.make_roles(plan.new_roles)
        if plan.makes_group:
            steps.make_group()
        if plan.facts.grants_connect:
            steps.let_connect(plan.roles, _database(self._conninfo))
        # One that is there already is another database's of this server; it keeps its password.
        unmade = [login for login in plan.new_logins.values() if login not in plan.facts.members]
        made |= steps.make_logins(unmade, self._request.connections)
        made |= steps.renew_passwords(plan.renewed_logins.values())
        if kept := steps.drop_logins(plan.removed_logins.values()):
            self._notify(_remaining(kept))
        return made

    def _plan(self, facts: Facts) -> Plan:
        return plan(facts, self._schema, makes_roles=self._place is not None, request=self._request)

    def _check(self, plan: Plan) -> None:
        if plan.missing_roles and self._place is not None:
            self._notify(_missing(plan.missing_roles))
        if self._request.agents and not plan.facts.creates_roles:
            raise StoreDenied("logins of agents are roles, and this role may not create any: run this as one that may")

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
            self._notify(f"{failed}; shown is what makes everything in an empty database")
            return None

    def _steps(self, connection: Bounded | None) -> Steps:
        return Steps(connection, self._schema, self._show)


def _facts_of_nothing(schema: str, local: bool) -> Facts:
    """Where everything is missing."""
    return Facts(owner=schema if local else None, may_harden=local)


def _local_conninfo(conninfo: ConnInfo) -> ConnInfo:
    """How the superuser of this machine's server connects to the store's database."""
    return _administrator(conninfo).but({"dbname": _database(conninfo)})


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


def _missing(names: list[str]) -> str:
    return (
        f"The roles {', '.join(names)} are missing, and this one may not create any: have them created by one that may"
        " (CREATE ROLE ... LOGIN), and run this again."
    )


def _remaining(logins: list[str]) -> str:
    return (
        "These roles cannot log in any more, and remain because they own something in another database of the server"
        f" (run DROP OWNED BY there, and DROP ROLE): {', '.join(logins)}"
    )


def _outcome(plan: Plan, conninfo: ConnInfo, schema: str) -> str:
    where = f"the tables in the schema {schema}, {conninfo.where}"
    before = plan.facts.versions.current
    if before == VERSION:
        outcome = f"Up to date, at version {VERSION}: {where}"
    else:
        how = f"brought from version {before}" if before else "made"
        outcome = f"Now {how}, at version {VERSION}: {where}"
    changed = [f"{len(logins)} {what}" for what, logins in plan.changed_logins.items() if logins]
    return f"{outcome}; logins of agents: {', '.join(changed)}" if changed else outcome


@contextmanager
def _translated(conninfo: ConnInfo) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise setup_failed(error, conninfo) from error
