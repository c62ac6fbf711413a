"""Whether an agent runs an action that its store gives it.  Pure, but for what is passed in.

The store is not believed in anything.  The decisions have one order: signatures, permissions, the window by the agent's
own clock, the target by its own facts, the claim in the store, the claim in the journal; and then the action runs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ..errors import ActionRefused, InvalidAction, JournalError, SigningError
from ..filters import AgentItem
from ..units import format_duration
from . import documents
from .documents import Document, ParameterCheck, format_time
from .permissions import Permissions


class Given(NamedTuple):
    """An action, as a store gives it."""

    #: The id under which the store has it.
    id: str
    #: The bytes of the document.
    data: bytes
    #: The signatures, one after the other.
    signatures: bytes


class AgentRules(NamedTuple):
    """What an agent's own configuration says, and what it knows of itself."""

    #: The names of the investigators who signed; it raises InvalidAction for a signature that is not true.
    verify: Callable[[bytes, bytes, float], Sequence[str]]
    permissions: Permissions
    modules: Mapping[str, ParameterCheck]
    facts: AgentItem
    #: The widest window that is accepted (seconds).
    longest: float


class Claims(NamedTuple):
    """How an action is claimed, so that nothing else runs it."""

    #: The journal notes the time; it raises JournalError if nothing may run now.
    see: Callable[[float], None]
    #: The claim in the store: false if the store has another claim of it.
    in_store: Callable[[Document], bool]
    #: The claim in the journal, by id, end of the window and time: false if the agent has run it.
    in_journal: Callable[[str, float, float], bool]


class Decision(Enum):
    """What became of an action."""

    #: It ran, now.
    RAN = "ran"
    #: It must not run here.
    REFUSED = "refused"
    #: Its window begins later: it is to be judged again then.
    EARLY = "early"
    #: Its window is over.
    EXPIRED = "expired"
    #: It cannot be judged at the moment, or may not run because of the journal; nothing was claimed.
    POSTPONED = "postponed"
    #: It was claimed before: in the store, or in the journal, which means that it ran, or may have run.
    CLAIMED = "claimed"
    #: It was claimed in the store, and did not run, because the journal could not be written or the clock was set back.
    FAILED = "failed"


class Judged(NamedTuple):
    """What became of an action, why, and what it answered if it ran."""

    decision: Decision
    reason: str = ""
    answer: Any = None
    #: When the window of one that is refused ends (seconds since the epoch); only known if its signatures are true.
    until: float = math.inf


# These are to be judged again later, and stay unclaimed.
_LATER = (Decision.EARLY, Decision.POSTPONED)


def judge(given: Given, rules: AgentRules, now: float) -> Document | Judged:
    """The document of an action that may be claimed now, or why it may not.  It is parsed only after it is verified."""
    document = None
    try:
        if given.id != (identity := documents.document_id(given.data)):
            raise ActionRefused(f"the store gives it as {given.id}, but its id is {identity}")
        signers = rules.verify(given.data, given.signatures, now)
        document = documents.parse(given.data, rules.modules)
        rules.permissions.check(document.operations, signers)
        check_length(document, rules.longest)
        if late := _outside(document, now):
            return late
        if not document.target.includes(rules.facts):
            raise ActionRefused("this agent is not in its target")
    except (ActionRefused, InvalidAction) as error:
        return Judged(Decision.REFUSED, str(error), until=document.expires if document else math.inf)
    except SigningError as error:
        return Judged(Decision.POSTPONED, str(error))
    return document


def check_length(document: Document, longest: float) -> None:
    """Refuse an action whose window is wider than an agent allows (seconds).

    :raises ActionRefused: naming both.
    """
    if (length := document.expires - document.valid_from) > longest:
        allowed = f"[actions] longest is {format_duration(longest)}"
        raise ActionRefused(f"its window is {format_duration(length)} long; {allowed}")


def take(
    given: Given, rules: AgentRules, claims: Claims, clock: Callable[[], float], run: Callable[[Document], Any]
) -> Judged:
    """Judge an action, claim it, and run it: at most once, whatever the store says."""
    document = judge(given, rules, clock())
    if not isinstance(document, Document):
        return document
    try:
        claims.see(clock())
    except JournalError as error:
        return Judged(Decision.POSTPONED, str(error))
    if not claims.in_store(document):
        return Judged(Decision.CLAIMED, "it is claimed in the store")
    now = clock()  # the store may have taken its time: the window may be over since, or a key no longer valid
    again = judge(given, rules, now)
    if not isinstance(again, Document):
        return again._replace(decision=Decision.FAILED) if again.decision in _LATER else again
    try:
        if not claims.in_journal(document.id, document.expires, now):
            return Judged(Decision.CLAIMED, "the journal has it: it ran here before, or was about to")
    except JournalError as error:
        return Judged(Decision.FAILED, str(error))
    return Judged(Decision.RAN, answer=run(document))


def _outside(document: Document, now: float) -> Judged | None:
    if now < document.valid_from:
        return Judged(Decision.EARLY, f"its window begins at {format_time(document.valid_from)}")
    if now >= document.expires:
        return Judged(Decision.EXPIRED, f"its window ended at {format_time(document.expires)}")
    return None
