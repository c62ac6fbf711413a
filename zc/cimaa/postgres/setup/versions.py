"""The versions of the store's tables: what makes them, and what brings older ones up to date.

Tables are upgraded before the programs that use them.  So each migration says which is the oldest version that a
program may know and still use the tables (``version.oldest``), and a program uses older tables as far as they go.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

#: The version of the tables that this version of zc.cimaa knows.
VERSION = 8
#: The version since which an agent may have a login of its own.
LOGINS = 3
#: The version since which there is a history.
HISTORY = 5
#: The version since which agents can be woken.
MARKS = 6
#: The version since which instances have tags.
TAGS = 7
#: The version since which commands are counted by an index.
COUNTED = 8

_DROPPED_POLICY = re.compile(r"^DROP POLICY IF EXISTS (\w+) ON (\w+);$", re.MULTILINE)


class Versions(NamedTuple):
    """What the table ``version`` says."""

    #: Of the tables; 0 if there are none.
    current: int = 0
    #: The oldest version that a program may know and still use them.
    oldest: int = 0


def read(row: Mapping[str, int]) -> Versions:
    """What a row of the table ``version`` says: until version 3 it had one column, for the programs of just that."""
    return Versions(row.get("current", row["version"]), row.get("oldest", row["version"]))


def scripts(version: int) -> list[str]:
    """The SQL that makes current tables from those of a version, in order; from none, if the version is 0.

    It is for the schema that comes first in the search path.
    """
    if version == 0:
        return [schema()]
    return [migration(later) for later in range(version + 1, VERSION + 1)]


def dropped_policies(version: int) -> set[tuple[str, str]]:
    """The policies, each with its table, that the :func:`scripts` drop because their definitions changed."""
    return {(table, policy) for script in scripts(version) for policy, table in _DROPPED_POLICY.findall(script)}


def schema() -> str:
    """The SQL that makes the tables in an empty schema."""
    return _read("schema.sql")


def migration(version: int) -> str:
    """The SQL that makes the tables of this version from those of the version before."""
    return _read(f"migrations/{version:04}.sql")


def _read(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
