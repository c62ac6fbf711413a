"""History on DynamoDB: what it costs, interrupted writes, removed agents, and tables and programs without history."""

import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.dynamodb_servers import Answer, Proxy, after, refused, unanswered
from zc.cimaa import errors
from zc.cimaa.db import DB as Contract
from zc.cimaa.dynamodb import DB, history_records
from zc.cimaa.dynamodb.history_records import UndoLog
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.faults import digest
from zc.cimaa.history import APPEARED, BEGAN, Event
from zc.cimaa.testing import Clock, fault
from zc.cimaa.testing.replay import kinds, replayed, state
from zc.cimaa.testing.tools import FIRST, SECOND

DAY = 24 * 60 * 60


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zc.cimaa.dynamodb.agent_reads._READ_DELAY", 0.005)
    monkeypatch.setattr("zc.cimaa.dynamodb.agent_reads._READ_ATTEMPTS", 2)
    monkeypatch.setattr("zc.cimaa.dynamodb.requests._BASE_DELAY", 0.005)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000)


@pytest.fixture
def proxy(dynamodb_settings: dict[str, str]) -> Iterator[Proxy]:
    proxy = Proxy(dynamodb_settings["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def db(dynamodb_settings: dict[str, str], proxy: Proxy, clock: Clock) -> Iterator[DB]:
    """Over the proxy."""
    with DB({**dynamodb_settings, "endpoint_url": proxy.url}, instance=FIRST, clock=clock) as db:
        yield db


@pytest.fixture
def direct(dynamodb_settings: dict[str, str], clock: Clock) -> Iterator[DB]:
    """The same store, for another instance."""
    with DB(dynamodb_settings, instance=SECOND, clock=clock) as db:
        yield db


# What it costs


def size(item: dict[str, Any]) -> int:
    """The size of an item as DynamoDB counts it, or a little more."""
    return sum(len(key) + len(str(next(iter(value.values()))).encode()) for key, value in item.items())


def test_a_changed_fault_costs_two_write_units_for_its_event(db: DB, proxy: Proxy) -> None:
    faults = [fault(f"//web1/service{number}#state", message="m" * 60) for number in range(20)]
    db.set_faults("web1.example.com", faults)
    for changed, units in (({"severity": 50}, 6), ({"message": "other"}, 4)):
        proxy.clear()
        db.set_faults("web1.example.com", [{**faults[0], **changed}, *faults[1:]])
        assert proxy.operations == ["UpdateItem", "Query", "TransactWriteItems"]
        items = [entry["Put"]["Item"] for entry in proxy.seen[-1][1]["TransactItems"]]
        assert sum(2 * math.ceil(size(item) / 1024) for item in items) == units
        faults = [{**faults[0], **changed}, *faults[1:]]
    assert all(size(item) <= 400 for item in records_of(db))


def records_of(db: DB) -> list[dict[str, Any]]:
    table = f"{db.settings['prefix']}.history"
    items: list[dict[str, Any]] = db._connection.client.scan(TableName=table)["Items"]
    return [item for item in items if "service0" in item["events"]["S"] and '"worse"' in item["events"]["S"]]


@pytest.mark.parametrize(("number", "batches"), [(98, 0), (99, 4)])
def test_98_changed_faults_fit_into_one_transaction(db: DB, proxy: Proxy, number: int, batches: int) -> None:
    db.set_faults("a", [])
    proxy.clear()
    db.set_faults("a", [fault(f"f{index}") for index in range(number)])
    assert proxy.operations.count("BatchWriteItem") == batches
    assert len(proxy.seen[-1][1]["TransactItems"]) == (2 if batches else 100)


def test_the_history_of_the_fleet_is_read_without_a_scan_of_it(db: DB, proxy: Proxy, clock: Clock) -> None:
    """Only the agents that were written since are queried."""
    for number in range(5):
        db.set_faults(f"old{number}", [fault("f")])
    clock.advance(3600)
    start = int(clock())
    for number in range(2):
        db.set_faults(f"new{number}", [fault("f")])
    db.set_faults("old0", [fault("f", 50)])
    db.set_faults("old1", [fault("f")])
    proxy.clear()
    assert {event["agent"] for event in db.get_history(since=start)} == {"new0", "new1", "old0"}
    assert sorted(asked(proxy)) == ["_", "new0", "new1", "old0"]
    assert [body["TableName"].rpartition(".")[2] for name, body, _ in proxy.seen if name == "Scan"] == ["agents"]
    proxy.clear()
    db.faults_at(start - 1)
    assert sorted({*asked(proxy)}) == ["new0", "new1", "old0", "old1", "old2", "old3", "old4"]  # new: what came since


def asked(proxy: Proxy) -> list[str]:
    """Whose history was queried."""
    queries = [body for name, body, _ in proxy.seen if name == "Query" and body["TableName"].endswith(".history")]
    return [body["ExpressionAttributeValues"][":agent"]["S"] for body in queries]


def test_the_latest_events_of_many_agents_are_read_from_a_few_of_them(db: DB, proxy: Proxy, clock: Clock) -> None:
    for number in range(50):
        db.set_faults(f"agent{number:02}", [])
        clock.advance(1)
    proxy.clear()
    assert [event["agent"] for event in db.get_history(limit=3)] == ["agent47", "agent48", "agent49"]
    assert len(asked(proxy)) < 20


def test_more_events_than_a_page_has_are_read_completely(db: DB, clock: Clock) -> None:
    for number in range(110):
        db.set_faults("ab"[number % 2], [fault(f"f{number}")])
        clock.advance(1)
    began = db.get_history(kinds=["began"])
    assert [event["fault"] for event in began] == [f"f{number}" for number in range(110)]


# Writes in batches that are interrupted


def killed_after(proxy: Proxy, requests: int, db: Contract, report: list[dict[str, Any]], *, answered: bool) -> bool:
    """Report in a process that is killed after (or in) a request; return whether it was."""
    done = 0

    def count(body: dict[str, Any], forward: Any) -> Any:
        nonlocal done
        done += 1
        if done <= requests or (done == requests + 1 and not answered):
            answer = forward(body)
        return answer if done <= requests else Answer(400, b'{"__type": "KilledByTheTest", "message": ""}')

    for operation in ("UpdateItem", "GetItem", "Query", "BatchWriteItem", "PutItem", "TransactWriteItems"):
        proxy.always(operation, count)
    try:
        db.set_faults("a", report)
    except errors.StoreError:
        return True
    finally:
        proxy.clear()
    return False


def thousand(step: int) -> list[dict[str, Any]]:
    """Of each 1,000, some are new, some are over, and some changed; messages are long enough for several parts."""
    names = [f"f{number:04}" for number in range(step * 200, step * 200 + 1000)]
    return [fault(name, 10 * (1 + (step + number) % 5), f"{step} " + "m" * 900) for number, name in enumerate(names)]


@pytest.mark.parametrize("answered", [True, False], ids=["after a request", "in a request"])
def test_a_history_holds_after_each_kill_within_the_batches_of_a_report(
    db: DB, direct: DB, proxy: Proxy, clock: Clock, answered: bool
) -> None:
    """While it is interrupted, and after another instance reported the same or something else."""
    direct.set_faults("a", thousand(0))
    step, requests, before = 0, 1, {int(clock()): state(direct.find_faults())}
    while True:
        clock.advance(10)
        step += 3
        if not killed_after(proxy, requests, db, thousand(step), answered=answered):
            break
        assert direct.faults_at(max(before)) == direct.faults_at(int(clock()))
        assert state(direct.faults_at(max(before), "a")) == before[max(before)]
        clock.advance(10)
        direct.set_faults("a", thousand(step + (requests // 13) % 2))
        before[int(clock())] = state(direct.find_faults())
        requests += 13
    assert requests > 40
    before[int(clock())] = state(direct.find_faults())
    assert replayed(direct.get_history("a")) == before[max(before)]
    for second, then in before.items():
        assert state(direct.faults_at(second, "a")) == then


def test_alerts_of_an_interrupted_report_are_recorded_by_the_next(db: DB, direct: DB, proxy: Proxy) -> None:
    mark = "0123456789abcdef"
    faults = [fault(f"f{number}", 50) for number in range(200)]
    db.set_faults("a", faults)
    alerted = [{**one, "triggered": {"pager": mark}} for one in faults]
    assert killed_after(proxy, 7, db, alerted, answered=True)
    direct.set_faults("a", alerted)
    assert len(db.get_history("a", kinds=["alerted"])) == 200
    assert killed_after(proxy, 7, db, [], answered=True)
    direct.set_faults("a", [])
    assert len(db.get_history("a", kinds=["resolved"])) == len(db.get_history("a", kinds=["ended"])) == 200


def test_an_interrupted_removal_counts_when_it_is_repeated(db: DB, direct: DB, proxy: Proxy, clock: Clock) -> None:
    many = [fault(f"f{number}") for number in range(150)]
    db.set_faults("a", many)
    clock.advance(10)
    proxy.next("BatchWriteItem", after(lambda: None), refused("KilledByTheTest"))
    with pytest.raises(errors.StoreError):
        db.remove_agent("a", "ann")
    assert len(direct.get_history("a")) == 151
    assert len(direct.faults_at(int(clock()) - 1)) == 150
    direct.remove_agent("a", "ann")
    assert len(direct.get_history("a")) == 302
    assert len(direct.faults_at(int(clock()) - 1)) == 150
    assert direct.faults_at(int(clock())) == []


def test_a_batch_that_arrives_late_makes_the_history_incomplete_not_wrong(
    db: DB, direct: DB, proxy: Proxy, clock: Clock
) -> None:
    """Another instance has taken over; what it reported is not known exactly any more."""
    db.set_faults("a", [])

    def overtaken(body: dict[str, Any], forward: Any) -> Answer:
        direct.set_faults("a", [fault("other")])
        forward(body)
        return Answer(400, b'{"__type": "KilledByTheTest", "message": ""}')

    proxy.next("BatchWriteItem", overtaken)
    with pytest.raises(errors.StoreError, match="KilledByTheTest"):
        db.set_faults("a", [fault(f"f{number}") for number in range(150)])
    before = int(clock())
    with pytest.raises(errors.HistoryIncomplete, match="agent 'a'"):
        direct.faults_at(before)
    clock.advance(10)
    direct.set_faults("a", [fault("other")])
    with pytest.raises(errors.HistoryIncomplete, match=f"agent 'a' begins at {before + 10}"):
        direct.faults_at(before)
    clock.advance(10)
    direct.set_faults("a", [])
    assert [one["name"] for one in direct.faults_at(before + 10)] == ["other"]


# Removed agents


def test_the_item_of_a_removed_agent_is_shown_by_no_call_until_its_history_is_over(
    db: DB, moto_client: Any, clock: Clock
) -> None:
    start = int(clock())
    db.set_faults("a", [fault("f")], within=60)
    clock.advance(100)
    db.remove_agent("a", "ann")
    table = f"{db.settings['prefix']}.agents"
    [item] = moto_client.scan(TableName=table)["Items"]
    assert item["expires"] == {"N": str(start + 100 + 90 * DAY)}
    assert {"updated", "digest", "instance"} & item.keys() == set()  # readers of older versions skip it
    assert db.dump() == {"faults": [], "squelches": []}
    assert db.get_agents() == db.old_agents(0) == db.offline_agents(10**9, 0) == db.late_agents() == []
    assert db.find_faults() == db.get_faults("a") == []
    assert kinds(db.get_history())[-1] == ("removed",)
    assert [one["name"] for one in db.faults_at(start)] == ["f"]
    db.remove_agent("a", "bob")
    assert moto_client.scan(TableName=table)["Items"] == [item]
    db.set_faults("a", [])
    assert [one["name"] for one in db.get_agents()] == ["a"]


def test_an_interrupted_first_report_after_a_removal_keeps_the_history(
    db: DB, direct: DB, proxy: Proxy, clock: Clock
) -> None:
    start = int(clock())
    db.set_faults("a", [fault("f")])
    db.remove_agent("a")
    proxy.next("BatchWriteItem", after(lambda: None), refused("KilledByTheTest"))
    with pytest.raises(errors.StoreError):
        db.set_faults("a", [fault(f"f{number}") for number in range(150)])
    assert kinds(direct.get_history())[-1] == ("removed",)
    direct.remove_agent("a")
    assert kinds(direct.get_history()) == [("appeared",), ("began", "f"), ("ended", "f"), ("removed",)]
    clock.advance(10)
    direct.set_faults("a", [])
    assert direct.faults_at(start) == []
    assert direct.find_faults() == []


def test_without_history_nothing_of_a_removed_agent_remains(
    dynamodb_settings: dict[str, str], moto_client: Any
) -> None:
    with DB({**dynamodb_settings, "history": "0s"}) as db:
        db.set_faults("a", [fault("f")])
        db.squelch("x", "", "")
        db.unsquelch("x")
        db.remove_agent("a")
    for table in ("agents", "faults", "history", "squelches"):
        assert moto_client.scan(TableName=f"{dynamodb_settings['prefix']}.{table}")["Items"] == []


# Squelches


def test_squelches_that_are_set_at_once_are_recorded_in_order(db: DB, direct: DB, proxy: Proxy) -> None:
    proxy.next("TransactWriteItems", after(lambda: direct.squelch("x", "first", "ann")))
    db.squelch("x", "second", "bob")
    events = [(event["kind"], event["why"]) for event in db.get_history("_")]
    assert events == [("squelched", "first"), ("unsquelched", "first"), ("squelched", "second")]
    proxy.next("TransactWriteItems", unanswered)
    db.unsquelch("x", "cat")
    proxy.next("TransactWriteItems", unanswered)
    db.squelch("y", "third", "bob")
    assert kinds(db.get_history("_"))[3:] == [("unsquelched", "x"), ("squelched", "y")]


# Tables and programs without history


def test_on_tables_without_history_reports_continue_and_say_what_to_do(
    db: DB, proxy: Proxy, moto_client: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    prefix = db.settings["prefix"]
    moto_client.delete_table(TableName=f"{prefix}.history")
    many = [fault(f"f{number}") for number in range(150)]
    with caplog.at_level(logging.WARNING, "zc.cimaa.dynamodb"):
        for report in ([], [fault("f")], many, [fault("g")]):
            db.set_faults("a", report)
            proxy.clear()
            db.set_faults("a", report)
            assert proxy.operations == ["UpdateItem"]
        db.squelch("x", "", "")
        db.unsquelch("x")
        db.set_faults("b", [])
        db.remove_agent("b")
    assert [one["name"] for one in db.find_faults()] == ["g"]
    [line] = caplog.messages
    assert line == (
        f"no history is recorded: the table {prefix}.history is missing: run setup-dynamodb CONFIG, which creates it"
    )
    for call in (db.get_history, lambda: db.get_history("a"), lambda: db.squelches_at(int(clock()))):
        with pytest.raises(errors.StoreNotSetUp, match=rf"has no table {prefix}\.history, .* run setup-dynamodb"):
            call()
    with pytest.raises(errors.HistoryIncomplete, match="agent 'a'"):
        db.faults_at(int(clock()))
    for step in steps(moto_client, prefix, TableOptions()):
        step.do()
    clock.advance(10)
    db.set_faults("a", [fault("g", 50)])
    assert kinds(db.get_history()) == [("started",), ("worse", "g")]
    assert db.faults_at(int(clock()))[0]["severity"] == 50


def test_without_the_permission_reports_continue_without_history(
    db: DB, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy is that of an older version."""
    said = "User: x is not authorized to perform: dynamodb:PutItem on resource: y"
    proxy.next("TransactWriteItems", refused("AccessDeniedException", said))
    db.set_faults("a", [fault("f")])
    assert [one["name"] for one in db.find_faults()] == ["f"]
    assert db.get_history() == []
    [line] = caplog.messages
    assert "no history is recorded: these AWS credentials do not permit dynamodb:PutItem" in line


def test_a_report_of_an_older_program_interrupts_the_history(db: DB, clock: Clock) -> None:
    """It writes the whole item of the agent, without the attributes that it does not know."""
    start = int(clock())
    db.set_faults("a", [fault("f")], within=60)
    [item] = db.agents.scan()["Items"]
    known = ("name", "updated", "digest", "instance", "instances", "revision")
    db.agents.put_item(Item={key: item[key] for key in known})
    with pytest.raises(errors.HistoryIncomplete, match="agent 'a' is incomplete"):
        db.faults_at(start)
    clock.advance(10)
    db.set_faults("a", [fault("f", 50)], within=60)
    assert kinds(db.get_history("a")) == [("appeared",), ("began", "f"), ("started",), ("worse", "f")]
    with pytest.raises(errors.HistoryIncomplete, match=f"agent 'a' begins at {start + 10}"):
        db.faults_at(start)


def test_an_agent_that_an_older_program_removed_starts_again(db: DB, clock: Clock) -> None:
    start = int(clock())
    db.set_faults("a", [fault("f")])
    db.agents.delete_item(Key={"name": "a"})
    db.faults.delete_item(Key={"agent": "a", "name": "f"})
    clock.advance(-10)
    db.set_faults("a", [])
    times = [event["time"] for event in db.get_history("a")]
    assert times == sorted(times)
    assert kinds(db.get_history("a"))[2:] == [("appeared",), ("started",)]
    with pytest.raises(errors.HistoryIncomplete, match="agent 'a'"):
        db.faults_at(start - 10)


# Items

EVENTS = [
    Event(1_700_000_000_123_456, "web1", APPEARED, who="host"),
    Event(1_700_000_000_123_456, "web1", BEGAN, "//web1/disk", None, 50, 1_700_000_000, message="full \u00e9"),
]


def test_events_as_an_item() -> None:
    [item] = history_records.encode_events("web1", EVENTS, "ab" * 16, 90 * DAY)
    assert item == {
        "agent": {"S": "web1"},
        "at": {"S": f"0001700000000123456.{'ab' * 16}.0000"},
        "expires": {"N": str(1_700_000_001 + 90 * DAY)},
        "events": {
            "S": '[{"kind":"appeared","who":"host"},{"after":50,"fault":"//web1/disk","kind":"began",'
            '"message":"full \u00e9","since":1700000000}]'
        },
        "parts": {"N": "1"},
    }
    assert [*history_records.decode_events([item], EVENTS[0].time)] == EVENTS[::-1]
    last = EVENTS[0].time + 90 * DAY * 1_000_000
    assert [*history_records.decode_events([item], last)] == EVENTS[::-1]
    assert [*history_records.decode_events([item], last + 1_000_000)] == []
    assert history_records.encode_events("web1", [], "ab" * 16, 90 * DAY) == []


def test_many_events_are_items_below_400_kb_which_count_with_the_last_one() -> None:
    events = [EVENTS[1]._replace(fault=f"{number:04}" + "x" * 1000, message="\u00e9" * 512) for number in range(10_000)]
    items = history_records.encode_events("web1", events, "ab" * 16, 1)
    assert len(items) > 50
    assert all(size(item) < 400_000 for item in items)
    keys = [item["at"]["S"] for item in items]
    assert keys == sorted(keys)
    assert [*history_records.decode_events(items[::-1], 0)] == events[::-1]
    assert [*history_records.decode_events(items[-2::-1], 0)] == []
    [other] = history_records.encode_events("web1", EVENTS, "cd" * 16, 1)
    assert [*history_records.decode_events([other, *items[-2::-1]], 0)] == EVENTS[::-1]


ODD_EVENTS = [
    "",
    "{}",
    "[5]",
    "[{}]",
    '[{"kind":5}]',
    '[{"kind":["x"]}]',
    '[{"kind":"worse","fault":"f"}]',
    '[{"kind":"ended","fault":"f","before":5}]',
    '[{"kind":"ended","fault":"f","before":true,"since":1}]',
    '[{"kind":"ended","fault":"f","before":"x","since":1}]',
    '[{"kind":"began","fault":null}]',
    '[{"kind":"began","time":5}]',
]


def test_odd_items_of_one_agent_do_not_prevent_others_from_being_read(db: DB, clock: Clock) -> None:
    """An agent may write its own items."""
    start = int(clock())
    db.set_faults("good", [fault("f")])
    db.set_faults("bad", [fault("f")])
    [at] = [item["at"] for item in db.history.scan()["Items"] if item["agent"] == "bad"]
    for number, odd in enumerate(ODD_EVENTS):
        db.history.put_item(
            Item={"agent": "bad", "at": f"{at[:19]}.ff{number:02}.0", "events": odd, "parts": 1, "expires": 2**40}
        )
    for key in ("", "x", at[:19], f"{at[:19]}.ff00", f"{at[:19]}.xy.0"):
        if key:
            db.history.put_item(Item={"agent": "bad", "at": key, "events": [1], "parts": "x", "expires": "x"})
    db.history.put_item(Item={"agent": "bad", "at": f"{at[:19]}.ff00.1", "parts": 1})
    clock.advance(10)
    db.set_faults("good", [])
    assert kinds(db.get_history("good")) == [("appeared",), ("began", "f"), ("ended", "f")]
    assert kinds(db.get_history("bad")) == [("appeared",), ("began", "f")]
    assert len(db.get_history()) == 5
    assert [one["agent"] for one in db.faults_at(start)] == ["bad", "good"]


def test_an_undo_log_as_items() -> None:
    faults = [{**fault(f"f{number}", message="m" * 30_000), "since": 5} for number in range(100)]
    before = {one["name"]: one for one in faults}
    log = UndoLog(digest(faults), {**before, "new": None})
    items = history_records.encode_undo("a", log, "ab" * 16, 5)
    assert len(items) > 5
    assert all(item["at"]["S"].startswith(f"undo.{'ab' * 16}.") for item in items)
    assert history_records.decode_undo(items) == log
    changed = [{**one, "severity": 50} for one in faults[:50]] + [{**fault("new"), "since": 6}]
    assert log.applied(changed) == faults
    assert history_records.decode_undo(items[1:]).applied(changed) is None
    assert history_records.decode_undo([]).applied(changed) is None
    for odd in ("", "5", "[5]", "[[1,2,3]]", '[["f",5]]', '[["f",{"severity":[]}]]'):
        assert history_records.decode_undo([{**items[0], "faults": {"S": odd}}]).applied(changed) is None
