"""The sizes that every backend keeps, and the check of a text against them.

They are the smallest of what the backends' stores can hold, so that a report
that one store takes is taken by all.  Sizes are bytes of UTF-8.
"""

from .errors import InvalidInput
from .text import quoted

AGENT = 255
FAULT_NAME = 1024
MESSAGE = 32 * 1024
EXTRA_KEY = 1024
#: One fault, encoded: DynamoDB's items end at 400 KiB, and some values take half as much again there.
FAULT = 256 * 1024
#: One report, encoded.
REPORT = 4 * 1024 * 1024
FAULTS = 10_000
#: Lists and objects within an extra value; DynamoDB nests no deeper than 32.
NESTING = 20
REGEX = 1024
REASON = 4 * 1024
USER = 4 * 1024

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
#: Magnitudes of floats other than 0 (DynamoDB's numbers set both ends).
FLOAT_MIN, FLOAT_MAX = 1e-130, 1e125


def check_text(
    what: str, text: object, error: type[InvalidInput], *, most: int | None = None, empty: bool = False
) -> str:
    """The text itself, if it is one that every store keeps; else ``error``, naming ``what``.

    ``most`` bounds its size in bytes of UTF-8.
    """
    if not isinstance(text, str):
        raise error(f"{what} must be text, not {type(text).__name__}")
    if not (text or empty):
        raise error(f"{what} is empty")
    if "\0" in text:
        raise error(f"{what} {quoted(text)} holds a NUL character, which not every store can keep")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise error(f"{what} {quoted(text)} holds half of a surrogate pair, which is not text") from None
    if most is not None and size > most:
        raise error(f"{what} {quoted(text)} has {size} bytes; at most {most} are allowed")
    return text


def is_plain(text: object, most: int) -> bool:
    """True if a glance shows that :func:`check_text` would pass: ASCII, not empty, no NUL, no longer than that.

    It spares the common case the making of a message that nobody reads.
    """
    return isinstance(text, str) and text.isascii() and 0 < len(text) <= most and "\0" not in text
