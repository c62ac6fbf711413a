"""What an agent calls the faults that it makes, and how their text is made to fit.  Pure."""

from . import limits
from .text import cut, hex_digest, storable

#: What separates the name of a check from the name of one of its faults.
PART = "#"

#: With what the name of a fault starts that is not one agent's alone.
GLOBAL = "//"


def fault_name(agent: str, file: str, section: str = "", part: str = "") -> str:
    """``//AGENT/FILE/SECTION#PART``, without what is empty.

    A name that is too long is cut, and made unique by a digest of the whole.
    """
    path = "/".join(filter(None, (agent, file, section.lstrip("/"))))
    return _fitting(storable(f"//{path}{PART if part else ''}{part}"))


def _fitting(name: str) -> str:
    if len(name.encode()) <= limits.FAULT_NAME:
        return name
    digest = hex_digest(name, 8)
    return cut(name, limits.FAULT_NAME - len(digest)) + digest


def check_fault_name(agent: str, file: str, section: str, part: str = "") -> str:
    """The name of a fault that a check tells: :func:`fault_name`, or a global one.

    A global name starts with ``//``, as a section or as what a check calls a fault:
    it stands for itself, so that all agents which look at one thing give it one name.
    """
    if part.startswith(GLOBAL):
        return _fitting(storable(part))
    if section.startswith(GLOBAL):
        return _fitting(storable(f"{section}{PART if part else ''}{part}"))
    return fault_name(agent, file, section, part)


def message(text: str) -> str:
    """The text as a fault's message: with escapes for what no store takes, and cut at the limit."""
    return cut(storable(text), limits.MESSAGE)
