"""The settings of a section, and their types: declared once, and read, checked and documented from that.  Pure."""

import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import ConfigurationError
from .masking import MASK as MASK  # for those who show a setting
from .masking import mask_text, mask_url
from .text import closest
from .units import parse_duration, parse_size


@dataclass(frozen=True, slots=True)
class Type:
    """How a setting's text becomes a value: ``parse`` raises :exc:`ValueError` for invalid text.

    ``shown`` is the text as people may see it: a type whose texts can hold
    credentials masks them there, so that every setting of this type is safe.
    """

    name: str
    parse: Callable[[str], Any]
    shown: Callable[[str], str] = str


class Values(dict[str, Any]):
    """The value of every option of a section, by the option's name."""


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        raise ValueError(f"{text!r} is not a number of at least 0")
    return number


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (number := _integer(text)) < least:
            raise ValueError(f"{text!r} is less than {least}")
        return number

    return parse


def _port(text: str) -> int:
    if not 1 <= (number := _integer(text)) <= 65535:
        raise ValueError(f"{text!r} is not a port: ports are 1 to 65535")
    return number


def _timeout(text: str) -> int:
    if not (seconds := parse_duration(text)):
        raise ValueError(f"{text!r} is too short: write at least 1s")
    return seconds


def _url(text: str) -> str:
    """The URL, if it is one of which it is clear what is the password: masking it in messages relies on that."""
    wrong = "not a URL" if re.search(r"[\s\"'<>\\^`{|}\ud800-\udfff]", text) else _wrong_part(text)
    if wrong:
        raise ValueError(
            f"it is {wrong} (it is not shown, because it may contain a password): write it like https://host:443/path;"
            " special characters in a user name or a password are percent-encoded, a slash as %2F"
        )
    return text


def _wrong_part(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises an error if it is not a number
    except ValueError:
        return "a URL with an invalid port or address"
    if not (parts.scheme and parts.hostname):
        return "not a URL with a scheme and a host"
    return ""


def _words(text: str) -> list[str]:
    if not (words := shlex.split(text)):
        raise ValueError("the command is missing")
    return words


def _flag(text: str) -> bool:
    values = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false: write true, yes, on, false, no or off") from None


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a path")
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise ValueError(f"{text!r}: the home directory of ~ is unknown; write the absolute path") from None


TEXT = Type("text", str)
PATH = Type("path", _path)
INTEGER = Type("integer", _integer)
FLAG = Type("true or false", _flag)
#: A number of at least 0, which may have a fraction.
NUMBER = Type("number", _number)
#: An integer of at least 1, and one of at least 0.
COUNT = Type("count", _at_least(1))
RETRIES = Type("count", _at_least(0))
PORT = Type("port", _port)
DURATION = Type("duration", parse_duration)
#: A duration of at least one second.
TIMEOUT = Type("duration", _timeout)
SIZE = Type("size", parse_size)
URL = Type("URL", _url, mask_url)
#: A program and its arguments: words as a shell splits them.
COMMAND = Type("command", _words, mask_text)


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a section.

    ``default`` is the text that counts where none is given (``None``: the value
    is ``None`` then), or a function that finds it out.
    """

    name: str
    help: str
    type: Type = TEXT
    default: str | Callable[[], str] | None = None
    secret: bool = False

    def default_text(self) -> str | None:
        """The default as text."""
        return self.default() if callable(self.default) else self.default

    def shown(self, value: Any) -> Any:
        """The option's text, or its value, as people may see it: credentials are masked."""
        if self.secret and value:
            return MASK
        return self.type.shown(value) if isinstance(value, str) else value


def parse(section: str, options: Iterable[Option], given: Mapping[str, str]) -> Values:
    """The value of every option, by name, from the texts in ``given``.

    :raises ConfigurationError: for a key that no option has, and a value that its option cannot read.
    """
    declared = {option.name: option for option in options}
    check_keys(f"[{section}]", given, declared)
    return Values({name: value(section, option, given.get(name)) for name, option in declared.items()})


def value(section: str, option: Option, text: str | None, source: str = "") -> Any:
    """The option's value from its text, or its default if the text is ``None``; ``source`` is for the message."""
    if text is None and (text := option.default_text()) is None:
        return None
    try:
        return option.type.parse(text)
    except ValueError as error:
        reason = "cannot be read" if option.secret else mask_text(str(error))  # it quotes the text
        where = f" ({source})" if source else ""
        raise ConfigurationError(f"[{section}] {option.name}{where}: {reason}") from None


def check_keys(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first key that is not known.

    :raises ConfigurationError: naming the key, and the nearest known one.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ConfigurationError(f"{where} has no option {key!r}; {nearest(key, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the most similar known one, or all that are known."""
    known = list(known)
    near = closest(name, known)
    return f"did you mean {near}?" if near else f"available: {', '.join(known) or 'none'}"
