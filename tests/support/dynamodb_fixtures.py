"""An empty store in moto's DynamoDB for each test."""

import functools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import botocore.loaders
import pytest
import urllib3

from tests.support.dynamodb_servers import ACCESS, Proxy, moto, plain_client
from zc.cimaa.dynamodb import DB
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.testing import Opener


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, moto() as url:
        # Each store that is opened reads botocore's description of DynamoDB; the tests open hundreds.
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
        yield url


@pytest.fixture(scope="session")
def moto_client(moto_url: str) -> Any:
    """A plain client, to create and inspect tables."""
    return plain_client(moto_url)


@pytest.fixture(scope="session")
def template(moto_client: Any) -> str:
    """The prefix of tables as the setup creates them, which stay empty."""
    for step in steps(moto_client, "template", TableOptions()):
        step.do()
    return "template"


@pytest.fixture
def dynamodb_settings(moto_url: str, template: str) -> Iterator[dict[str, str]]:
    """The settings of a store with its own tables."""
    prefix = f"test-{uuid4().hex}"
    urllib3.request("PUT", f"{moto_url}/{prefix}?{template}")
    # On a busy machine, moto may take long for a table of 10,000 items.
    yield {**ACCESS, "endpoint_url": moto_url, "prefix": prefix, "read_timeout": "2m"}
    urllib3.request("DELETE", f"{moto_url}/{prefix}")


@pytest.fixture
def proxy(dynamodb_settings: dict[str, str]) -> Iterator[Proxy]:
    """A proxy in front of the store, which records and disturbs requests."""
    proxy = Proxy(dynamodb_settings["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def dynamodb_opener(dynamodb_settings: dict[str, str]) -> Opener:
    return functools.partial(DB, dynamodb_settings)
