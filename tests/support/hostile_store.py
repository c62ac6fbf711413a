"""Agents whose store is hostile: random histories, and a judge who knows what people signed.

``python -m tests.support.hostile_store [HISTORIES [SEED]]``

Everything is real but ``ssh-keygen``: a signature is true if its signer made it in this history.  The store may give
any agent anything that it was given, that it can put together from that, or that it can invent; it may claim, or forget
claims; and it may take its time.  Agents restart, and their clocks jump.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.faulty_documents import MODULES
from zc.cimaa.actions import judging, permissions, signers
from zc.cimaa.actions.documents import Document, format_time
from zc.cimaa.actions.journal import TOLERANCE, Journal
from zc.cimaa.actions.judging import AgentRules, Claims, Decision, Given
from zc.cimaa.actions.signatures import Verifier
from zc.cimaa.actions.signers import Signature, Signer
from zc.cimaa.actions.targets import facts
from zc.cimaa.errors import JournalError
from zc.cimaa.filters import AgentItem

START = 1_800_000_000
LONGEST = 7200
NAMESPACE = signers.NAMESPACE
PERMISSIONS = {
    "permission:default": {"minimum": "2", "weights": "jane 2, joe 1, old 1, ann 1"},
    "permission:command": {"minimum": "3", "weights": "jane 2, joe 1, ann 1"},
}
#: Each investigator's key, and until when it is valid; mallory is unknown.
VALID_BEFORE = {"jane": None, "joe": None, "ann": None, "old": START + 900}
WEIGHTS = {"look": (2, {"jane": 2, "joe": 1, "old": 1, "ann": 1}), "command": (3, {"jane": 2, "joe": 1, "ann": 1})}
PEOPLE = (*VALID_BEFORE, "mallory")
AGENTS = {"web1": ("db", "eu"), "web2": (), "db1": ("db",)}
#: Targets, and for which agents each is.
TARGETS: dict[str, tuple[Any, set[str]]] = {
    "all": ("agent=~.", {"web1", "web2", "db1"}),
    "web": ("agent=~^web", {"web1", "web2"}),
    "db": ("tag=db", {"web1", "db1"}),
    "not web1": ("agent!=web1 os=~Linux", {"web2", "db1"}),
    "list": (["web2", "db1"], {"web2", "db1"}),
    "nobody": ("host=elsewhere", set()),
}


class Signed(NamedTuple):
    """What a person really signed."""

    data: bytes
    who: str
    namespace: str


class Asked(NamedTuple):
    """What a document says, known to the judge because it made it."""

    agents: set[str]
    module: str
    begin: int
    end: int


class Broken(AssertionError):
    """An agent did what it must not, or did not do what it must."""


def key_of(who: str) -> bytes:
    return _strings(b"ssh-ed25519", sha256(who.encode()).digest())


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
        self.signed: set[Signed] = set()
        self.documents: dict[bytes, Asked] = {}
        self.given: list[Given] = []
        self.decisions: list[Decision] = []
        keys = [Signer(who, "ssh-ed25519", key_of(who), None, None, end) for who, end in VALID_BEFORE.items()]
        self.verify = Verifier(self._failure, {signer.key: signer for signer in keys})
        self.permissions = permissions.parse(PERMISSIONS, ["command"], lambda module: module == "look")

    def play(self, steps: int) -> None:
        """Let people ask, the store lie, and agents look."""
        for _ in range(steps):
            step = self.random.choices((self._ask, self._lie, self._look, self._pass_time), (3, 4, 8, 2))[0]
            step()
        for host in self.hosts:  # everything once more, as from a backup
            for given in self.random.sample(self.given, min(3, len(self.given))):
                self._offer(host, given, honest=False)

    def _ask(self) -> None:
        """A person writes a document, and some sign it."""
        target, agents = self.random.choice(list(TARGETS.values()))
        module = self.random.choice(("look", "look", "command"))
        begin = START + self.random.randrange(-1800, 600)
        end = begin + self.random.choice((600, 3600, LONGEST, LONGEST, LONGEST + 1))
        parameters = {"path": "/"} if module == "look" else {"name": "restart"}
        document = {
            "name": f"question {self.random.randrange(3)}",
            "agents" if isinstance(target, list) else "target": target,
            "operations": [{"module": module, "parameters": parameters}],
            "validfrom": format_time(begin),
            "expireafter": format_time(end),
            "syntaxversion": 3,
        }
        data = json.dumps(document).encode()
        self.documents[data] = Asked(agents, module, begin, end)
        who = self.random.sample(PEOPLE, self.random.choice((0, 1, 2, 2, 3, 3, 3)))
        self._give(data, b"".join(self._sign(data, each) for each in who))

    def _give(self, data: bytes, signatures: bytes, identity: str | None = None) -> None:
        self.given.append(Given(identity or sha256(data).hexdigest(), data, signatures))

    def _sign(self, data: bytes, who: str, namespace: str = NAMESPACE) -> bytes:
        self.signed.add(Signed(data, who, namespace))
        return armored(who, namespace, sha256(data).digest())

    def _failure(self, signature: Signature, _signer: Signer | None, data: bytes) -> str:
        """What ``ssh-keygen`` would say."""
        made = (Signed(data, who, signature.namespace) for who in PEOPLE if key_of(who) == signature.key)
        true = any(each in self.signed for each in made) and sha256(data).digest() in signature.blob
        return "" if true else "incorrect signature"

    def _lie(self) -> None:
        """The store changes what it was given, or invents something."""
        lies = (
            *(self._alter, self._swap, self._mix, self._rename, self._retarget, self._backdate),
            *(self._invent, self._strip, self._double, self._add_mallory, self._other_namespace, self._relabel),
        )
        if self.given:
            self.random.choice(lies)(self.random.choice(self.given))

    def _alter(self, given: Given) -> None:
        data = bytearray(given.data)
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        self._give(bytes(data), given.signatures)

    def _swap(self, given: Given) -> None:
        other = self.random.choice(self.given)
        self._give(given.data, other.signatures)

    def _mix(self, given: Given) -> None:
        other = self.random.choice(self.given)
        self._give(given.data, given.signatures + other.signatures)

    def _rename(self, given: Given) -> None:
        other = self.random.choice(self.given)
        identity = self.random.choice((other.id, "0" * 64, given.id.upper(), given.id[:8], "../latest"))
        self._give(given.data, given.signatures, identity)

    def _retarget(self, given: Given) -> None:
        self._give(given.data.replace(b"agent", b"host").replace(b"tag=db", b"agent=~."), given.signatures)

    def _backdate(self, given: Given) -> None:
        self._give(given.data.replace(b'"expireafter": "20', b'"expireafter": "21'), given.signatures)

    def _invent(self, given: Given) -> None:
        data = given.data.replace(b'"name": "question', b'"name": "invented')
        who = self.random.sample(PEOPLE, 3)
        self._give(data, b"".join(armored(each, NAMESPACE, sha256(data).digest()) for each in who))

    def _strip(self, given: Given) -> None:
        each = _split(given.signatures)
        self._give(given.data, b"".join(self.random.sample(each, self.random.randrange(len(each) + 1))))

    def _double(self, given: Given) -> None:
        each = _split(given.signatures)
        self._give(given.data, b"".join(self.random.choices(each, k=len(each) + 1) if each else []))

    def _add_mallory(self, given: Given) -> None:
        self._give(given.data, given.signatures + self._sign(given.data, "mallory"))

    def _other_namespace(self, given: Given) -> None:
        """A signature that was made for another purpose, over the same bytes, is used here."""
        who = self.random.choice(PEOPLE)
        self._give(given.data, given.signatures + self._sign(given.data, who, "git"))

    def _relabel(self, given: Given) -> None:
        """A true signature for another purpose, as if it were for actions."""
        who = self.random.choice(PEOPLE)
        if Signed(given.data, who, NAMESPACE) not in self.signed:
            self._sign(given.data, who, "git")
            self._give(given.data, given.signatures + armored(who, NAMESPACE, sha256(given.data).digest()))

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
        if self.given:
            self._offer(self.random.choice(self.hosts), self.random.choice(self.given), self.random.random() < 0.5)

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
        identity = sha256(given.data).hexdigest()
        if document.id != identity or given.data not in self.documents:
            raise Broken(f"{host.name} ran what nobody wrote: {given.data!r}")
        if not self._is_due(host, given.data, self._signers(host, given.data)):
            raise Broken(f"{host.name} at {host.clock} ran {given.data!r}, signed by {self._signers(host, given.data)}")
        if host.clock < host.latest - TOLERANCE:
            raise Broken(f"{host.name} ran {given.data!r} although its clock is behind")
        if identity in host.ran:
            raise Broken(f"{host.name} ran {given.data!r} twice")
        host.ran.append(identity)

    def _signers(self, host: Host, data: bytes) -> set[str]:
        """Those who signed these bytes for this purpose, with a key that is valid now by the agent's clock."""
        ends = {who: end for who, end in VALID_BEFORE.items() if end is None or host.clock <= end}
        return {who for who in ends if Signed(data, who, NAMESPACE) in self.signed}

    def _is_due(self, host: Host, data: bytes, who: set[str]) -> bool:
        asked = self.documents[data]
        minimum, weights = WEIGHTS[asked.module]
        in_window = asked.begin <= host.clock < asked.end and asked.end - asked.begin <= LONGEST
        enough = sum(weights.get(each, 0) for each in who) >= minimum
        return in_window and enough and host.name in asked.agents

    def _must_run(self, host: Host, given: Given) -> bool:
        """True if an honest store gives an agent what it must run: it has not run it, and all signatures are true."""
        identity = sha256(given.data).hexdigest()
        if given.data not in self.documents or identity != given.id or identity in host.ran:
            return False
        texts, digest = _split(given.signatures), sha256(given.data).digest()
        who = [each for each in PEOPLE for text in texts if text == armored(each, NAMESPACE, digest)]
        true = len(who) == len(texts) and len(set(who)) == len(who)
        true = true and all(Signed(given.data, each, NAMESPACE) in self.signed for each in who)
        known = self._signers(host, given.data) & set(who)
        valid = known == set(who) - {"mallory"}
        clock = host.clock >= host.latest - TOLERANCE
        return true and valid and clock and self._is_due(host, given.data, known)


def armored(who: str, namespace: str, digest: bytes) -> bytes:
    """A signature as a file has it; whether it is true depends on whether it was made."""
    key = key_of(who)
    inner = _strings(key, namespace.encode(), b"", b"sha256", digest)
    return Signature(b"SSHSIG\0\0\0\1" + inner, key, namespace).armored().encode()


def _strings(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4) + string for string in strings)


def _split(signatures: bytes) -> list[bytes]:
    end = b"-----END SSH SIGNATURE-----\n"
    return [text + end for text in signatures.split(end)[:-1]]


def play(seed: int, steps: int = 16) -> History:
    """One history, which its seed determines; its journals are in memory, where they need not wait for a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        history = History(random.Random(seed), Path(directory))
        try:
            history.play(steps)
        except Broken as error:
            raise Broken(f"history {seed}: {error}") from error
    return history


def main(histories: int = 100_000, seed: int = 0) -> None:
    """Play many histories, and print what became of the actions in them."""
    counts: dict[str, int] = dict.fromkeys((decision.value for decision in Decision), 0)
    for number in range(histories):
        for decision in play(seed + number).decisions:
            counts[decision.value] += 1
        if not (number + 1) % 10_000:
            print(f"{number + 1} histories: {counts}", flush=True)
    print(f"{histories} histories from seed {seed}, none broken: {counts}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
