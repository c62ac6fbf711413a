"""What people sign, and what a hostile store makes of it; with real keys, or without any.

The store may give an agent all that it was given, what it can put together from that, and what it can invent.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from zc.cimaa.actions.documents import format_time
from zc.cimaa.actions.judging import Given
from zc.cimaa.actions.signers import NAMESPACE

START = 1_800_000_000
#: The widest window that agents accept (seconds).
LONGEST = 7200
#: Until when the key of each person is valid; that of mallory is unknown to the agents.
VALID_BEFORE = {"jane": None, "joe": None, "ann": None, "old": START + 900, "gone": None, "gus": None}
#: People with keys that the agents do not accept: one is revoked, one is for signing commits alone.
REVOKED, FOR_GIT = "gone", "gus"
PEOPLE = (*VALID_BEFORE, "mallory")
_ACCEPTED = ("jane", "joe", "ann", "old")
#: Of each kind of document the minimum, and the weights.
WEIGHTS = {
    "look": (2, {"jane": 2, "joe": 1, "old": 1, "ann": 1, "gone": 2, "gus": 2}),
    "command": (3, {"jane": 2, "joe": 1, "ann": 1, "gone": 2, "gus": 2}),
}
#: The agents, with their tags.
AGENTS = {"web1": ("db", "eu"), "web2": (), "db1": ("db",)}
#: Targets, each with the agents that are in it.
TARGETS: dict[str, tuple[Any, set[str]]] = {
    "all": ("agent=~.", {"web1", "web2", "db1"}),
    "web": ("agent=~^web", {"web1", "web2"}),
    "db": ("tag=db", {"web1", "db1"}),
    "not web1": ("agent!=web1 os=~Linux", {"web2", "db1"}),
    "list": (["web2", "db1"], {"web2", "db1"}),
    "none": ("host=elsewhere", set()),
}
_END = b"-----END SSH SIGNATURE-----\n"


class Broken(AssertionError):
    """An agent did what it must not, or did not do what it must."""


class Signed(NamedTuple):
    """What a person really signed."""

    data: bytes
    who: str
    namespace: str


class Asked(NamedTuple):
    """What a document says; the judge knows it because it made the document."""

    number: int
    agents: set[str]
    #: A key of WEIGHTS.
    kind: str
    begin: int
    end: int


class Keyring(Protocol):
    """The keys of all people."""

    def sign(self, who: str, data: bytes, namespace: str) -> bytes:
        """A signature that this person makes."""

    def forge(self, who: str, data: bytes, other: bytes) -> bytes:
        """A text that claims to be a signature of this person for actions; ``other`` is a true one for ``git``."""


#: The operation of a document, by its kind (a key of WEIGHTS) and its number.
Operation = Callable[[str, int], dict[str, Any]]


def weights_of(kind: str) -> dict[str, str]:
    """The section of permissions for this kind of document."""
    minimum, weights = WEIGHTS[kind]
    return {"minimum": str(minimum), "weights": ", ".join(f"{who} {weight}" for who, weight in weights.items())}


def identity(data: bytes) -> str:
    return sha256(data).hexdigest()


class Papers:
    """The documents and signatures of one random history, true and false ones."""

    def __init__(self, random_: random.Random, keyring: Keyring, operation: Operation) -> None:
        self.random = random_
        self._keyring = keyring
        self._operation = operation
        #: What was really signed, by the text of the signature.
        self.signed: dict[bytes, Signed] = {}
        self.documents: dict[bytes, Asked] = {}
        #: All that the store may give.
        self.given: list[Given] = []

    def ask(self) -> None:
        """A person writes a document, and some sign it."""
        target, agents = self.random.choice(list(TARGETS.values()))
        kind = self.random.choice(("look", "look", "command"))
        begin = START + self.random.randrange(-1800, 600)
        end = begin + self.random.choice((600, 3600, LONGEST, LONGEST, LONGEST + 1))
        number = len(self.documents)
        document = {
            "name": f"question {number}",
            "agents" if isinstance(target, list) else "target": target,
            "operations": [self._operation(kind, number)],
            "validfrom": format_time(begin),
            "expireafter": format_time(end),
            "syntaxversion": 3,
        }
        data = json.dumps(document).encode()
        self.documents[data] = Asked(number, agents, kind, begin, end)
        people = _ACCEPTED if self.random.random() < 0.8 else PEOPLE
        who = self.random.sample(people, self.random.choice((0, 1, 2, 2, 3, 3, 3)))
        self._give(data, b"".join(self._sign(data, each) for each in who))

    def lie(self) -> None:
        """The store changes what it was given, or invents something."""
        lies = (
            *(self._alter, self._swap, self._mix, self._rename, self._retarget, self._backdate),
            *(self._invent, self._strip, self._double, self._add_mallory, self._other_namespace, self._relabel),
        )
        if self.given:
            self.random.choice(lies)(self.random.choice(self.given))

    def signers(self, data: bytes, now: float) -> set[str]:
        """Those who signed these bytes as an action, with a key that an agent accepts at this time."""
        accepted = {
            who for who, end in VALID_BEFORE.items() if who not in (REVOKED, FOR_GIT) and (end is None or now <= end)
        }
        return accepted & {
            each.who for each in self.signed.values() if (each.data, each.namespace) == (data, NAMESPACE)
        }

    def is_due(self, agent: str, data: bytes, who: Iterable[str], now: float) -> bool:
        """True if these signers are enough, and the agent is in the target, and the time in the window."""
        asked = self.documents[data]
        minimum, weights = WEIGHTS[asked.kind]
        in_window = asked.begin <= now < asked.end and asked.end - asked.begin <= LONGEST
        return in_window and sum(weights.get(each, 0) for each in who) >= minimum and agent in asked.agents

    def must_run(self, agent: str, given: Given, now: float) -> bool:
        """True if an agent must run this now, unless it did: all signatures are true, and of valid keys."""
        if given.data not in self.documents or identity(given.data) != given.id:
            return False
        texts = split(given.signatures)
        made = [self.signed[text] for text in texts if text in self.signed]
        who = {each.who for each in made if (each.data, each.namespace) == (given.data, NAMESPACE)}
        if len(who) != len(texts):
            return False
        known = self.signers(given.data, now) & who
        return known == who - {"mallory"} and self.is_due(agent, given.data, known, now)

    def _give(self, data: bytes, signatures: bytes, name: str | None = None) -> None:
        self.given.append(Given(name or identity(data), data, signatures))

    def _sign(self, data: bytes, who: str, namespace: str = NAMESPACE) -> bytes:
        signature = self._keyring.sign(who, data, namespace)
        self.signed[signature] = Signed(data, who, namespace)
        return signature

    def _forge(self, data: bytes, who: str) -> bytes:
        return self._keyring.forge(who, data, self._sign(data, who, "git"))

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
        name = self.random.choice((other.id, "0" * 64, given.id.upper(), given.id[:8], "../latest"))
        self._give(given.data, given.signatures, name)

    def _retarget(self, given: Given) -> None:
        self._give(given.data.replace(b"agent", b"host").replace(b"tag=db", b"agent=~."), given.signatures)

    def _backdate(self, given: Given) -> None:
        self._give(given.data.replace(b'"expireafter": "20', b'"expireafter": "21'), given.signatures)

    def _invent(self, given: Given) -> None:
        data = given.data.replace(b'"name": "question', b'"name": "invented')
        forged = [self._keyring.forge(each, data, b"") for each in self.random.sample(PEOPLE, 3)]
        self._give(data, b"".join(forged))

    def _strip(self, given: Given) -> None:
        each = split(given.signatures)
        self._give(given.data, b"".join(self.random.sample(each, self.random.randrange(len(each) + 1))))

    def _double(self, given: Given) -> None:
        each = split(given.signatures)
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
        if Signed(given.data, who, NAMESPACE) not in self.signed.values():
            self._give(given.data, given.signatures + self._forge(given.data, who))


def split(signatures: bytes) -> list[bytes]:
    """The signatures in a text that has one after the other."""
    return [text + _END for text in signatures.split(_END)[:-1]]


@contextmanager
def in_memory(seed: int) -> Iterator[Path]:
    """A directory for a history with this seed, in memory: its journals need not wait for a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        try:
            yield Path(directory)
        except Broken as error:
            raise Broken(f"history {seed}: {error}") from error
