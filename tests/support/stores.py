"""An empty store of each backend, for each test."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

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
