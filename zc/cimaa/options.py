"""What a setting of a section is: declared once, read, checked and explained everywhere from that.  Pure."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .units import parse_duration, parse_size

#: What stands where a secret would.
MASK = "********"


@dataclass(frozen=True, slots=True)
class Type:
    """How a setting's text becomes a value: ``parse`` raises :exc:`ValueError` for text that it cannot read."""

    name: str
    parse: Callable[[str], Any]


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _flag(text: str) -> bool:
    values = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no path")
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise ValueError(f"{text!r}: whose home ~ stands for is not known; write the path without it") from None


TEXT = Type("text", str)
PATH = Type("path", _path)
INTEGER = Type("integer", _integer)
FLAG = Type("true or false", _flag)
DURATION = Type("duration", parse_duration)
SIZE = Type("size", parse_size)


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


def parse(section: str, options: Iterable[Option], given: Mapping[str, str]) -> dict[str, Any]:
    """The value of every option, by name, from the texts in ``given``.

    :raises ConfigurationError: for a key that no option has, and a value that its option cannot read.
    """
    declared = {option.name: option for option in options}
    check_keys(f"[{section}]", given, declared)
    return {name: value(section, option, given.get(name)) for name, option in declared.items()}


def value(section: str, option: Option, text: str | None, source: str = "") -> Any:
    """The option's value from its text, or its default if the text is ``None``; ``source`` is for the message."""
    if text is None and (text := option.default_text()) is None:
        return None
    try:
        return option.type.parse(text)
    except ValueError as error:
        reason = "cannot be read" if option.secret else str(error)
        where = f" ({source})" if source else ""
        raise ConfigurationError(f"[{section}] {option.name}{where}: {reason}") from None


def check_keys(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first key that nobody knows, and name the nearest one that somebody does.

    :raises ConfigurationError: naming both.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ConfigurationError(f"{where} has no option {key!r}; {nearest(key, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """What to tell somebody who wrote a name that is not among the known ones."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there is: {', '.join(known) or 'none'}"
