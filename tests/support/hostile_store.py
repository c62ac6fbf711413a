"""Agents whose store is hostile: random histories, and a judge who knows what people signed.

``python -m tests.support.hostile_store [histories [seed]]``

Everything is real but ``ssh-keygen``: a signature is true if its signer made it in this history.  The store may give
any agent all of the history's papers, claim, or forget claims; and it may take its time.  Agents restart, and their
clocks jump.  ``hostile_agents`` has whole agents and real keys, and fewer histories.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.faulty_documents import MODULES
from tests.support.hostile_papers import (
    AGENTS,
    FOR_GIT,
    LONGEST,
    PEOPLE,
    REVOKED,
    START,
    VALID_BEFORE,
    Broken,
    Papers,
    Signed,
    identity,
    in_memory,
    weights_of,
)
from tests.support.long_form import numbers
from tests.support.ssh_keys import strings
from zc.cimaa.actions import judging, permissions
from zc.cimaa.actions.documents import Document
from zc.cimaa.actions.journal import TOLERANCE, Journal
from zc.cimaa.actions.judging import AgentRules, Claims, Decision, Given
from zc.cimaa.actions.signatures import Verifier
from zc.cimaa.actions.signers import NAMESPACE, Signature, Signer
from zc.cimaa.actions.targets import facts
from zc.cimaa.errors import JournalError
from zc.cimaa.filters import AgentItem

PERMISSIONS = {"permission:default": weights_of("look"), "permission:command": weights_of("command")}


def key_of(who: str) -> bytes:
    return strings(b"ssh-ed25519", sha256(who.encode()).digest())


class Paper:
    """Signatures without cryptography: whether one is true depends on whether it was made."""

    def sign(self, who: str, data: bytes, namespace: str) -> bytes:
        key = key_of(who)
        inner = strings(key, namespace.encode(), b"", b"sha256", sha256(data).digest())
        return Signature(b"SSHSIG\0\0\0\1" + inner, key, namespace).armored().encode()

    def forge(self, who: str, data: bytes, other: bytes) -> bytes:
        return self.sign(who, data, NAMESPACE)


def operation(kind: str, _number: int) -> dict[str, Any]:
    return {"module": kind, "parameters": {"path": "/"} if kind == "look" else {"name": "restart"}}


@dataclass
class Host:
    """An agent: its journal, and its clock."""

    name: str
    directory: Path
    clock: int = START
    #: The ids of what ran here.
    ran: list[str] = field(default_factory=list)
    latest: int = 0

    def journal(self) -> Journal:
        """The journal as after a restart."""
        return Journal(self.directory, self.name)

    def facts(self) -> AgentItem:
        return facts(self.name, f"{self.name}.example.com", "Linux 6.1", "0.2.0", AGENTS[self.name])


class History:
    """One random history."""

    def __init__(self, random_: random.Random, directory: Path) -> None:
        self.random = random_
        self.hosts = [Host(name, directory) for name in AGENTS]
        self.papers = Papers(random_, Paper(), operation)
        self.decisions: list[Decision] = []
        keys = [Signer(who, "ssh-ed25519", key_of(who), None, None, end) for who, end in VALID_BEFORE.items()]
        self.verify = Verifier(self._failure, {signer.key: signer for signer in keys})
        self.permissions = permissions.parse(PERMISSIONS, ["command"], lambda module: module == "look")

    def play(self, steps: int) -> None:
        """Let people ask, the store lie, and agents look."""
        for _ in range(steps):
            choices = (self.papers.ask, self.papers.lie, self._look, self._pass_time)
            self.random.choices(choices, (3, 4, 8, 2))[0]()
        given = self.papers.given
        for host in self.hosts:  # everything once more, as from a backup
            for each in self.random.sample(given, min(3, len(given))):
                self._offer(host, each, honest=False)

    def _failure(self, signature: Signature, signer: Signer | None, data: bytes) -> str:
        """What ``ssh-keygen`` would say."""
        if signer is not None and signer.name in (REVOKED, FOR_GIT):
            return "the key is revoked" if signer.name == REVOKED else "not permitted for this namespace"
        made = (Signed(data, who, signature.namespace) for who in PEOPLE if key_of(who) == signature.key)
        true = any(each in self.papers.signed.values() for each in made) and sha256(data).digest() in signature.blob
        return "" if true else "incorrect signature"

    def _pass_time(self) -> None:
        host = self.random.choice(self.hosts)
        jump = self.random.choice((30, 120, 600, 3600, -60, -TOLERANCE, -TOLERANCE - 1, -3600))
        host.clock += jump
        if self.random.random() < 0.5:
            self._remember(host, host.journal().prune)

    def _remember(self, host: Host, see: Callable[[float], None]) -> None:
        try:
            see(host.clock)
        except JournalError:
            return
        host.latest = max(host.latest, host.clock)

    def _look(self) -> None:
        if given := self.papers.given:
            self._offer(self.random.choice(self.hosts), self.random.choice(given), self.random.random() < 0.5)

    def _offer(self, host: Host, given: Given, honest: bool) -> None:
        """An agent is given something; the store may lie about claims, and take its time."""

        def in_store(document: Document) -> bool:
            if honest:
                return document.id not in host.ran
            host.clock += self.random.choice((0, 0, 1, 60, 3600, -60))
            return self.random.random() < 0.8

        began = host.clock
        must = honest and self._must_run(host, given)
        journal = host.journal()
        rules = AgentRules(self.verify, self.permissions, MODULES, host.facts(), LONGEST)
        claims = Claims(partial(self._seen, host, journal), in_store, partial(self._claimed, host, journal))
        judged = judging.take(given, rules, claims, lambda: host.clock, partial(self._ran, host, given))
        self.decisions.append(judged.decision)
        if must and judged.decision is not Decision.RAN:
            raise Broken(f"{host.name} at {began} did not run {given.data!r}: {judged}")

    def _seen(self, host: Host, journal: Journal, now: float) -> None:
        journal.see(now)
        host.latest = max(host.latest, int(now))

    def _claimed(self, host: Host, journal: Journal, action: str, until: float, now: float) -> bool:
        claimed = journal.claim(action, until, now)
        host.latest = max(host.latest, int(now))
        return claimed

    def _ran(self, host: Host, given: Given, document: Document) -> None:
        """The judge: what ran was signed, for this agent, in its window, and ran for the first time."""
        if document.id != identity(given.data) or given.data not in self.papers.documents:
            raise Broken(f"{host.name} ran a document that no person wrote: {given.data!r}")
        who = self.papers.signers(given.data, host.clock)
        if not self.papers.is_due(host.name, given.data, who, host.clock):
            raise Broken(f"{host.name} at {host.clock} ran {given.data!r}, signed by {who}")
        if host.clock < host.latest - TOLERANCE:
            raise Broken(f"{host.name} ran {given.data!r} although its clock is behind")
        if document.id in host.ran:
            raise Broken(f"{host.name} ran {given.data!r} twice")
        host.ran.append(document.id)

    def _must_run(self, host: Host, given: Given) -> bool:
        """True if an honest store gives an agent what it must run: it has not run it, and all signatures are true."""
        is_new = given.id not in host.ran and host.clock >= host.latest - TOLERANCE
        return is_new and self.papers.must_run(host.name, given, host.clock)


def play(seed: int, steps: int = 16) -> History:
    """One history, which its seed determines."""
    with in_memory(seed) as directory:
        history = History(random.Random(seed), directory)
        history.play(steps)
    return history


def main(histories: int, seed: int) -> None:
    """Play many histories, and print what became of the actions in them."""
    counts: dict[str, int] = dict.fromkeys((decision.value for decision in Decision), 0)
    for number in range(histories):
        for decision in play(seed + number).decisions:
            counts[decision.value] += 1
        if not (number + 1) % 10_000:
            print(f"{number + 1} histories: {counts}", flush=True)
    print(f"{histories} histories from seed {seed}, none broken: {counts}")


if __name__ == "__main__":
    main(*numbers(__doc__, histories=100_000, seed=0))
