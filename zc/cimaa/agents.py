"""What a store knows of an agent besides its faults: when it reported, and who reported in its name.  Pure.

Heartbeats are kept in microseconds, so that the order of two reports can be
told, and are shown in whole seconds.
"""

import os
import platform
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from . import __version__, limits
from .errors import InvalidAgent
from .faults import encode
from .limits import check_text, is_plain
from .types import Agent, AgentInstance, Heartbeat

MICROSECONDS = 1_000_000

#: An instance is forgotten that fell silent so long (seconds) before the last report; and of those left,
#: so many of the latest are remembered.
INSTANCE_MEMORY = 24 * 60 * 60
INSTANCES = 16

#: What MIG takes for lately, silent, and double (seconds).
SEEN_WITHIN = 30 * 24 * 60 * 60
SILENT_FOR = 5 * 60
DOUBLE_WITHIN = 10 * 60


class Instance(NamedTuple):
    """Who reports under an agent's name: a process, or (with no ``pid``) the one-shot commands of a host."""

    host: str
    pid: int | None
    version: str
    os: str

    @property
    def id(self) -> str:
        """32 hexadecimal digits, the same for the same instance on every machine."""
        return _instance_id(self)


class Seen(NamedTuple):
    """An instance, and when its first and its last report came (microseconds since the epoch)."""

    instance: Instance
    first: int
    last: int


class Row(NamedTuple):
    """What the store keeps of an agent, besides its faults."""

    #: The last report's time (microseconds since the epoch).
    updated: int
    #: The digest of the current faults.
    digest: str
    #: The id of the instance that reported last.  Its last report is ``updated``, whatever ``instances`` says.
    instance: str
    #: The instances seen lately, in the order of their first reports.
    instances: tuple[Seen, ...]


def check_name(agent: object) -> str:
    """The agent's name, if it is one.

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
    if instance.pid is not None and not 0 <= instance.pid <= limits.INTEGER_MAX:
        raise InvalidAgent(f"the instance's pid is {instance.pid}")
    return instance


@lru_cache(maxsize=1)
def this_process() -> Instance:
    """The instance that a daemon reports as: this very process."""
    return this_host()._replace(pid=os.getpid())


os.register_at_fork(after_in_child=this_process.cache_clear)


@lru_cache(maxsize=1)
def this_host() -> Instance:
    """The instance that one-shot commands report as, so that one after the other counts as the same."""
    return Instance(platform.node(), None, __version__, f"{platform.system()} {platform.release()}")


def reported(row: Row | None, digest: str, instance: Instance, now: int) -> Row:
    """The agent's row after ``instance`` reported, at ``now`` (microseconds), faults with this digest.

    A clock that was set back leaves no instance with a report in the future,
    where it would pass for a rival of whoever comes next.
    """
    if row is not None and row.instance == instance.id and row.updated <= now:
        return row._replace(updated=now, digest=digest)  # with the same instances: a store need not decode them
    seen = {s.instance.id: Seen(s.instance, min(s.first, now - 1), min(s.last, now)) for s in instances(row)}
    first = seen[instance.id].first if instance.id in seen else now
    seen[instance.id] = Seen(instance, first, now)
    latest = sorted(seen.values(), key=lambda s: (s.last, s.first, s.instance.id))[-INSTANCES:]
    return Row(now, digest, instance.id, tuple(sorted(latest, key=lambda s: (s.first, s.instance.id))))


def instances(row: Row | None) -> list[Seen]:
    """The instances that a row remembers, each with the time of its last report."""
    if row is None:
        return []
    if len(row.instances) == 1:  # nearly always; it is the one that reported last
        [(instance, first, _)] = row.instances
        return [Seen(instance, first, row.updated)]
    current = (s._replace(last=row.updated) if s.instance.id == row.instance else s for s in row.instances)
    return [s for s in current if not is_old(s.last, INSTANCE_MEMORY, row.updated)]


def is_old(updated: int, age: float, now: int) -> bool:
    """True if ``updated`` lies ``age`` seconds or more before ``now`` (both in microseconds)."""
    return updated <= latest_old(age, now)


def latest_old(age: float, now: int) -> float:
    """The latest time that lies ``age`` seconds before ``now`` (both in microseconds)."""
    return now - age * MICROSECONDS


def is_offline(updated: int, seen_within: float, silent_for: float, now: int) -> bool:
    """True if the agent reported within the longer time (seconds), but not within the shorter."""
    return is_old(updated, silent_for, now) and not is_old(updated, seen_within, now)


def rivals(row: Row, within: float, now: int) -> list[Seen]:
    """The instances that report for this agent side by side, and did so in the last ``within`` seconds.

    Two are rivals if each reported after the other's first report.  A restart
    makes no rivals: the old process falls silent before the new one's first report.
    """
    lately = [s for s in instances(row) if not is_old(s.last, within, now)]
    return [s for s in lately if any(_overlap(s, other) for other in lately if other is not s)]


def shown(name: str, row: Row, seen: Iterable[Seen]) -> Agent:
    """An agent as ``get_agents`` and ``double_agents`` return it, with these of its instances."""
    return {**heartbeat(name, row.updated), "instances": [_shown_instance(s) for s in seen]}


def shown_alone(name: str, updated: int, host: str, pid: int | None, version: str, system: str, first: int) -> Agent:
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
    return {"name": name, "updated": seconds, "instances": [instance]}


def heartbeat(name: str, updated: int) -> Heartbeat:
    """An agent as ``old_agents`` and ``offline_agents`` return it."""
    return {"name": name, "updated": updated // MICROSECONDS}


def _overlap(one: Seen, other: Seen) -> bool:
    return one.last > other.first and other.last > one.first


def _shown_instance(seen: Seen) -> AgentInstance:
    host, pid, version, system = seen.instance
    first, last = seen.first // MICROSECONDS, seen.last // MICROSECONDS
    return {"host": host, "pid": pid, "version": version, "os": system, "first": first, "last": last}


@lru_cache(maxsize=1024)
def _instance_id(instance: Instance) -> str:
    return blake2b(encode(list(instance)), digest_size=16).hexdigest()
