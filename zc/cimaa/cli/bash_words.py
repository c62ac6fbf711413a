"""Lines of bash: read up to the cursor, and text quoted so that it is one word.  Pure."""

import re
from typing import NamedTuple

from ..text import shell_quoted


class Line(NamedTuple):
    """A line of bash up to the cursor."""

    #: The words as the command would get them, nothing expanded; the last is the one at the cursor.
    words: list[str]
    #: The quote that is open at the cursor, if any.
    quote: str
    #: Where the text in that quote starts.
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
    """Read a line of bash that may end anywhere."""
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
    """The text, quoted for bash so that it stands for itself, within this open quote, or within none (``''``)."""
    if not quote:
        return re.sub(r"([^\w./:=@%+,^\x80-\U0010ffff-])", r"\\\1", text)
    within = shell_quoted(text)[1:-1]
    if quote == '"':  # where ! refers to the history, with a backslash too
        within = re.sub(r'([\\"$`])', r"\\\1", text).replace("!", "\"'!'\"")
    # bash takes a quote at the start for the one that was typed, and closes the quote unless the last character is one.
    return quote * within.startswith(quote) + within + quote * within.endswith(quote)
