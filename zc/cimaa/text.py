"""Text in messages, on terminals and in stores: quoting, escaping, cutting, digests.  Pure."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from urllib.parse import quote

_CUT = "..."
# The most bytes of a text that names a file, before the digest of one that is longer.
_FILE_NAME = 200

# Control characters, line separators, characters that change the direction of writing, and halves of surrogate pairs.
_STEERING = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: str, also: str = "") -> str:
    """The text on one line, with an escape for each character that can control a terminal, or that is in ``also``."""
    escaped = text if text.isprintable() else _STEERING.sub(_escape, text)
    for character in also:
        escaped = escaped.replace(character, f"\\x{ord(character):02x}")
    return escaped


def json_safe(encoded: str) -> str:
    """One line of JSON, with JSON's own escapes for the characters that can control a terminal: the same value."""
    return encoded if encoded.isprintable() else _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def quoted(text: str, most: int = 60) -> str:
    """The text in quotes for a message: escaped, and cut to ``most`` characters."""
    return repr(text if len(text) <= most else text[: most - len(_CUT)] + _CUT)


def shell_quoted(text: str) -> str:
    """The text in single quotes, as a POSIX shell takes it for just that."""
    return "'" + text.replace("'", "'\\''") + "'"


def storable(text: str) -> str:
    """The text with escapes for what no store takes: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def cut(text: str, most: int) -> str:
    """The text, cut to at most ``most`` bytes of UTF-8; three dots at the end show a cut."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - len(_CUT)].decode(errors="ignore") + _CUT


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that starts with ``name``, as a full host name, or a similar one."""
    from difflib import get_close_matches  # rarely needed, and commands should start quickly

    known = sorted(known, key=len)
    start = name.casefold()
    longer = (one for one in known if start and one.casefold().startswith(start))
    return next(longer, None) or next(iter(get_close_matches(name, known, n=1)), None)


def hex_digest(data: str | bytes, size: int) -> str:
    """The digest of a text or of bytes: ``size`` bytes, in ``2 * size`` hexadecimal digits.

    Stores, names of faults and the agents' schedules have such digests in them, so they must never change.
    """
    return blake2b(data.encode() if isinstance(data, str) else data, digest_size=size).hexdigest()


def file_name(text: str) -> str:
    """A name for the file or directory about something with this name, such as an agent: at most 217 bytes.

    It is the text itself, with escapes for the characters that not all programs accept in names, and without a leading
    dot.  Different texts have different names.
    """
    name = quote(text.encode(errors="surrogateescape"), safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    return name if len(name) <= _FILE_NAME else f"{name[:_FILE_NAME]}-{hex_digest(name, 8)}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
