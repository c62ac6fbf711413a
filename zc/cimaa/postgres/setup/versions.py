"""The versions of the store's tables: what makes them anew, and what brings older ones up to date."""

from importlib.resources import files

#: The version of the tables that this version of zc.cimaa reads and writes.
VERSION = 2


def scripts(version: int) -> list[str]:
    """The SQL that makes current tables of those of a version, in order; of none, if the version is 0.

    It is for the schema that comes first in the search path.
    """
    if version == 0:
        return [schema()]
    return [migration(later) for later in range(version + 1, VERSION + 1)]


def schema() -> str:
    """The SQL that makes the tables anew."""
    return _read("schema.sql")


def migration(version: int) -> str:
    """The SQL that makes the tables of this version of those of the version before."""
    return _read(f"migrations/{version:04}.sql")


def _read(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
