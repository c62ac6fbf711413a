"""The steps of setup-postgres: statements in order, each run or only shown, up to the first that fails."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.errors import DependentObjectsStillExist
from psycopg.rows import dict_row

from ...errors import StoreDenied, StoreIncompatible
from ...faults import decode
from ..session import Bounded
from . import passwords, roles, versions
from .versions import VERSION, Versions

#: Shows what would be run.
Show = Callable[[str], None]

# How long a statement may wait for a lock (milliseconds): what waits behind it are the agents' reports.
_LOCK_TIMEOUT = 2000

_MAKES_LARGE_OBJECTS = ("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)")


class Facts(NamedTuple):
    """What is there already, as far as the tables and the roles of one schema go."""

    versions: Versions = Versions()
    schema_exists: bool = False
    #: Who owns the schema, or if there is none, the database; ``None`` if it is the role that runs this.
    owner: str | None = None
    #: True if the connected role is that owner, or may act as one.
    is_owner: bool = True
    #: True if the connected role may create roles.
    creates_roles: bool = True
    #: True if the connected role may let others connect to the database.
    grants_connect: bool = True
    #: Those of the store's roles that exist, the group of confined logins included.
    roles: frozenset[str] = frozenset()
    encoding: str = "UTF8"
    #: True if large objects may be forbidden: by a superuser, in a database that only zc.cimaa uses.
    may_harden: bool = False
    #: True if every role may make large objects.
    large_objects: bool = True
    #: True if every role may make temporary tables in the database.
    temporary_tables: bool = True
    #: The policies of row-level security that exist, each with its table.
    policies: frozenset[tuple[str, str]] = frozenset()
    #: The login of each confined agent.
    logins: Mapping[str, str] = {}
    #: The members of the group of confined logins.
    members: frozenset[str] = frozenset()

    def require_owner(self, schema: str) -> None:
        """Do nothing if the connected role may act as the owner.

        :raises StoreDenied: if not, naming the owner.
        """
        if not self.is_owner:
            what = f"the schema {schema}" if self.schema_exists else "the database"
            raise StoreDenied(f"{what} belongs to the role {self.owner}: run this as that role, or as a superuser")


_FACTS = """
    SELECT nspowner IS NOT NULL AS schema_exists, pg_get_userbyid(owner) AS owner,
        pg_has_role(owner, 'USAGE') AS is_owner, me.rolsuper OR me.rolcreaterole AS creates_roles,
        pg_has_role(datdba, 'USAGE') AS grants_connect, current_setting('server_encoding') AS encoding,
        me.rolsuper AND database_owner.rolname = %(schema)s AND NOT database_owner.rolcanlogin AS may_harden,
        EXISTS (SELECT FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS privilege
            WHERE pg_proc.oid = ANY (%(functions)s::regprocedure[]) AND privilege.grantee = 0) AS large_objects,
        EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS privilege
            WHERE privilege.grantee = 0 AND privilege.privilege_type = 'TEMPORARY') AS temporary_tables
    FROM pg_roles AS me, pg_database JOIN pg_roles AS database_owner ON database_owner.oid = datdba
        LEFT JOIN pg_namespace ON nspname = %(schema)s,
        LATERAL (SELECT coalesce(nspowner, datdba)) AS of_them (owner)
    WHERE me.rolname = current_user AND datname = current_database()
    """
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s::name[])"
_MEMBERS = """
    SELECT pg_get_userbyid(member) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = roleid WHERE rolname = %s
    """
_POLICIES = "SELECT tablename, policyname FROM pg_policies WHERE schemaname = %s"


class Steps:
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

    def facts(self) -> Facts:
        """What is there already."""
        assert self._connection is not None
        functions = [f"pg_catalog.{function}" for function in _MAKES_LARGE_OBJECTS]
        cursor = self._connection.cursor(row_factory=dict_row)
        found = cursor.execute(_FACTS, {"schema": self._schema, "functions": functions}).fetchone()
        assert found is not None
        group = roles.role_name(self._schema, roles.CONFINED)
        tables = self._versions() if found["is_owner"] else Versions()
        return Facts(
            versions=tables,
            roles=frozenset(name for (name,) in self._rows(_ROLES, ([*roles.names(self._schema), group],))),
            policies=frozenset((table, policy) for table, policy in self._rows(_POLICIES, (self._schema,))),
            logins=self._logins() if tables.current >= versions.LOGINS else {},
            members=frozenset(name for (name,) in self._rows(_MEMBERS, (group,))),
            **found,
        )

    def make_database(self, database: str) -> bool:
        """Make a database, and a role that owns it and that cannot log in, where they are missing; true if so."""
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

    def forbid_large_objects(self) -> None:
        """Take from all roles but superusers what makes large objects in this database, which only zc.cimaa uses."""
        functions = ", ".join(f"pg_catalog.{function}" for function in _MAKES_LARGE_OBJECTS)
        self._run(sql.SQL(f"REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC"))

    def make_roles(self, missing: Iterable[str]) -> dict[str, str]:
        """Make the roles, each with a password, of which the server gets only a hash; the passwords."""
        return self._with_passwords("CREATE ROLE {} LOGIN", missing)

    def make_group(self) -> None:
        """Make the role that has the privileges of all confined logins."""
        self._run(sql.SQL("CREATE ROLE {} NOLOGIN").format(self._group))

    def make_logins(self, missing: Iterable[str], connections: int) -> dict[str, str]:
        """Make confined logins that may have at most ``connections`` each; the passwords."""
        group = self._group.as_string(None).replace("{", "{{").replace("}", "}}")
        return self._with_passwords(f"CREATE ROLE {{}} LOGIN CONNECTION LIMIT {connections:d} IN ROLE {group}", missing)

    def renew_passwords(self, existing: Iterable[str]) -> dict[str, str]:
        """Give the roles new passwords."""
        return self._with_passwords("ALTER ROLE {}", existing)

    def drop_logins(self, existing: Iterable[str]) -> list[str]:
        """Remove confined logins; those that own something in another database remain, but cannot log in."""
        return [name for name in existing if not self._dropped(name)]

    def _dropped(self, name: str) -> bool:
        """Drop the role, with what it owns: default privileges, for example, would otherwise prevent that."""
        role = sql.Identifier(name)
        if not self._is_there("pg_roles", "rolname", name):
            return True
        self._run(
            sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(role),
            sql.SQL("GRANT {} TO CURRENT_USER").format(role),
            sql.SQL("DROP OWNED BY {}").format(role),
        )
        assert self._connection is not None
        try:
            with self._connection.transaction():
                self._run(sql.SQL("DROP ROLE {}").format(role))
        except DependentObjectsStillExist:
            self._run(sql.SQL("REVOKE {} FROM {}").format(self._group, role))
            return False
        return True

    def let_connect(self, names: Iterable[str], database: str) -> None:
        """Let the roles connect to the database."""
        for name in names:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
            self._run(grant.format(sql.Identifier(database), sql.Identifier(name)))

    def make_tables(self, facts: Facts) -> None:
        """Make the tables, or bring older ones up to date, as the role that owns the schema.

        :raises StoreIncompatible: if they are newer than this version of zc.cimaa knows.
        :raises StoreDenied: if the schema belongs to another role.
        """
        self._check(facts)
        schema = sql.Identifier(self._schema)
        if facts.owner is not None:
            self._run(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(facts.owner)))
        if not facts.schema_exists:
            self._run(sql.SQL("CREATE SCHEMA {}").format(schema))
        self._run(sql.SQL("SET LOCAL search_path TO {}, pg_temp").format(schema))
        for script in versions.scripts(facts.versions.current):
            self._run(sql.SQL(script))

    def grant(self, names: Iterable[str], policies: Iterable[tuple[str, str]]) -> None:
        """Let the roles use the tables, and confine the confined one, where the ``policies`` do not do so yet."""
        names = list(names)
        self._run(*roles.grants(self._schema, names))
        if roles.role_name(self._schema, roles.CONFINED) in names:
            self._run(*roles.confinement(self._schema, policies))

    def map_logins(self, made: Mapping[str, str]) -> None:
        """Confine each login to its agent; no first report of one comes in between, and misses it."""
        lock = "LOCK TABLE {schema}.agents IN SHARE ROW EXCLUSIVE MODE"
        insert = "INSERT INTO {schema}.logins (agent, login) SELECT * FROM unnest({agents}::text[], {logins}::text[])"
        update = """
            UPDATE {schema}.agents SET login = logins.login FROM {schema}.logins
            WHERE agents.name = logins.agent AND agents.name = ANY ({agents}::text[])"""
        self._run(*(sql.SQL(text).format(**self._arrays(made)) for text in (lock, insert, update)))

    def unmap_logins(self, removed: Mapping[str, str]) -> None:
        """Take from each login its agent: what is connected as one can do nothing from then on."""
        delete = "DELETE FROM {schema}.logins WHERE agent = ANY ({agents}::text[])"
        update = "UPDATE {schema}.agents SET login = NULL WHERE name = ANY ({agents}::text[])"
        self._run(*(sql.SQL(text).format(**self._arrays(removed)) for text in (delete, update)))

    @property
    def _group(self) -> sql.Identifier:
        return sql.Identifier(roles.role_name(self._schema, roles.CONFINED))

    def _arrays(self, logins: Mapping[str, str]) -> dict[str, sql.Composable]:
        arrays = {"agents": sql.Literal(list(logins)), "logins": sql.Literal(list(logins.values()))}
        return {"schema": sql.Identifier(self._schema), **arrays}

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

    def _rows(self, query: str | sql.Composed, values: Any = ()) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        return self._connection.execute(query, values).fetchall()

    def _is_there(self, catalog: str, column: str, name: str) -> bool:
        if self._connection is None:
            return False
        query = sql.SQL("SELECT FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
        return bool(self._rows(query, (name,)))

    def _logins(self) -> dict[str, str]:
        query = sql.SQL("SELECT agent, login FROM {}.logins").format(sql.Identifier(self._schema))
        return dict(self._rows(query))

    def _versions(self) -> Versions:
        """The versions of the tables; those of none if there are none."""
        tables = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'version'"
        if not self._rows(tables, (self._schema,)):
            return Versions()
        query = sql.SQL("SELECT to_json(found)::text FROM {}.version AS found").format(sql.Identifier(self._schema))
        found = self._rows(query)
        return versions.read(decode(found[0][0])) if found else Versions()

    def _check(self, facts: Facts) -> None:
        facts.require_owner(self._schema)
        if facts.versions.current > VERSION:
            raise StoreIncompatible(
                f"the tables in the schema {self._schema} have version {facts.versions.current}, and this zc.cimaa"
                f" knows none newer than {VERSION}: upgrade zc.cimaa on this host"
            )
        if facts.encoding != "UTF8":
            raise StoreIncompatible(f"the database is encoded in {facts.encoding}: zc.cimaa needs one in UTF8")
