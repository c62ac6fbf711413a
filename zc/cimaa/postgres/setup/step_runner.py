"""Runs statements of setup-postgres, or only shows them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from psycopg import sql

from ..session import Bounded
from . import passwords

#: Shows what would be run.
Show = Callable[[str], None]

# How long a statement may wait for a lock (milliseconds): what waits behind it are the agents' reports.
_LOCK_TIMEOUT = 2000


class Runner:
    """A connection over which statements are run, or in whose stead they are shown; without one, all is missing."""

    def __init__(self, connection: Bounded | None, schema: str, show: Show | None = None) -> None:
        self._connection = connection
        self._schema = schema
        self._show = show

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and no other run for this schema at the same time."""
        begin = (sql.SQL(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}"), self._lock("pg_advisory_xact_lock"))
        if self._show is None and self._connection is not None:
            with self._connection.transaction():
                self._run(*begin)
                yield
        else:
            self._run(sql.SQL("BEGIN"), *begin)
            yield
            self._run(sql.SQL("COMMIT"))

    def _with_passwords(self, statement: str, names: Iterable[str]) -> dict[str, str]:
        """Run the statement for each role, with a password of which the server gets only a hash; the passwords."""
        made = {}
        for name in names:
            start = sql.SQL(statement).format(sql.Identifier(name))
            if self._connection is None or self._show is not None:
                self._run(start, shown=f"{start.as_string(self._connection)};  -- then, in psql: \\password {name}")
            else:
                made[name] = passwords.new_password()
                secret = self._connection.pgconn.encrypt_password(made[name].encode(), name.encode(), b"scram-sha-256")
                self._run(sql.SQL("{} PASSWORD {}").format(start, sql.Literal(secret.decode())))
        return made

    def _run(self, *statements: sql.SQL | sql.Composed, shown: str | None = None) -> None:
        """Run statements, or show them, or what may be ``shown`` of them."""
        for statement in statements:
            if self._show is not None:
                text = statement.as_string(self._connection).strip()
                self._show(shown or (text if text.endswith(";") else f"{text};"))
            elif self._connection is not None:
                self._connection.execute(statement)

    def _lock(self, function: str) -> sql.Composed:
        """Keeps other runs for this schema out: until the connection ends, or the transaction."""
        key = sql.Literal(f"zc.cimaa {self._schema}")
        return sql.SQL("SELECT {}(hashtextextended({}, 0))").format(sql.Identifier(function), key)

    def _is_there(self, catalog: str, column: str, name: str) -> bool:
        if self._connection is None:
            return False
        query = sql.SQL("SELECT FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
        return self._connection.execute(query, (name,)).fetchone() is not None
