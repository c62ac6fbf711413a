"""What a module answers, in MIG's words, and how it is kept within its limit.  Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from ..text import cut, storable

#: The limit of an answer, encoded (bytes).
ANSWER = 256 * 1024
#: The most errors of an answer; and the limit of each (bytes).
ERRORS, ERROR = 20, 1024

# Bytes for statistics and punctuation.
_ROOM = 4 * 1024


class Answer(NamedTuple):
    """The answer of a module."""

    #: True if something was found.
    found: bool
    #: True if the module did all that was asked.
    success: bool
    elements: Sequence[Mapping[str, Any]] = ()
    statistics: Mapping[str, Any] = {}  # a default that is never changed
    errors: Sequence[str] = ()


def failed(*errors: str) -> Answer:
    """The answer of a module that did not do what was asked."""
    return Answer(False, False, errors=errors)


def encode(answer: Answer) -> bytes:
    """The answer as JSON, at most :data:`ANSWER` bytes: elements that do not fit are left out, and counted."""
    answer = bounded(answer)
    return orjson.dumps(answer._asdict())


def decode(encoded: bytes) -> Answer:
    """The answer that was encoded.

    :raises ValueError: if it is not one.
    """
    given = orjson.loads(encoded)
    if not isinstance(given, dict) or set(given) != set(Answer._fields):
        raise ValueError("it is not an answer")
    return Answer(**given)


def bounded(answer: Answer, most: int = ANSWER) -> Answer:
    """The answer within its limit (bytes); what was left out is counted in an error and in the statistics."""
    answer = answer._replace(elements=list(answer.elements), errors=_bounded_errors(answer.errors))
    if len(orjson.dumps(answer._asdict())) <= most:
        return answer
    room = most - _ROOM - len(orjson.dumps(answer.errors))
    elements = []
    for element in answer.elements:
        room -= len(orjson.dumps(element)) + 1
        if room < 0:
            break
        elements.append(element)
    left_out = len(answer.elements) - len(elements)
    note = f"the answer was cut at {most // 1024} KiB: {left_out} more elements were left out"
    statistics = {**answer.statistics, "left_out": left_out}
    return answer._replace(elements=elements, statistics=statistics, errors=[*answer.errors, note])


def _bounded_errors(errors: Sequence[str]) -> list[str]:
    """The errors within their limits; beyond :data:`ERRORS` there may be one of these, and one about elements."""
    shown = [cut(storable(error), ERROR) for error in errors]
    return shown if len(shown) <= ERRORS + 2 else [*shown[:ERRORS], f"and {len(shown) - ERRORS} more errors"]


def cut_text(text: str, most: int) -> str:
    """The text, cut so that it has at most ``most`` bytes as JSON; a last line says how much was cut."""
    text = storable(text)
    kept = text
    while (size := len(orjson.dumps(kept))) > most:
        kept = kept[: len(kept) * most // (size + 1)]
    return kept if kept == text else f"{kept}\n[cut: {len(text) - len(kept)} more characters]"


def utc(seconds: float) -> str | None:
    """Seconds since the epoch in RFC 3339, in UTC; ``None`` for a time outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None
