"""A store in moto's DynamoDB, empty for each test."""

import functools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import botocore.loaders
import pytest

from zc.cimaa.dynamodb import DB, schemas
from zc.cimaa.dynamodb.setup.tables import Wanted, steps
from zc.cimaa.testing import Opener

from .dynamodb_servers import ACCESS, moto, plain_client


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, moto() as url:
        # Each store that is opened reads botocore's description of DynamoDB; the tests open hundreds.
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
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
    # On a machine that is busy, moto may take long over a table of 10,000 items.
    yield {**ACCESS, "endpoint_url": moto_url, "prefix": prefix, "read_timeout": "2m"}
    for table in schemas:
        moto_client.delete_table(TableName=f"{prefix}.{table}")


@pytest.fixture
def dynamodb_opener(dynamodb_settings: dict[str, str]) -> Opener:
    return functools.partial(DB, dynamodb_settings)
