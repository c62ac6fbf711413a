"""Every call and every command, with the credentials of each role: IAM permits what the table on the page says."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.dynamodb_iam import Guard, needs
from tests.support.dynamodb_servers import Proxy
from tests.support.role_table import role_table
from tests.support.signed_actions import action_data
from tests.support.ssh_keys import Keys
from zc.cimaa import errors
from zc.cimaa.actions.documents import document_id
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.cli import cimaa
from zc.cimaa.cli.commands.setup_dynamodb import main as setup
from zc.cimaa.dynamodb import DB
from zc.cimaa.dynamodb.setup.policies import CALLS, ROLES, policy
from zc.cimaa.testing import fault

OWN, OTHER = "web1", "web2"
DATA = action_data("before")
ID = document_id(DATA)
MANY = [fault(f"f{index:03}") for index in range(120)]


def in_all_sizes(call: Callable[[list[dict[str, Any]]], object]) -> None:
    for report in ([], MANY[:3], MANY[:4], MANY, MANY[:2]):
        call(report)


#: Each call of the contract, for one agent.
DB_CALLS: dict[str, Callable[[DB, str], object]] = {
    "set_faults": lambda db, agent: in_all_sizes(lambda report: db.set_faults(agent, report)),
    "report": lambda db, agent: in_all_sizes(lambda report: db.report(agent, report)),
    "wake": lambda db, agent: db.wake([agent]),
    "get_faults": lambda db, agent: db.get_faults(agent),
    "find_faults": lambda db, _agent: db.find_faults(),
    "find_faults of one agent": lambda db, agent: db.find_faults(agent),
    "get_agents": lambda db, _agent: db.get_agents(),
    "old_agents": lambda db, _agent: db.old_agents(0),
    "offline_agents": lambda db, _agent: db.offline_agents(),
    "double_agents": lambda db, _agent: db.double_agents(),
    "late_agents": lambda db, _agent: db.late_agents(),
    "remove_agent": lambda db, agent: db.remove_agent(agent),
    "get_history": lambda db, _agent: db.get_history(),
    "get_history of one agent": lambda db, agent: db.get_history(agent),
    "faults_at": lambda db, _agent: db.faults_at(int(time.time())),
    "faults_at of one agent": lambda db, agent: db.faults_at(int(time.time()), agent),
    "squelches_at": lambda db, _agent: db.squelches_at(int(time.time())),
    "history_start": lambda db, _agent: db.history_start(),
    "expired_history": lambda db, _agent: db.expired_history(),
    "count_expired_history": lambda db, _agent: db.count_expired_history(),
    "prune_history": lambda db, _agent: db.prune_history(),
    "squelch": lambda db, _agent: db.squelch("new", "reason", "user"),
    "unsquelch": lambda db, _agent: db.unsquelch("old"),
    "get_squelches": lambda db, _agent: db.get_squelches(),
    "get_squelch_details": lambda db, _agent: db.get_squelch_details(),
    "lease": lambda db, agent: [db.lease("new", agent, seconds) for seconds in (1, 60)],
    "release": lambda db, _agent: db.release("taken", "web1"),
    "get_leases": lambda db, _agent: db.get_leases(),
    "forget_lease": lambda db, _agent: db.forget_lease("taken"),
    "dump": lambda db, _agent: db.dump(),
}
COMMANDS = {
    "report AGENT": ["report", "AGENT", "report.json"],
    "faults": ["faults"],
    "faults --agent AGENT": ["faults", "--agent", "AGENT"],
    "faults --at": ["faults", "--at", "now"],
    "history": ["history"],
    "history --agent NAME": ["history", "--agent", "AGENT"],
    "uptime": ["uptime"],
    "agents": ["agents"],
    "agents --old": ["agents", "--old", "1s"],
    "agents --offline": ["agents", "--offline"],
    "agents --double": ["agents", "--double"],
    "remove-agent AGENT": ["remove-agent", "AGENT"],
    "squelch": ["squelch", "new", "reason"],
    "unsquelch": ["unsquelch", "old"],
    "squelches": ["squelches"],
    "dump": ["dump"],
    "meta-check": ["meta-check"],
    "leases": ["leases"],
    "leases --release": ["leases", "--release", "taken"],
    "leases --forget": ["leases", "--forget", "taken"],
    "once": ["once", "job", "--for", "1m", "--release", "--", "true"],
    "tend": ["tend"],
    "action check": ["action", "check", "q.json"],
    "action send": ["action", "send", "q.json", "--yes"],
    "action list": ["action", "list"],
    "action status": ["action", "status", "ID"],
    "action results": ["action", "results", "ID"],
    "action cancel": ["action", "cancel", "ID"],
    "action run": [
        *("action", "run", "agent=~.", "file", "path=/etc", "name=shadow", "--for", "3s"),
        *("--key", "keys/jane", "--yes"),
    ],
}
SETUP = {"setup-dynamodb": [], "setup-dynamodb --check": ["--check"]}


@pytest.fixture(params=ROLES)
def guard(request: pytest.FixtureRequest, dynamodb_settings: dict[str, str]) -> Iterator[Guard]:
    """The store, with the credentials of one role; the agent is ``web1``."""
    document = policy(request.param, dynamodb_settings["prefix"], "us-east-1")
    guard = Guard(dynamodb_settings["endpoint_url"], document, OWN)
    guard.role = request.param  # type: ignore[attr-defined]
    yield guard
    guard.close()


@pytest.fixture
def fill(dynamodb_settings: dict[str, str]) -> Iterator[Callable[[], None]]:
    """Fills the store with two agents and a squelch."""
    with DB(dynamodb_settings) as db:

        def fill() -> None:
            for agent in (OWN, OTHER):
                db.set_faults(agent, MANY[:2])
            db.squelch("old", "reason", "user")
            db.lease("taken", "web1", 86400)
            actions = FleetActions(db)
            with suppress(errors.InvalidAction):  # it was cancelled
                list(actions.deliver(actions.add(DATA, b"", "jane").document(), [OWN, OTHER]))

        yield fill


def word(own: bool, other: bool) -> str:
    assert own or not other
    return "yes" if other else "own" if own else "no"


def test_each_row_of_the_page_is_tried() -> None:
    assert set(role_table("DynamoDB")) == {*DB_CALLS, *(f"cimaa {name}" for name in (*COMMANDS, "agent")), *SETUP}


def test_each_call_is_permitted_as_the_page_says(
    guard: Guard, fill: Callable[[], None], dynamodb_settings: dict[str, str]
) -> None:
    def permitted(call: Callable[[DB, str], object], agent: str) -> bool:
        fill()
        with DB({**dynamodb_settings, "endpoint_url": guard.url}) as db:
            try:
                call(db, agent)
            except errors.StoreDenied:
                return False
        return True

    found = {name: word(permitted(call, OWN), permitted(call, OTHER)) for name, call in DB_CALLS.items()}
    assert found == {name: role_table("DynamoDB")[name][guard.role] for name in DB_CALLS}  # type: ignore[attr-defined]


READ_AGAIN = (("agents", "GetItem"), ("faults", "Query"))
#: What is granted and seldom sent: after a conflict with another writer, or to read an interrupted report; for the
#: first report of an agent; to remove an agent that has no history.
SELDOM = {
    *(
        (call, table, action)
        for call in ("set_faults", "report")
        for table, action in (("agents", "GetItem"), ("history", "Query"))
    ),
    ("remove_agent", "agents", "DeleteItem"),
    ("remove_agent", "history", "Query"),
    *((call, table, action) for call in ("dump", "faults_at") for table, action in READ_AGAIN),
}


@pytest.mark.parametrize("name", DB_CALLS)
def test_what_a_call_sends_is_what_the_table_in_the_code_grants(
    fill: Callable[[], None], dynamodb_settings: dict[str, str], name: str
) -> None:
    fill()
    proxy = Proxy(dynamodb_settings["endpoint_url"])
    with DB(dynamodb_settings) as direct, DB({**dynamodb_settings, "endpoint_url": proxy.url}) as db:
        for report in (MANY[:2], MANY):  # what fits into one transaction, and what does not
            direct.set_faults(OWN, report)
            DB_CALLS[name](db, OWN)
    proxy.close()
    sent = {need for operation, body, _ in proxy.seen for need in needs(operation, body)}
    found = {(name, need.table.rpartition(".")[2], need.action) for need in sent}
    granted = {(name, table, action) for table, actions in CALLS[name].items() for action in actions}
    assert found <= granted
    assert granted - found <= SELDOM


@pytest.fixture
def configuration(
    guard: Guard, dynamodb_settings: dict[str, str], keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    keys.make("jane")
    for name, data in (("q.json", action_data("question")),):
        (tmp_path / name).write_bytes(data)
        (tmp_path / f"{name}.sig").write_bytes(keys.sign("jane", data))
    for variable in list(os.environ):
        if variable.startswith(("CIMAA", "XDG_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = {"class": "zc.cimaa.dynamodb", **dynamodb_settings, "endpoint_url": guard.url}
    lines = [f"{key} = {text}" for key, text in settings.items()]
    agent = ["[agent]", f"name = {OWN}", "directory = checks", "base_interval = 1s"]
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "service.cfg").write_text("[bad]\ncommand = sh -c 'exit 2'\n")
    (tmp_path / "cimaa.cfg").write_text("\n".join(["[database]", *lines, *agent]))
    (tmp_path / "report.json").write_text('[{"name": "f", "severity": 40, "message": "m"}]')
    return tmp_path / "cimaa.cfg"


@pytest.mark.usefixtures("configuration")
def test_each_command_is_permitted_as_the_page_says(
    guard: Guard, fill: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zc.cimaa.cli.action_following.BILLED_INTERVAL", 1)

    def permitted(arguments: list[str], agent: str) -> bool:
        fill()
        result = CliRunner().invoke(cimaa, [{"AGENT": agent, "ID": ID}.get(one, one) for one in arguments])
        return "do not permit dynamodb:" not in result.output

    found = {name: word(permitted(one, OWN), permitted(one, OTHER)) for name, one in COMMANDS.items()}
    assert found == {name: role_table("DynamoDB")[f"cimaa {name}"][guard.role] for name in COMMANDS}  # type: ignore[attr-defined]


def test_the_daemon_runs_as_the_page_says(guard: Guard, fill: Callable[[], None], configuration: Path) -> None:
    fill()
    command = [sys.executable, "-m", "zc.cimaa", "agent", "--count", "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=configuration.parent)
    assert "TransactWriteItems" in guard.operations or guard.refused, result.stderr
    assert word(not guard.refused, False) == role_table("DynamoDB")["cimaa agent"][guard.role]  # type: ignore[attr-defined]


def test_setup_is_permitted_as_the_page_says(
    guard: Guard, configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, arguments in SETUP.items():
        try:
            setup([str(configuration), *arguments])
        except SystemExit:
            assert "do not permit dynamodb:" in capsys.readouterr().err
            found = "no"
        else:
            found = "yes"
        assert found == role_table("DynamoDB")[name][guard.role]  # type: ignore[attr-defined]


@pytest.fixture
def as_agent(
    dynamodb_settings: dict[str, str], fill: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Commands have the credentials of the agent :data:`OWN`, which may not list the agents."""
    fill()
    guard = Guard(dynamodb_settings["endpoint_url"], policy("agent", dynamodb_settings["prefix"], None), OWN)
    monkeypatch.chdir(tmp_path)
    for key, text in {**dynamodb_settings, "endpoint_url": guard.url, "class": "zc.cimaa.dynamodb"}.items():
        monkeypatch.setenv(f"CIMAA_DATABASE_{key.upper()}", text)
    yield
    guard.close()


@pytest.mark.usefixtures("as_agent")
@pytest.mark.parametrize("more", [[], ["--exit-code"], ["--json"]])
def test_an_agent_lists_its_own_faults_although_it_may_not_list_the_agents(more: list[str]) -> None:
    result = CliRunner().invoke(cimaa, ["faults", "--agent", OWN, "--match", "none", *more])
    assert result.exit_code == 0, result.output
    assert result.stderr == "No faults match; these credentials may not read when agents reported.\n"


@pytest.mark.usefixtures("as_agent")
def test_an_agent_removes_itself_with_the_command(dynamodb_settings: dict[str, str]) -> None:
    removed = CliRunner().invoke(cimaa, ["remove-agent", OWN])
    assert (removed.exit_code, removed.output) == (0, f"Removed {OWN}.\n")
    refused = CliRunner().invoke(cimaa, ["remove-agent", OTHER])
    assert refused.exit_code == 1
    assert "do not permit dynamodb:" in refused.output
    with DB(dynamodb_settings) as db:
        assert [agent["name"] for agent in db.get_agents()] == [OTHER]


def test_an_agent_answers_its_own_commands_and_reads_no_other_agents(
    dynamodb_settings: dict[str, str], fill: Callable[[], None]
) -> None:
    """It changes no action, and adds no command for another agent."""
    fill()
    guard = Guard(dynamodb_settings["endpoint_url"], policy("agent", dynamodb_settings["prefix"], None), OWN)
    with DB({**dynamodb_settings, "endpoint_url": guard.url}) as db:
        actions = FleetActions(db)
        [command] = actions.commands_of(OWN)
        action = actions.action(command.id)
        assert action is not None
        claimed = actions.claim(command)
        assert claimed is not None
        actions.answer(claimed, "{}")
        assert actions.finish(claimed, "success")
        assert guard.refused == []
        refused: list[Callable[[], object]] = [
            lambda: actions.commands_of(OTHER),
            lambda: list(actions.answers_of(action, [OTHER])),
            lambda: actions.claim(command._replace(agent=OTHER)),
            lambda: actions.answer(command._replace(agent=OTHER), "{}"),
            lambda: list(actions.deliver(action.document(), [OTHER])),
            lambda: actions.cancel(action.id, "me"),
            lambda: actions.add(action_data("another"), b"", "me"),
            lambda: actions.commands(action),
        ]
        for call in refused:
            with pytest.raises(errors.StoreDenied):
                call()
    guard.close()
