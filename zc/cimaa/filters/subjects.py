"""What may be filtered: faults and agents, and the keys of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import limits
from ..faults import SEVERITIES, parse_severity
from . import kinds
from .language import MISSING, Filter, Key, Keys


class FaultItem(NamedTuple):
    """A fault as ``find_faults`` returns it, and what depends on when, and by whom, it is looked at."""

    fault: Mapping[str, Any]
    #: Seconds since the epoch.
    now: float
    #: True if a squelch in force matches it; ``None`` if that is unknown.
    squelched: bool | None = None


class AgentItem(NamedTuple):
    """An agent, by one of the instances that report under its name, if any is known."""

    name: str
    #: How long ago it reported last (seconds).
    silent: float
    instance: Mapping[str, Any] | None = None


class Narrowed(NamedTuple):
    """Arguments of ``find_faults``: what a store can leave out by itself."""

    agent: str | None = None
    severity: int | None = None
    pattern: str | None = None


FAULTS: Keys[FaultItem] = Keys(
    (
        Key(
            "severity",
            kinds.severity,
            lambda item: item.fault["severity"],
            f"{', '.join(SEVERITIES)}, or a number",
            usual=">=",
            values=tuple(SEVERITIES),
        ),
        Key("agent", kinds.text, lambda item: item.fault["agent"], "the agent's name"),
        Key("name", kinds.text, lambda item: item.fault["name"], "the fault's name", aliases=("fault",)),
        Key("message", kinds.text, lambda item: item.fault["message"], "the message"),
        Key(
            "age",
            kinds.duration,
            lambda item: max(0, int(item.now - item.fault["since"])),
            "how long it has been a fault: 90s, 15m, 2h, 7d, 1w",
            usual=">=",
            aliases=("for",),
        ),
        Key(
            "squelched",
            kinds.flag,
            lambda item: MISSING if item.squelched is None else item.squelched,
            "yes or no",
            values=("yes", "no"),
        ),
    ),
    words=lambda item: (item.fault["name"], item.fault["message"]),
    further=lambda item, key: item.fault.get(key, MISSING),
)


def _instance(field: str, item: AgentItem) -> Any:
    value = None if item.instance is None else item.instance[field]
    return MISSING if value is None else value


AGENTS: Keys[AgentItem] = Keys(
    (
        Key("agent", kinds.text, lambda item: item.name, "the agent's name", aliases=("name",)),
        Key(
            "silent",
            kinds.duration,
            lambda item: max(0, int(item.silent)),
            "the time since its last report: 90s, 15m, 2h, 7d, 1w",
            usual=">=",
            aliases=("last-report",),
        ),
        Key("host", kinds.text, lambda item: _instance("host", item), "the host of an instance"),
        Key("pid", kinds.integer, lambda item: _instance("pid", item), "the process id of an instance"),
        Key("os", kinds.text, lambda item: _instance("os", item), "the operating system of an instance"),
        Key(
            "version",
            kinds.version,
            lambda item: _instance("version", item),
            "the version of zc.cimaa of an instance",
            usual=">=",
        ),
        Key("tag", kinds.member, lambda item: (item.instance or {}).get("tags", ()), "a tag of an instance"),
    ),
    words=lambda item: (item.name, item.instance["host"] if item.instance else ""),
)


def narrowed(wanted: Filter[FaultItem], given: Narrowed) -> tuple[Narrowed, Filter[FaultItem]]:
    """What a store can leave out by itself, and the filter of what is left.

    The arguments that are ``given`` stay as they are, and hold in addition to the filter.
    """
    agent = wanted.first("agent", "=") if given.agent is None else None
    severity = wanted.first("severity", ">=", ">", "=") if given.severity is None else None
    name = wanted.first("name", "=~") if given.pattern is None else None
    least = severity and parse_severity(severity.value)
    if least is None or not limits.INTEGER_MIN <= least <= limits.INTEGER_MAX:
        severity = least = None
    arguments = Narrowed(
        agent.value if agent else given.agent,
        given.severity if least is None else least,
        name.value if name else given.pattern,
    )
    done = {agent, name, severity if severity and severity.op == ">=" else None}
    return arguments, wanted.without(done)


def finds_agent(wanted: Filter[AgentItem], agent: Mapping[str, Any], now: float) -> bool:
    """True if one of the agent's instances satisfies all terms; ``agent`` is as ``get_agents`` returns it."""
    silent = now - agent["updated"]
    instances = agent.get("instances") or (None,)
    return any(wanted(AgentItem(agent["name"], silent, instance)) for instance in instances)
