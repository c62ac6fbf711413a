"""The names of the faults that agents report, and messages within the limits of a store.  Pure."""

from . import limits
from .text import cut, hex_digest, storable

#: Separates the name of a check from the last part of a fault's name.
PART = "#"

#: The start of all names of faults; a check that uses it reports a global fault.
GLOBAL = "//"


def fault_name(agent: str, file: str, section: str = "", part: str = "") -> str:
    """``//AGENT/FILE/SECTION#PART``, without empty parts.

    A name that is too long is cut, and ends in a digest of the whole name.
    """
    path = "/".join(filter(None, (agent, file, section.lstrip("/"))))
    return _fitting(storable(f"//{path}{PART if part else ''}{part}"))


def _fitting(name: str) -> str:
    if len(name.encode()) <= limits.FAULT_NAME:
        return name
    digest = hex_digest(name, 8)
    return cut(name, limits.FAULT_NAME - len(digest)) + digest


def check_fault_name(agent: str, file: str, section: str, part: str = "") -> str:
    """The name of a fault that a check reports: :func:`fault_name`, or a global name.

    If the section or the part starts with ``//``, it is used as it is, so that all agents that
    check the same thing report it under the same name.
    """
    if part.startswith(GLOBAL):
        return _fitting(storable(part))
    if section.startswith(GLOBAL):
        return _fitting(storable(f"{section}{PART if part else ''}{part}"))
    return fault_name(agent, file, section, part)


def message(text: str) -> str:
    """The text as the message of a fault: with escapes for characters that stores reject, and cut at the limit."""
    return cut(storable(text), limits.MESSAGE)
