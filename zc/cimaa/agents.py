"""What a store keeps of an agent besides its faults: its heartbeat and its instances.  Pure, but for this process.

Heartbeats are stored in microseconds, so that two reports within a second have an order, and
are shown in whole seconds.
"""

import os
import platform
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from . import __version__, limits, tags
from .errors import InvalidAgent, InvalidInput
from .faults import encode
from .limits import check_text, is_plain
from .text import hex_digest
from .types import Agent, AgentInstance, Heartbeat, LateAgent

MICROSECONDS = 1_000_000

#: An instance is forgotten if its last report is this much older (seconds) than the agent's; of the others, at most
#: this number is kept: those that reported last.
INSTANCE_MEMORY = 24 * 60 * 60
INSTANCES = 16

#: The defaults of offline_agents and double_agents (seconds), as in MIG.
SEEN_WITHIN = 30 * 24 * 60 * 60
SILENT_FOR = 5 * 60
DOUBLE_WITHIN = 10 * 60


class Instance(NamedTuple):
    """A process that reports under an agent's name, or (without ``pid``) all one-shot commands of a host."""

    host: str
    pid: int | None
    version: str
    os: str
    #: Words that describe the host, sorted; they are not part of the id.
    tags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """32 hexadecimal digits, the same for the same instance on every machine."""
        return _instance_id(self)


class SeenInstance(NamedTuple):
    """An instance, and the times of its first and last report (microseconds since the epoch)."""

    instance: Instance
    first: int
    last: int


class Row(NamedTuple):
    """What the store keeps of an agent, besides its faults."""

    #: The last report's time (microseconds since the epoch).
    updated: int
    #: The digest of the current faults.
    digest: str
    #: The id of the instance that reported last.  Its last report was at ``updated``, not at the time in ``instances``.
    instance: str
    #: The instances seen lately, in the order of their first reports.
    instances: tuple[SeenInstance, ...]
    #: The next report is due this many seconds after the last one; ``None``: the agent did not say.
    within: int | None = None
    #: The time (microseconds) of the last write that was not a mere heartbeat; later than that of the one before, even
    #: if the clock was set back.
    written: int = 0
    #: Since when (microseconds) the agent's history is complete; ``None``: a program that keeps none wrote last.
    recorded: int | None = None
    #: True if the agent was woken since its last ``report``.
    marked: bool = False


class Touch(NamedTuple):
    """What the stored row must have in common with a report that repeats the last one."""

    digest: str
    #: The id of the instance.
    instance: str
    within: int | None = None
    #: True if the row must not be marked: the caller needs to know whether the agent was woken.
    unmarked: bool = False

    def holds(self, row: Row, now: int, tolerance: int = 0) -> bool:
        """True if a report at ``now`` (microseconds) may be a mere heartbeat.

        A report that comes after a silence is written in full, so that the silence gets into the history.
        ``tolerance`` (microseconds) is how much older the stored heartbeat may be than the last report.
        """
        same = (row.digest, row.instance, row.within) == self[:3]
        if not same or (self.unmarked and row.marked):
            return False
        return self.within is None or not is_silent(row, now, tolerance)


def check_name(agent: object) -> str:
    """The agent's name, if it is valid.

    :raises InvalidAgent: if it is not.
    """
    if not is_plain(agent, limits.AGENT):
        check_text("the agent's name", agent, InvalidAgent, most=limits.AGENT)
    if agent == "_":
        raise InvalidAgent("no agent may be named '_': that is what a dump calls the heartbeats")
    return str(agent)


def check_instance(instance: Instance) -> Instance:
    """The instance, if it can be stored.

    :raises InvalidAgent: if it cannot.
    """
    for what in ("host", "version", "os"):
        text = getattr(instance, what)
        check_text(f"the instance's {what}", text, InvalidAgent, most=limits.AGENT, empty=True)
    try:
        tags.parse(" ".join(instance.tags))
    except ValueError as error:
        raise InvalidAgent(f"the instance's tags: {error}") from error
    if instance.pid is not None and not 0 <= instance.pid <= limits.INTEGER_MAX:
        raise InvalidAgent(f"the instance's pid is {instance.pid}")
    return instance


@lru_cache(maxsize=1)
def this_process() -> Instance:
    """The instance as which a daemon reports: this process."""
    return this_host()._replace(pid=os.getpid())


os.register_at_fork(after_in_child=this_process.cache_clear)


@lru_cache(maxsize=1)
def this_host() -> Instance:
    """The instance as which one-shot commands report: the same for all commands of this host."""
    system = f"{platform.system()} {platform.release()}"
    return Instance(host=platform.node(), pid=None, version=__version__, os=system)


def tagged(instance: Instance, its_tags: tuple[str, ...]) -> Instance:
    """The instance with these tags."""
    return instance._replace(tags=its_tags)


def check_within(within: object) -> int:
    """The time (seconds) until the next report, if it can be stored.

    :raises InvalidInput: if it cannot.
    """
    if not isinstance(within, int) or isinstance(within, bool):
        raise InvalidInput(f"within must be whole seconds, not {within!r}")
    if not 1 <= within <= limits.WITHIN:
        raise InvalidInput(f"within must be from 1 to {limits.WITHIN} seconds")
    return within


def reported(row: Row | None, digest: str, instance: Instance, now: int, within: int | None = None) -> Row:
    """The agent's row after ``instance`` reported, at ``now`` (microseconds), faults with this digest.

    If the clock was set back, reports in the future are moved to ``now``: otherwise they would make
    their instances rivals of every later one.
    """
    if row is not None and is_same_reporter(row, instance, now):
        # With the same instances, but for its tags, which are not part of the id.
        same = tuple(s._replace(instance=instance) if s.instance.id == row.instance else s for s in row.instances)
        return Row(now, digest, row.instance, same, within, row.written, row.recorded, row.marked)
    seen = {s.instance.id: SeenInstance(s.instance, min(s.first, now - 1), min(s.last, now)) for s in instances(row)}
    first = seen[instance.id].first if instance.id in seen else now
    seen[instance.id] = SeenInstance(instance, first, now)
    latest = sorted(seen.values(), key=lambda s: (s.last, s.first, s.instance.id))[-INSTANCES:]
    in_order = tuple(sorted(latest, key=lambda s: (s.first, s.instance.id)))
    if row is None:
        return Row(now, digest, instance.id, in_order, within)
    return row._replace(updated=now, digest=digest, instance=instance.id, instances=in_order, within=within)


def is_same_reporter(row: Row, instance: Instance, now: int) -> bool:
    """True if a report of the instance at ``now`` (microseconds) changes at most the tags among the row's instances."""
    return row.instance == instance.id and row.updated <= now


def instances(row: Row | None) -> list[SeenInstance]:
    """The instances of a row that are not forgotten, each with the time of its last report."""
    if row is None:
        return []
    if len(row.instances) == 1:  # nearly always; it is the one that reported last
        [(instance, first, _)] = row.instances
        return [SeenInstance(instance, first, row.updated)]
    current = (s._replace(last=row.updated) if s.instance.id == row.instance else s for s in row.instances)
    return [s for s in current if not is_old(s.last, INSTANCE_MEMORY, row.updated)]


def is_silent(row: Row, now: int, tolerance: int = 0) -> bool:
    """True if the agent said when its next report is due, and at ``now`` it is overdue (both in microseconds)."""
    return row.within is not None and now - row.updated - tolerance > row.within * MICROSECONDS


def is_old(updated: int, age: float, now: int) -> bool:
    """True if ``updated`` is at least ``age`` seconds before ``now`` (both in microseconds)."""
    return updated <= latest_old(age, now)


def latest_old(age: float, now: int) -> float:
    """The latest time that is ``age`` seconds before ``now`` (both in microseconds)."""
    return now - age * MICROSECONDS


def is_offline(updated: int, seen_within: float, silent_for: float, now: int) -> bool:
    """True if the last report is at least ``silent_for`` seconds old, but less than ``seen_within`` seconds."""
    return is_old(updated, silent_for, now) and not is_old(updated, seen_within, now)


def rivals(row: Row, within: float, now: int) -> list[SeenInstance]:
    """The instances that reported for this agent at the same time, in the last ``within`` seconds.

    Two are rivals if each reported after the other's first report.  A restart
    does not make rivals: the old process stops reporting before the new one's first report.
    """
    lately = [s for s in instances(row) if not is_old(s.last, within, now)]
    return [s for s in lately if any(_overlap(s, other) for other in lately if other is not s)]


def shown(name: str, row: Row, seen: Iterable[SeenInstance]) -> Agent:
    """An agent as ``get_agents`` and ``double_agents`` return it, with these of its instances."""
    return {**heartbeat(name, row.updated), "instances": [_shown_instance(s) for s in seen]}


def shown_alone(
    name: str, updated: int, host: str, pid: int | None, version: str, system: str, first: int, its_tags: str = ""
) -> Agent:
    """As :func:`shown`, of an agent for which only this instance reported: the one that reported last."""
    seconds = updated // MICROSECONDS
    instance: AgentInstance = {
        "host": host,
        "pid": pid,
        "version": version,
        "os": system,
        "first": first // MICROSECONDS,
        "last": seconds,
    }
    if its_tags:
        instance["tags"] = its_tags.split()
    return {"name": name, "updated": seconds, "instances": [instance]}


def late(name: str, row: Row, now: int, otherwise: int | None = None) -> LateAgent | None:
    """An agent as ``late_agents`` returns it, if its report is overdue at ``now`` (microseconds)."""
    if row.within is None:
        row = row._replace(within=otherwise)
    if row.within is None or not is_silent(row, now):
        return None
    overdue = (now - row.updated) // MICROSECONDS - row.within
    return {**heartbeat(name, row.updated), "within": row.within, "late": overdue}


def heartbeat(name: str, updated: int) -> Heartbeat:
    """An agent as ``old_agents`` and ``offline_agents`` return it."""
    return {"name": name, "updated": updated // MICROSECONDS}


def _overlap(one: SeenInstance, other: SeenInstance) -> bool:
    return one.last > other.first and other.last > one.first


def _shown_instance(seen: SeenInstance) -> AgentInstance:
    host, pid, version, system, its_tags = seen.instance
    first, last = seen.first // MICROSECONDS, seen.last // MICROSECONDS
    shape: AgentInstance = {"host": host, "pid": pid, "version": version, "os": system, "first": first, "last": last}
    if its_tags:
        shape["tags"] = list(its_tags)
    return shape


@lru_cache(maxsize=1024)
def _instance_id(instance: Instance) -> str:
    return hex_digest(encode(list(instance[:4])), 16)
