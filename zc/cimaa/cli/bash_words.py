"""Lines of bash: read up to the cursor, and text quoted so that it is one word.  Pure."""

import re
from typing import NamedTuple

from ..text import shell_quoted


class Line(NamedTuple):
    """A line of bash, up to the cursor."""

    #: The words as the command receives them, without expansions; the last is at the cursor.
    words: list[str]
    #: The quote that is open at the cursor, or the empty text.
    quote: str
    #: The position at which the text in that quote starts.
    inside: int


_PIECE = re.compile(
    r"""  (?P<blank> [ \t\n]+ )
        | ' (?P<single> [^']* ) (?P<single_end> '? )
        | " (?P<double> (?: [^\\"] | \\. )* ) (?P<double_end> "? ) (?: \\\Z )?
        | \\ (?P<escaped> . | \Z )
        | (?P<plain> [^ \t\n'"\\]+ ) """,
    re.VERBOSE | re.DOTALL,
)


def parse(line: str) -> Line:
    """Parse a line of bash, which may be incomplete."""
    words, quote, inside = [""], "", 0
    for piece in _PIECE.finditer(line):
        kind = piece.lastgroup or ""
        if kind == "blank":
            words.append("")
        elif kind == "single_end":
            words[-1] += piece["single"]
            quote, inside = ("" if piece["single_end"] else "'"), piece.start("single")
        elif kind == "double_end":
            words[-1] += re.sub(r'\\([\\"$`])', r"\1", piece["double"])
            quote, inside = ("" if piece["double_end"] else '"'), piece.start("double")
        else:
            words[-1] += piece[kind]
    return Line(words, quote, inside)


def quoted(text: str, quote: str) -> str:
    """The text, quoted for bash as literal text: within this open quote, or outside of quotes (``''``)."""
    if not quote:
        return re.sub(r"([^\w./:=@%+,^\x80-\U0010ffff-])", r"\\\1", text)
    within = shell_quoted(text)[1:-1]
    if quote == '"':  # where ! refers to the history, even after a backslash
        within = re.sub(r'([\\"$`])', r"\\\1", text).replace("!", "\"'!'\"")
    # bash takes a leading quote for the one that was typed, and closes the quote unless the last character is a quote.
    return quote * within.startswith(quote) + within + quote * within.endswith(quote)
