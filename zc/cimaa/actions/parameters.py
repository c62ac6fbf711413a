"""The parameters of modules, and their types: declared once, and read, checked and documented from that.  Pure.

Parameters are JSON: an object with a value for each parameter that is given.  A person may
also write them as words, ``path=/etc depth=3``.
"""

import fnmatch
import ipaddress
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import re2

from ..errors import InvalidParameters, InvalidSquelch
from ..limits import check_text
from ..options import nearest
from ..squelches import compiled
from ..text import quoted
from ..units import parse_duration, parse_size

#: The most values of a list, and bytes of one of its texts; of a shell pattern less, as each star takes time.
VALUES = 64
TEXT = 4096
PATTERN = 512

#: True for a value that was asked for.
Test: TypeAlias = Callable[[Any], object]

_COMPARED = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_COMPARISON = re.compile(r"\s*(<=|>=|<|>|=)\s*(\S+)\s*")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# Memory (bytes) of a regular expression that searches files.
_CONTENT_MEMORY = 8 * 1024 * 1024


class ParameterKind(NamedTuple):
    """A type of parameters."""

    #: As lists show it.
    name: str
    #: Reads the value from JSON; raises :exc:`ValueError` for an invalid one.
    read: Callable[[Any], Any]
    #: Reads the JSON from a word.
    word: Callable[[str], Any] = str


class Parameter(NamedTuple):
    """One parameter of a module."""

    name: str
    kind: ParameterKind
    help: str
    #: The value if it is not given.
    default: Any = None
    required: bool = False


class ParameterValues(dict[str, Any]):
    """The value of every parameter of a module, by the parameter's name."""


def read(module: str, parameters: Sequence[Parameter], given: object) -> ParameterValues:
    """The value of every parameter.

    :raises InvalidParameters: naming the parameter that is unknown, missing or invalid.
    """
    if not isinstance(given, Mapping):
        raise InvalidParameters(f"module {module}: the parameters must be a JSON object, not {_json_type(given)}")
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            shown = quoted(name) if isinstance(name, str) else _json_type(name)
            hint = nearest(name if isinstance(name, str) else "", known)
            raise InvalidParameters(f"module {module} has no parameter {shown}; {hint}")
    return ParameterValues({name: _value(module, parameter, given) for name, parameter in known.items()})


def from_words(module: str, parameters: Sequence[Parameter], words: Iterable[str]) -> dict[str, Any]:
    """The parameters in words like ``path=/etc``, as JSON; a parameter that is repeated has a list of values.

    :raises InvalidParameters: naming the word, if it is not of this form, or the number in it is invalid.
    """
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    found: dict[str, list[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InvalidParameters(f"module {module}: {quoted(word)} is not a parameter: write NAME=VALUE")
        try:
            found.setdefault(name, []).append(kinds[name].word(text) if name in kinds else text)
        except ValueError as error:
            raise InvalidParameters(f"module {module}: parameter {name!r}: {error}") from None
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _value(module: str, parameter: Parameter, given: Mapping[str, Any]) -> Any:
    if parameter.name not in given:
        if parameter.required:
            raise InvalidParameters(f"module {module}: parameter {parameter.name!r} is missing: {parameter.help}")
        return parameter.default
    try:
        return parameter.kind.read(given[parameter.name])
    except ValueError as error:
        raise InvalidParameters(f"module {module}: parameter {parameter.name!r}: {error}") from None


def _json_type(value: object) -> str:
    """What JSON calls a value of this type."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _text(value: object, most: int = TEXT) -> str:
    if not isinstance(value, str):
        raise ValueError(f"it must be text, not {_json_type(value)}")
    return check_text("the text", value, InvalidParameters, most=most)


def _list(read_one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """One value, or a list of them."""

    def read_all(value: object) -> tuple[Any, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise ValueError("the list is empty")
        if len(values) > VALUES:
            raise ValueError(f"the list has {len(values)} values; at most {VALUES} are allowed")
        return tuple(map(read_one, values))

    return read_all


def _path(value: object) -> str:
    path = _text(value)
    if not path.startswith("/"):
        raise ValueError(f"{quoted(path)} is not an absolute path: it must start with /")
    return path


def _pattern(value: object) -> Test:
    """Matches a whole name."""
    return re.compile(fnmatch.translate(_text(value, PATTERN))).match


def _regex(value: object) -> Test:
    return _compiled(_text(value)).search  # type: ignore[no-any-return]  # re2 has no types


def _content_regex(value: object) -> Test:
    """Searches bytes, line by line."""
    text = _text(value)
    _compiled(text)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _CONTENT_MEMORY
    options.never_nl = True
    try:
        return re2.compile(b"(?m)" + text.encode(), options).search  # type: ignore[no-any-return]  # see above
    except re2.error:
        raise ValueError(f"{quoted(text)} is too large") from None


def _compiled(text: str) -> Any:
    try:
        return compiled(text)
    except InvalidSquelch as error:
        raise ValueError(str(error)) from None


def _compared(read_number: Callable[[str], int], example: str) -> Callable[[Any], Test]:
    def read_one(value: object) -> Test:
        text = _text(value)
        if not (match := _COMPARISON.fullmatch(text)):
            raise ValueError(f"{quoted(text)} is not a comparison: write it like {example!r}")
        compare, limit = _COMPARED[match[1]], read_number(match[2])
        return lambda number: compare(number, limit)

    return read_one


def _sha256(value: object) -> str:
    text = _text(value)
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a SHA-256: it must have 64 hexadecimal digits")
    return text.lower()


def _network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    text = _text(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an address or a network: write it like 192.0.2.0/24") from None


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def read_one(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"it must be an integer, not {_json_type(value)}")
        if not least <= value <= most:
            raise ValueError(f"it must be from {least} to {most}")
        return value

    return read_one


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"it must be true or false, not {_json_type(value)}")
    return value


def _integer_word(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"{quoted(text)} is not an integer")
    return int(text)


def _flag_word(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{quoted(text)} is neither true nor false")
    return text == "true"


def choice(*allowed: str) -> ParameterKind:
    """One of these texts."""

    def read_one(value: object) -> str:
        if (text := _text(value)) not in allowed:
            raise ValueError(f"{quoted(text)} is not one of {', '.join(allowed)}")
        return text

    return ParameterKind("|".join(allowed), read_one)


def integer(least: int, most: int) -> ParameterKind:
    """An integer in this range."""
    return ParameterKind("integer", _integer(least, most), _integer_word)


FLAG = ParameterKind("true or false", _flag, _flag_word)
ONE_TEXT = ParameterKind("text", _text)
#: The kinds below take one value, or a list of them.
TEXTS = ParameterKind("texts", _list(_text))
PATHS = ParameterKind("absolute paths", _list(_path))
#: As ``find -name`` takes them.
PATTERNS = ParameterKind("shell patterns", _list(_pattern))
#: RE2, which may match anywhere in a text.
REGEXES = ParameterKind("regular expressions", _list(_regex))
#: RE2, which may match anywhere in a line.
CONTENTS = ParameterKind("regular expressions", _list(_content_regex))
SIZES = ParameterKind("sizes, as '>1MiB'", _list(_compared(parse_size, ">1MiB")))
AGES = ParameterKind("ages, as '<7d'", _list(_compared(parse_duration, "<7d")))
DIGESTS = ParameterKind("SHA-256 digests", _list(_sha256))
PORTS = ParameterKind("ports", _list(_integer(1, 65535)), _integer_word)
NETWORKS = ParameterKind("addresses or networks", _list(_network))
