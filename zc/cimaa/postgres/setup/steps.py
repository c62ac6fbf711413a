"""The steps of setup-postgres: statements in order, each run or only shown, up to the first that fails."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from psycopg import sql

from ...errors import StoreDenied, StoreIncompatible
from ..session import Bounded
from . import roles, versions
from .versions import VERSION

#: Shows what would be run.
Show = Callable[[str], None]


class Facts(NamedTuple):
    """What is there already, as far as the tables and the roles of one schema go."""

    #: The version of the tables; 0 if there are none.
    version: int = 0
    schema_exists: bool = False
    #: Who owns the schema, or if there is none, the database; ``None`` if it is whoever runs this.
    owner: str | None = None
    #: True if the one who is connected is that owner, or may act as one.
    is_owner: bool = True
    #: True if the one who is connected may create roles.
    creates_roles: bool = True
    #: True if the one who is connected may let others connect to the database.
    grants_connect: bool = True
    #: Those of the store's roles that exist.
    roles: frozenset[str] = frozenset()
    encoding: str = "UTF8"


_FACTS = """
    SELECT nspowner IS NOT NULL, pg_get_userbyid(owner), pg_has_role(owner, 'USAGE'), rolsuper OR rolcreaterole,
        pg_has_role(datdba, 'USAGE'),
        (SELECT coalesce(array_agg(rolname), '{}') FROM pg_roles WHERE rolname = ANY (%s::name[])),
        current_setting('server_encoding')
    FROM pg_roles, pg_database LEFT JOIN pg_namespace ON nspname = %s,
        LATERAL (SELECT coalesce(nspowner, datdba)) AS of_them (owner)
    WHERE rolname = current_user AND datname = current_database()
    """


class Steps:
    """A connection over which statements are run, or in whose stead they are shown; without one, all is missing."""

    def __init__(self, connection: Bounded | None, schema: str, show: Show | None = None) -> None:
        self._connection = connection
        self._schema = schema
        self._show = show

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else at the same time."""
        lock = self._lock("pg_advisory_xact_lock")
        if self._show is None and self._connection is not None:
            with self._connection.transaction():
                self._run(lock)
                yield
        else:
            self._run(sql.SQL("BEGIN"))
            self._run(lock)
            yield
            self._run(sql.SQL("COMMIT"))

    def facts(self) -> Facts:
        """What is there already."""
        values = (roles.names(self._schema), self._schema)
        exists, owner, is_owner, creates, grants, known, encoding = self._asked(_FACTS, values)
        version = self._version() if is_owner else 0
        return Facts(version, exists, owner, is_owner, creates, grants, frozenset(known), encoding)

    def make_database(self, database: str) -> bool:
        """Make a database, and a role that owns it and that nobody logs in as, where they are missing; true if so."""
        self._run(self._lock("pg_advisory_lock"))
        if self._is_there("pg_database", "datname", database):
            return False
        parts = {"database": sql.Identifier(database), "owner": sql.Identifier(self._schema)}
        if not self._is_there("pg_roles", "rolname", self._schema):
            self._run(sql.SQL("CREATE ROLE {owner} NOLOGIN").format(**parts))
        create = "CREATE DATABASE {database} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0"
        self._run(sql.SQL(create).format(**parts))
        self._run(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**parts))
        return True

    def make_roles(self, missing: Iterable[str]) -> dict[str, str]:
        """Make the roles, each with a password, of which the server is told only a hash; the passwords."""
        passwords = {}
        for name in missing:
            create = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name))
            if self._connection is None or self._show is not None:
                self._run(create, shown=f"{create.as_string(self._connection)};  -- then, in psql: \\password {name}")
            else:
                passwords[name] = roles.new_password()
                secret = self._connection.pgconn.encrypt_password(
                    passwords[name].encode(), name.encode(), b"scram-sha-256"
                )
                self._run(sql.SQL("{} PASSWORD {}").format(create, sql.Literal(secret.decode())))
        return passwords

    def let_connect(self, names: Iterable[str], database: str) -> None:
        """Let the roles connect to the database."""
        for name in names:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
            self._run(grant.format(sql.Identifier(database), sql.Identifier(name)))

    def make_tables(self, facts: Facts) -> None:
        """Make the tables, or bring older ones up to date, as the one who owns the schema.

        :raises StoreIncompatible: if they are newer than this version of zc.cimaa knows.
        :raises StoreDenied: if the schema is somebody else's.
        """
        self._check(facts)
        schema = sql.Identifier(self._schema)
        if facts.owner is not None:
            self._run(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(facts.owner)))
        if not facts.schema_exists:
            self._run(sql.SQL("CREATE SCHEMA {}").format(schema))
        self._run(sql.SQL("SET LOCAL search_path TO {}").format(schema))
        for script in versions.scripts(facts.version):
            self._run(sql.SQL(script))

    def grant(self, names: Iterable[str]) -> None:
        """Let the roles use the tables."""
        for statement in roles.grants(self._schema, names):
            self._run(statement)

    def _run(self, statement: sql.SQL | sql.Composed, shown: str | None = None) -> None:
        """Run a statement, or show it, or what may be ``shown`` of it."""
        if self._show is not None:
            text = statement.as_string(self._connection).strip()
            self._show(shown or (text if text.endswith(";") else f"{text};"))
        elif self._connection is not None:
            self._connection.execute(statement)

    def _lock(self, function: str) -> sql.Composed:
        """Keeps other runs for this schema out: until the connection ends, or the transaction."""
        key = sql.Literal(f"zc.cimaa {self._schema}")
        return sql.SQL("SELECT {}(hashtextextended({}, 0))").format(sql.Identifier(function), key)

    def _asked(self, query: str | sql.Composed, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        assert self._connection is not None
        row = self._connection.execute(query, values).fetchone()
        assert row is not None
        return row

    def _is_there(self, catalog: str, column: str, name: str) -> bool:
        if self._connection is None:
            return False
        query = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
        return bool(self._asked(query, (name,))[0])

    def _version(self) -> int:
        """The version of the tables; 0 if there are none."""
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = 'version'"
        if self._asked(tables, (self._schema,)) == (0,):
            return 0
        query = sql.SQL("SELECT coalesce(max(version), 0) FROM {}.version").format(sql.Identifier(self._schema))
        return int(self._asked(query)[0])

    def _check(self, facts: Facts) -> None:
        if not facts.is_owner:
            what = f"the schema {self._schema}" if facts.schema_exists else "the database"
            raise StoreDenied(f"{what} belongs to the role {facts.owner}: run this as that role, or as a superuser")
        if facts.version > VERSION:
            raise StoreIncompatible(
                f"the tables in the schema {self._schema} have version {facts.version}, and this zc.cimaa knows"
                f" none newer than {VERSION}: upgrade zc.cimaa on this host"
            )
        if facts.encoding != "UTF8":
            raise StoreIncompatible(f"the database is encoded in {facts.encoding}: zc.cimaa needs one in UTF8")
