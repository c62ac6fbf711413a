"""What is there already of a store in PostgreSQL, read from the server's catalogs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import dict_row

from ...errors import StoreDenied
from ...faults import decode
from ..session import Bounded
from . import roles, versions
from .versions import Versions

#: The functions that make large objects.
MAKES_LARGE_OBJECTS = ("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)")


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


def read(connection: Bounded, schema: str) -> Facts:
    """The facts, as the connected role sees them."""
    functions = [f"pg_catalog.{function}" for function in MAKES_LARGE_OBJECTS]
    cursor = connection.cursor(row_factory=dict_row)
    found = cursor.execute(_FACTS, {"schema": schema, "functions": functions}).fetchone()
    assert found is not None
    group = roles.role_name(schema, roles.CONFINED)
    tables = _versions(connection, schema) if found["is_owner"] else Versions()
    return Facts(
        versions=tables,
        roles=frozenset(name for (name,) in _rows(connection, _ROLES, ([*roles.names(schema), group],))),
        policies=frozenset((table, policy) for table, policy in _rows(connection, _POLICIES, (schema,))),
        logins=_logins(connection, schema) if tables.current >= versions.LOGINS else {},
        members=frozenset(name for (name,) in _rows(connection, _MEMBERS, (group,))),
        **found,
    )


def _logins(connection: Bounded, schema: str) -> dict[str, str]:
    return dict(_rows(connection, sql.SQL("SELECT agent, login FROM {}.logins").format(sql.Identifier(schema))))


def _versions(connection: Bounded, schema: str) -> Versions:
    """The versions of the tables; those of none if there are none."""
    tables = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'version'"
    if not _rows(connection, tables, (schema,)):
        return Versions()
    query = sql.SQL("SELECT to_json(found)::text FROM {}.version AS found").format(sql.Identifier(schema))
    found = _rows(connection, query)
    return versions.read(decode(found[0][0])) if found else Versions()


def _rows(connection: Bounded, query: str | sql.Composed, values: Any = ()) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()
