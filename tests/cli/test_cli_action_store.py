"""``cimaa action send``, ``list``, ``status``, ``results``, ``cancel``, ``modules`` and ``run``."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import faulty_documents
from tests.support.command import Cimaa, completed
from tests.support.ssh_keys import Keys
from zc.cimaa.actions import entries_of_actions, signers
from zc.cimaa.actions.answers import Answer, failed
from zc.cimaa.actions.documents import document_id, format_time
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agents import Instance
from zc.cimaa.cli.action_delivery import paced

AGENTS = ("db1", "db2", "web1")


@pytest.fixture
def asking(cimaa: Cimaa, keys: Keys) -> Cimaa:
    """A fleet of three agents, and a question in ``q.json`` that jane signed."""
    for name in ("jane", "joe", "db1"):
        keys.make(name)
    for name in AGENTS:
        with cimaa.store(instance=Instance(name, 1, "1.0", "Linux 6.1")) as db:
            db.report(name, [])
    write("q.json")
    assert cimaa("action", "sign", "q.json", "--key", "keys/jane").exit_code == 0
    return cimaa


def write(file: str, **changed: Any) -> None:
    now = int(time.time())
    good = {
        "name": "who has it",
        "target": "agent=~^db",
        "operations": [{"module": "file", "parameters": {"path": "/etc", "name": "shadow"}}],
        "validfrom": format_time(now),
        "expireafter": format_time(now + 3600),
        "syntaxversion": 3,
    }
    Path(file).write_text(json.dumps(good | changed, indent=2))


def answer(asking: Cimaa, agent: str, given: Answer, keys: Keys | None = None, signer: str = "") -> None:
    """Answer as the agent's daemon does."""
    with asking.store() as db:
        fleet = FleetActions(db)
        [command] = fleet.commands_of(agent)
        claimed = fleet.claim(command)
        assert claimed is not None
        state = entries_of_actions.SUCCESS if given.success else entries_of_actions.FAILED
        text = entries_of_actions.answer_text(claimed.id, agent, 0, [("file", state, given)])
        signature = keys.sign(signer, text.encode(), signers.ANSWERS).decode() if keys else ""
        fleet.answer(claimed, text, signature)
        assert fleet.finish(claimed, state, found=given.found)


def rows(stdout: str) -> list[list[str]]:
    return [line.split("\t") for line in stdout.splitlines()]


def the_id() -> str:
    return document_id(Path("q.json").read_bytes())


def test_an_action_is_sent_to_the_agents_of_its_target(asking: Cimaa) -> None:
    result = asking("action", "send", "q.json", input="y\n")
    assert result.exit_code == 0, result.output
    assert "It reaches 2 agents: db1, db2." in result.stderr
    assert "to 2 agents? [y/N]" in result.stderr
    assert f"Sent {the_id()[:8]} to 2 agents." in result.stderr
    with asking.store() as db:
        assert [command.agent for command in FleetActions(db).commands(FleetActions(db).find(the_id()))] == [
            *AGENTS[:2]
        ]
        assert [db.report(name, []) for name in AGENTS] == [True, True, False]


def test_nothing_is_sent_without_consent(asking: Cimaa) -> None:
    for given, why in (("n\n", "Nothing was done.\n"), ("", "the question was not answered; --yes does it without")):
        result = asking("action", "send", "q.json", input=given)
        assert (result.exit_code, why in result.stderr) == (1, True)
    assert "No actions." in asking("action", "list").stderr


def test_an_action_may_be_sent_again(asking: Cimaa) -> None:
    """To agents that are new, and with signatures that are new; the others keep their commands."""
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(True, True))
    with asking.store() as db:
        db.report("db3", [])
    asking("action", "sign", "q.json", "--key", "keys/joe")
    result = asking("action", "send", "q.json", "--yes", "--rate", "1000")
    assert f"Sent {the_id()[:8]} to 1 agent; 2 had it before." in result.stderr
    with asking.store() as db:
        action = FleetActions(db).find(the_id())
        assert [command.state for command in FleetActions(db).commands(action)] == ["success", "sent", "sent"]
    assert len(signers.signatures(action.signatures)) == 2


def test_a_send_that_is_interrupted_says_so_and_is_repeated(asking: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=interrupted)
    with monkeypatch.context() as during:
        during.setattr("zc.cimaa.cli.action_delivery.time", clock)  # not for what waits elsewhere
        result = asking("action", "send", "q.json", "--yes", "--rate", "1")
    assert result.exit_code != 0
    start = the_id()[:8]
    assert f"Interrupted: {start} was sent to only some of the agents, which may run it; " in result.stderr
    assert f"cimaa action cancel {start} cancels it" in result.stderr
    assert f"Sent {start} to 1 agent; 1 had it before." in asking("action", "send", "q.json", "--yes").stderr


def test_an_action_that_is_not_signed_is_refused(asking: Cimaa) -> None:
    Path("q.json.sig").unlink()
    result = asking("action", "send", "q.json", "--yes")
    assert (result.exit_code, "q.json is not signed" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ("file", "path=/etc"),
            "target: filter term 1, 'file' at character 1: a target has no words, only terms about",
        ),
        (("db1", "file", "path=/etc"), "one agent is agent=NAME, every agent is agent=~."),
        (("agent=db1", "file"), "module file: parameter 'path' is missing"),
        (("agent=db1", "fil", "path=/etc"), "there is no module 'fil'; did you mean 'file'?"),
    ],
)
def test_a_question_with_mistakes_is_not_signed(asking: Cimaa, arguments: tuple[str, ...], why: str) -> None:
    result = asking("action", "run", *arguments, "--key", "keys/jane", "--yes")
    assert (result.exit_code in (1, 2), why in result.stderr) == (True, True)
    assert "No actions." in asking("action", "list").stderr


TRUSTING = """
[actions]
investigators = keys/investigators
longest = 30m

[permission:file]
minimum = 2
weights = jane 1, joe 1
"""


def trust(asking: Cimaa, keys: Keys, changed: str = TRUSTING) -> None:
    """This host permits what jane and joe sign together."""
    keys.signers(f"jane {keys.public('jane')}", f"joe {keys.public('joe')}")
    (asking.directory / "cimaa.cfg").write_text(f"[database]\npath = {asking.directory}/store\n{changed}")


def test_what_this_host_would_refuse_is_sent_after_a_warning(asking: Cimaa, keys: Keys) -> None:
    """Other agents may decide otherwise."""
    trust(asking, keys)
    result = asking("action", "send", "q.json", input="n\n")
    before, question, _ = result.stderr.partition("to 2 agents? [y/N]")
    assert question
    refused = "Warning: by the configuration of this host, it would be refused: "
    assert f"{refused}its window is 1h long; [actions] longest is 30m.\n" in before
    assert (
        f"{refused}the signatures weigh 1 for the module file; [permission:file] needs 2; still missing: 1;" in before
    )
    assert asking("action", "send", "q.json", "--yes").exit_code == 0
    result = asking("action", "run", "agent=db1", "file", "path=/etc", "--key", "keys/jane", "--for", "1h", input="n\n")
    assert result.stderr.count(refused) == 2


def test_what_this_host_would_run_is_sent_without_a_warning(asking: Cimaa, keys: Keys) -> None:
    trust(asking, keys, TRUSTING.replace("30m", "1h"))
    asking("action", "sign", "q.json", "--key", "keys/joe")
    assert "Warning" not in asking("action", "send", "q.json", "--yes").stderr


def test_an_invalid_configuration_of_this_host_does_not_prevent_that_an_action_is_sent(
    asking: Cimaa, keys: Keys
) -> None:
    trust(asking, keys, TRUSTING.replace("jane 1", "jane x"))
    result = asking("action", "send", "q.json", "--yes")
    assert (result.exit_code, "Warning: whether this host would run it is unknown: " in result.stderr) == (0, True)


def test_a_key_that_this_host_does_not_accept_is_a_warning(asking: Cimaa, keys: Keys) -> None:
    trust(asking, keys, TRUSTING.replace("longest = 30m", "revoked = revoked"))
    Path("revoked").write_text(keys.public("jane"))
    result = asking("action", "send", "q.json", "--yes")
    assert (result.exit_code, "of jane: the key is revoked" in result.stderr) == (0, True)


def test_a_signature_that_was_sent_before_and_is_refused_now_is_a_warning(asking: Cimaa, keys: Keys) -> None:
    """It stays in the store, so that agents refuse the action even if joe signs it alone."""
    asking("action", "send", "q.json", "--yes")
    trusting = TRUSTING.replace("longest = 30m", "revoked = revoked").replace("minimum = 2", "minimum = 1")
    trust(asking, keys, trusting)
    Path("revoked").write_text(keys.public("jane"))
    Path("q.json.sig").unlink()
    asking("action", "sign", "q.json", "--key", "keys/joe")
    result = asking("action", "send", "q.json", "--yes")
    why = "Warning: with the signatures that were sent before, which cannot be taken back, it would be refused: "
    assert (result.exit_code, result.stderr.count("Warning: ")) == (0, 1)
    assert "of jane: the key is revoked" in result.stderr.partition(why)[2]
    Path("revoked").write_text("")
    assert "Warning" not in asking("action", "send", "q.json", "--yes").stderr


def test_an_action_that_was_changed_is_refused(asking: Cimaa) -> None:
    write("q.json", name="another")
    result = asking("action", "send", "q.json", "--yes")
    assert (result.exit_code, "q.json.sig: signature 1, with the key SHA256:" in result.stderr) == (1, True)
    assert "No actions." in asking("action", "list").stderr


def test_an_action_for_no_agent_is_refused(asking: Cimaa) -> None:
    write("n.json", target="agent=mail1")
    asking("action", "sign", "n.json", "--key", "keys/jane")
    result = asking("action", "send", "n.json", "--yes")
    assert (result.exit_code, "no agent is in its target; see: cimaa agents" in result.stderr) == (1, True)


def test_the_culprit_is_named_for_each_faulty_document(asking: Cimaa, modules_of_tests: None) -> None:
    for faulty in faulty_documents.faulty():
        Path("f.json").write_bytes(faulty.data)
        result = asking("action", "send", "f.json", "--yes")
        assert (result.exit_code, result.stdout) == (1, ""), faulty.how
        assert result.stderr.startswith("cimaa: error: f.json: "), faulty.how
    assert "No actions." in asking("action", "list").stderr


def test_check_shows_the_agents_that_it_would_reach(asking: Cimaa) -> None:
    assert "It reaches 2 agents: db1, db2." in asking("action", "check", "q.json").stderr
    assert json.loads(asking("action", "check", "q.json", "--json").stdout)["reaches"] == ["db1", "db2"]
    document = json.loads(Path("q.json").read_text())
    del document["target"]
    Path("l.json").write_text(json.dumps(document | {"agents": ["db1", "old1"]}))
    stderr = asking("action", "check", "l.json").stderr
    assert "It reaches 1 agent: db1." in stderr
    assert "Warning: 1 agent that it names never reported: old1." in stderr


def test_actions_are_listed(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    [[identity, state, name, *_]] = rows(asking("action", "list").stdout)
    assert (identity, state, name) == (the_id(), "inflight", "who has it")
    [found] = json.loads(asking("action", "list", "--json").stdout)
    assert (found["id"], found["state"], found["name"]) == (the_id(), "inflight", "who has it")
    assert completed(["action", "status"], "") == [the_id()]


def test_the_status_has_the_counters(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(True, True))
    result = asking("action", "status", the_id()[:8])
    assert rows(result.stdout) == [["sent", "1"], ["success", "1"]]
    assert "is inflight: 1 of 2 done, 1 found something: 1 sent, 1 success." in result.stderr
    assert "read unit" not in result.stderr
    answer(asking, "db2", failed("no"))
    counters = json.loads(asking("action", "status", the_id()[:8], "--follow", "--json").stdout)["counters"]
    assert (counters["sent"], counters["done"], counters["inflight"], counters["found"]) == (2, 2, 0, 1)
    assert {state: number for state, number in counters["states"].items() if number} == {"success": 1, "failed": 1}


def test_an_unknown_id_is_refused(asking: Cimaa) -> None:
    for command in ("status", "results", "cancel"):
        result = asking("action", command, "0000")
        assert (result.exit_code, "there is no action 0000; see: cimaa action list" in result.stderr) == (1, True)


def test_results_are_the_agents_answers(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(True, True, [{"path": "/etc/shadow", "size": 7}, {"path": "/etc/x/shadow"}]))
    answer(asking, "db2", failed("no permission"))
    result = asking("action", "results", the_id()[:8])
    assert rows(result.stdout) == [
        ["db1", "success", "file", "yes", "path=/etc/shadow size=7"],
        ["db1", "success", "file", "yes", "path=/etc/x/shadow"],
        ["db2", "failed", "file", "no", "no permission"],
    ]
    assert {row[0] for row in rows(asking("action", "results", the_id(), "--found").stdout)} == {"db1"}
    assert {row[0] for row in rows(asking("action", "results", the_id(), "--failed").stdout)} == {"db2"}
    assert json.loads(asking("action", "results", the_id(), "--found", "--agents").stdout) == ["db1"]
    first, second = json.loads(asking("action", "results", the_id(), "--json").stdout)
    assert first["operations"][0]["elements"][0] == {"path": "/etc/shadow", "size": 7}
    assert (second["agent"], second["state"], second["found"]) == ("db2", "failed", False)
    assert asking("action", "results", the_id(), "--agents", "--json").exit_code == 2


def test_an_agent_that_refused_says_why(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    with asking.store() as db:
        fleet = FleetActions(db)
        [command] = fleet.commands_of("db1")
        fleet.finish(command, entries_of_actions.REFUSED, "the signatures weigh 1")
    assert rows(asking("action", "results", the_id(), "--failed").stdout) == [
        ["db1", "refused", "", "", "the signatures weigh 1"]
    ]


def test_answers_are_verified_by_the_agents_keys(asking: Cimaa, keys: Keys) -> None:
    """A signature of another agent does not count, and neither does none."""
    Path("agents.keys").write_text(f"db1 {keys.public('db1')}\nmail1 {keys.public('joe')}\n")
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(True, True, [{"path": "/etc/shadow"}]), keys, "db1")
    verified = ("action", "results", the_id(), "--verify", "agents.keys")
    assert asking(*verified).exit_code == 0
    answer(asking, "db2", Answer(True, True, [{"path": "/etc/shadow"}]), keys, "joe")
    result = asking(*verified)
    assert result.exit_code == 1
    assert "The answer of db2 does not count: it is signed by mail1" in result.stderr
    assert [row[0] for row in rows(result.stdout) if row[4] == "path=/etc/shadow"] == ["db1"]
    assert json.loads(asking(*verified, "--found", "--agents").stdout) == ["db1"]
    assert asking("action", "results", the_id()).exit_code == 0


def test_an_answer_that_was_changed_does_not_count(asking: Cimaa, keys: Keys) -> None:
    Path("agents.keys").write_text(f"db1 {keys.public('db1')}\n")
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(False, True), keys, "db1")
    with asking.store() as db:
        [entry] = db._entries("answer")
        value = entry.value | {"answer": entry.value["answer"].replace("false", "true")}
        assert db._swap("answer", "db1", the_id(), entry.revision, entry._replace(value=value, revision="0" * 32))
    result = asking("action", "results", the_id(), "--verify", "agents.keys")
    assert (result.exit_code, "The answer of db1 does not count: signature 1" in result.stderr) == (1, True)


def test_what_the_store_says_of_an_answer_does_not_count_when_answers_are_verified(asking: Cimaa, keys: Keys) -> None:
    """Whether something was found is in the signed answer; the command, which has it too, is not signed."""
    Path("agents.keys").write_text(f"db1 {keys.public('db1')}\n")
    asking("action", "send", "q.json", "--yes")
    answer(asking, "db1", Answer(False, True), keys, "db1")
    with asking.store() as db:
        for entry in list(db._entries("command")):
            value = {"state": "success", "time": 0, "found": True}
            assert db._swap("command", entry.owner, the_id(), entry.revision, entry._replace(value=value, revision="0"))
    verified = ("action", "results", the_id(), "--verify", "agents.keys")
    result = asking(*verified, "--found", "--agents")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "The answer of db2 does not count: the store does not have it" in asking(*verified).stderr


def test_an_action_is_cancelled(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    said = f"Cancelled {the_id()[:8]}: 0 running it, 0 ended it, 2 will not run it."
    assert said in asking("action", "cancel", the_id()[:8]).stderr
    assert "was cancelled by" in asking("action", "cancel", the_id()[:8]).stderr
    result = asking("action", "status", the_id(), "--follow")
    assert rows(result.stdout) == [["cancelled", "2"]]
    result = asking("action", "send", "q.json", "--yes")
    assert (result.exit_code, "was cancelled by" in result.stderr) == (1, True)


def test_who_cancels_sees_how_many_agents_run_the_action_or_ended_it(asking: Cimaa) -> None:
    asking("action", "send", "q.json", "--yes")
    with asking.store() as db:
        states = {"db1": "running", "db2": "success"}
        for entry in list(db._entries("command")):
            value = {**entry.value, "state": states[entry.owner]}
            assert db._swap("command", entry.owner, the_id(), entry.revision, entry._replace(value=value, revision="0"))
    said = f"Cancelled {the_id()[:8]}: 1 running it, 1 ended it, 0 will not run it."
    assert said in asking("action", "cancel", the_id()[:8]).stderr


def test_an_action_whose_window_is_over_cannot_be_cancelled(asking: Cimaa, keys: Keys) -> None:
    """Else the agents that did not run it in time would be shown as those for which it was cancelled."""
    now = time.time()
    write("old.json", validfrom=format_time(now - 7200), expireafter=format_time(now - 3600))
    data = Path("old.json").read_bytes()
    with asking.store(ago=7000) as db:
        fleet = FleetActions(db)
        action = fleet.add(data, keys.sign("jane", data), "jane")
        list(fleet.deliver(action.document(), ["db1"]))
    result = asking("action", "cancel", action.id)
    assert (result.exit_code, f"the window of the action {action.id[:8]} is over" in result.stderr) == (1, True)
    assert rows(asking("action", "status", action.id).stdout) == [["expired", "1"]]


def test_the_modules_are_listed(asking: Cimaa) -> None:
    assert {"file", "command"} <= {row[0] for row in rows(asking("action", "modules").stdout)}


def test_a_draft_has_its_parameters(asking: Cimaa) -> None:
    result = asking("action", "new", "file", "path=/etc", "name=shadow", "--target", "agent=~.")
    assert json.loads(result.stdout)["operations"] == [
        {"module": "file", "parameters": {"path": "/etc", "name": "shadow"}}
    ]
    result = asking("action", "new", "file", "pth=/etc", "--target", "agent=~.")
    assert (result.exit_code, "module file has no parameter 'pth'" in result.stderr) == (1, True)


def test_a_fleet_is_asked_in_one_go(asking: Cimaa) -> None:
    """Until all have answered, or the window is over."""
    question = ("action", "run", "agent=~^db", "file", "path=/etc", "name=shadow", "--key", "keys/jane")
    result = asking(*question, "--for", "4s", "--yes")
    assert result.exit_code == 0, result.output
    assert rows(result.stdout) == [["db1", "expired", "", "", ""], ["db2", "expired", "", "", ""]]
    assert "2 of 2 done, 0 found something: 2 expired." in result.stderr
    [[_, state, name, *_]] = rows(asking("action", "list").stdout)
    assert (state, name.partition(",")[0]) == ("completed", "file")


def test_commands_are_sent_at_most_at_the_rate() -> None:
    """Time that was lost is made up for by at most a second's agents."""
    now = [100.0]
    sent: list[tuple[float, str]] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    names = [f"web{number}" for number in range(500)]
    for name in paced(names, 50, 100, lambda: now[0], sleep):
        sent.append((now[0], name))
        now[0] += 0.002
    assert [name for _, name in sent] == names
    assert [moment for moment, _ in sent[::50]] == pytest.approx([100 + 0.5 * part for part in range(10)])
