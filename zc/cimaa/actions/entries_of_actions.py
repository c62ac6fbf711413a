"""Actions, the commands that they are for agents, and the agents' answers, as entries of a store.  Pure.

===========  =========  =============  =================================================================================
kind         owner      key            value
===========  =========  =============  =================================================================================
``action``   none       the id         the document and its signatures as texts, who sent it and when, who cancelled it
``command``  the agent  the id         what the agent did with the action, in a few bytes
``answer``   the agent  the id         the answers of the modules as a text, and the agent's signature of that text
===========  =========  =============  =================================================================================

What follows from the time is computed here when it is asked for, and never stored.
"""

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from .. import entries, limits
from ..entries import Entry
from ..errors import InvalidAction
from ..faults import encode
from ..text import cut, storable
from . import answers, documents, signers
from .answers import Answer
from .documents import Document
from .judging import Given

ACTION, COMMAND, ANSWER = "action", entries.COMMAND, "answer"

# What an action is.
SCHEDULED, INFLIGHT, COMPLETED, CANCELLED = "scheduled", "inflight", "completed", "cancelled"
# What a command is, besides CANCELLED: those that are stored, and those that follow from the time or from the action.
SENT, RUNNING, SUCCESS, FAILED, TIMEOUT, REFUSED = "sent", "running", "success", "failed", "timeout", "refused"
EXPIRED, LOST = "expired", "lost"
#: How a command may end.  An agent that finds a claim of its own, but was restarted since, says itself that it is lost.
ENDINGS: Final = (SUCCESS, FAILED, TIMEOUT, REFUSED, LOST)
#: All states of a command, in the order of lists.
STATES: Final = (SENT, RUNNING, SUCCESS, FAILED, TIMEOUT, REFUSED, CANCELLED, EXPIRED, LOST)

#: How long after the end of an action's window a running command may still end, before it counts as lost (seconds).
GRACE: Final = 60
#: The most bytes of the reason that a command keeps.
REASON: Final = 200

# Each state that is stored becomes only these.  An agent judges again what it refused: it may have more signatures.
_NEXT: Mapping[str, tuple[str, ...]] = {
    SENT: (RUNNING, REFUSED),
    REFUSED: (RUNNING, REFUSED),
    RUNNING: (SUCCESS, FAILED, TIMEOUT, REFUSED, LOST),
}
_LATEST = datetime.max.replace(microsecond=0).timestamp() - 2 * 24 * 60 * 60


class StoredAction(NamedTuple):
    """An action, as the store has it: nothing of it is verified."""

    id: str
    #: The document's bytes, and the signatures, one after the other.
    data: bytes
    signatures: bytes
    #: Who sent it first, and when (seconds since the epoch).
    sender: str
    sent: int
    #: Who cancelled it; empty: it is not cancelled.
    cancelled_by: str
    revision: str

    def given(self) -> Given:
        """What an agent judges."""
        return Given(self.id, self.data, self.signatures)

    def document(self) -> Document:
        """What the document says; parameters of modules are not checked, as they may be of other agents' modules.

        :raises InvalidAction: if it is faulty, or is not the one with this id.
        """
        document = documents.parse(self.data, None)
        if document.id != self.id:
            raise InvalidAction(f"the store has it as {self.id}, but its id is {document.id}")
        return document


class Command(NamedTuple):
    """An action for one agent, as the agent left it."""

    id: str
    agent: str
    #: As stored: see :func:`command_state`.
    state: str
    #: When it came into this state (seconds since the epoch).
    time: int
    #: Why it was refused, or did not run.
    reason: str
    #: True if a module found something.
    found: bool
    revision: str
    expires: int | None


class SentAnswer(NamedTuple):
    """What an agent answered; nothing of it is verified."""

    id: str
    agent: str
    #: What is signed: JSON, which :func:`answer_text` made.
    text: str
    #: The agent's signature of the text, as OpenSSH writes it; empty: it did not sign.
    signature: str


class Counters(NamedTuple):
    """How many commands of an action there are, in MIG's words, and in which state."""

    #: All; those that are not ended; those that are.
    sent: int
    inflight: int
    done: int
    #: Those for which a module found something.
    found: int
    #: By state, in the order of :data:`STATES`.
    states: Mapping[str, int]


def action_entry(data: bytes, signatures: bytes, sender: str, now: int, expires: int) -> Entry:
    """The entry of an action that is sent ``now``, and kept until ``expires`` (both seconds since the epoch)."""
    value = {"document": data.decode(), "signatures": signatures.decode(), "sender": sender, "sent": now}
    return Entry(ACTION, "", documents.document_id(data), value, _revision(), expires)


def stored_action(entry: Entry) -> StoredAction:
    """The action of an entry; what cannot be one has parts that are empty."""
    document, signatures = (_text(entry, key).encode() for key in ("document", "signatures"))
    sender, sent, by = _text(entry, "sender"), _number(entry, "sent"), _text(entry, "cancelled_by")
    return StoredAction(entry.key, document, signatures, sender, sent, by, entry.revision)


def signed_further(was: Entry, wanted: Entry) -> Entry:
    """The entry with the signatures of both, or ``was`` itself, if it has them.

    :raises InvalidAction: if it was cancelled, or the signatures are too many.
    """
    stored, new = stored_action(was), stored_action(wanted)
    if stored.cancelled_by:
        raise InvalidAction(f"the action {stored.id} was cancelled by {stored.cancelled_by}")
    if stored.data != new.data:  # it was damaged
        return wanted
    joined = stored.signatures if stored.signatures == new.signatures else together(stored.signatures, new.signatures)
    if joined == stored.signatures:
        return was
    return was._replace(value={**was.value, "signatures": joined.decode()}, revision=wanted.revision)


def cancelled(entry: Entry, user: str) -> Entry:
    """The entry of an action that is cancelled by a user; ``entry`` itself if it is cancelled."""
    if stored_action(entry).cancelled_by:
        return entry
    value = entry.value if isinstance(entry.value, dict) else {}
    return entry._replace(value={**value, "cancelled_by": user}, revision=_revision())


def kept_until(document: Document, keep: int) -> int:
    """When the entries of an action end (seconds since the epoch): ``keep`` seconds after its window."""
    return math.ceil(min(document.expires, _LATEST)) + keep


def together(stored: bytes, new: bytes) -> bytes:
    """The signatures of both, each key's once; those that are ``stored`` are left out if they were damaged.

    :raises InvalidAction: if these are too many.
    """
    found = {signature.key: signature for signature in signers.signatures(new)}
    with suppress(InvalidAction):
        found = {signature.key: signature for signature in signers.signatures(stored)} | found
    joined = "".join(signature.armored() for signature in found.values()).encode()
    signers.signatures(joined)
    return joined


def command_entry(document_id: str, agent: str, now: int, expires: int) -> Entry:
    """The entry of a command that is sent ``now``."""
    return Entry(COMMAND, agent, document_id, {"state": SENT, "time": now}, _revision(), expires)


def command(entry: Entry) -> Command:
    """The command of an entry; a state that is unknown counts as failed, as its agent wrote it."""
    state = _known(_text(entry, "state"))
    found = isinstance(entry.value, dict) and entry.value.get("found") is True
    reason, time = _text(entry, "reason"), _number(entry, "time")
    return Command(entry.key, entry.owner, state, time, reason, found, entry.revision, entry.expires)


def changed(was: Command, state: str, now: int, reason: str = "", found: bool = False) -> Entry | None:
    """The entry of a command that comes into another state ``now``; ``None`` if it cannot."""
    if state not in _NEXT.get(was.state, ()):
        return None
    value: dict[str, Any] = {"state": state, "time": now}
    if reason:
        value["reason"] = stored_reason(reason)
    if found:
        value["found"] = True
    return Entry(COMMAND, was.agent, was.id, value, _revision(), was.expires)


def stored_reason(reason: str) -> str:
    """The reason as a command keeps it."""
    return cut(storable(reason), REASON)


def ended(statuses: Iterable[str]) -> str:
    """How a command ended whose operations ended like this: as the worst of them."""
    there = set(statuses)
    return next((state for state in (TIMEOUT, FAILED) if state in there), SUCCESS if there == {SUCCESS} else FAILED)


def command_state(state: str, document: Document, cancelled: bool, now: float) -> str:
    """The state of a command at ``now``: it may have been stored when there was still time."""
    if state == SENT:
        return CANCELLED if cancelled else EXPIRED if now >= document.expires else SENT
    return LOST if state == RUNNING and now >= document.expires + GRACE else state


def action_state(document: Document, cancelled: bool, now: float, counters: Counters | None = None) -> str:
    """The state of an action at ``now``; with ``counters``, it is completed as soon as no command is in flight."""
    if cancelled:
        return CANCELLED
    if now >= document.expires or (counters is not None and counters.sent and not counters.inflight):
        return COMPLETED
    return SCHEDULED if now < document.valid_from else INFLIGHT


def counters(
    stored: Iterable[tuple[str | None, bool, int]], document: Document, cancelled: bool, now: float
) -> Counters:
    """Counts commands at ``now``: ``stored`` has, of each state and whether something was found, how many there are."""
    states, found = dict.fromkeys(STATES, 0), 0
    for state, has_found, number in stored:
        states[command_state(_known(state or ""), document, cancelled, now)] += number
        found += number if has_found else 0
    inflight, sent = states[SENT] + states[RUNNING], sum(states.values())
    return Counters(sent, inflight, sent - inflight, found, {state: states[state] for state in STATES})


def answer_text(document_id: str, agent: str, now: int, operations: Iterable[tuple[str, str, Answer]]) -> str:
    """What an agent answers, and signs: of each operation the module, its status and its answer.

    It names the action and the agent, so that it holds for no other.  It is cut so that its entry fits into every
    store: each operation has the same room, and what is left out is counted in its errors.
    """
    ran = list(operations)  # 1 to 32
    room = answers.ANSWER
    while True:
        shown = [
            {"module": module, "status": status, **_fitted(answer, room // len(ran))._asdict()}
            for module, status, answer in ran
        ]
        text = encode({"action": document_id, "agent": agent, "time": now, "operations": shown}).decode()
        if (size := len(encode(text))) <= _ANSWER_TEXT:
            return text
        room = room * _ANSWER_TEXT // size * 9 // 10


def answer_entry(document_id: str, agent: str, text: str, signature: str, expires: int | None) -> Entry:
    """The entry of an answer."""
    return Entry(ANSWER, agent, document_id, {"answer": text, "signature": signature}, _revision(), expires)


def sent_answer(entry: Entry) -> SentAnswer:
    """The answer of an entry."""
    return SentAnswer(entry.key, entry.owner, _text(entry, "answer"), _text(entry, "signature"))


def decoded(answer: SentAnswer) -> list[dict[str, Any]]:
    """The operations of an answer: of each its ``module``, its ``status``, and what the module answered.

    :raises ValueError: if the text is not an answer of this agent to this action.
    """
    given = orjson.loads(answer.text)
    if not isinstance(given, dict) or (given.get("action"), given.get("agent")) != (answer.id, answer.agent):
        raise ValueError("it is not an answer of this agent to this action")
    operations = given.get("operations")
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise ValueError("it has no list of operations")
    return [_operation(each) for each in operations]


def _revision() -> str:
    return os.urandom(16).hex()  # a third of uuid4's time, which counts for a million commands


def _known(state: str) -> str:
    return state if state in _NEXT or state in ENDINGS else FAILED


def _fitted(answer: Answer, most: int) -> Answer:
    """The answer within ``most`` bytes, but for errors and statistics that are too large themselves."""
    bounded = answers.bounded(answer, most)
    if len(orjson.dumps(bounded._asdict())) <= most:
        return bounded
    return Answer(answer.found, answer.success, errors=["the answer was left out: there was no room for it"])


def _operation(given: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"module": "", "status": "", **Answer(False, False)._asdict()}
    types = {"module": str, "status": str, "found": bool, "success": bool, "statistics": dict}
    return {
        key: value if isinstance(value := given.get(key), types.get(key, list)) else default
        for key, default in defaults.items()
    }


def _text(entry: Entry, key: str) -> str:
    found = entry.value.get(key) if isinstance(entry.value, dict) else None
    return found if isinstance(found, str) else ""


def _number(entry: Entry, key: str) -> int:
    found = entry.value.get(key) if isinstance(entry.value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


# Of an entry's value, what is left for the text: the rest is for one signature and the keys.
_ANSWER_TEXT: Final = limits.ENTRY_VALUE - 16 * 1024
