"""The types of what a store takes and returns, for programs that are checked with mypy or pyright.

They are plain dicts at run time.  A report may add keys of its own to a fault.  To read such a key from a
:class:`Fault`, use ``fault.get("runbook")``, which has the type ``object``; a program that knows the types
of its keys declares them in a subclass of :class:`Fault` or :class:`NewFault`.

All times are whole seconds since the epoch.
"""

from typing import Literal, NotRequired, TypedDict, final


class NewFault(TypedDict):
    """A fault in a report.  ``set_faults`` accepts any mapping with these keys."""

    #: 1 to 1024 bytes of UTF-8, unique in the report.
    name: str
    #: A level of Python's ``logging``: 50 is critical.
    severity: int
    #: At most 32 KiB of UTF-8.
    message: str


class Fault(NewFault):
    """A fault as ``get_faults`` returns it."""

    agent: str


class FoundFault(Fault):
    """A fault as ``find_faults`` returns it."""

    #: When this series of failures began.
    since: int


class Heartbeat(TypedDict):
    """An agent as ``old_agents`` and ``offline_agents`` return it."""

    name: str
    #: When it last reported.
    updated: int


class AgentInstance(TypedDict):
    """A process or host that reports under an agent's name."""

    host: str
    #: ``None`` for the one-shot commands of a host.
    pid: int | None
    #: The version of zc.cimaa.
    version: str
    #: The operating system.
    os: str
    #: When it first reported.
    first: int
    #: When it last reported.
    last: int


class Agent(Heartbeat):
    """An agent as ``get_agents`` and ``double_agents`` return it."""

    instances: list[AgentInstance]


class Squelch(TypedDict):
    """A squelch as ``get_squelch_details`` returns it."""

    regex: str
    reason: str
    user: str
    #: When it was set.
    time: int
    permanent: bool
    #: When it ends; missing if it stays until it is removed.
    expires: NotRequired[int]


@final
class DumpedHeartbeat(TypedDict):
    """A heartbeat among the faults of a dump.  ``"updated" in fault`` tells it from a :class:`Fault`."""

    agent: Literal["_"]
    #: The agent's name.
    name: str
    message: Literal[""]
    #: When it last reported.
    updated: int


class Dump(TypedDict):
    """What ``dump`` returns."""

    faults: list[Fault | DumpedHeartbeat]
    squelches: list[Squelch]
