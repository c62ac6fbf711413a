"""Waking agents on DynamoDB: what it costs, marks that come while a report is written, and lost responses."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.dynamodb_servers import Answer, Proxy, after, unanswered
from zc.cimaa.dynamodb import DB
from zc.cimaa.testing import Clock, fault

MANY = [fault(f"f{number:03}") for number in range(150)]


@pytest.fixture
def db(dynamodb_settings: dict[str, str], proxy: Proxy) -> Iterator[DB]:
    with DB({**dynamodb_settings, "endpoint_url": proxy.url}, clock=Clock()) as db:
        yield db


@pytest.fixture
def direct(dynamodb_settings: dict[str, str]) -> Iterator[DB]:
    with DB(dynamodb_settings, clock=Clock()) as db:
        yield db


@pytest.mark.parametrize("within", [None, 300])
def test_a_report_of_an_agent_that_was_not_woken_is_one_request(db: DB, proxy: Proxy, within: int | None) -> None:
    db.report("a", MANY, within)
    proxy.clear()
    assert db.report("a", MANY, within) is False
    assert proxy.operations == ["UpdateItem"]


def test_a_woken_agent_reports_with_two_more_requests_once(db: DB, proxy: Proxy) -> None:
    db.set_faults("a", MANY)
    db.wake(["a"])
    proxy.clear()
    assert db.report("a", MANY) is True
    assert proxy.operations == ["UpdateItem", "Query", "PutItem"]
    proxy.clear()
    assert db.report("a", MANY) is False
    assert proxy.operations == ["UpdateItem"]


def test_set_faults_of_a_woken_agent_is_one_request(db: DB, proxy: Proxy) -> None:
    """The same as that of another."""
    db.set_faults("a", MANY)
    proxy.clear()
    db.set_faults("a", MANY)
    [(_, request, _)] = proxy.seen
    db.wake(["a"])
    proxy.clear()
    db.set_faults("a", MANY)
    assert [seen[:2] for seen in proxy.seen] == [("UpdateItem", request)]


def test_waking_an_agent_is_one_request(db: DB, proxy: Proxy) -> None:
    names = [f"a{number}" for number in range(20)]
    for name in names[:15]:
        db.set_faults(name, [])
    for _ in range(2):
        proxy.clear()
        assert db.wake(names) == 15
        assert proxy.operations == ["UpdateItem"] * 20


@pytest.mark.parametrize(
    ("faults", "operation"),
    [([fault("f")], "PutItem"), ([fault("f"), fault("g")], "TransactWriteItems"), (MANY, "BatchWriteItem")],
    ids=["same faults", "other faults", "faults in batches"],
)
@pytest.mark.parametrize("woken", [False, True], ids=["not woken before", "woken before"])
def test_an_agent_that_is_woken_while_it_reports(
    db: DB, direct: DB, proxy: Proxy, faults: list[dict[str, object]], operation: str, woken: bool
) -> None:
    """After what it reports was computed."""
    db.set_faults("a", [fault("f")])
    if woken or operation == "PutItem":
        db.wake(["a"])
    proxy.next(operation, after(lambda: direct.wake(["a"])))
    assert db.report("a", faults) is True
    assert direct.get_faults("a") == [{"agent": "a", **one} for one in faults]
    assert db.report("a", faults) is False


@pytest.mark.parametrize(
    ("faults", "operation"),
    [([fault("f")], "PutItem"), ([fault("f"), fault("g")], "TransactWriteItems")],
    ids=["same faults", "other faults"],
)
@pytest.mark.parametrize("rival", [False, True], ids=["alone", "with a rival"])
def test_an_answer_is_not_lost_with_its_response(
    db: DB, direct: DB, proxy: Proxy, faults: list[dict[str, object]], operation: str, rival: bool
) -> None:
    """Even if another instance wrote before the request was sent again."""
    db.set_faults("a", [fault("f")])
    db.wake(["a"])

    def way(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> None:
        unanswered(body, forward)
        if rival:
            direct.set_faults("a", [fault("h")])

    proxy.next(operation, way)
    assert db.report("a", faults) is True
    assert db.report("a", faults) is False


def test_a_wake_is_not_lost_with_its_response(db: DB, proxy: Proxy) -> None:
    db.set_faults("a", [])
    proxy.next("UpdateItem", unanswered)
    assert db.wake(["a"]) == 1
    assert proxy.operations[-2:] == ["UpdateItem"] * 2
    assert db.report("a", []) is True
