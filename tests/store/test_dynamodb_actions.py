"""Actions on DynamoDB: what an action costs for each agent, and what it costs to look at it."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.command import Cimaa
from tests.support.dynamodb_servers import ACCESS, Answer, Proxy, altered, counted, dynalite, plain_client, refused
from tests.support.questions import Questions, states
from tests.support.signed_actions import action_data
from zc.cimaa.actions.documents import Document
from zc.cimaa.actions.entries_of_actions import ANSWER, COMMAND, StoredAction
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.cli import action_following
from zc.cimaa.cli.action_spool import ActionSpool
from zc.cimaa.dynamodb import DB, costs
from zc.cimaa.dynamodb.costs import MONTH, Fleet, Prices
from zc.cimaa.dynamodb.setup.provisioning import TableOptions, steps
from zc.cimaa.testing import Clock

WRITES, READS = ("PutItem", "UpdateItem", "DeleteItem"), ("GetItem", "Query", "Scan")


Request = tuple[str, dict[str, Any], dict[str, Any]]


class Used(NamedTuple):
    """What was sent, and what it consumed."""

    requests: int
    write_units: float
    read_units: float

    def plus(self, *others: "Used") -> "Used":
        return Used(*map(sum, zip(self, *others, strict=True)))


class Counting:
    """A store on dynalite, which counts what is consumed.  It has no transactions, so there is no history."""

    def __init__(self, url: str) -> None:
        client = plain_client(url)
        for step in steps(client, "fleet", TableOptions()):
            if "create the table" in step.text:
                step.do()
                client.get_waiter("table_exists").wait(TableName=step.table, WaiterConfig={"Delay": 1})
        self._client = client
        self.proxy = Proxy(url)
        for operation in (*WRITES, *READS):
            self.proxy.always(operation, self._counted)
        self.settings = {**ACCESS, "prefix": "fleet", "endpoint_url": self.proxy.url, "history": "0s"}

    def _counted(self, body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> Answer:
        """The response with what was consumed; and of a condition that failed with the item, as DynamoDB's."""
        answer = counted(body, forward)
        if answer.status == 200 or "ReturnValuesOnConditionCheckFailure" not in body:
            return answer
        found = self._client.get_item(TableName=body["TableName"], Key=body["Key"], ConsistentRead=True)
        return Answer(answer.status, json.dumps({**json.loads(answer.body), "Item": found.get("Item")}).encode())

    def used(self) -> Used:
        """What was used since the last call."""
        seen, self.proxy.seen = self.proxy.seen, []
        return Used(len(seen), _units(seen, WRITES), _units(seen, READS))


def _units(seen: list[Request], operations: tuple[str, ...]) -> float:
    """What these operations consumed, as DynamoDB bills it.

    Each is billed at least one unit, also a write whose condition fails, and a query that finds nothing.  dynalite
    does not count these, and counts each scan as one that is not consistent.
    """
    return sum(
        max(1, answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0) * (2 if operation == "Scan" else 1))
        for operation, _, answer in seen
        if operation in operations
    )


@pytest.fixture
def counting() -> Iterator[Counting]:
    with dynalite() as url:
        store = Counting(url)
        yield store
        store.proxy.close()


@pytest.fixture
def asking(tmp_path: Path) -> Questions:
    return Questions(tmp_path)


# What an action costs


@pytest.mark.parametrize("key", ["", "key = keys/agent"], ids=["not signed", "signed"])
def test_an_action_costs_each_agent_what_the_estimate_says(counting: Counting, asking: Questions, key: str) -> None:
    """A real agent runs it.  Its report is not counted: without an action it would cost the same."""
    # agent --once reports, always looks for commands (a daemon does when it was woken), and shows the faults.
    reporting, looking, showing = Used(1, 1, 0), Used(1, 0, 1), Used(3, 0, 3)
    asking.keys.make("agent")
    database = "\n".join(f"{name} = {value}" for name, value in counting.settings.items())
    (asking.directory / "cimaa.cfg").write_text(
        f"[database]\nclass = zc.cimaa.dynamodb\n{database}\n[agent]\nname = web1.example.com\n"
        "directory = checks\n" + asking.sections(actions=key)
    )

    (asking.directory / "checks").mkdir()
    (asking.directory / "checks" / "fine.cfg").write_text("[fine]\ncommand = echo fine\n")

    def report() -> Used:
        command = [sys.executable, "-m", "zc.cimaa", "agent", "--once"]
        done = subprocess.run(command, cwd=asking.directory, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return counting.used()

    report()
    assert report() == reporting.plus(looking, showing)
    with DB(counting.settings) as db:
        actions = FleetActions(db)
        data = asking.document("file", time.time(), parameters={"path": str(asking.directory), "name": "cimaa"})
        action = actions.add(data, asking.keys.sign("jane", data), "jane")
        counting.used()
        list(actions.deliver(action.document(), ["web1.example.com"]))
        sent = counting.used()
        answered = report()
        assert states(db, action) == {"web1.example.com": "success"}
        [answer] = actions.answers(action)
        assert bool(answer.signature) == bool(key)
    assert sent == Used(2, 2, 0)
    action_alone = Used(costs.ACTION_REQUESTS, costs.ACTION_WRITES, costs.ACTION_READS)
    assert sent.plus(answered) == action_alone.plus(reporting, showing)
    assert costs.ACTION_WRITES == 6


def test_the_estimate_for_a_fleet_is_that_of_each_agent() -> None:
    fleet = Fleet(agents=1000, interval=MONTH, changes=0, listings=0, actions=3)
    [actions] = [cost for cost in costs.costs(fleet, Prices()) if cost.what == "actions"]
    assert actions[1:4] == (27_000, 18_000, 9000)


# What it costs to look at one


def names(number: int) -> list[str]:
    return [f"web{index:04}.example.com" for index in range(number)]


def answer_all(db: DB, action: StoredAction, agents: list[str], text: str) -> None:
    actions = FleetActions(db)
    for command in actions.commands(action):
        if command.agent in agents and (claimed := actions.claim(command)) is not None:
            actions.answer(claimed, text)
            assert actions.finish(claimed, "success", found=True)


def test_counting_the_commands_of_an_action_reads_no_answers(counting: Counting) -> None:
    with DB(counting.settings) as db:
        actions = FleetActions(db)
        action = actions.add(action_data(), b"", "jane")
        list(actions.deliver(action.document(), names(200)))
        counting.used()
        actions.counters(action)
        before = counting.used()
        answer_all(db, action, names(200), "x" * 20_000)
        counting.used()
        assert actions.counters(action).states["success"] == 200
        after = counting.used()
        assert after.read_units <= before.read_units + 2  # the commands are a little longer
        assert after.read_units == pytest.approx(costs.scan_units(200 * costs.COMMAND), rel=0.2)
        assert len(list(actions.answers(action))) == 200
        assert counting.used().read_units == pytest.approx(costs.scan_units(200 * 20_000), rel=0.05)


@pytest.fixture
def db(dynamodb_settings: dict[str, str], proxy: Proxy) -> Iterator[DB]:
    with DB({**dynamodb_settings, "endpoint_url": proxy.url}, clock=Clock(time.time())) as db:
        yield db


@pytest.fixture
def sent(db: DB) -> StoredAction:
    """An action that was sent to 150 agents."""
    actions = FleetActions(db)
    action = actions.add(action_data(), b"", "jane")
    list(actions.deliver(action.document(), names(150)))
    return action


@pytest.fixture
def fleet(cimaa: Cimaa, dynamodb_settings: dict[str, str], proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Cimaa:
    """The command, with the store behind the proxy."""
    for key, text in {**dynamodb_settings, "endpoint_url": proxy.url, "class": "zc.cimaa.dynamodb"}.items():
        monkeypatch.setenv(f"CIMAA_DATABASE_{key.upper()}", text)
    Path("cimaa.cfg").write_text("")
    return cimaa


def test_the_cost_of_a_scan_follows_from_the_size_of_its_table(db: DB, proxy: Proxy, sent: StoredAction) -> None:
    def sizes(body: dict[str, Any], forward: Any) -> Any:
        size = 1_000_000 if body["TableName"].endswith(".entries") else 50_000_000
        return altered(lambda answer: answer["Table"].update(TableSizeBytes=size))(body, forward)

    proxy.always("DescribeTable", sizes)
    actions = FleetActions(db)
    assert (actions.scan_units(COMMAND), actions.scan_units(ANSWER)) == (245, 12208 + 256)


@pytest.mark.parametrize("more", [[], ["--json"], ["--follow"]], ids=" ".join)
def test_the_status_shows_its_cost_before_the_scan(
    fleet: Cimaa, proxy: Proxy, sent: StoredAction, more: list[str]
) -> None:
    proxy.always("Scan", refused("AccessDeniedException"))
    result = fleet("action", "status", sent.id, *more)
    assert result.exit_code == 1
    often = (" once a minute", " each time") if more == ["--follow"] else ("", "")
    said = "This reads all commands in the store{}: about 10 read units{}, as counted up to six hours ago."
    assert result.stderr.splitlines()[0] == said.format(*often)


@pytest.mark.parametrize(
    ("code", "text", "why"),
    [
        (
            "AccessDeniedException",
            "not authorized to perform: dynamodb:DescribeTable",
            "these AWS credentials do not permit dynamodb:DescribeTable",
        ),
        ("ThrottlingException", "slow down", ""),
    ],
)
def test_the_status_is_shown_if_its_cost_cannot_be_estimated(
    fleet: Cimaa, proxy: Proxy, sent: StoredAction, code: str, text: str, why: str
) -> None:
    proxy.always("DescribeTable", refused(code, text))
    result = fleet("action", "status", sent.id)
    assert (result.exit_code, result.stdout) == (0, "sent\t150\n")
    said = f"This reads all commands in the store; what it costs is not known: {why}"
    assert result.stderr.splitlines()[0].startswith(said)


def test_cancelling_reads_no_commands(fleet: Cimaa, proxy: Proxy, sent: StoredAction) -> None:
    proxy.operations.clear()
    result = fleet("action", "cancel", sent.id)
    assert (result.exit_code, result.stderr) == (0, f"Cancelled {sent.id[:8]}.\n")
    assert not {"Scan", "DescribeTable"} & set(proxy.operations)


def test_the_status_goes_to_standard_output_alone(fleet: Cimaa, sent: StoredAction) -> None:
    result = fleet("action", "status", sent.id)
    assert (result.exit_code, result.stdout) == (0, "sent\t150\n")


def test_the_results_show_what_the_commands_and_the_answers_cost(
    fleet: Cimaa, db: DB, sent: StoredAction, proxy: Proxy
) -> None:
    answer_all(db, sent, names(150), "[]")
    proxy.clear()
    result = fleet("action", "results", sent.id)
    lines = [line.split(":")[0] for line in result.stderr.splitlines()]
    assert lines[:2] == ["This reads all commands in the store", "This reads all answers in the store"]
    assert [name for name in proxy.operations if name != "GetItem"] == ["DescribeTable", "Scan"] * 2


def test_the_spool_shows_what_it_costs_once_for_each_action(
    db: DB, asking: Questions, capsys: pytest.CaptureFixture[str]
) -> None:
    def deliver(fleet: FleetActions, document: Document, _size: int, agents: Sequence[str]) -> None:
        list(fleet.deliver(document, agents))

    for name in names(101):
        db.report(name, [])
    directory = asking.directory / "spool"
    spool = ActionSpool(directory, db, "jane", deliver)
    spool.prepare()
    data = asking.document("process", time.time(), parameters={"name": "sshd"})
    (directory / "action/new/q.sig").write_bytes(asking.keys.sign("jane", data))
    (directory / "action/new/q").write_bytes(data)
    spool.send_new()
    for agents in ([], names(1), names(2)):
        answer_all(db, FleetActions(db).actions()[0], agents, "[]")
        assert spool.follow() == []
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "This reads all commands in the store once a minute for q",
        "This reads all answers in the store",
    ]


def test_following_looks_at_most_once_a_minute(
    db: DB, proxy: Proxy, sent: StoredAction, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also shortly before the end of the window."""
    db._clock.now = sent.document().expires - 70  # type: ignore[attr-defined]
    looks: list[float] = []

    def look(body: dict[str, Any], forward: Any) -> Any:
        looks.append(db._clock())
        return forward(body)

    proxy.clear()
    proxy.always("Scan", look)
    counted = action_following.follow(FleetActions(db), sent, db._clock.advance)  # type: ignore[attr-defined]
    assert counted.states["expired"] == 150
    assert [later - before for before, later in itertools.pairwise(looks)] == [60, 60]
    assert proxy.operations.count("DescribeTable") == 1
    assert capsys.readouterr().err.count("read units") == 1
