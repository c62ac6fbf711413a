"""The grammar of filters: a text, split into terms.  It does not depend on what keys and values mean.

A term is a comparison, ``KEY OP VALUE`` without blanks, or a word to search for.
Keys, values and words that hold blanks or operators are written in single or
double quotes; within them, two quotes mean one.  A quote that is not the
first character is a character like any other, as in ``message=~can't``.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from ..errors import InvalidFilter, InvalidInput
from ..limits import check_text
from ..text import quoted

#: All operators, those first that begin with another one.
OPERATORS = ("=~", "!=", "!~", "<=", ">=", "=", "<", ">")

_QUOTED = r""""(?:[^"]|"")*+"|'(?:[^']|'')*+\'"""
# One term, which may be invalid.  Possessive, so that it takes linear time.
_TERM = re.compile(
    rf"""
    (?P<key> {_QUOTED} | (?: [^\s=<>!] | !(?![=~]) )*+ )
    (?: (?P<op> {"|".join(OPERATORS)} ) (?P<value> {_QUOTED} | \S*+ ) )?+
    (?P<rest> \S*+ )
    """,
    re.VERBOSE,
)
_BLANKS = re.compile(r"\s*+")
# What may be written without quotes: a key, and the first character of a value.
_KEY = re.compile(r"[\w.-]++")
_NO_VALUE = tuple("=<>!~")
_CONNECTIVES = {"and", "or", "not", "&&", "||", "&", "|", "!"}


class Term(NamedTuple):
    """One term of a filter."""

    #: As it was written.
    text: str
    #: Its place among the terms of the filter, and that of its first character in the text, both from 1.
    number: int
    position: int
    #: The key; the text to search for if there is no operator.
    key: str
    key_quoted: bool = False
    #: One of ``= != =~ !~ < <= > >=``, or empty.
    op: str = ""
    value: str = ""

    def error(self, reason: str) -> InvalidFilter:
        """The error that this term is wrong for this reason."""
        return InvalidFilter(f"filter term {self.number}, {quoted(self.text)} at character {self.position}: {reason}")


def split(text: str) -> list[Term]:
    """The terms of a filter.

    :raises InvalidFilter: naming the first term that breaks a rule, and its position.
    """
    found: list[Term] = []
    position = _end(_BLANKS, text, 0)
    while position < len(text):
        match = _TERM.match(text, position)
        assert match  # any text that is not blank starts with a term
        found.append(_term(match, len(found) + 1))
        position = _end(_BLANKS, text, match.end())
    return found


def quote(text: str) -> str:
    """The text as the value of a term, in quotes where it needs them."""
    plain = text and not text.startswith(('"', "'", *_NO_VALUE)) and not re.search(r"\s", text)
    return text if plain else '"' + text.replace('"', '""') + '"'


def _term(match: re.Match[str], number: int) -> Term:
    term = Term(match[0], number, match.start() + 1, "")
    try:
        check_text("its text", match[0], InvalidInput)
    except InvalidInput as error:
        raise term.error(str(error)) from None
    key, key_quoted = _unquoted(match["key"], term.error)
    value, value_quoted = _unquoted(match["value"] or "", term.error)
    if match["rest"]:
        raise term.error("there is text after the closing quote; two quotes within quotes mean one")
    read = term._replace(key=key, key_quoted=key_quoted, op=match["op"] or "", value=value)
    if reason := _mistake(read, value_quoted):
        raise term.error(reason)
    return read


def _unquoted(text: str, error: Callable[[str], InvalidFilter]) -> tuple[str, bool]:
    """The text without its quotes, and whether it had any."""
    if not text.startswith(('"', "'")):
        return text, False
    if len(text) == 1 or text[-1] != text[0] or not re.fullmatch(_QUOTED, text):
        raise error(f"the quote {text[0]} is not closed")
    return text[1:-1].replace(text[0] * 2, text[0]), True


def _mistake(term: Term, value_quoted: bool) -> str | None:
    """What is wrong with the term, if anything is."""
    if not term.op:
        return _mistaken_word(term)
    if not term.key:
        return "there is no key; write KEY OPERATOR VALUE without blanks, or put a text to search for in quotes"
    if not term.key_quoted and not _KEY.fullmatch(term.key):
        return f"invalid key {quoted(term.key)}; put it in quotes if it is meant"
    if not term.value and not value_quoted:
        return (
            f'there is no value; write KEY OPERATOR VALUE without blanks, and {term.key}{term.op}"" for an empty text'
        )
    if term.value.startswith(_NO_VALUE) and not value_quoted:
        return f"invalid operator {quoted(term.op + term.value[0])}; put the value in quotes if it is meant"
    return None


def _mistaken_word(term: Term) -> str | None:
    if term.key_quoted:
        return None if term.key else "there is no text to search for"
    if term.key.casefold() in _CONNECTIVES:
        return "terms must all hold, and nothing connects them; put the word in quotes to search for it"
    if term.key.startswith(("!", "~")):
        return f"a word cannot be negated; exclude it by KEY!~{quote(term.key[1:])}, or put it in quotes"
    return None


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
