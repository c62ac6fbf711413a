"""A store of each backend, empty for each test; what is said of one there holds for all."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytest.register_assert_rewrite("zc.cimaa.testing")

from zc.cimaa import dynamodb, lmdb, memory  # noqa: E402
from zc.cimaa.dynamodb.tables import Wanted, steps  # noqa: E402
from zc.cimaa.testing import Opener  # noqa: E402

from .dynamodb_servers import ACCESS, moto, plain_client  # noqa: E402


@pytest.fixture(params=["memory", "lmdb", "dynamodb"])
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
def moto_url() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(scope="session")
def moto_client(moto_url: str) -> Any:
    """A plain client, to make tables with and to look into them."""
    return plain_client(moto_url)


@pytest.fixture
def dynamodb_settings(moto_url: str, moto_client: Any) -> Iterator[dict[str, str]]:
    """The settings of a store with tables of its own."""
    prefix = f"test-{uuid4().hex}"
    for step in steps(moto_client, prefix, Wanted()):
        step.do()
    yield {**ACCESS, "endpoint_url": moto_url, "prefix": prefix}
    for table in dynamodb.schemas:
        moto_client.delete_table(TableName=f"{prefix}.{table}")


@pytest.fixture
def dynamodb_opener(dynamodb_settings: dict[str, str]) -> Opener:
    return functools.partial(dynamodb.DB, dynamodb_settings)
