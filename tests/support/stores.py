"""An empty store of each backend, for each test."""

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.postgres_servers import new_schema
from zc.cimaa import lmdb, memory
from zc.cimaa.testing import Opener


@pytest.fixture(params=["memory", "lmdb", "postgres", "dynamodb"])
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


@pytest.fixture(params=["lmdb", "postgres", "dynamodb"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The section ``[database]`` of an empty store that processes can share, of each such backend in turn."""
    place: dict[str, str] = {"path": str(tmp_path / "store")}
    with ExitStack() as stack:
        if request.param == "postgres":
            dsn: str = request.getfixturevalue("postgres_dsn")
            place = {"dsn": dsn, "schema": stack.enter_context(new_schema(dsn))}
        elif request.param == "dynamodb":
            place = request.getfixturevalue("dynamodb_settings")
        yield {"class": f"zc.cimaa.{request.param}", **place}
