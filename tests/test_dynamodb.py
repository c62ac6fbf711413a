import functools
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from zc.cimaa.dynamodb import DB
from zc.cimaa.dynamodb.tables import Wanted, steps
from zc.cimaa.testing import Conformance


@pytest.fixture(scope="session")
def url():

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://%s:%d" % server.get_host_and_port()
    server.stop()


class TestDynamoDB(Conformance):
    @pytest.fixture
    def opener(self, url):
        s = {
            "endpoint_url": url,
            "region": "us-east-1",
            "prefix": "t" + uuid.uuid4().hex,
            "aws_access_key_id": "x",
            "aws_secret_access_key": "y",
        }
        c = boto3.client(
            "dynamodb", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        for step in steps(c, s["prefix"], Wanted()):
            step.do()
        yield functools.partial(DB, s)
        for t in ("agents", "faults", "squelches"):
            c.delete_table(TableName=s["prefix"] + "." + t)
