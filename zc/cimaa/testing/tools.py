"""Instances, a clock, faults, and an exact comparison, for the tests of a store."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from ..agents import Instance
from ..db import DB
from ..entries import Entry
from ..faults import FaultDict

#: Opens a store: takes ``instance`` and ``clock``.
Opener = Callable[..., DB]

#: Two processes of one host, the second with tags, one of another, and the one-shot commands of a host.
FIRST = Instance("host.example", 100, "1.0", "Linux 6.1")
SECOND = Instance("host.example", 200, "1.1", "Linux 6.1", ("db", "eu"))
ELSEWHERE = Instance("other.example", 100, "1.0", "Linux 6.1")
ONE_SHOT = Instance("host.example", None, "1.0", "Linux 6.1")


class Clock:
    """A clock that only changes when it is set."""

    def __init__(self, now: float = 1_700_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the clock by ``seconds``; a negative number sets it back."""
        self.now += seconds


def process_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of processes that inherit no threads and no handles, forked from one that has imported the promises."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["zc.cimaa.testing"])
    return ProcessPoolExecutor(processes, mp_context=context)


def fault(name: str, severity: int = 40, message: str = "it is bad", **extras: Any) -> FaultDict:
    """A fault, with extra keys."""
    return {"name": name, "severity": severity, "message": message, **extras}


def entry(
    kind: str = "test", owner: str = "", key: str = "key", value: Any = None, expires: int | None = None
) -> Entry:
    """An entry with a revision of its own."""
    return Entry(kind, owner, key, value, uuid4().hex, expires)


def exact(value: Any) -> Any:
    """A value to compare with another's: equal only if the types are equal, too, as ``True == 1`` in Python."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return (isinstance(value, bool), value)


def expected(agent: str, faults: list[FaultDict]) -> list[FaultDict]:
    """What ``get_faults`` returns after the agent reported these faults."""
    return [{"agent": agent, **one} for one in sorted(faults, key=lambda one: str(one["name"]))]


def empty(db: DB) -> None:
    """Remove everything from the store."""
    for agent in db.get_agents():
        db.remove_agent(agent["name"])
    for squelch in db.get_squelch_details():
        db.unsquelch(squelch["regex"])
    for lease in db.get_leases():
        db.forget_lease(lease.name)


def shown_instance(instance: Instance) -> dict[str, Any]:
    """What a store shows of an instance besides its times; tags only where there are some."""
    parts = instance._asdict()
    if tags := parts.pop("tags"):
        parts["tags"] = list(tags)
    return parts
