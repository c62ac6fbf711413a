"""Entries and leases on DynamoDB: what they cost, lost answers, tables of the last version, and odd items."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.dynamodb_servers import ACCESS, Proxy, after, counted, dynalite, plain_client, refused, unanswered
from tests.support.signed_actions import action_data
from zc.cimaa import errors
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.dynamodb import DB
from zc.cimaa.dynamodb.costs import MONTH, Fleet, Prices, costs, total
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.testing import Clock, fault
from zc.cimaa.testing.tools import entry

WHERE = ("test", "", "key")


@pytest.fixture
def db(dynamodb_settings: dict[str, str], proxy: Proxy) -> Iterator[DB]:
    with DB({**dynamodb_settings, "endpoint_url": proxy.url}, clock=Clock()) as db:
        yield db


@pytest.fixture
def other(dynamodb_settings: dict[str, str]) -> Iterator[DB]:
    with DB(dynamodb_settings, clock=Clock()) as other:
        yield other


# What a lease costs


def test_a_renewal_is_one_write_unit_and_a_waiting_agent_pays_one_read_unit() -> None:
    """With a state of ordinary size; dynalite counts what is consumed."""
    with dynalite() as url:
        client = plain_client(url)
        create = [step for step in steps(client, "x", TableOptions()) if "create the table" in step.text]
        for step in create:
            step.do()
            client.get_waiter("table_exists").wait(TableName=step.table, WaiterConfig={"Delay": 1})
        proxy = Proxy(url)
        settings = {**ACCESS, "prefix": "x", "endpoint_url": proxy.url}
        with DB(settings) as db, DB(settings) as waiting:
            state = [fault("//shop/orders", 50, "no orders for 10 minutes", tries=3)]
            db.lease("//shop/orders", "web1.example.com", 180, state=state)
            for operation in ("PutItem", "GetItem"):
                proxy.always(operation, counted)
            proxy.seen.clear()
            db.lease("//shop/orders", "web1.example.com", 180, state=state)
            waiting.lease("//shop/orders", "web2.example.com", 180)
        proxy.close()
    assert proxy.operations == ["PutItem", "GetItem"]
    assert [answer["ConsumedCapacity"]["CapacityUnits"] for _, _, answer in proxy.seen] == [1, 1]


def test_the_estimate_for_a_group_of_five() -> None:
    """A write unit a minute and at most 1.4 read units: at most four cents a month."""
    fleet = Fleet(agents=0, listings=0, leases=1, lease_agents=5)
    [lease] = [cost for cost in costs(fleet, Prices()) if cost.what == "leases"]
    minutes = MONTH / 60
    assert lease.write_units == minutes
    assert lease.read_units <= 1.4 * minutes
    assert lease.dollars <= 0.04
    assert total(costs(Fleet(leases=0), Prices())).dollars == total(costs(Fleet(), Prices())).dollars


def test_a_report_sends_nothing_for_leases(db: DB, proxy: Proxy) -> None:
    db.lease("job", "a", 60)
    for faults in ([], [fault("f")], [fault("f")]):
        db.set_faults("web1", faults)
    sent = [body for _, body, _ in proxy.seen[2:]]
    assert sent
    assert ".entries" not in str(sent)


# Answers that are lost


@pytest.mark.parametrize("was", ["nothing", "something"])
def test_a_write_whose_answer_was_lost_is_recognized(db: DB, proxy: Proxy, was: str) -> None:
    before, one = entry(value=1), entry(value=2)
    if was == "something":
        db._swap(*WHERE, None, before)
    proxy.next("PutItem", unanswered)
    assert db._swap(*WHERE, before.revision if was == "something" else None, one)
    assert list(db._entries(*WHERE)) == [one]


def test_a_write_before_which_another_wrote_is_not(db: DB, other: DB, proxy: Proxy) -> None:
    before, theirs = entry(value=1), entry(value=2)
    db._swap(*WHERE, None, before)
    proxy.next("PutItem", after(lambda: other._swap(*WHERE, before.revision, theirs)))
    assert not db._swap(*WHERE, before.revision, entry(value=3))
    assert list(db._entries(*WHERE)) == [theirs]


@pytest.mark.parametrize("operation", ["PutItem", "DeleteItem"])
def test_a_removal_whose_answer_was_lost_is_recognized(db: DB, other: DB, proxy: Proxy, operation: str) -> None:
    one, theirs = entry(value=1), entry(value=2)
    db._swap(*WHERE, None, one)
    proxy.next(operation, unanswered)
    assert db._swap(*WHERE, one.revision, None)
    assert list(db._entries(*WHERE)) == []
    db._swap(*WHERE, None, one)
    proxy.next("PutItem", after(lambda: other._swap(*WHERE, one.revision, theirs)))
    assert not db._swap(*WHERE, one.revision, None)
    assert list(db._entries(*WHERE)) == [theirs]


def test_a_removal_that_is_interrupted_leaves_nothing_that_is_seen(db: DB, proxy: Proxy) -> None:
    one, later = entry(value=1), entry(value=2)
    db._swap(*WHERE, None, one)
    proxy.next("DeleteItem", refused("AccessDeniedException"))
    with pytest.raises(errors.StoreDenied):
        db._swap(*WHERE, one.revision, None)
    assert list(db._entries(*WHERE)) == list(db._entries("test")) == []
    assert db._swap(*WHERE, None, later)


def test_a_lease_whose_answer_was_lost_is_the_holders(db: DB, other: DB, proxy: Proxy) -> None:
    for _ in range(2):
        proxy.next("PutItem", unanswered)
        assert (db.lease("job", "a", 60).holder, db.lease("job", "a", 60).token) == ("a", 1)
    proxy.next("PutItem", unanswered)
    assert db.release("job", "a")
    assert other.lease("job", "b", 60).token == 2


# Tables of the last version


def test_an_agent_works_without_the_table_until_it_wants_an_entry(
    db: DB, moto_client: Any, dynamodb_settings: dict[str, str]
) -> None:
    name = f"{dynamodb_settings['prefix']}.entries"
    moto_client.delete_table(TableName=name)
    db.set_faults("web1", [fault("f")])
    db.squelch("x", "", "")
    assert len(db.dump()["faults"]) == 2
    calls = (lambda: db.lease("job", "a", 60), lambda: db.release("job", "a"), db.get_leases)
    for call in (*calls, lambda: db.forget_lease("job")):
        with pytest.raises(errors.StoreNotSetUp, match=f"has no table {name}, .*: run setup-dynamodb CONFIG"):
            call()
    for step in steps(moto_client, dynamodb_settings["prefix"], TableOptions()):
        step.do()
    assert db.lease("job", "a", 60).token == 1


def test_commands_are_read_without_the_table_of_answers_and_an_answer_says_what_to_run(
    db: DB, moto_client: Any, dynamodb_settings: dict[str, str]
) -> None:
    name = f"{dynamodb_settings['prefix']}.answers"
    moto_client.delete_table(TableName=name)
    actions = FleetActions(db)
    action = actions.add(action_data("who"), b"", "jane")
    list(actions.deliver(action.document(), ["a"]))
    assert actions.counters(action).sent == 1
    [command] = actions.commands_of("a")
    claimed = actions.claim(command)
    assert claimed is not None
    for call in (lambda: actions.answer(claimed, "{}"), lambda: list(actions.answers(action))):
        with pytest.raises(errors.StoreNotSetUp, match=f"has no table {name}, .*: run setup-dynamodb CONFIG"):
            call()
    for step in steps(moto_client, dynamodb_settings["prefix"], TableOptions()):
        step.do()
    actions.answer(claimed, "{}")
    assert [answer.agent for answer in actions.answers(action)] == ["a"]


# Items that others wrote

ODD: list[Any] = [
    "",
    "soon",
    "5",
    Decimal("1.5"),
    Decimal(10) ** 37,
    True,
    None,
    b"x",
    [],
    {},
    {"x"},
    "[[",
    '{"until":1e999}',
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("key", ["value", "revision", "expires"])
def test_an_odd_item_of_a_lease_can_be_read_taken_and_forgotten(db: DB, other: DB, key: str, odd: Any) -> None:
    for name in ("good", "odd"):
        db.lease(name, "a", 60)
    [whole] = [item for item in db.entries.scan()["Items"] if item["key"] == "odd"]
    db.entries.put_item(Item={**whole, key: odd})
    assert "good" in [lease.name for lease in db.get_leases()]
    assert other.lease("odd", "a", 60).holder == "a"
    assert other.lease("odd", "a", 60).holder == "a"
    assert other.forget_lease("odd")
    assert other.lease("odd", "b", 60).token == 1
