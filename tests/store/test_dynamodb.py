"""The DynamoDB backend keeps the contract, and what it promises beyond, over moto's server."""

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import zc.cimaa.dynamodb
from tests.support.dynamodb_servers import ACCESS, Proxy, counted, dynalite, plain_client
from zc.cimaa.agents import INSTANCES, reported, this_host
from zc.cimaa.dynamodb import DB, records
from zc.cimaa.dynamodb.costs import MONTH, Fleet, Prices, costs, total
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.testing import Clock, Conformance, Opener, fault


class TestDynamoDB(Conformance):
    examples = 5

    @pytest.fixture
    def opener(self, dynamodb_opener: Opener) -> Opener:
        return dynamodb_opener


@pytest.fixture
def db(dynamodb_settings: dict[str, str], proxy: Proxy) -> Iterator[DB]:
    with DB({**dynamodb_settings, "endpoint_url": proxy.url}, clock=Clock()) as db:
        yield db


# The session of earlier versions of the documentation


@pytest.fixture
def in_directory(tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration; the endpoint and credentials are in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    prefix = f"session-{os.getpid()}"
    Path("conf").write_text(f"[database]\nclass = zc.cimaa.dynamodb\nregion = us-east-1\nprefix = {prefix}\n")
    return tmp_path


def test_a_session_from_setup_to_deletion(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [entry] = importlib.metadata.entry_points(group="console_scripts", name="setup-dynamodb")
    setup = entry.load()
    assert setup(["conf"]) is None
    assert setup(["conf"]) is None
    assert capsys.readouterr().out == ""

    db = zc.cimaa.dynamodb.DB(zc.cimaa.dynamodb.config_parse("conf"))
    db.squelch("disk", "being replaced", "jim", True)
    db.squelch("^net", "maintenance", "ann")
    db.set_faults("web", [])
    assert db.get_faults("web") == []
    assert db.get_squelches() == ["^net", "disk"]
    details = [{key: one[key] for key in ("regex", "permanent", "user")} for one in db.get_squelch_details()]
    assert details == [
        {"regex": "^net", "permanent": False, "user": "ann"},
        {"regex": "disk", "permanent": True, "user": "jim"},
    ]
    db.set_faults("web", [fault("f1")])
    db.set_faults("web", [fault("f1"), fault("f2")])
    last = [fault("f3", 50, kind="y"), fault("f2"), fault("empty", 50, "")]
    db.set_faults("web", last)
    beat, *faults = db.dump()["faults"]
    assert faults == [{"agent": "web", **one} for one in sorted(last, key=lambda one: one["name"])]
    assert (beat["agent"], beat["name"], beat["message"]) == ("_", "web", "")
    assert db.old_agents(900) == []
    assert db.old_agents(0) == [{"name": "web", "updated": beat["updated"]}]
    assert db.get_faults("web") == faults
    db.set_faults("web", [])
    for regex in db.get_squelches():
        db.unsquelch(regex)
    assert [[one["agent"] for one in db.dump()["faults"]], db.dump()["squelches"]] == [["_"], []]
    db.set_faults("mail", [fault("f1"), fault("f2")])
    db.remove_agent("web")
    assert [(one["agent"], one["name"]) for one in db.dump()["faults"]] == [
        ("_", "mail"),
        ("mail", "f1"),
        ("mail", "f2"),
    ]
    for table in zc.cimaa.dynamodb.schemas:
        assert getattr(db, table).delete()["TableDescription"]["TableName"].endswith(f".{table}")


def test_the_tables_are_attributes(db: DB) -> None:
    db.set_faults("a", [fault("f", x=1.5, y=2)])
    assert set(zc.cimaa.dynamodb.schemas) == {*("agents", "faults", "squelches"), *("entries", "answers", "history")}
    assert all(getattr(db, table).key_schema == key for table, key in zc.cimaa.dynamodb.schemas.items())
    assert db.agents is db.agents
    [item] = db.faults.scan()["Items"]
    assert (item["x"], item["y"], item["severity"]) == (Decimal("1.5"), Decimal(2), Decimal(40))
    assert db.agents.item_count == 1
    with pytest.raises(AttributeError, match="fault"):
        db.fault  # noqa: B018


def test_what_other_tools_wrote_can_be_read(db: DB) -> None:
    numbers = {"whole": Decimal(7), "part": Decimal("7.5"), "list": [Decimal(1), "x", {"y": None}], "set": {"x"}}
    db.faults.put_item(Item={"agent": "old", "name": "f", "severity": Decimal(30), **numbers})
    db.faults.put_item(Item={"agent": "_", "name": "old", "updated": Decimal(1_418_160_088)})
    db.squelches.put_item(Item={"regex": "x", "user": "me", "time": Decimal(5), "permanent": True})
    read = {"agent": "old", "name": "f", "severity": 30, "message": ""}
    read |= {"whole": 7, "part": 7.5, "list": [1, "x", {"y": None}], "set": ["x"]}
    assert db.get_faults("old") == [read]
    assert db.dump()["faults"] == [read]
    assert db.find_faults() == [{**read, "since": 0}]
    assert db.get_squelch_details() == [{"regex": "x", "reason": "", "user": "me", "time": 5, "permanent": True}]
    db.set_faults("old", [fault("f")])
    assert db.get_faults("old") == [fault("f", agent="old")]


ODD: list[Any] = [
    "soon",
    "",
    Decimal("1.5"),
    Decimal(10) ** 37,
    Decimal("1E+100"),
    True,
    None,
    b"bytes",
    ["x"],
    {"x": Decimal(1)},
    {"x"},
    {Decimal(2)},
    {b"x"},
    "[]",
    "{}",
    '[[["h", "v", "o"]], 5, [[0, "x", 1, 2]]]',
    '[[["h", "v", "o"]], [], [[0, 1, [], []]]]',
    '[[["h", 5, "o"]], 5, [[9, 1, 1, 2]]]',
]
KEYS = {
    "agents": ("updated", "digest", "instance", "instances"),
    "faults": ("severity", "message", "since", "extra"),
    "squelches": ("reason", "user", "time", "permanent", "expires"),
}


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_item_prevents_others_from_being_read(db: DB, odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that may write its own items cannot hide those of others; odd items can be replaced and removed."""
    monkeypatch.setattr("zc.cimaa.dynamodb.agent_reads._READ_DELAY", 0)
    monkeypatch.setattr("zc.cimaa.dynamodb.agent_reads._READ_ATTEMPTS", 1)
    db.set_faults("good", [fault("f")])
    db.squelch("good", "", "")
    for table, keys in KEYS.items():
        resource = getattr(db, table)
        [whole] = resource.scan()["Items"]
        name = next(key["AttributeName"] for key in zc.cimaa.dynamodb.schemas[table])
        with resource.batch_writer() as batch:
            for key in keys:
                batch.put_item(Item={**whole, name: f"{key} odd", key: odd})
                batch.put_item(Item={"name": "f", key: odd} | {name: f"{key} alone"})
    listed = (db.dump()["faults"], db.find_faults(), db.get_faults("good"), db.find_faults(severity=40, limit=1000))
    for faults in listed:
        assert [one for one in faults if one["agent"] == "good"]
    for agents in (db.get_agents(), db.old_agents(0), db.offline_agents(10**9, 0)):
        assert "good" in [agent["name"] for agent in agents]
    db.double_agents()
    assert "good" in db.get_squelches()
    assert len(db.get_squelch_details()) == 11
    for name in ("updated odd", "instances alone", "severity odd"):
        db.set_faults(name, [fault("new")])
        assert db.get_faults(name) == [fault("new", agent=name)]
        db.remove_agent(name)
        assert db.get_faults(name) == []


# What a report costs


def test_an_unchanged_report_is_one_request(db: DB, proxy: Proxy) -> None:
    for faults in ([], [fault(f"f{index}") for index in range(100)]):
        db.set_faults("a", faults)
        proxy.clear()
        db.set_faults("a", faults)
        assert proxy.operations == ["UpdateItem"]


def test_a_changed_fault_takes_two_more_requests(db: DB, proxy: Proxy) -> None:
    faults = [fault(f"f{index}") for index in range(98)]
    db.set_faults("a", faults)
    for changed in ([*faults, fault("new")], [*faults, fault("new", 50)], faults):
        proxy.clear()
        db.set_faults("a", changed)
        assert proxy.operations == ["UpdateItem", "Query", "TransactWriteItems"]
        [_, _, (_, transaction, _)] = proxy.seen
        assert len(transaction["TransactItems"]) == 3
    proxy.clear()
    db.set_faults("a", [fault("f0", message="other"), *faults[1:]])
    [*_, (_, transaction, _)] = proxy.seen
    assert proxy.operations == ["UpdateItem", "Query", "TransactWriteItems"]
    assert len(transaction["TransactItems"]) == 2  # another message is not an event


@pytest.mark.parametrize("number", [1, 98])
def test_the_estimated_costs_count_the_requests_that_are_sent(db: DB, proxy: Proxy, number: int) -> None:
    faults = [fault(f"f{index}") for index in range(number)]
    db.set_faults("a", faults)
    for changes, report in ((0, faults), (1, [*faults[1:], fault("f0", 50)])):
        proxy.clear()
        db.set_faults("a", report)
        fleet = Fleet(agents=1, interval=MONTH, faults=number, changes=changes, listings=0)
        assert total(costs(fleet, Prices())).requests == len(proxy.operations)


def test_a_first_report_takes_three_more_requests(db: DB, proxy: Proxy) -> None:
    db.set_faults("a", [fault("f")])
    assert proxy.operations == ["UpdateItem", "Query", "Query", "TransactWriteItems"]
    proxy.clear()
    db.set_faults("b", [])
    assert proxy.operations == ["UpdateItem", "Query", "Query", "TransactWriteItems"]


def test_a_row_with_the_maximum_of_instances_takes_one_write_unit() -> None:
    name = "web-frontend-17.eu-central-1.example.com"
    host = this_host()._replace(host=name, os="Linux 6.8.0-1017-aws")
    row = None
    for number in range(INSTANCES + 2):
        now = 1_764_000_000_123_456 + number * 5_000_654_321
        row = reported(row, "d" * 32, host._replace(pid=4_000_000 + number), now, within=300)
        row = row._replace(written=now, recorded=now, marked=True)
    assert row is not None
    item = records.encode_row(name, row, "r" * 32)
    assert records.decode_row(item) == records.Stored("r" * 32, row, written=row.written)
    assert len(row.instances) == INSTANCES
    assert sum(len(key) + len(str(*value.values()).encode()) for key, value in item.items()) < 1024


REPORT = """
import sys
from zc.cimaa.agents import this_host
from zc.cimaa.config import open_database

with open_database("conf", instance=this_host()) as db:
    faults = [dict(name=f"f{n}", severity=40, message="bad") for n in range(int(sys.argv[1]))]
    getattr(db, sys.argv[3])("web", faults, int(sys.argv[2]) or None)
"""


@pytest.mark.parametrize("call", ["set_faults", "report"])
@pytest.mark.parametrize("within", [None, 300])
@pytest.mark.parametrize("number", [0, 100])
def test_an_unchanged_report_of_a_new_process_is_one_write_unit(
    dynamodb_settings: dict[str, str], moto_client: Any, tmp_path: Path, number: int, within: int | None, call: str
) -> None:
    """A store is filled over moto, which has transactions, and copied to dynalite, which counts what is consumed."""
    faults = [fault(f"f{index}", message="bad") for index in range(number)]
    prefix = dynamodb_settings["prefix"]
    with DB(dynamodb_settings, instance=this_host()) as db:
        db.set_faults("web", faults, within)
    with dynalite() as url:
        client = plain_client(url)
        for step in steps(client, prefix, TableOptions()):
            if "time to live" in step.text:
                continue  # dynalite does not support it
            step.do()
            client.get_waiter("table_exists").wait(TableName=step.table, WaiterConfig={"Delay": 1})
        for table in ("agents", "faults"):
            for item in moto_client.scan(TableName=f"{prefix}.{table}")["Items"]:
                client.put_item(TableName=f"{prefix}.{table}", Item=item)
        proxy = Proxy(url)
        proxy.always("UpdateItem", counted)
        settings = {**ACCESS, "prefix": prefix, "endpoint_url": proxy.url, "class": "zc.cimaa.dynamodb"}
        lines = [f"{key} = {text}" for key, text in settings.items()]
        (tmp_path / "conf").write_text("\n".join(["[database]", *lines]))
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(REPORT), str(number), str(within or 0), call],
            cwd=tmp_path,
            check=True,
        )
        proxy.close()
    assert proxy.operations == ["UpdateItem"]
    [(_, _, answer)] = proxy.seen
    assert answer == {"ConsumedCapacity": {"CapacityUnits": 1, "TableName": f"{prefix}.agents"}}


# Larger than one page, and processes


def test_results_of_several_pages_are_read_completely(db: DB, proxy: Proxy) -> None:
    wanted = []
    for number in range(6):
        faults = [fault(f"f{index}", filler="x" * 110_000) for index in range(4 if number else 12)]
        db.set_faults(f"a{number}", faults)
        wanted += [(f"a{number}", one["name"]) for one in faults]
    proxy.clear()
    assert [(one["agent"], one["name"]) for one in db.dump()["faults"] if one["agent"] != "_"] == sorted(wanted)
    segments = {body["Segment"] for _, body, _ in proxy.seen if "Segment" in body}
    assert segments == {0, 1, 2, 3}
    assert len(db.find_faults(limit=3)) == 3
    proxy.clear()
    assert len(db.get_faults("a0")) == 12
    assert proxy.operations == ["Query", "Query", "GetItem"]


def test_a_fork_has_its_own_connections(db: DB) -> None:
    db.set_faults("parent", [fault("f")])
    child = os.fork()
    if not child:
        try:
            db.set_faults("child", [fault("f")])
            os._exit(0 if db.get_faults("parent") else 1)
        finally:
            os._exit(2)
    for _ in range(20):
        db.set_faults("parent", [fault("f")])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {agent["name"] for agent in db.get_agents()} == {"parent", "child"}
