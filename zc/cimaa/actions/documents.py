"""What an action is: a JSON document of MIG's words, checked in every part.  Pure."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn, TypeAlias

from .. import limits, options
from ..errors import InvalidAction, InvalidInput
from ..limits import check_text
from ..text import quoted
from . import targets
from .targets import Target

#: The most bytes of a document, and of the name in it.
SIZE, NAME = 64 * 1024, 1024
#: The digits of an id.
ID = 64
OPERATIONS = 32
SYNTAX_VERSION = 3

#: Checks the parameters of a module: it raises :exc:`~zc.cimaa.errors.InvalidInput`, naming the one that is wrong.
ParameterCheck: TypeAlias = Callable[[Mapping[str, Any]], object]

_REQUIRED = ("name", "operations", "validfrom", "expireafter", "syntaxversion")
_TARGETS = ("target", "agents")
_ABOUT = {"description": ("author", "email", "url", "revision"), "threat": ("ref", "level", "family", "type")}
_OPERATION = ("module", "parameters")
_NUMBERS = ("revision",)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|\+00:00)")


class Operation(NamedTuple):
    """What one module is to do."""

    module: str
    parameters: Mapping[str, Any]


class Document(NamedTuple):
    """An action, as its document describes it."""

    #: The SHA-256 of the document's bytes, in hexadecimal.
    id: str
    name: str
    target: Target
    operations: tuple[Operation, ...]
    #: The window in which it may run (seconds since the epoch): from the first time, and before the second.
    valid_from: float
    expires: float
    #: What the author says of it; each may be empty.
    description: Mapping[str, Any]
    threat: Mapping[str, Any]


def document_id(data: bytes) -> str:
    """The id of the action with this document: 64 hexadecimal digits."""
    return sha256(data).hexdigest()


def parse(data: bytes, modules: Mapping[str, ParameterCheck] | None) -> Document:
    """The action in a document; ``modules`` has the modules that there are, and how each checks its parameters.

    With ``None``, modules and their parameters are not checked: they may be those of other hosts.

    Whether its window is over depends on the time: see :func:`check_window`.

    :raises InvalidAction: naming the part that is wrong.
    """
    if len(data) > SIZE:
        raise InvalidAction(f"the document is too large: at most {SIZE} bytes are allowed")
    given = json_object(data, "the document")
    about = {key: _texts(key, given.get(key, {}), known) for key, known in _ABOUT.items()}
    _check_keys("", given, (*_REQUIRED, *_TARGETS, *_ABOUT), _REQUIRED)
    if type(given["syntaxversion"]) is not int or given["syntaxversion"] != SYNTAX_VERSION:
        raise InvalidAction(f"syntaxversion must be {SYNTAX_VERSION}, not {_shown(given['syntaxversion'])}")
    valid_from, expires = (_time(key, given[key]) for key in ("validfrom", "expireafter"))
    if expires <= valid_from:
        raise InvalidAction("expireafter is not after validfrom: the window in which the action may run is empty")
    return Document(
        document_id(data),
        check_text("name", given["name"], InvalidAction, most=NAME),
        _target(given),
        _operations(given["operations"], modules),
        valid_from,
        expires,
        about["description"],
        about["threat"],
    )


def check_window(document: Document, now: float) -> None:
    """Refuse an action that no agent can run any more.

    :raises InvalidAction: if its window is over.
    """
    if document.expires <= now:
        ended = format_time(document.expires)
        raise InvalidAction(f"expireafter: the window ended at {ended}; it is {format_time(now)} now")


def format_time(seconds: float) -> str:
    """Seconds since the epoch as documents have them: ``2026-11-26T08:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in these bytes, with each key once and values that every store can hold.

    :raises InvalidAction: with a message that starts with ``what``, or names the part that is wrong.
    """
    if not data.strip():
        raise InvalidAction(f"{what} is empty, not JSON")
    try:
        given = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidAction(f"{what} is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidAction(f"{what} is not JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise InvalidAction(f"{what} is nested too deeply") from error
    except InvalidAction:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidAction(f"{what} has a number that cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise InvalidAction(f"{what} must be a JSON object, not {_kind(given)}")
    _check_values("", given)
    return given


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidAction(f"the key {quoted(key)} is there twice in one object")
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise InvalidAction(f"{text} is not a value of JSON")


def _check_values(where: str, value: Any, depth: int = 0) -> None:
    """Refuse what not every store or module can hold, wherever it is in the document."""
    if depth > limits.NESTING:
        raise InvalidAction(f"{where} is nested too deeply: at most {limits.NESTING} levels are allowed")
    if isinstance(value, str):
        check_text(where, value, InvalidAction, empty=True)
    elif isinstance(value, dict):
        for key, each in value.items():
            check_text(f"the key of {where or 'the object'}", key, InvalidAction)
            _check_values(_inside(where, key), each, depth + 1)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _check_values(f"{where}[{number}]", each, depth + 1)
    elif isinstance(value, float) and abs(value) > limits.FLOAT_MAX:
        raise InvalidAction(f"{where} is too large for a number with a fraction")
    elif isinstance(value, int) and not limits.INTEGER_MIN <= value <= limits.INTEGER_MAX:
        raise InvalidAction(f"{where} does not fit in 64 bits")


def _check_keys(where: str, given: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> None:
    known = list(known)
    for key in given:
        if key not in known:
            raise InvalidAction(f"{where or 'the document'} has no key {quoted(key)}; {options.nearest(key, known)}")
    for key in required:
        if key not in given:
            raise InvalidAction(f"{_inside(where, key)} is missing")


def _texts(where: str, given: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """A part of the document in which all is text, but for numbers of a revision."""
    if not isinstance(given, dict):
        raise InvalidAction(f"{where} must be an object, not {_kind(given)}")
    _check_keys(where, given, known, ())
    for key, value in given.items():
        if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InvalidAction(f"{where}.{key} must be a number, not {_kind(value)}")
        if key not in _NUMBERS and not isinstance(value, str):
            raise InvalidAction(f"{where}.{key} must be text, not {_kind(value)}")
    return given


def _target(given: Mapping[str, Any]) -> Target:
    named = [key for key in _TARGETS if key in given]
    if len(named) != 1:
        hint = "write the terms of a target, or a list of agents; every agent is agent=~."
        raise InvalidAction(f"target {'and agents are both there' if named else 'is missing'}: {hint}")
    if named == ["target"]:
        return targets.of_terms(check_text("target", given["target"], InvalidAction, empty=True))
    if not isinstance(given["agents"], list):
        raise InvalidAction(f"agents must be a list of names, not {_kind(given['agents'])}")
    return targets.of_agents(given["agents"])


def _operations(given: Any, modules: Mapping[str, ParameterCheck] | None) -> tuple[Operation, ...]:
    if not isinstance(given, list):
        raise InvalidAction(f"operations must be a list, not {_kind(given)}")
    if not 1 <= len(given) <= OPERATIONS:
        raise InvalidAction(f"operations has {len(given)} elements; 1 to {OPERATIONS} are allowed")
    return tuple(_operation(f"operations[{number}]", each, modules) for number, each in enumerate(given))


def _operation(where: str, given: Any, modules: Mapping[str, ParameterCheck] | None) -> Operation:
    if not isinstance(given, dict):
        raise InvalidAction(f"{where} must be an object, not {_kind(given)}")
    _check_keys(where, given, _OPERATION, _OPERATION)
    module, parameters = given["module"], given["parameters"]
    if not isinstance(module, str):
        raise InvalidAction(f"{where}.module must be text, not {_kind(module)}")
    if modules is not None and module not in modules:
        raise InvalidAction(f"{where}.module: there is no module {quoted(module)}; {options.nearest(module, modules)}")
    if not isinstance(parameters, dict):
        raise InvalidAction(f"{where}.parameters must be an object, not {_kind(parameters)}")
    try:
        if modules is not None:
            modules[module](parameters)
    except InvalidInput as error:
        raise InvalidAction(f"{where}.parameters of {module}: {error}") from error
    return Operation(module, parameters)


def _time(where: str, given: Any) -> float:
    hint = "write it in UTC, like 2026-11-26T08:00:00Z"
    if not isinstance(given, str):
        raise InvalidAction(f"{where} must be text, not {_kind(given)}; {hint}")
    try:
        if not _TIME.fullmatch(given):
            raise ValueError
        return datetime.fromisoformat(given).timestamp()
    except ValueError:
        raise InvalidAction(f"{where}: invalid time {quoted(given)}; {hint}") from None


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value)[:60]


def _kind(value: Any) -> str:
    """What JSON calls a value's type."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds[type(value)]
