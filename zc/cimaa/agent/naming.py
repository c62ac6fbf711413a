"""What an agent calls the faults that it makes, and text that every store takes.  Pure."""

from hashlib import blake2b

from .. import limits

#: What separates the name of a check from the name of one of its faults.
PART = "#"

#: With what the name of a fault starts that is not one agent's alone.
GLOBAL = "//"

_CUT = "..."


def fault_name(agent: str, file: str, section: str = "", part: str = "") -> str:
    """``//AGENT/FILE/SECTION#PART``, without what is empty.

    A name that is too long is cut, and made unique by a digest of the whole.
    """
    path = "/".join(filter(None, (agent, file, section.lstrip("/"))))
    return _fitting(clean(f"//{path}{PART if part else ''}{part}"))


def _fitting(name: str) -> str:
    if len(name.encode()) <= limits.FAULT_NAME:
        return name
    digest = blake2b(name.encode(), digest_size=8).hexdigest()
    return cut(name, limits.FAULT_NAME - len(digest)) + digest


def check_fault_name(agent: str, file: str, section: str, part: str = "") -> str:
    """The name of a fault that a check tells: :func:`fault_name`, or a global one.

    A global name starts with ``//``, as a section or as what a check calls a fault:
    it stands for itself, so that all agents which look at one thing give it one name.
    """
    if part.startswith(GLOBAL):
        return _fitting(clean(part))
    if section.startswith(GLOBAL):
        return _fitting(clean(f"{section}{PART if part else ''}{part}"))
    return fault_name(agent, file, section, part)


def clean(text: str) -> str:
    """The text with an escape in place of each NUL and each half of a surrogate pair, which no store takes."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def cut(text: str, most: int) -> str:
    """The text; if it has more than ``most`` bytes of UTF-8, its start and three dots, within so many."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - len(_CUT)].decode(errors="ignore") + _CUT


def message(text: str) -> str:
    """The text as a fault's message: clean, and cut at the limit."""
    return cut(clean(text), limits.MESSAGE)
