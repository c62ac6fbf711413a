"""The three roles that use a store, each with the least that its work needs, and their passwords."""

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from psycopg import sql

from ...errors import ConfigurationError

#: What each role may do with which tables; the role's name is the schema's, "_", and this one.
ROLES: Mapping[str, tuple[str, ...]] = {
    # Reports, and reads what it must know to alert.
    "agent": (
        "SELECT ON {schema}.version, {schema}.squelches",
        "SELECT, INSERT, UPDATE ON {schema}.agents",
        "SELECT, INSERT, UPDATE, DELETE ON {schema}.faults, {schema}.instances",
    ),
    # Reads everything, squelches, and removes agents (whose faults and instances go with them).
    "operator": (
        "SELECT ON ALL TABLES IN SCHEMA {schema}",
        "INSERT, UPDATE, DELETE ON {schema}.squelches",
        "DELETE ON {schema}.agents",
    ),
    # Reads everything.
    "reader": ("SELECT ON ALL TABLES IN SCHEMA {schema}",),
}


def names(schema: str) -> list[str]:
    """The roles' names."""
    return [f"{schema}_{kind}" for kind in ROLES]


def grants(schema: str, existing: Iterable[str]) -> list[sql.Composed]:
    """The statements that let those of the roles that exist do their work; to run them twice does no harm."""
    statements = []
    for kind, name in zip(ROLES, names(schema), strict=True):
        if name in existing:
            parts = {"schema": sql.Identifier(schema), "role": sql.Identifier(name)}
            privileges = ("USAGE ON SCHEMA {schema}", *ROLES[kind])
            statements += [sql.SQL(f"GRANT {each} TO {{role}}").format(**parts) for each in privileges]
    return statements


def new_password() -> str:
    """A password that nobody can guess, of letters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


def passfile(database: str, passwords: Mapping[str, str]) -> str:
    """The passwords by role, as libpq reads them from a passfile, for whatever name the server goes by."""
    escaped = database.replace("\\", "\\\\").replace(":", "\\:")
    return "".join(f"*:*:{escaped}:{role}:{password}\n" for role, password in passwords.items())


def write_passfile(path: Path, text: str) -> None:
    """Write a new file that nobody but its owner may read.

    :raises ConfigurationError: if there is such a file already: it stays as it is.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(f"there is a file {path} already, and it stays as it is: name another") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write the passwords to {path}: {error.strerror}") from error
