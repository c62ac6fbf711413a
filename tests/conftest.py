"""A store of each backend, empty for each test; what is said of one there holds for all."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("zc.cimaa.testing")

from tests import postgres_servers  # noqa: E402
from zc.cimaa import lmdb, memory  # noqa: E402
from zc.cimaa.testing import Opener  # noqa: E402


@pytest.fixture(params=["memory", "lmdb", "postgres"])
def any_opener(request: pytest.FixtureRequest) -> Opener:
    """Opens a store of every backend in turn."""
    opener: Opener = request.getfixturevalue(f"{request.param}_opener")
    return opener


@pytest.fixture
def memory_opener(tmp_path: Path) -> Iterator[Opener]:
    opener = functools.partial(memory.DB, {"name": str(tmp_path)})
    with opener():  # the store lives for as long as a handle is open
        yield opener


@pytest.fixture
def lmdb_opener(tmp_path: Path) -> Opener:
    return functools.partial(lmdb.DB, {"path": str(tmp_path / "store")})


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A superuser's connection to a server of PostgreSQL."""
    with postgres_servers.server_dsn() as dsn:
        yield dsn


@pytest.fixture
def postgres_opener(postgres_dsn: str) -> Iterator[Opener]:
    with postgres_servers.new_schema(postgres_dsn) as schema:
        yield postgres_servers.opener_for(postgres_dsn, schema)
