"""A store of each backend, empty for each test; what is said of one there holds for all."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("zc.cimaa.testing")

from zc.cimaa import lmdb, memory  # noqa: E402
from zc.cimaa.testing import Opener  # noqa: E402


@pytest.fixture(params=["memory", "lmdb"])
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
