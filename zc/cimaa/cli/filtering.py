"""Filters on the command line: how the arguments are read, what completes them, and which faults they find."""

import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..db import DB
from ..errors import HistoryIncomplete, InvalidFilter
from ..text import closest, quoted, shell_quoted
from ..types import Agent, FoundFault, Heartbeat
from . import fault_list
from .fault_list import Listed
from .output import message
from .params import complete_agents

if TYPE_CHECKING:  # a command without a filter does not import them
    from ..filters import AgentItem, FaultItem, Filter, Keys

_Item = TypeVar("_Item")

#: What the help of a command with filters says of operators, and of shells.
OPERATORS = """\b
  =  !=        the same, or not
  =~ !~        matches a regular expression (RE2) anywhere, or does not
  < <= > >=    less, more"""
SHELLS = """Put a term with <, >, !, blanks or quotes in single quotes, or the shell acts on them; and, within these, a
value with blanks in double quotes."""


def fault_filter(
    arguments: Sequence[str], *, exit_code: bool = False, past: bool = False
) -> "Filter[FaultItem] | None":
    """The filter of faults in these arguments, if there are any.

    :raises InvalidFilter: naming the term that is wrong; with ``exit_code`` also for an extra key that is not in
        quotes, as a typing error in it would find no faults, and so look as if all were well; for ``past`` faults
        for any extra key.
    """
    if not arguments:
        return None
    from ..filters import FAULTS

    wanted = read(arguments, FAULTS)
    for term in wanted.further():
        if past:
            raise term.error("the history has no extra keys of faults, so --at excludes a filter by them")
        if exit_code and not term.key_quoted:
            shown = shell_quoted(f'"{term.key}"{term.text.removeprefix(term.key)}')
            raise term.error(
                f"with --exit-code, put a key that only some faults have in quotes, so that a typing error in a key "
                f"does not go unnoticed: {shown}"
            )
    return wanted


def agent_filter(arguments: Sequence[str]) -> "Filter[AgentItem] | None":
    """The filter of agents in these arguments, if there are any.

    :raises InvalidFilter: naming the term that is wrong.
    """
    if not arguments:
        return None
    from ..filters import AGENTS

    return read(arguments, AGENTS)


def read(arguments: Sequence[str], keys: "Keys[_Item]") -> "Filter[_Item]":
    """The filter in these arguments, which are joined by blanks.

    :raises InvalidFilter: naming the term that is wrong; also for a word that is probably a part of a value whose
        quotes the shell removed.
    """
    from ..filters import parse

    wanted = parse(" ".join(arguments), keys)
    for argument in arguments:
        _refuse_split_value(argument)
    return wanted


def _refuse_split_value(argument: str) -> None:
    """Refuse ``message=disk full``, which a shell makes of ``message="disk full"``."""
    from ..filters import quote, split

    comparison = None
    for term in split(argument):
        if term.op:
            comparison = term
        elif comparison and not term.key_quoted:
            meant = f"{comparison.key}{comparison.op}{quote(f'{comparison.value} {term.key}')}"
            raise InvalidFilter(
                f"filter {quoted(argument)}: if {quoted(term.key)} belongs to the value, write '{meant}'; "
                "to search for it, give it as a separate argument"
            )


def find(
    db: DB,
    wanted: "Filter[FaultItem] | None",
    agent: str | None,
    severity: int | None,
    pattern: str | None,
    limit: int | None,
    at: int | None = None,
) -> list[Listed]:
    """The faults that the arguments of ``find_faults`` and the filter find, worst first: now, or ``at`` a time.

    ``limit`` counts only without a filter.
    """
    find_faults = db.find_faults if at is None else partial(_faults_at, db, wanted, at)
    if wanted is None:
        return fault_list.listed(db, find_faults(agent, severity, pattern, limit), at)
    from ..filters import FaultItem, Narrowed, narrowed

    arguments, rest = narrowed(wanted, Narrowed(agent, severity, pattern))
    found = find_faults(*arguments)
    if at is None:
        _warn_of_unknown_keys(db, wanted, found)
    now = time.time() if at is None else at
    return [each for each in fault_list.listed(db, found, at) if rest(FaultItem(each.fault, now, bool(each.squelches)))]


def _faults_at(
    db: DB,
    wanted: "Filter[FaultItem] | None",
    at: int,
    agent: str | None,
    severity: int | None,
    pattern: str | None,
    limit: int | None = None,
) -> list[FoundFault]:
    """What ``faults_at`` returns.

    :raises HistoryIncomplete: if the history of an agent is incomplete that the filter does not exclude.
    """
    try:
        return db.faults_at(at, agent, severity, pattern, limit)
    except HistoryIncomplete as error:
        excluded = [] if wanted is None else [name for name in error.agents if not wanted.admits("agent", name)]
        if not excluded:
            raise
        return db.faults_at(at, agent, severity, pattern, limit, without=excluded)


def find_agents(db: DB, wanted: "Filter[AgentItem] | None", candidates: Sequence[Heartbeat]) -> Sequence[Heartbeat]:
    """Those of the agents that the filter finds; their instances are looked up where they are not given."""
    if wanted is None:
        return candidates
    from ..filters import finds_agent

    rows: dict[str, Agent] = {}
    if any("instances" not in agent for agent in candidates):
        rows = {row["name"]: row for row in db.get_agents()}
    now = time.time()
    return [agent for agent in candidates if finds_agent(wanted, rows.get(agent["name"], agent), now)]


def _warn_of_unknown_keys(db: DB, wanted: "Filter[FaultItem]", found: Sequence[FoundFault]) -> None:
    """Warn about extra keys that no current fault has: they may be typing errors."""
    unknown = {term.key for term in wanted.further() if not any(term.key in fault for fault in found)}
    if not unknown:
        return
    known = {key for fault in db.find_faults() for key in fault}
    for key in sorted(unknown - known) if known else ():
        near = closest(key, known)
        message(f"Warning: no current fault has the key {quoted(key)}" + (f"; did you mean {near}?" if near else "."))


def complete_fault_terms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The keys of a filter of faults, and the values of some."""
    from ..filters import FAULTS

    return list(_completions(ctx, param, incomplete, FAULTS))


def complete_agent_terms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """The keys of a filter of agents, and the values of some."""
    from ..filters import AGENTS

    return list(_completions(ctx, param, incomplete, AGENTS))


def _completions(ctx: click.Context, param: click.Parameter, incomplete: str, keys: "Keys[Any]") -> Iterator[Any]:
    """Completions of the last term of an argument."""
    from click.shell_completion import CompletionItem

    from ..filters import OPERATORS, quote

    typed = incomplete[incomplete.rfind(" ") + 1 :]
    before = incomplete.removesuffix(typed)
    match = re.match(rf"([\w.-]+)({'|'.join(OPERATORS)})", typed)
    if match is None:
        for key in keys.keys:
            if key.name.startswith(typed):
                yield CompletionItem(f"{before}{key.name}{key.usual}", type="part", help=key.help, argument=True)
    elif (named := keys.named().get(match[1])) and "~" not in match[2]:
        start = typed[match.end() :]
        agents = [item.value for item in complete_agents(ctx, param, start)] if named.name == "agent" else ()
        for value in (*agents, *named.values):
            if value.startswith(start):
                yield CompletionItem(f"{before}{match[0]}{quote(value)}", argument=True)
