"""Which agents an action is for: terms of a filter that must all hold, or a list of agents.  Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..agents import check_name
from ..errors import InvalidAction, InvalidAgent, InvalidFilter
from ..filters import AGENTS, AgentItem, Filter, Keys, parse

# What an agent knows of itself for certain: its own pid, and how long it was silent, mean nothing to it.
_FACTS = ("agent", "host", "os", "version", "tag")

#: The keys of a target.
TARGETS: Keys[AgentItem] = Keys(
    tuple(key for key in AGENTS.keys if key.name in _FACTS),
    words=AGENTS.words,
)


class Target(NamedTuple):
    """Whom an action is for."""

    #: As the document has it: terms, or names of agents.
    text: str
    agents: tuple[str, ...]
    #: True for an agent, by one of its instances.
    includes: Callable[[AgentItem], bool]


def facts(agent: str, host: str, os: str, version: str, tags: Iterable[str] = ()) -> AgentItem:
    """What a target is compared with: what an agent knows of itself."""
    return AgentItem(agent, 0, {"host": host, "os": os, "version": version, "tags": tuple(tags)})


def of_terms(text: str) -> Target:
    """The target that terms describe; every agent is ``agent=~.``.

    :raises InvalidAction: naming the term that is wrong.
    """
    try:
        wanted = parse(text, TARGETS)
    except InvalidFilter as error:
        raise InvalidAction(f"target: {error}") from error
    _check_terms(wanted)
    return Target(text, (), wanted)


def of_agents(names: Iterable[Any]) -> Target:
    """The target that consists of these agents.

    :raises InvalidAction: for no agents, and naming the one that is invalid or there twice.
    """
    known: set[str] = set()
    for number, name in enumerate(names, 1):
        try:
            check_name(name)
        except InvalidAgent as error:
            raise InvalidAction(f"agents: number {number}: {error}") from error
        if name in known:
            raise InvalidAction(f"agents: {name!r} is there twice")
        known.add(name)
    if not known:
        raise InvalidAction("agents: the list is empty, so that the action would reach no agent")
    return Target("", tuple(sorted(known)), lambda item: item.name in known)


def reached(target: Target, agents: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of those agents that the target includes, as far as the store knows them.

    ``agents`` are as ``get_agents`` returns them; their instances may have ``tags``.  Each agent judges by its own
    facts, so that this is only a forecast.
    """
    return [
        agent["name"]
        for agent in agents
        if any(target.includes(AgentItem(agent["name"], 0, each)) for each in agent.get("instances") or (None,))
    ]


def _check_terms(wanted: Filter[AgentItem]) -> None:
    if not wanted.conditions:
        raise InvalidAction("target: there is no term; every agent is agent=~.")
    for condition in wanted.conditions:
        if not condition.key:
            keys = ", ".join(key.name for key in TARGETS.keys)
            reason = f"a target has no words, only terms about {keys}; one agent is agent=NAME, every agent is agent=~."
            raise InvalidAction(f"target: {condition.term.error(reason)}")
