"""The limits of every backend, and the validation of text.

Each is the smallest limit of any backend, so that all backends accept the same
reports.  Sizes are bytes of UTF-8.
"""

from .errors import InvalidInput
from .text import quoted

AGENT = 255
FAULT_NAME = 1024
MESSAGE = 32 * 1024
EXTRA_KEY = 1024
#: One fault, encoded: a DynamoDB item has at most 400 KiB, in which some values need half as much again.
FAULT = 256 * 1024
#: One report, encoded.
REPORT = 4 * 1024 * 1024
FAULTS = 10_000
#: Levels of lists and objects in an extra value; DynamoDB allows 32.
NESTING = 20
REGEX = 1024
REASON = 4 * 1024
USER = 4 * 1024
#: The key of an entry, and its value, encoded as JSON.
ENTRY_KEY = 255
ENTRY_VALUE = 256 * 1024
LEASE_HOLDER = 255
#: The state of a lease, encoded as JSON: the rest of the value is for the longest holder, and the numbers.
LEASE_STATE = ENTRY_VALUE - 2 * 1024
#: The longest lease (seconds).
LEASE = 24 * 60 * 60
#: The longest time (seconds) until the next report: ten years.
WITHIN = 10 * 365 * 24 * 60 * 60

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
#: Magnitudes of floats other than 0 (both are limits of DynamoDB's numbers).
FLOAT_MIN, FLOAT_MAX = 1e-130, 1e125


def check_text(
    what: str, text: object, error: type[InvalidInput], *, most: int | None = None, empty: bool = False
) -> str:
    """The text, if every store can hold it; else raise ``error``, whose message begins with ``what``.

    ``most`` limits its size in bytes of UTF-8.
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
    """True if a cheap test shows that :func:`check_text` accepts it: ASCII, not empty, without NUL, not too long.

    It spares the common case the formatting of a message that is not needed.
    """
    return isinstance(text, str) and text.isascii() and 0 < len(text) <= most and "\0" not in text
