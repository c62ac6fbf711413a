"""What a filter is: terms about declared keys, as one function of an item."""

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..text import quoted
from . import kinds
from .kinds import Kind, Test
from .terms import Term, split

Item = TypeVar("Item")

#: What a key's ``read`` returns if the item has no such key.
MISSING: Any = object()

_NEGATED = {"!=": "=", "!~": "=~"}
# A key, and what other languages have as an operator.
_FOREIGN_OPERATOR = re.compile(r"([^~:≥≤≠]+)([~:≥≤≠]+)")
# A key as similar as this to a declared one is a typing error (a ratio of ``difflib``).  Longer ones are not examined.
_SIMILAR = 0.8
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Key(Generic[Item]):
    """A key that terms may have."""

    name: str
    kind: Kind
    #: The item's value, or :data:`MISSING`.
    read: Callable[[Item], Any]
    help: str
    #: The operator that most terms on it have.
    usual: str = "="
    #: The values that there are, if they are few.
    values: tuple[str, ...] = ()
    #: Other names of it.
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keys(Generic[Item]):
    """What the terms of a filter may be about."""

    keys: tuple[Key[Item], ...]
    #: The texts in which a word is searched for.
    words: Callable[[Item], tuple[str, ...]]
    #: Reads a key that is not declared; ``None`` if there are no others.
    further: Callable[[Item, str], Any] | None = None

    def named(self) -> dict[str, Key[Item]]:
        """The keys by name, the aliases included."""
        return {name: key for key in self.keys for name in (key.name, *key.aliases)}


@dataclass(frozen=True, slots=True)
class Condition(Generic[Item]):
    """A term that was understood."""

    term: Term
    #: The declared name of the key, or that of a further one; empty for a word.
    key: str
    further: bool
    #: The item's value: that of the key, or the texts in which a word is searched for.
    read: Callable[[Item], Any]
    #: True if the term holds for this value.
    test: Test


class Filter(Generic[Item]):
    """A function of an item: true if all terms hold."""

    def __init__(self, conditions: Iterable[Condition[Item]]) -> None:
        #: In the order in which they were written.
        self.conditions = tuple(conditions)
        # Regular expressions take the most time: they are asked last.
        cheapest_first = sorted(self.conditions, key=lambda each: each.term.op.endswith("~"))
        self._tests = [(condition.read, condition.test) for condition in cheapest_first]

    def __call__(self, item: Item) -> bool:
        """True if all terms hold for the item."""
        for read, test in self._tests:  # noqa: SIM110  # all() and a generator take twice the time
            if not test(read(item)):
                return False
        return True

    def on(self, key: str) -> list[Condition[Item]]:
        """The conditions on the declared key of this name."""
        return [condition for condition in self.conditions if condition.key == key and not condition.further]

    def admits(self, key: str, value: Any) -> bool:
        """True if all terms on this declared key hold for this value of it."""
        return all(condition.test(value) for condition in self.on(key))

    def first(self, key: str, *ops: str) -> Term | None:
        """The first term on this declared key that has one of these operators."""
        return next((each.term for each in self.on(key) if each.term.op in ops), None)

    def without(self, terms: Container[Term | None]) -> "Filter[Item]":
        """The filter without these terms."""
        return Filter(condition for condition in self.conditions if condition.term not in terms)

    def further(self) -> list[Term]:
        """The terms about keys that are not declared."""
        return [condition.term for condition in self.conditions if condition.further]


def parse(text: str, keys: Keys[Item]) -> Filter[Item]:
    """The filter that a text describes.

    :raises InvalidFilter: naming the term that is wrong, its position, and the nearest key for an unknown one.
    """
    named = keys.named()
    return Filter([_condition(term, keys, named) for term in split(text)])


def _condition(term: Term, keys: Keys[Item], named: dict[str, Key[Item]]) -> Condition[Item]:
    if not term.op:
        return _search(term, keys, named)
    further = _is_further(term, keys, named)
    key = _further(keys, term.key) if further else named[term.key]
    try:
        test = key.kind(_NEGATED.get(term.op, term.op), term.value)
    except ValueError as error:
        raise term.error(f"{key.name}: {error}") from None
    if term.op in _NEGATED:
        return Condition(term, key.name, further, key.read, lambda value: value is MISSING or not test(value))
    return Condition(term, key.name, further, key.read, lambda value: value is not MISSING and test(value))


def _search(term: Term, keys: Keys[Item], named: Container[str]) -> Condition[Item]:
    """The condition that a word is in one of the item's texts.

    :raises InvalidFilter: for the name of a key, which is what a shell leaves of ``age>1d``, and for one with an
        operator that there is not, as in ``severity:error``.
    """
    if term.key in named and not term.key_quoted:
        hint = "in a shell, put the whole term in single quotes; to search for the word, put it in double quotes"
        raise term.error(f"the key {term.key} has no operator and no value; {hint}")
    foreign = _FOREIGN_OPERATOR.match(term.key)
    if foreign and foreign[1] in named and not term.key_quoted:
        hint = "use =, !=, =~, !~, <, <=, > or >=; to search for the text, put it in double quotes"
        raise term.error(f"invalid operator {foreign[2]!r} after the key {foreign[1]}; {hint}")
    test = kinds.word("", term.key)
    return Condition(term, "", False, keys.words, lambda texts: any(map(test, texts)))


def _is_further(term: Term, keys: Keys[Item], named: dict[str, Key[Item]]) -> bool:
    """True for a key that is not declared.  In quotes, a key is a further one even if it is named like a declared one.

    :raises InvalidFilter: for one that there cannot be, or that is probably a typing error.
    """
    if term.key in named and not (term.key_quoted and keys.further):
        return False
    if keys.further is None:
        near = _nearest(term.key, named)
        hint = f"did you mean {near}?" if near else f"the keys are {', '.join(key.name for key in keys.keys)}"
        raise term.error(f"unknown key {quoted(term.key)}; {hint}")
    if not term.key_quoted and (near := _nearest(term.key, [key.name for key in keys.keys], _SIMILAR)):
        hint = f'an extra key with this name is written in quotes: "{term.key}"'
        raise term.error(f"unknown key {term.key!r}; did you mean {near}?  ({hint})")
    return True


def _further(keys: Keys[Item], name: str) -> Key[Item]:
    read = keys.further
    assert read is not None
    return Key(name, kinds.extra, lambda item: read(item, name), "")


def _nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known key that this one resembles, or abbreviates."""
    from difflib import get_close_matches

    folded, known = name.casefold(), list(known)
    if len(folded) > _LONGEST:
        return None
    longer = [one for one in known if len(folded) > 2 and one.startswith(folded)]
    return next(iter(longer or get_close_matches(folded, known, n=1, cutoff=cutoff)), None)
