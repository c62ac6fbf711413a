"""The steps of setup-postgres: statements in order, each run or only shown, up to the first that fails."""

from collections.abc import Collection, Iterable, Mapping

from psycopg import sql
from psycopg.errors import DependentObjectsStillExist

from ...errors import StoreIncompatible
from . import roles, versions
from .facts import MAKES_LARGE_OBJECTS, Facts, read
from .step_runner import Runner
from .versions import VERSION


class Steps(Runner):
    """What setup-postgres does, step by step."""

    def facts(self) -> Facts:
        """What is there already."""
        assert self._connection is not None
        return read(self._connection, self._schema)

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
        functions = ", ".join(f"pg_catalog.{function}" for function in MAKES_LARGE_OBJECTS)
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

    def grant(self, names: Collection[str], policies: Collection[tuple[str, str]]) -> None:
        """Let the roles use the tables, and confine some of them, where the ``policies`` do not do so yet."""
        self._run(*roles.grants(self._schema, names), *roles.policies(self._schema, names, policies))

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

    def _check(self, facts: Facts) -> None:
        facts.require_owner(self._schema)
        if facts.versions.current > VERSION:
            raise StoreIncompatible(
                f"the tables in the schema {self._schema} have version {facts.versions.current}, and this zc.cimaa"
                f" knows none newer than {VERSION}: upgrade zc.cimaa on this host"
            )
        if facts.encoding != "UTF8":
            raise StoreIncompatible(f"the database is encoded in {facts.encoding}: zc.cimaa needs one in UTF8")
