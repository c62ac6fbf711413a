"""Tags: words by which an agent's own configuration describes its host, as in ``tags = db eu``.  Pure."""

import re

from .text import quoted

#: The most tags of an agent, and the most bytes of all of them together.
MOST, BYTES = 16, 128

#: What a tag may consist of, as in a bracket expression of regular expressions in Python and PostgreSQL.
CHARACTERS = "A-Za-z0-9_.:/@+-"

_TAG = re.compile(f"[{CHARACTERS}]+")


def parse(text: str) -> tuple[str, ...]:
    """The tags in a text, which are separated by blanks, sorted.

    :raises ValueError: naming the tag that is invalid or there twice, or the limit that is exceeded.
    """
    tags = text.split()
    for number, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            raise ValueError(f"invalid tag {quoted(tag)}: tags are letters, digits and _ . : / @ + -")
        if tag in tags[:number]:
            raise ValueError(f"the tag {quoted(tag)} is there twice")
    if len(tags) > MOST:
        raise ValueError(f"there are {len(tags)} tags; at most {MOST} are allowed")
    if (size := sum(map(len, tags))) > BYTES:
        raise ValueError(f"the tags have {size} bytes together; at most {BYTES} are allowed")
    return tuple(sorted(tags))
