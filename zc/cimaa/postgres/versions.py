"""The versions of the store's tables: what makes them anew, and what brings older ones up to date."""

from importlib.resources import files

#: The version of the tables that this version of zc.cimaa reads and writes.
VERSION = 2


def schema() -> str:
    """The SQL that makes the tables anew in the schema that comes first in the search path."""
    return _read("schema.sql")


def migration(version: int) -> str:
    """The SQL that makes the tables of the version before ones of this version."""
    return _read(f"migrations/{version:04}.sql")


def _read(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
