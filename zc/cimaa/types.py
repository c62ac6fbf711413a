"""The types that a store accepts and returns, for programs that are checked with mypy or pyright.

At run time they are plain dicts.  A fault may have extra keys.  ``fault.get("runbook")`` reads an extra key of a
:class:`Fault` as an ``object``; a program that knows the types of its extra keys declares them in a subclass of
:class:`Fault` or :class:`NewFault`.

All times are whole seconds since the epoch, except ``time`` of a :class:`PastEvent`.
"""

from typing import Literal, NotRequired, TypedDict, final


class NewFault(TypedDict):
    """A fault in a report.  ``set_faults`` accepts any mapping with these keys."""

    #: 1 to 1024 bytes of UTF-8, unique in the report.
    name: str
    #: A level of the ``logging`` module: 50 is critical.
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


class LateAgent(Heartbeat):
    """An agent as ``late_agents`` returns it."""

    #: The agent said that it would report again within this time (seconds).
    within: int
    #: How long (seconds) its report is overdue.
    late: int


class PastEvent(TypedDict):
    """An event as ``get_history`` returns it: with the keys that its kind has."""

    #: Microseconds since the epoch; the events of one report have the same.
    time: int
    #: The agent's name; ``_`` for a squelch.
    agent: str
    #: ``began``, ``worse``, ``better``, ``ended``, ``alerted``, ``resolved``, ``appeared``, ``returned``, ``removed``,
    #: ``started``, ``squelched``, ``unsquelched``; later versions may add others.
    kind: str
    #: The fault's name, or the regular expression of a squelch.
    fault: NotRequired[str]
    #: The fault's severity before the event.
    before: NotRequired[int]
    #: The fault's severity after the event.
    after: NotRequired[int]
    #: When the series of failures, the squelch, or the silence before a return or a removal began.
    since: NotRequired[int]
    #: When the squelch ends by itself.
    until: NotRequired[int]
    #: The fault's message, cut to 1 KiB.
    message: NotRequired[str]
    #: The user, the alerter, or the host of the instance.
    who: NotRequired[str]
    #: The squelch's reason.
    why: NotRequired[str]


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
    #: The words by which its configuration describes the host, sorted; missing if there are none.
    tags: NotRequired[list[str]]


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


class PastSquelch(TypedDict):
    """A squelch as ``squelches_at`` returns it."""

    regex: str
    reason: str
    #: Who set it; empty if it was removed since.
    user: str
    #: When it was set.
    time: int
    #: When it was to end; missing if it stayed until it was removed.
    expires: NotRequired[int]


@final
class DumpedHeartbeat(TypedDict):
    """A heartbeat among the faults of a dump.  ``"updated" in fault`` distinguishes it from a :class:`Fault`."""

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
