"""The contract of a store: public methods that validate and format, and primitives that a backend implements.

Users of a store call the public methods of :class:`DB`, which are the same for every
backend.  A backend derives from :class:`DB` and implements the abstract methods, whose
names have a leading underscore: they get validated input, and return what is stored, in
any order.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self, cast
from uuid import uuid4

from . import agents, faults, leases, limits, options, squelches, types
from .agents import Instance, Row
from .entries import Entry
from .errors import InvalidInput, StoreClosed, StoreUnavailable
from .faults import FaultDict, Report
from .leases import UNCHANGED, Lease
from .options import Option, Values
from .squelches import StoredSquelch
from .text import quoted

#: Returns the time in seconds since the epoch, like :func:`time.time`.
Clock = Callable[[], float]


class Snapshot(NamedTuple):
    """What a store holds at one moment, or a part of it."""

    #: Each agent's name and the time of its last report (microseconds).
    heartbeats: Iterable[tuple[str, int]] = ()
    #: Each agent's name with faults of it, as :meth:`DB._all_faults` gives them.
    faults: Iterable[tuple[str, list[FaultDict]]] = ()
    squelches: Iterable[StoredSquelch] = ()


class DB(ABC):
    """A store.  It may be used from several threads, and in a ``with`` statement.

    Every call may raise :exc:`~zc.cimaa.errors.StoreError`, and leaves what was stored
    before unchanged then.  For invalid input :exc:`~zc.cimaa.errors.InvalidInput` is raised
    before anything is written.
    """

    #: The keys that a ``[database]`` section may have for this backend, besides ``class``.
    options: ClassVar[Sequence[Option]] = ()

    def __init__(
        self, config: Mapping[str, str] | None = None, *, instance: Instance | None = None, clock: Clock | None = None
    ) -> None:
        """Open the store that a ``[database]`` section (``config``) describes.

        ``config`` has the texts of the section, or is the :class:`~zc.cimaa.options.Values`
        parsed from them.  ``instance`` is the instance that reports, by default this process;
        ``clock`` replaces the store's own clock, for tests.

        :raises ConfigurationError: for an unknown key or an invalid value.
        """
        self.settings: Mapping[str, Any] = config if isinstance(config, Values) else self._parsed(config or {})
        self._given_instance = None if instance is None else agents.check_instance(instance)
        self._clock = clock or time.time
        self._closed = False
        self._held: dict[str, Entry] = {}
        self._open()

    # Agents and what they report

    def set_faults(self, agent: str, faults: Iterable[Mapping[str, Any]]) -> None:
        """Replace the agent's faults and refresh its heartbeat, atomically.

        Each fault has the keys of :class:`~zc.cimaa.types.NewFault`, and may have
        extra keys with JSON values.  When the call returns, every process sees the
        report; it is durable if it changed a fault.  The caller's list and dicts are
        not changed.

        :raises InvalidAgent: if the name breaks a rule.
        :raises InvalidFault: if a fault, or the whole report, breaks a rule.
        """
        if self._closed:
            self._require_open()
        agents.check_name(agent)
        instance = self._given_instance or agents.this_process()
        unvalidated = _encode_unvalidated(faults) if isinstance(faults, list) else None
        if unvalidated is None or not self._touch(agent, unvalidated.digest, instance.id):
            report = _report(agent, faults, unvalidated)
            if unvalidated is not None or not self._touch(agent, report.digest, instance.id):
                self._replace(agent, report, instance)

    def get_faults(self, agent: str) -> list[types.Fault]:
        """The agent's current faults as they were set, each with its ``agent``, sorted by name."""
        self._require_open()
        agents.check_name(agent)
        stored = sorted(self._agent_faults(agent), key=faults.by_name)
        return cast(list[types.Fault], [faults.shown(agent, fault) for fault in stored])

    def find_faults(
        self,
        agent: str | None = None,
        severity: int | None = None,
        pattern: str | None = None,
        limit: int | None = None,
    ) -> list[types.FoundFault]:
        """Current faults of the fleet, the most severe first, and the oldest first of equal severity.

        Each has its ``agent``, and ``since`` (whole seconds since the epoch): when this
        series of failures began.  They can be filtered by ``agent``, by a minimum
        ``severity``, and by a regular expression that the name matches (``pattern``, which
        is searched like a squelch); at most ``limit`` are returned.

        :raises InvalidInput: for an invalid agent name, severity, pattern or limit.
        """
        self._require_open()
        if agent is not None:
            agents.check_name(agent)
        if severity is not None and (not isinstance(severity, int) or isinstance(severity, bool)):
            raise InvalidInput(f"severity must be an integer, not {severity!r}")
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            raise InvalidInput(f"limit must be a whole number, 0 or more, not {limit!r}")
        if pattern is not None:
            squelches.compiled(squelches.check_regex(pattern))
        return cast(list[types.FoundFault], self._find_faults(agent, severity, pattern, limit))

    def get_agents(self) -> list[types.Agent]:
        """The agents, sorted by name: ``name``, ``updated``, and the recent ``instances``.

        An instance has ``host``, ``pid`` (``None`` for the one-shot commands of a host),
        ``version``, ``os``, and the times of its ``first`` and ``last`` report.
        """
        self._require_open()
        return sorted(self._shown_agents(), key=_NAME)

    def old_agents(self, age: float) -> list[types.Heartbeat]:
        """``name`` and ``updated`` of the agents whose last report is at least ``age`` seconds old, sorted by name.

        :raises InvalidInput: if the age is not a number of seconds.
        """
        self._require_open()
        return self._old_agents(_seconds("age", age))

    def offline_agents(
        self, seen_within: float = agents.SEEN_WITHIN, silent_for: float = agents.SILENT_FOR
    ) -> list[types.Heartbeat]:
        """``name`` and ``updated`` of the agents that went silent, sorted by name.

        Their last report is at least ``silent_for`` seconds old, but less than ``seen_within`` seconds.

        :raises InvalidInput: if one of them is not a number of seconds.
        """
        self._require_open()
        return self._offline_agents(_seconds("seen_within", seen_within), _seconds("silent_for", silent_for))

    def double_agents(self, within: float = agents.DOUBLE_WITHIN) -> list[types.Agent]:
        """The agents for which several instances reported at the same time in the last ``within`` seconds.

        As in :meth:`get_agents`, but only with the instances that are rivals: each
        reported after the first report of another one.  So a restart does not make an
        agent double.

        :raises InvalidInput: if ``within`` is not a number of seconds.
        """
        self._require_open()
        return self._double_agents(_seconds("within", within))

    def remove_agent(self, agent: str) -> None:
        """Remove the agent's faults, heartbeat and instances; an unknown agent is not an error."""
        self._require_open()
        self._remove_agent(agents.check_name(agent))

    # Squelches

    def squelch(self, regex: str, reason: str, user: str, permanent: bool = False, expires: int | None = None) -> None:
        """Add a squelch, or replace the one with this regular expression.

        It ends at ``expires`` (whole seconds since the epoch), or else stays until it is
        removed.  ``permanent`` declares that this is intended.

        :raises InvalidSquelch: naming the part that breaks a rule.
        """
        self._require_open()
        now = self._now() // agents.MICROSECONDS
        self._put_squelch(squelches.squelch(regex, reason, user, permanent, expires, now))

    def unsquelch(self, regex: str) -> None:
        """Remove the squelch with this regular expression; an unknown one is not an error."""
        self._require_open()
        self._remove_squelch(squelches.check_regex(regex))

    def get_squelches(self) -> list[str]:
        """The regular expressions of the squelches in force now, sorted."""
        self._require_open()
        now = self._now() / agents.MICROSECONDS
        return sorted(s.regex for s in self._squelches() if squelches.in_force(s, now))

    def get_squelch_details(self) -> list[types.Squelch]:
        """The squelches, sorted by regular expression, including those that ended and were not removed.

        Each has ``regex``, ``reason``, ``user``, ``time`` (when it was set),
        ``permanent``, and ``expires`` where one is set.
        """
        self._require_open()
        return [s.details() for s in squelches.by_regex(self._squelches())]

    # Entries and leases

    def lease(self, name: str, holder: str, seconds: float, *, state: Any = UNCHANGED) -> Lease:
        """Take the lease of this name for ``holder``, or renew it; return the lease as it is after the call.

        It is the caller's if the ``holder`` of the lease that is returned is.  It is
        granted if no one has it, if it is over, or if ``holder`` has it, and then lasts for
        ``seconds`` from now by the store's clock; a holder counts them by its own
        monotonic clock, from before the call.

        The lease keeps ``state``, a JSON value, with it.  Without one the state stays as it
        is.  A holder that takes the lease over from another gets the state that the other
        left; its own ``state`` is ignored.

        A renewal is one conditional write, without a read, if this handle took the lease.
        A call that is not granted is one read.

        :raises InvalidLease: if an argument breaks a rule.
        """
        self._require_open()
        wanted = leases.request(name, holder, seconds, state)
        entry = self._known_lease(name, holder)
        for _ in range(_ATTEMPTS):
            now = self._now()
            current = leases.leased(entry, wanted, now, self.clock_margin, uuid4().hex)
            if current is entry:  # another has it
                return leases.lease(current, now, self.clock_margin)
            if self._swap_lease(name, entry, current):
                self._held[name] = current
                return leases.lease(current, now, self.clock_margin)
            entry = self._lease_entry(name)  # another wrote first
        raise _contended(name)

    def release(self, name: str, holder: str) -> bool:
        """End the lease if ``holder`` has it, so that others can take it at once; return whether it did.

        The token and the state remain for the next holder.

        :raises InvalidLease: if an argument breaks a rule.
        """
        self._require_open()
        leases.request(name, holder, 1)
        entry = self._known_lease(name, holder)
        self._held.pop(name, None)
        for _ in range(_ATTEMPTS):
            becomes = leases.released(entry, holder, self._now(), uuid4().hex)
            if becomes is None or self._swap_lease(name, entry, becomes):
                return becomes is not None
            entry = self._lease_entry(name)
        raise _contended(name)

    def get_leases(self) -> list[Lease]:
        """All leases, sorted by name; those that are over have no ``remaining`` seconds."""
        self._require_open()
        found = sorted(self._entries(leases.KIND, ""), key=lambda entry: entry.key)
        now = self._now()
        return [leases.lease(entry, now, self.clock_margin) for entry in found]

    def forget_lease(self, name: str) -> bool:
        """Remove the lease and its state, whoever has it; return whether there was one.

        Tokens of this name then begin again with 1, so what refused lower tokens must forget them, too.

        :raises InvalidLease: if the name breaks a rule.
        """
        self._require_open()
        leases.check_name(name)
        self._held.pop(name, None)
        for _ in range(_ATTEMPTS):
            entry = self._lease_entry(name)
            if entry is None or self._swap_lease(name, entry, None):
                return entry is not None
        raise _contended(name)

    @property
    def clock_margin(self) -> int:
        """By how many seconds the clocks of those that take leases may differ; 0 if the store has one clock."""
        return 0

    # The whole

    def dump(self) -> types.Dump:
        """All ``faults`` and all ``squelches`` of one moment; heartbeats may be older by the time it took to copy them.

        The faults are those of :meth:`get_faults`, sorted by agent and name, and include
        each heartbeat as ``{'agent': '_', 'name': AGENT, 'message': '', 'updated': T}``.
        The squelches are those of :meth:`get_squelch_details`.
        """
        self._require_open()
        listed: list[types.Fault | types.DumpedHeartbeat] = []
        found: list[StoredSquelch] = []
        for part in self._snapshot():
            listed += [
                {"agent": "_", "name": name, "message": "", "updated": updated // agents.MICROSECONDS}
                for name, updated in part.heartbeats
            ]
            shown = [faults.shown(agent, fault) for agent, stored in part.faults for fault in stored]
            listed += cast(list[types.Fault], shown)
            found += part.squelches
        listed.sort(key=itemgetter("agent", "name"))
        return {"faults": listed, "squelches": [s.details() for s in squelches.by_regex(found)]}

    def close(self) -> None:
        """Release all resources; closing twice is not an error.

        Every other call then raises :exc:`~zc.cimaa.errors.StoreClosed`.
        """
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def _parsed(cls, config: Mapping[str, str]) -> Values:
        given = {key: text for key, text in config.items() if key != "class"}
        return options.parse("database", cls.options, given)

    def __repr__(self) -> str:
        shown = {option.name: option.shown(self.settings[option.name]) for option in self.options}
        return f"{type(self).__module__}.{type(self).__qualname__}({shown})"

    @property
    def instance(self) -> Instance:
        """The instance that reports: as given, or the current process (which may be a fork of the one that opened)."""
        return self._given_instance or agents.this_process()

    # What a backend must implement

    @abstractmethod
    def _open(self) -> None:
        """Prepare the store from ``self.settings``; it need not connect yet."""

    @abstractmethod
    def _close(self) -> None:
        """Release all resources.  Called once."""

    @abstractmethod
    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        """Set the agent's heartbeat to now if its row still has this digest and this instance's id.

        Return whether it did.  It should cost one small write for any number of faults.
        """

    @abstractmethod
    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        """Replace the agent's report atomically, even if others write at the same time.

        :func:`zc.cimaa.faults.changes` computes what to write, and
        :func:`zc.cimaa.agents.reported` the agent's new row.
        """

    @abstractmethod
    def _remove_agent(self, agent: str) -> None:
        """Remove the agent's row and faults, atomically."""

    @abstractmethod
    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        """The agent's faults as stored, each with ``since``, in dicts that the caller may change."""

    @abstractmethod
    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        """Pairs of an agent's name and faults of it, as stored, in dicts that the caller may change.

        An agent may come several times, each time with other faults.
        """

    @abstractmethod
    def _rows(self) -> Iterable[tuple[str, Row]]:
        """Each agent's name and row."""

    @abstractmethod
    def _put_squelch(self, squelch: StoredSquelch) -> None:
        """Add the squelch, or replace the one with its regular expression."""

    @abstractmethod
    def _remove_squelch(self, regex: str) -> None:
        """Remove the squelch with this regular expression, if there is one."""

    @abstractmethod
    def _squelches(self) -> Iterable[StoredSquelch]:
        """All squelches, those that ended included."""

    @abstractmethod
    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        """The entries of this kind that have not expired: all, those of an ``owner``, or those with a ``key``."""

    @abstractmethod
    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        """Write the entry, or remove it (``None``), if its stored revision still is ``was``; return whether it did.

        ``None`` for ``was`` means that there is none; an entry that has expired counts as
        none.  It is durable when this returns.  A write that was already done, as the
        revision of ``becomes`` shows, succeeds when it is repeated.
        :func:`zc.cimaa.entries.permits` decides all this.
        """

    @abstractmethod
    def _snapshot(self) -> Iterable[Snapshot]:
        """Everything, in parts, as it was at one moment where the store can tell; heartbeats may be a little older."""

    # What a backend may implement, if its store can do better or has its own clock

    @classmethod
    def inherited(cls, settings: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:  # noqa: ARG003  # most have none
        """Options that are not set, but that the driver finds elsewhere: by name, the text and its source.

        ``cimaa config`` shows them; ``settings`` has the value of each option.
        """
        return {}

    def _now(self) -> int:
        """The store's time in microseconds since the epoch."""
        return int(self._clock() * agents.MICROSECONDS)

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[FaultDict]:
        """See :meth:`find_faults`; the pattern is valid."""
        stored = self._all_faults() if agent is None else [(agent, list(self._agent_faults(agent)))]
        if severity is not None:
            stored = ((name, [one for one in listed if one["severity"] >= severity]) for name, listed in stored)
        if pattern is not None:
            search = squelches.searching(pattern)
            stored = ((name, [one for one in listed if search(one["name"])]) for name, listed in stored)
        return faults.worst_first(stored, limit)

    def _shown_agents(self) -> Iterable[types.Agent]:
        """See :meth:`get_agents`; in any order."""
        return (agents.shown(name, row, agents.instances(row)) for name, row in self._rows())

    def _rows_of_several(self) -> Iterable[tuple[str, Row]]:
        """The rows of at least those agents for which several instances reported."""
        return self._rows()

    def _heartbeats(self) -> Iterable[tuple[str, int]]:
        """Each agent's name and the time of its last report (microseconds)."""
        return ((name, row.updated) for name, row in self._rows())

    def _old_agents(self, age: float) -> list[types.Heartbeat]:
        """See :meth:`old_agents`."""
        latest = agents.latest_old(age, self._now())
        return _sorted(pair for pair in self._heartbeats() if pair[1] <= latest)

    def _offline_agents(self, seen_within: float, silent_for: float) -> list[types.Heartbeat]:
        """See :meth:`offline_agents`."""
        now = self._now()
        beats = self._heartbeats()
        return _sorted(pair for pair in beats if agents.is_offline(pair[1], seen_within, silent_for, now))

    def _double_agents(self, within: float) -> list[types.Agent]:
        """See :meth:`double_agents`."""
        now = self._now()
        doubles = ((name, row, agents.rivals(row, within, now)) for name, row in self._rows_of_several())
        return sorted((agents.shown(name, row, seen) for name, row, seen in doubles if seen), key=_NAME)

    def _add(self, entries: Iterable[Entry]) -> int:
        """Write the entries that are not there yet; return how many these were."""
        return sum(self._swap(entry.kind, entry.owner, entry.key, None, entry) for entry in entries)

    # Helpers of this class alone

    def _lease_entry(self, name: str) -> Entry | None:
        return next(iter(self._entries(leases.KIND, "", name)), None)

    def _known_lease(self, name: str, holder: str) -> Entry | None:
        """The lease's entry as this handle wrote it for ``holder``, or else as it is stored."""
        entry = self._held.get(name)
        return entry if entry is not None and leases.is_held_by(entry, holder) else self._lease_entry(name)

    def _swap_lease(self, name: str, was: Entry | None, becomes: Entry | None) -> bool:
        return self._swap(leases.KIND, "", name, None if was is None else was.revision, becomes)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"this {type(self).__module__} store has been closed")


_NAME = itemgetter("name")
# How often a change of a lease is tried if others write at the same time.  Each time, one of them succeeds.
_ATTEMPTS = 100

# Within the class, the parameter of set_faults hides the module faults.
_report, _encode_unvalidated = faults.report, faults.encode_unvalidated


def _sorted(heartbeats: Iterable[tuple[str, int]]) -> list[types.Heartbeat]:
    return [agents.heartbeat(name, updated) for name, updated in sorted(heartbeats)]


def _contended(lease: str) -> StoreUnavailable:
    return StoreUnavailable(f"the lease {quoted(lease)} is changed too often by others: try again")


def _seconds(what: str, number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidInput(f"{what} must be a number of seconds, not {number!r}")
    if not 0 <= number <= limits.INTEGER_MAX:
        # The number is not quoted: Python refuses to convert very long ones to text.
        raise InvalidInput(f"{what} must be a number of seconds from 0 to {limits.INTEGER_MAX}")
    return number
