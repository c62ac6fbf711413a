"""The order of decisions about an action, with real keys and a real journal."""

import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty_documents import MODULES
from tests.support.ssh_keys import Keys
from zc.cimaa.actions import judging, permissions, signatures, signers
from zc.cimaa.actions.documents import Document, document_id, format_time
from zc.cimaa.actions.journal import Journal
from zc.cimaa.actions.judging import AgentRules, Claims, Decision, Given, Judged
from zc.cimaa.actions.signatures import Keygen
from zc.cimaa.actions.targets import facts

NOW = 1_800_000_000
SECTIONS = {
    "permission:default": {"minimum": "2", "weights": "jane 2, joe 1, ann 1, old 2, left 2"},
    "permission:command": {"minimum": "3", "weights": "jane 2, joe 1"},
}
COMMAND = {"module": "command", "parameters": {"name": "x"}}
KNOWN = {"jane": "ed25519", "joe": "ecdsa", "ann": "rsa", "old": "ed25519", "left": "ecdsa"}
ENDED = "20261231Z"


def document(**changed: Any) -> bytes:
    return json.dumps(
        {
            "name": "who has it",
            "target": "agent=web1",
            "operations": [{"module": "look", "parameters": {"path": "/etc"}}],
            "validfrom": format_time(NOW - 60),
            "expireafter": format_time(NOW + 3600),
            "syntaxversion": 3,
            **changed,
        }
    ).encode()


class Agent:
    """An agent web1 with a journal, and the keys of those who ask it."""

    def __init__(self, keys: Keys, directory: Path) -> None:
        self.keys = keys
        options = {"old": f'valid-before="{ENDED}"'}
        lines = [f"{name} {options.get(name, '')} {keys.public(name)}" for name in KNOWN]
        verifier = signatures.load(keys.keygen, keys.signers(*lines), keys.directory / "revoked")
        granted = permissions.parse(SECTIONS, ["command"], lambda module: module == "look")
        self.rules = AgentRules(verifier, granted, MODULES, facts("web1", "web1", "Linux", "0.2.0"), 86400)
        self.directory = directory
        self.clock = NOW
        self.ran: list[str] = []

    def take(
        self, data: bytes, signed: bytes, identity: str = "", in_store: Callable[[Document], bool] = lambda _: True
    ) -> Judged:
        """What becomes of an action, after a restart of the agent."""
        journal = Journal(self.directory, "web1")
        claims = Claims(journal.see, in_store, journal.claim)
        given = Given(identity or document_id(data), data, signed)
        return judging.take(given, self.rules, claims, lambda: self.clock, lambda ran: self.ran.append(ran.id))

    def sign(self, data: bytes, *names: str) -> bytes:
        return b"".join(self.keys.sign(name, data) for name in names)


@pytest.fixture(scope="module")
def known_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of those in KNOWN, of whom left has left, and of mallory."""
    keys = Keys(tmp_path_factory.mktemp("known") / "keys")
    for name, kind in {**KNOWN, "mallory": "ed25519"}.items():
        keys.make(name, kind)
    revoked = keys.directory / "revoked"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, keys.directory / "left.pub"], check=True)
    return keys


@pytest.fixture
def agent(known_keys: Keys, tmp_path: Path) -> Agent:
    return Agent(known_keys, tmp_path / "journal")


def test_what_was_signed_runs_once(agent: Agent) -> None:
    data = document()
    assert agent.take(data, agent.sign(data, "jane")).decision is Decision.RAN
    for who in (["joe", "ann"], ["jane"]):
        assert agent.take(data, agent.sign(data, *who)).decision is Decision.CLAIMED
    assert agent.ran == [document_id(data)]


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ([], "there is no signature"),
        (["joe"], "the signatures weigh 1 for the module look; [permission:default] needs 2"),
        (["mallory"], "weigh 0"),
        (["joe", "mallory"], "weigh 1"),
        (["jane", "jane"], "signature 2 has the same key as signature 1"),
        (["jane", "old"], "of old: the key is not valid any more"),
        (["jane", "left"], "of left: the key is revoked"),
    ],
)
def test_who_may_not_ask_gets_no_answer(agent: Agent, who: list[str], reason: str) -> None:
    data = document()
    judged = agent.take(data, agent.sign(data, *who))
    assert (judged.decision, reason in judged.reason) == (Decision.REFUSED, True), judged


@pytest.mark.parametrize(
    ("changed", "decision", "reason"),
    [
        ({"target": "agent=web2"}, Decision.REFUSED, "this agent is not in its target"),
        ({"validfrom": format_time(NOW + 1)}, Decision.EARLY, "its window begins at"),
        ({"expireafter": format_time(NOW)}, Decision.EXPIRED, "its window ended at"),
        (
            {"expireafter": format_time(NOW + 90000)},
            Decision.REFUSED,
            "its window is 1d 1h long; [actions] longest is 1d",
        ),
        ({"operations": [{"module": "dig", "parameters": {}}]}, Decision.REFUSED, "there is no module 'dig'"),
        (
            {"operations": [{"module": "command", "parameters": {"name": "x"}}]},
            Decision.REFUSED,
            "weigh 2 for",
        ),
        ({"syntaxversion": 2}, Decision.REFUSED, "syntaxversion must be 3, not 2"),
    ],
)
def test_what_is_not_for_now_or_here_does_not_run(
    agent: Agent, changed: dict[str, Any], decision: Decision, reason: str
) -> None:
    data = document(**changed)
    judged = agent.take(data, agent.sign(data, "jane"))
    assert (judged.decision, reason in judged.reason) == (decision, True), judged
    assert agent.ran == []


def test_the_order_of_decisions_is_that_of_trust(agent: Agent) -> None:
    """A document is not even parsed before its signatures are verified; the target comes last."""
    data = document(target="agent=web2", expireafter=format_time(NOW - 1), operations=[])
    assert "incorrect signature" in agent.take(data, agent.sign(b"other", "jane")).reason
    assert "operations has 0 elements" in agent.take(data, agent.sign(data, "jane")).reason
    data = document(target="agent=web2", expireafter=format_time(NOW - 1))
    assert "weigh 1" in agent.take(data, agent.sign(data, "joe")).reason
    assert agent.take(data, agent.sign(data, "jane")).decision is Decision.EXPIRED


def test_the_store_cannot_give_it_another_id(agent: Agent) -> None:
    data = document()
    judged = agent.take(data, agent.sign(data, "jane"), identity="0" * 64)
    assert judged.decision is Decision.REFUSED
    assert f"its id is {document_id(data)}" in judged.reason


def test_a_claim_of_another_process_is_respected(agent: Agent) -> None:
    data = document()
    signed = agent.sign(data, "jane")
    assert agent.take(data, signed, in_store=lambda _: False).decision is Decision.CLAIMED
    assert agent.take(data, signed).decision is Decision.RAN


def test_a_store_that_takes_its_time_does_not_prolong_the_window(agent: Agent) -> None:
    def slow(_: Document) -> bool:
        agent.clock += 3600
        return True

    data = document()
    assert agent.take(data, agent.sign(data, "jane"), in_store=slow).decision is Decision.EXPIRED
    assert agent.ran == []


def test_a_store_that_takes_its_time_does_not_prolong_a_key(agent: Agent) -> None:
    def slow(_: Document) -> bool:
        agent.clock += 600
        return True

    agent.clock = 1798674900  # five minutes before the key ends
    times = {"validfrom": format_time(agent.clock), "expireafter": format_time(agent.clock + 3600)}
    data = document(**times)
    judged = agent.take(data, agent.sign(data, "old"), in_store=slow)
    assert (judged.decision, agent.ran) == (Decision.REFUSED, [])
    agent.clock -= 600
    assert agent.take(data, agent.sign(data, "old")).decision is Decision.RAN


def test_while_the_clock_is_behind_nothing_is_claimed(agent: Agent) -> None:
    def claimed(_: Document) -> bool:
        raise AssertionError("nothing may be claimed")

    Journal(agent.directory, "web1").see(NOW + 1000)
    data = document()
    judged = agent.take(data, agent.sign(data, "jane"), in_store=claimed)
    assert (judged.decision, "the clock is" in judged.reason) == (Decision.POSTPONED, True)


def test_a_journal_that_fails_after_the_claim_in_the_store_is_a_failure(agent: Agent) -> None:
    def break_journal(_: Document) -> bool:
        (agent.directory / "web1" / "latest").write_text("damaged")
        return True

    data = document()
    judged = agent.take(data, agent.sign(data, "jane"), in_store=break_journal)
    assert (judged.decision, agent.ran) == (Decision.FAILED, [])


def test_without_ssh_keygen_nothing_is_claimed(agent: Agent, tmp_path: Path) -> None:
    verify = signatures.load(Keygen(str(tmp_path / "gone")), agent.keys.directory / "investigators")
    agent.rules = agent.rules._replace(verify=verify)
    data = document()
    assert agent.take(data, agent.sign(data, "jane")).decision is Decision.POSTPONED


def test_a_hostile_store_runs_nothing_with_real_keys(agent: Agent) -> None:
    """The attacks of the random histories, on real signatures: each byte of them matters."""
    rng = random.Random(17)
    data, other = document(), document(name="another", target="agent=web2")
    good, elsewhere = agent.sign(data, "joe", "ann"), agent.sign(other, "jane")
    joe, ann = re.findall(rb"-----BEGIN.*?END SSH SIGNATURE-----\n", good, re.DOTALL)
    attacks = [
        (data, elsewhere),
        (other, good),
        (data.replace(b"web1", b"web2"), good),
        (data.replace(b"who has it", b"who had it"), good),
        (data + b"\n", good),
        (data, joe),
        (data, ann),
        (data, joe + joe),
        (data, good + joe),
        (data, good + elsewhere),
        (data, agent.keys.sign("jane", data, "git")),
        (data, good + agent.keys.sign("jane", data, "file")),
        (data, b""),
        (b"", good),
    ]
    for signed in (joe, ann):
        (signature,) = signers.signatures(signed)
        for _ in range(10):
            damaged = bytearray(signature.blob)
            damaged[rng.randrange(10, len(damaged))] ^= 1 << rng.randrange(8)  # after the version, which is not signed
            text = signature._replace(blob=bytes(damaged)).armored().encode()
            attacks.append((data, good.replace(signed, text)))
    for given, signed in attacks:
        assert agent.take(given, signed).decision is Decision.REFUSED, signed
    assert agent.take(other, elsewhere).reason == "this agent is not in its target"
    assert agent.take(data, good).decision is Decision.RAN
    assert agent.take(data, ann + joe).decision is Decision.CLAIMED
    assert agent.ran == [document_id(data)]
