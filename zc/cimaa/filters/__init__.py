"""Filters: one small language for finding faults, agents and other things.  Pure.

A filter is a list of terms that must all hold: ``severity>=error agent=~^web age<1h timeout``.
It is parsed once, by :func:`parse` and the :class:`Keys` of a subject, and is then a function of an item::

    wanted = parse("severity>=error team!=shop", FAULTS)
    found = [fault for fault in faults if wanted(FaultItem(fault, now))]

``terms`` splits a text into terms, ``kinds`` compares values, ``language`` puts both together for a set of keys,
and ``subjects`` declares the keys of faults and agents.
"""

from .language import Filter, Key, Keys, parse
from .subjects import AGENTS, FAULTS, AgentItem, FaultItem, Narrowed, finds_agent, narrowed
from .terms import OPERATORS, Term, quote, split

__all__ = [
    "AGENTS",
    "FAULTS",
    "OPERATORS",
    "AgentItem",
    "FaultItem",
    "Filter",
    "Key",
    "Keys",
    "Narrowed",
    "Term",
    "finds_agent",
    "narrowed",
    "parse",
    "quote",
    "split",
]
