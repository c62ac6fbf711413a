"""Throttling, lost requests and responses, concurrent writers, interruptions, and the messages for all other errors."""

import contextlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from tests.support.dynamodb_servers import (
    ACCESS,
    Answer,
    Proxy,
    Way,
    after,
    altered,
    cancelled,
    lost,
    partly,
    refused,
    throttled,
    unanswered,
)
from zc.cimaa import errors
from zc.cimaa.dynamodb import DB
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.testing import Clock, Opener, fault


@pytest.fixture
def proxy(dynamodb_settings: dict[str, str]) -> Iterator[Proxy]:
    proxy = Proxy(dynamodb_settings["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zc.cimaa.dynamodb.agent_reads._READ_DELAY", 0.005)
    monkeypatch.setattr("zc.cimaa.dynamodb.requests._BASE_DELAY", 0.005)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000)


@pytest.fixture
def settings(dynamodb_settings: dict[str, str], proxy: Proxy) -> dict[str, str]:
    return {**dynamodb_settings, "endpoint_url": proxy.url, "retry_for": "5s"}


@pytest.fixture
def db(settings: dict[str, str], clock: Clock) -> Iterator[DB]:
    with DB(settings, clock=clock) as db:
        yield db


@pytest.fixture
def direct(dynamodb_opener: Opener, clock: Clock) -> Iterator[DB]:
    """The same store, without the proxy, for the same instance."""
    with dynamodb_opener(clock=clock) as db:
        yield db  # type: ignore[misc]


def states(db: DB) -> list[tuple[str, int, int]]:
    """What tests compare: each fault's name, severity and since."""
    return sorted((one["name"], one["severity"], one["since"]) for one in db.find_faults())


# More than a transaction takes.
MANY = [fault(f"f{index:03}") for index in range(105)]
PASSING: dict[str, Way] = {
    "throttled": throttled,
    "throttled on demand": refused("ThrottlingException", "Throughput exceeds the current capacity of your table"),
    "throttled account": refused("RequestLimitExceeded", "Throughput exceeds the current limit for your account"),
    "error of the service": refused("InternalServerError", status=500),
    "unavailable": refused("ServiceUnavailable", status=503),
    "lost": lost,
    "unanswered": unanswered,
    "conflict": refused("TransactionConflictException"),
    "cancelled for a conflict": cancelled("None", "TransactionConflict"),
    "cancelled by throttling": cancelled("ThrottlingError", "None"),
}


# What passes by itself


@pytest.mark.parametrize(
    ("operation", "way"),
    [("TransactWriteItems", way) for way in PASSING.values()]
    + [(operation, way) for operation in ("UpdateItem", "Query") for way in (throttled, lost, unanswered)],
)
def test_transient_errors_are_retried_and_nothing_is_lost(
    db: DB, direct: DB, proxy: Proxy, clock: Clock, operation: str, way: Way
) -> None:
    """Whichever request of a report it hits: the old faults keep their since, what is over is gone."""
    start = int(clock())
    before = MANY[:5]
    db.set_faults("a", before)
    clock.advance(100)
    reported = [one | {"severity": 50} for one in before[1:]] + [fault("new")]
    proxy.next(operation, way)
    db.set_faults("a", reported)
    assert way not in proxy._ways.get(operation, [])
    assert states(direct) == sorted(
        [(one["name"], 50, start) for one in before[1:]] + [("new", 40, start + 100)],
    )
    proxy.clear()
    db.set_faults("a", reported)
    assert proxy.operations == ["UpdateItem"]


# The requests of a report in parts: the touch, the faults, the undo log, the mark, the batches, the row and the events.
IN_PARTS = ["UpdateItem", "Query", "PutItem", "UpdateItem", *["BatchWriteItem"] * 5, "TransactWriteItems"]


@pytest.mark.parametrize("way", [throttled, lost, unanswered], ids=["throttled", "lost", "unanswered"])
@pytest.mark.parametrize("number", range(1, len(IN_PARTS)))
def test_each_request_of_a_report_in_batches_is_retried_alone(
    db: DB, direct: DB, proxy: Proxy, clock: Clock, number: int, way: Way
) -> None:
    """One that is not answered does not make the others go through it all again."""
    start = int(clock())
    direct.set_faults("a", MANY[:2])
    clock.advance(10)
    passing = [after(lambda: None)] * IN_PARTS[:number].count(IN_PARTS[number])
    proxy.next(IN_PARTS[number], *passing, way)
    db.set_faults("a", MANY[1:])
    writes = [operation for operation in proxy.operations if operation != "GetItem"]
    assert writes == [*IN_PARTS[: number + 1], *IN_PARTS[number:]]
    assert states(direct) == [(one["name"], 40, start if one == MANY[1] else start + 10) for one in MANY[1:]]
    proxy.clear()
    db.set_faults("a", MANY[1:])
    assert proxy.operations == ["UpdateItem"]


@pytest.mark.parametrize("way", [throttled, lost, unanswered], ids=["throttled", "lost", "unanswered"])
def test_reading_and_removing_are_retried(db: DB, direct: DB, proxy: Proxy, way: Way) -> None:
    db.set_faults("a", MANY[:5])
    db.squelch("x", "", "")
    for operation in ("GetItem", "Query", "Scan", "TransactWriteItems"):
        proxy.next(operation, way)
    assert len(db.get_faults("a")) == 5
    assert db.get_squelches() == ["x"]
    db.remove_agent("a")
    proxy.next("TransactWriteItems", way)
    db.unsquelch("x")
    assert direct.dump() == {"faults": [], "squelches": []}


def test_every_throttled_try_is_logged(db: DB, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.next("UpdateItem", throttled, throttled, refused("InternalServerError", status=500))
    proxy.next("TransactWriteItems", throttled)
    with caplog.at_level(logging.WARNING, "zc.cimaa.dynamodb"):
        db.set_faults("a", [fault("f")])
    lines = [record.getMessage() for record in caplog.records if record.name == "zc.cimaa.dynamodb"]
    assert len([line for line in lines if line.startswith("throttled by DynamoDB")]) == 3
    assert len(lines) == 4
    assert "while reporting for agent 'a' (try 2)" in lines[1]
    assert ACCESS["aws_secret_access_key"] not in caplog.text


def test_the_error_at_the_time_limit_says_what_was_tried(settings: dict[str, str], proxy: Proxy) -> None:
    with DB({**settings, "retry_for": "1s"}) as db:
        db.set_faults("a", [fault("f")])
        for operation, call, doing in (
            ("UpdateItem", lambda: db.set_faults("a", []), "reporting for agent 'a'"),
            ("Scan", db.find_faults, "listing the faults"),
        ):
            proxy.always(operation, throttled)
            with pytest.raises(errors.StoreUnavailable) as caught:
                call()
            message = str(caught.value)
            assert re.search(rf"^throttled by DynamoDB at \S+ \(us-east-1\) while {doing}: gave up after", message)
            assert re.search(r"after [01]\.\d s and \d+ tries \(ProvisionedThroughputExceededException: ", message)
            assert "more capacity" in message
            proxy.clear()
        assert len(db.get_faults("a")) == 1


def test_unprocessed_items_of_a_batch_are_sent_again(
    db: DB, direct: DB, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.next("BatchWriteItem", partly, partly, partly)
    with caplog.at_level(logging.WARNING, "zc.cimaa.dynamodb"):
        db.set_faults("a", MANY)
    assert len(direct.get_faults("a")) == len(MANY)
    assert [text for text in caplog.messages if "12 of 25 items were not processed" in text]
    proxy.next("BatchWriteItem", partly, throttled, partly)
    db.set_faults("a", [])
    assert direct.get_faults("a") == []


def test_a_batch_of_which_nothing_is_processed_ends_at_the_time_limit(settings: dict[str, str], proxy: Proxy) -> None:
    def nothing(body: dict[str, Any], _forward: object) -> Answer:
        return altered(lambda answer: answer.update(UnprocessedItems=body["RequestItems"]))(
            body, lambda _: Answer(200, b"{}")
        )  # type: ignore[return-value]

    with DB({**settings, "retry_for": "1s"}) as db:
        proxy.always("BatchWriteItem", nothing)
        with pytest.raises(errors.StoreUnavailable, match=r"reporting for agent 'a'.*25 of 25 items"):
            db.set_faults("a", MANY)
        proxy.clear()
        db.set_faults("a", MANY)
        assert len(db.get_faults("a")) == len(MANY)


# Others who write in between


@pytest.mark.parametrize("many", [False, True])
def test_another_writer_in_between_is_noticed(db: DB, direct: DB, proxy: Proxy, clock: Clock, many: bool) -> None:
    """The changes are computed again from what the other wrote: its faults are removed, its since stays."""
    start = int(clock())
    db.set_faults("a", [fault("f"), fault("g")])
    clock.advance(10)
    extra = MANY if many else []
    proxy.next("TransactWriteItems", after(lambda: direct.set_faults("a", [fault("h")])))
    db.set_faults("a", [fault("h", 50), fault("g"), *extra])
    expected = [("g", 40, start + 10), ("h", 50, start + 10)] + [(one["name"], 40, start + 10) for one in extra]
    assert states(direct) == sorted(expected)


def test_an_agent_that_is_removed_in_between_is_stored_completely(db: DB, direct: DB, proxy: Proxy) -> None:
    db.set_faults("a", [fault("f"), fault("g")])
    proxy.next("TransactWriteItems", after(lambda: direct.remove_agent("a")))
    db.set_faults("a", [fault("f"), fault("h")])
    assert [one["name"] for one in direct.get_faults("a")] == ["f", "h"]


def test_a_touch_in_between_is_not_a_conflict(db: DB, direct: DB, proxy: Proxy) -> None:
    db.set_faults("a", [fault("f")])
    proxy.next("TransactWriteItems", after(lambda: direct.set_faults("a", [fault("f")])))
    proxy.clear()
    db.set_faults("a", [fault("g")])
    assert proxy.operations.count("TransactWriteItems") == 1


def test_writers_that_always_conflict_end_at_the_time_limit(settings: dict[str, str], direct: DB, proxy: Proxy) -> None:
    numbers = iter(range(1000))
    proxy.always("TransactWriteItems", after(lambda: direct.set_faults("a", [fault(f"f{next(numbers)}")])))
    with (
        DB({**settings, "retry_for": "1s"}) as db,
        pytest.raises(errors.StoreUnavailable, match=r"a conflict with other writers in .*reporting for agent 'a'"),
    ):
        db.set_faults("a", [fault("g")])


def test_half_of_a_transaction_is_not_shown(db: DB, direct: DB, proxy: Proxy) -> None:
    """A query may see some of what a transaction writes, and a scan as well."""
    faults = [fault("f"), fault("g")]
    direct.set_faults("a", faults)
    half = altered(lambda answer: answer["Items"].pop())
    proxy.next("Query", half, half)
    assert db.get_faults("a") == direct.get_faults("a")
    proxy.next("Scan", after(lambda: None), half)
    assert db.dump() == direct.dump()
    proxy.next("Query", half)
    db.set_faults("a", [fault("h")])
    assert [one["name"] for one in direct.get_faults("a")] == ["h"]


# Interruptions


@pytest.mark.parametrize("requests", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("next_report", ["the old", "the new", "none"])
def test_the_report_after_an_interrupted_one_completes_it(
    db: DB, direct: DB, proxy: Proxy, clock: Clock, monkeypatch: pytest.MonkeyPatch, requests: int, next_report: str
) -> None:
    """For interruptions everywhere, and for all next reports: the one before, the interrupted one, or an empty one."""
    start = int(clock())
    old, new = MANY, [one | {"severity": 50} for one in MANY[1:]] + [fault("new")]
    db.set_faults("a", old)
    clock.advance(10)
    killed_after(proxy, requests, db, new)
    proxy.clear()
    report = {"the old": old, "the new": new, "none": []}[next_report]
    clock.advance(10)
    direct.set_faults("a", report)
    assert [(one["name"], one["severity"]) for one in direct.get_faults("a")] == [
        (one["name"], one["severity"]) for one in sorted(report, key=lambda one: str(one["name"]))
    ]
    kept = {name: since for name, _, since in states(direct)}
    assert all(kept[one["name"]] == start for one in MANY[1:] if report)


def killed_after(proxy: Proxy, requests: int, db: DB, report: list[Any]) -> None:
    """Report, in a process that ends after a number of requests."""
    done = 0

    def count(body: dict[str, Any], forward: Any) -> Any:
        nonlocal done
        done += 1
        return forward(body) if done <= requests else Answer(400, b'{"__type": "KilledByTheTest", "message": ""}')

    for operation in ("UpdateItem", "GetItem", "Query", "BatchWriteItem", "PutItem", "TransactWriteItems"):
        proxy.always(operation, count)
    with pytest.raises(errors.StoreError, match="KilledByTheTest"):
        db.set_faults("a", report)
    assert done == requests + 1


def test_an_interrupted_removal_can_be_repeated(db: DB, direct: DB, proxy: Proxy) -> None:
    db.set_faults("a", MANY)
    proxy.next("BatchWriteItem", after(lambda: None), refused("KilledByTheTest"))
    with pytest.raises(errors.StoreError):
        db.remove_agent("a")
    assert [agent["name"] for agent in direct.get_agents()] == ["a"]
    direct.remove_agent("a")
    assert direct.dump()["faults"] == []


def test_the_faults_of_an_interrupted_report_are_read_once(db: DB, direct: DB, proxy: Proxy) -> None:
    killed_after(proxy, 5, db, MANY)
    proxy.clear()
    db.set_faults("a", [])
    queried = [body["TableName"].rpartition(".")[2] for operation, body, _ in proxy.seen if operation == "Query"]
    assert queried.count("faults") == 2
    proxy.clear()
    assert db.get_faults("a") == []
    assert proxy.operations == ["Query", "GetItem"]


def test_an_agent_whose_first_report_is_in_progress_is_not_listed(db: DB, direct: DB, proxy: Proxy) -> None:
    seen: list[Any] = []
    proxy.next("TransactWriteItems", after(lambda: seen.extend([direct.get_agents(), direct.old_agents(0)])))
    db.set_faults("a", MANY)
    assert seen == [[], []]
    assert [agent["name"] for agent in direct.get_agents()] == ["a"]


OTHERS: dict[str, list[Any]] = {
    "nothing": [],
    "little": [fault("other")],
    "some of the same": [*MANY[100:103], fault("other")],
    "much": [fault(f"other{index:03}") for index in range(105)],
}


@pytest.mark.parametrize("early", [False, True], ids=["after the row", "before the row"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_batch_that_arrives_late_is_corrected(
    settings: dict[str, str], db: DB, direct: DB, proxy: Proxy, clock: Clock, other: str, early: bool
) -> None:
    """One instance is slow, another takes over; then a batch of the slow one arrives, which dies after it.

    The batch comes when the other wrote its row, or when it is just about to.
    """
    reported = OTHERS[other]
    others = Proxy(f"http://{proxy.target}")

    def report() -> None:
        with DB({**settings, "endpoint_url": others.url}, clock=clock) as db:
            db.set_faults("a", reported)

    def overtaken(body: dict[str, Any], forward: Any) -> Answer:
        if early:
            others.next("TransactWriteItems", after(lambda: forward(body)))
        report()
        if not early:
            forward(body)
        for operation in ("UpdateItem", "GetItem", "Query", "BatchWriteItem", "PutItem", "TransactWriteItems"):
            proxy.always(operation, refused("KilledByTheTest"))
        return Answer(400, b'{"__type": "KilledByTheTest", "message": ""}')

    proxy.next("BatchWriteItem", after(lambda: None), overtaken)
    with pytest.raises(errors.StoreError, match="KilledByTheTest"):
        db.set_faults("a", MANY)
    clock.advance(60)
    report()
    assert direct.get_faults("a") == [{**one, "agent": "a"} for one in reported]
    # When no batch can come any more, an unchanged report is what it always was.
    clock.advance(15 * 60)
    report()
    others.clear()
    report()
    assert others.operations == ["UpdateItem"]
    others.close()


def test_a_clock_set_back_does_not_extend_the_unsettled_time(db: DB, direct: DB, proxy: Proxy, clock: Clock) -> None:
    killed_after(proxy, 5, db, MANY)
    proxy.clear()
    db.set_faults("a", [])
    clock.advance(-100_000)
    for seconds in (0, 15 * 60):
        clock.advance(seconds)
        db.set_faults("a", [])
    proxy.clear()
    db.set_faults("a", [])
    assert proxy.operations == ["UpdateItem"]


def test_a_writer_that_lost_the_mark_stops(
    db: DB, direct: DB, proxy: Proxy, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zc.cimaa.dynamodb.writes.MARK", 0)
    proxy.next("BatchWriteItem", after(lambda: None), after(lambda: direct.set_faults("a", [])))
    db.set_faults("a", MANY)
    start = ["UpdateItem", "Query", "Query", "PutItem", *["UpdateItem"] * 2]
    start += ["BatchWriteItem", "UpdateItem", "BatchWriteItem"]
    assert proxy.operations[: len(start) + 2] == [*start, "UpdateItem", "GetItem"]
    assert direct.get_faults("a") == [{**one, "agent": "a"} for one in MANY]


# Messages


def message_of(call: Any, kind: type[errors.Error]) -> str:
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert ACCESS["aws_secret_access_key"] not in message
    return message


REFUSALS: dict[str, tuple[Way, type[errors.Error], str]] = {
    "tables": (refused("ResourceNotFoundException", "Requested resource not found"), errors.StoreNotSetUp, "setup-dyn"),
    "permission": (
        refused(
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/x is not authorized to perform: dynamodb:UpdateItem on resource: arn:aws:x",
        ),
        errors.StoreDenied,
        r"dynamodb:UpdateItem.*--policy",
    ),
    "credentials": (
        refused("UnrecognizedClientException", "The security token included in the request is invalid."),
        errors.StoreDenied,
        "rejects these AWS credentials",
    ),
    "clock": (
        refused("InvalidSignatureException", "Signature expired: 20261122T0 is now earlier than 20261122T1"),
        errors.StoreDenied,
        "the clock of this host is wrong",
    ),
    "signature": (
        refused("InvalidSignatureException", "The signature does not match.\nThe Canonical String is\ntoken"),
        errors.StoreDenied,
        r"rejects these AWS credentials.*does not match\.\)$",
    ),
    "key": (
        refused("ValidationException", "The provided key element does not match the schema"),
        errors.StoreIncompatible,
        "another key",
    ),
    "kind of key": (
        refused("ValidationException", "Invalid: Type mismatch for key regex expected: N actual: S"),
        errors.StoreIncompatible,
        "another key",
    ),
    "too large": (
        refused("ValidationException", "Item size has exceeded the maximum allowed size"),
        errors.StoreFull,
        "400 KB",
    ),
    "other": (refused("SomethingElse", "what?"), errors.StoreError, r"SomethingElse: what\?"),
}


@pytest.mark.parametrize(("way", "kind", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_rejection_is_an_error_of_one_line(
    db: DB, proxy: Proxy, way: Way, kind: type[errors.Error], expected: str
) -> None:
    proxy.next("UpdateItem", way)
    message = message_of(lambda: db.set_faults("a", []), kind)
    assert re.search(expected, message)
    assert "reporting for agent 'a'" in message
    assert proxy.operations == ["UpdateItem"]


def test_missing_tables_name_the_command_that_creates_them(settings: dict[str, str]) -> None:
    with DB({**settings, "prefix": "nothing"}) as db:
        for call in (lambda: db.set_faults("a", []), db.dump, db.get_squelches, lambda: db.get_faults("a")):
            assert "setup-dynamodb" in message_of(call, errors.StoreNotSetUp)


def test_an_endpoint_that_does_not_respond(caplog: pytest.LogCaptureFixture) -> None:
    """It is retried for retry_for: the server may be restarting."""
    with DB({**ACCESS, "endpoint_url": "http://127.0.0.1:9", "retry_for": "1s"}) as db:
        start = time.monotonic()
        message = message_of(lambda: db.set_faults("a", []), errors.StoreUnavailable)
    tries = re.search(r"no response from DynamoDB at http://127.0.0.1:9 .* and (\d+) tries.*firewall", message)
    assert tries
    assert int(tries[1]) > 3
    assert time.monotonic() - start < 10
    assert caplog.messages == []  # the error says it all


class StartsAfter(logging.Handler):
    """Starts a server after a number of failed tries to reach it."""

    def __init__(self, tries: int, start: Callable[[], Proxy]) -> None:
        super().__init__()
        self.left, self.start = tries, start
        self.started: Proxy | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.left -= 1
        if self.left == 0:
            self.started = self.start()


def test_requests_wait_for_a_server_that_starts_late(
    dynamodb_settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Refused connections are retried until the server listens."""
    before = Proxy(dynamodb_settings["endpoint_url"])
    before.close()
    address = ("127.0.0.1", int(before.url.rpartition(":")[2]))
    handler = StartsAfter(5, lambda: Proxy(dynamodb_settings["endpoint_url"], address))
    logger = logging.getLogger("zc.cimaa.dynamodb")
    logger.addHandler(handler)
    with (
        caplog.at_level(logging.INFO, "zc.cimaa.dynamodb"),
        DB({**dynamodb_settings, "endpoint_url": before.url}) as db,
    ):
        db.set_faults("a", [fault("f")])
    logger.removeHandler(handler)
    assert handler.started is not None
    assert handler.started.operations == ["UpdateItem", "Query", "Query", "TransactWriteItems"]
    handler.started.close()


def test_a_server_that_takes_too_long(settings: dict[str, str], proxy: Proxy) -> None:
    done = threading.Event()

    def slow(_body: object, _forward: object) -> None:
        done.wait(30)

    with DB({**settings, "read_timeout": "1s", "retry_for": "1s"}) as db:
        proxy.always("UpdateItem", slow)
        assert "Read timeout" in message_of(lambda: db.set_faults("a", []), errors.StoreUnavailable)
    done.set()


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(200, body) for body in (b"<html>Welcome</html>", b"", b"[]", b'{"Items": [', b"null", b'"Items"')),
        Answer(302, b""),
        Answer(403, b"<html>Forbidden</html>"),
        Answer(404, b"not here"),
    ],
    ids=str,
)
def test_a_response_that_does_not_come_from_dynamodb(
    settings: dict[str, str], db: DB, proxy: Proxy, answer: Answer
) -> None:
    """Such as that of a proxy: it never counts as a success."""
    unrecorded = DB({**settings, "history": "0s"})
    calls = {
        "UpdateItem": lambda: db.set_faults("a", []),
        "TransactWriteItems": lambda: db.set_faults("a", [fault("f")]),
        "Query": lambda: db.get_faults("a"),
        "GetItem": lambda: db.get_faults("a"),
        "PutItem": lambda: unrecorded.squelch("x", "", ""),
        "DeleteItem": lambda: unrecorded.unsquelch("x"),
        "Scan": db.dump,
    }
    for operation, call in calls.items():
        proxy.next(operation, lambda _body, _forward: answer)
        assert "check endpoint_url" in message_of(call, errors.StoreUnavailable)


WORDS = """Table TableDescription KeySchema AttributeDefinitions TableStatus Items Item LastEvaluatedKey S N SS name
    agent regex updated UnprocessedItems CancellationReasons Code __type message code Tags""".split()  # noqa: SIM905


def responses() -> st.SearchStrategy[bytes]:
    """Bodies of responses: JSON of all kinds, with keys and values that DynamoDB uses, and bytes."""
    keys = st.sampled_from(WORDS)
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["ACTIVE", "#", "1"])
    values = st.recursive(
        leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(keys, one, max_size=3), max_leaves=12
    )
    bodies = st.dictionaries(keys, values, max_size=4) | values
    return bodies.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=6) | st.just(b"NaN")


@settings_of_hypothesis(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=responses(), status=st.sampled_from([200, 200, 200, 302, 400, 403, 500]))
@example(body=b"{}", status=200)
@example(body=b"[]", status=400)
@example(body=b"NaN", status=400)
@example(body=b"\xff", status=400)
@example(body=b'{"message": null}', status=400)
@example(body=b'{"__type": 5}', status=400)
@example(body=b'{"__type": "TransactionCanceledException", "CancellationReasons": ["x"]}', status=400)
@example(body=b'{"__type": "ConditionalCheckFailedException", "Item": 5}', status=400)
@example(body=b'{"Items": [5]}', status=200)
@example(body=b'{"Items": [{}]}', status=200)
@example(body=b'{"Items": [], "LastEvaluatedKey": 5}', status=200)
@example(body=b'{"Item": []}', status=200)
@example(body=b'{"Item": {"name": {"S": 5}}}', status=200)
@example(body=b'{"UnprocessedItems": {"x": []}}', status=200)
def test_for_every_response_the_exception_is_an_error_of_ours(
    settings: dict[str, str], proxy: Proxy, body: bytes, status: int
) -> None:
    for operation in ("UpdateItem", "Query", "GetItem", "TransactWriteItems", "BatchWriteItem", "PutItem", "Scan"):
        proxy.always(operation, lambda _body, _forward: Answer(status, body))
    with DB({**settings, "retry_for": "0s"}) as db:
        for call in (
            lambda: db.set_faults("a", [fault("f")]),
            lambda: db.set_faults("a", MANY),
            lambda: db.get_faults("a"),
            lambda: db.squelch("x", "", ""),
            lambda: db.remove_agent("a"),
            db.get_agents,
            db.get_history,
            lambda: db.get_history("a"),
            lambda: db.faults_at(int(time.time())),
            lambda: db.old_agents(0),
            db.get_squelches,
            db.dump,
        ):
            with contextlib.suppress(errors.StoreError):
                call()
    proxy.clear()


def test_missing_tables_are_named_and_unchanged_reports_continue(
    db: DB, direct: DB, moto_client: Any, dynamodb_settings: dict[str, str]
) -> None:
    """As with a program that is newer than the tables: only calls that need the missing table fail."""
    prefix = dynamodb_settings["prefix"]
    db.set_faults("a", MANY[:3])
    for table in ("squelches", "faults"):
        moto_client.delete_table(TableName=f"{prefix}.{table}")
    db.set_faults("a", MANY[:3])
    assert [one["name"] for one in db.get_agents()] == ["a"]
    for call, missing in (
        (db.get_squelches, "squelches, which listing the squelches needs"),
        (db.find_faults, "faults, which listing the faults needs"),
        (lambda: db.set_faults("a", []), "faults, which reporting for agent 'a' needs"),
    ):
        message = message_of(call, errors.StoreNotSetUp)
        assert f"has no table {prefix}.{missing}: run setup-dynamodb CONFIG" in message
    for step in steps(moto_client, prefix, TableOptions()):
        step.do()
    db.set_faults("a", MANY[1:4])
    assert [one["name"] for one in db.get_faults("a")] == [one["name"] for one in MANY[1:4]]


def test_a_page_from_a_proxy_is_quoted_in_part(db: DB, proxy: Proxy) -> None:
    proxy.next("UpdateItem", lambda _body, _forward: Answer(403, b"<html>" + b"x" * 100_000))
    assert len(message_of(lambda: db.set_faults("a", []), errors.StoreUnavailable)) < 1000


def test_requests_of_the_resources_are_retried_too(db: DB, proxy: Proxy) -> None:
    proxy.next("Scan", throttled)
    assert db.agents.scan()["Items"] == []


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for variable in list(os.environ):
        if variable.startswith("AWS_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_aws")
class TestSettings:
    def test_no_credentials(self, moto_url: str) -> None:
        with DB({"region": "us-east-1", "endpoint_url": moto_url}) as db:
            assert "AWS_ACCESS_KEY_ID" in message_of(lambda: db.set_faults("a", []), errors.StoreDenied)

    def test_no_region(self) -> None:
        assert "set one, such as us-east-1" in message_of(lambda: DB({}), errors.ConfigurationError)

    @pytest.mark.parametrize(
        ("region", "meant"),
        [
            ("us-esat-1", "did you mean us-east-1 or"),
            ("eu-wst-1", "did you mean eu-west-1 or"),
            ("useast-1", "did you mean us-east-1 or"),
            ("eu-west", "did you mean eu-west-"),
            ("xx-yy-1", "AWS has no region 'xx-yy-1' (a region that botocore "),
        ],
    )
    def test_a_region_that_does_not_exist_is_rejected_at_once(self, region: str, meant: str) -> None:
        message = message_of(lambda: DB({**ACCESS, "region": region}), errors.ConfigurationError)
        assert meant in message
        assert "[database] region: AWS has no region" in message
        assert "endpoint_url" in message

    def test_the_source_of_a_wrong_region_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-esat-1")
        settings = {key: text for key, text in ACCESS.items() if key != "region"}
        assert "AWS_DEFAULT_REGION" in message_of(lambda: DB(settings), errors.ConfigurationError)

    def test_a_region_that_may_be_new_is_tried_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that no name is looked up
        with DB({**ACCESS, "region": "eu-west-9"}) as db:
            message = message_of(lambda: db.set_faults("a", []), errors.StoreUnavailable)
        assert "1 try" in message
        assert re.search(r"does not know the region 'eu-west-9': did you mean eu-west-\d or eu-west-\d", message)

    @pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1", "ap-southeast-7", "eusc-de-east-1"])
    def test_a_region_of_any_partition_is_accepted(self, region: str) -> None:
        DB({**ACCESS, "region": region}).close()

    @pytest.mark.parametrize("variable", [None, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
    def test_any_region_is_accepted_with_an_endpoint_url(
        self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str | None
    ) -> None:
        proxy.always("Scan", refused("ResourceNotFoundException"))
        settings = {**ACCESS, "region": "local"}
        url = proxy.url.replace("127.0.0.1", "localhost")  # which has "local" in it
        if variable is None:
            settings["endpoint_url"] = url
        else:
            monkeypatch.setenv(variable, url)
        with DB(settings) as db:
            assert "run setup-dynamodb" in message_of(db.get_squelches, errors.StoreNotSetUp)

    @pytest.mark.parametrize(
        ("wrong", "expected"),
        [
            ({"region": "no region"}, "region"),
            ({"profile": "nobody"}, r"nobody.*~/\.aws/config"),
            ({"prefix": "a b"}, "prefix: 'a b' is not a valid prefix"),
            ({"prefix": ""}, "prefix"),
            ({"aws_secret_access_key": None}, "set both aws_access_key_id and aws_secret_access_key"),
            ({"endpoint_url": "nowhere"}, "endpoint_url: it is not a URL with a scheme and a host"),
            ({"read_timeout": "10"}, "90s"),
            ({"regoin": "x"}, "did you mean region"),
        ],
    )
    def test_an_invalid_setting_is_reported_at_once(self, wrong: dict[str, Any], expected: str) -> None:
        settings = {key: text for key, text in {**ACCESS, **wrong}.items() if text is not None}
        assert re.search(expected, message_of(lambda: DB(settings), errors.ConfigurationError))

    def test_secrets_are_not_in_the_repr(self) -> None:
        with DB(ACCESS) as db:
            assert ACCESS["aws_secret_access_key"] not in repr(db)
