"""The contract of a store: public methods that validate and format, and primitives that a backend implements.

Users of a store call the public methods of :class:`DB`, which are the same for every
backend.  A backend derives from :class:`DB` and implements the abstract methods, whose
names have a leading underscore: they get validated input, and return what is stored, in
any order.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from operator import itemgetter
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, cast
from uuid import uuid4

from . import agents, faults, history, leases, limits, options, squelches, types
from .agents import Instance, Row, Touch
from .entries import COMMAND, Entry
from .errors import HistoryIncomplete, InvalidInput, StoreClosed, StoreUnavailable
from .faults import FaultDict, Report
from .history import Event, Kept
from .leases import UNCHANGED, Lease
from .limits import check_text
from .options import DURATION, Option, Values
from .recent_reports import RecentReports
from .squelches import StoredSquelch
from .text import quoted

T = TypeVar("T")

#: How long events are kept: an option of every backend.
HISTORY = Option("history", "how long the store keeps what happened; 0s keeps no history", DURATION, "90d")

#: How long actions, with their commands and answers, are kept: an option of every backend.
ACTIONS = Option("actions", "how long the store keeps an action after the end of its window", DURATION, "30d")

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
    options: ClassVar[Sequence[Option]] = (HISTORY, ACTIONS)

    #: True if the store deletes events that are past their time by itself, at once or with later writes.
    deletes_history: ClassVar[bool] = False

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
        self._unanswered: set[str] = set()
        self._recent = RecentReports()
        self._open()

    # Agents and what they report

    def set_faults(self, agent: str, faults: Iterable[Mapping[str, Any]], within: int | None = None) -> None:
        """Replace the agent's faults and refresh its heartbeat, atomically.

        Each fault has the keys of :class:`~zc.cimaa.types.NewFault`, and may have
        extra keys with JSON values.  When the call returns, every process sees the
        report; it is durable if it changed a fault.  The caller's list and dicts are
        not changed.

        ``within`` says that the agent will report again within this time (whole seconds):
        see :meth:`late_agents`.  Without it, the agent has no time by which it is late.

        :raises InvalidAgent: if the name breaks a rule.
        :raises InvalidFault: if a fault, or the whole report, breaks a rule.
        :raises InvalidInput: if ``within`` is not a number of seconds.
        """
        self._set_report(agent, faults, within, unmark=False)

    def report(self, agent: str, faults: Iterable[Mapping[str, Any]], within: int | None = None) -> bool:
        """Replace the agent's faults as :meth:`set_faults` does; return whether it was woken since the last ``report``.

        No call of :meth:`wake` is lost: if it happens while a report is written, that report or
        the next one returns true.  After an error that may have lost the answer, the next
        report through this handle returns true.  A new process cannot know what an earlier
        one did not handle: it must act as if it had been woken when it starts.

        It raises the same errors as :meth:`set_faults`.
        """
        woken = self._set_report(agent, faults, within, unmark=True)
        if agent in self._unanswered:
            self._unanswered.discard(agent)
            return True
        return woken

    def wake(self, agents: Iterable[str]) -> int:
        """Mark these agents, so that the next :meth:`report` of each returns true; return how many of them exist.

        An agent that has never reported, or was removed, is ignored.  Calling it again before
        the agent reports has no further effect, and nothing else of the agent changes.

        :raises InvalidAgent: if a name breaks a rule; then none is marked.
        """
        self._require_open()
        if isinstance(agents, str):
            raise InvalidInput(f"wake takes a list of agents, not the text {quoted(agents)}")
        names = [*dict.fromkeys(map(_check_name, agents))]
        return self._wake(names) if names else 0

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
        _check_wanted(agent, severity, pattern, limit)
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

    def late_agents(self, otherwise: int | None = None) -> list[types.LateAgent]:
        """The agents whose next report is overdue by what they said in ``set_faults``, sorted by name.

        Each has ``name``, ``updated``, ``within``, and ``late``: for how many seconds it is
        overdue.  ``otherwise`` is the ``within`` (whole seconds) of agents that said nothing;
        without it, they are never late.

        :raises InvalidInput: if ``otherwise`` is not a number of seconds.
        """
        self._require_open()
        if otherwise is not None:
            agents.check_within(otherwise)
        return sorted(self._late_agents(otherwise), key=_NAME)

    def remove_agent(self, agent: str, user: str | None = None) -> None:
        """Remove the agent's faults, heartbeat and instances; an unknown agent is not an error.

        Its history remains, and says that ``user`` removed the agent.
        """
        self._require_open()
        self._remove_agent(agents.check_name(agent), _checked_user(user))

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

    def unsquelch(self, regex: str, user: str | None = None) -> None:
        """Remove the squelch with this regular expression; an unknown one is not an error.

        The history says that ``user`` removed it.
        """
        self._require_open()
        self._remove_squelch(squelches.check_regex(regex), _checked_user(user))

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
        """Remove the lease and its state, also if another holder has it; return whether there was one.

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

    # History

    def get_history(
        self,
        agent: str | None = None,
        pattern: str | None = None,
        since: int | None = None,
        until: int | None = None,
        kinds: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> list[types.PastEvent]:
        """What happened, in order of time (and of the agents' names); with a ``limit``, the latest events.

        The events can be filtered by ``agent`` (``_`` for those of squelches), by a regular
        expression that the name of the fault matches (``pattern``), by time (whole seconds,
        from ``since`` to ``until``, both included), and by kind.

        :raises InvalidInput: for an invalid argument.
        """
        self._require_open()
        _check_wanted(None if agent == history.SQUELCHES else agent, None, pattern, limit)
        for what, bound in (("since", since), ("until", until)):
            if bound is not None:
                _check_time(what, bound)
        wanted = None if kinds is None else _checked_kinds(kinds)
        found = self._events(agent, *self._period(since, until))
        if wanted is not None:
            found = (event for event in found if event.kind in wanted)
        if pattern is not None:
            search = squelches.searching(pattern)
            found = (event for event in found if event.fault and search(event.fault))
        return [event.shown() for event in reversed([*islice(found, limit)])]

    def faults_at(
        self,
        time: int,
        agent: str | None = None,
        severity: int | None = None,
        pattern: str | None = None,
        limit: int | None = None,
        without: Collection[str] = (),
    ) -> list[types.FoundFault]:
        """What :meth:`find_faults` returned at the end of the second ``time``, without extra keys.

        The message of a fault is that of its last event by then.  Agents in ``without`` are
        left out: it does not matter if their history is incomplete.

        :raises HistoryIncomplete: if the history does not reach back that far; the message names the agent whose
            history begins last, and the earliest time that can be asked for.
        :raises InvalidInput: for an invalid argument.
        """
        self._require_open()
        _check_wanted(agent, severity, pattern, limit)
        _check_time("time", time)
        self._require_history(time)
        moment = (time + 1) * agents.MICROSECONDS - 1
        search = None if pattern is None else squelches.searching(pattern)
        past: list[tuple[str, list[FaultDict]]] = []
        unsure: dict[str, dict[str, FaultDict]] = {}
        complete = {}
        for name, kept in ((name, kept) for name, kept in self._kept(agent, moment) if name not in without):
            complete[name] = history.complete_since(kept)
            stored = history.past_faults(kept)
            wanted = [one for one in stored if severity is None or one["severity"] >= severity]
            matching = [_without_extras(one) for one in wanted if search is None or search(one["name"])]
            past.append((name, matching))
            if those := history.unsure_messages(kept, matching):
                unsure[name] = those
        _require_complete(complete, moment)
        found = faults.worst_first(past, limit)
        if unsure:
            self._set_messages(_among(found, unsure), moment)
        return cast(list[types.FoundFault], found)

    def squelches_at(self, time: int) -> list[types.PastSquelch]:
        """The squelches that were in force at the end of the second ``time``, sorted by regular expression.

        :raises HistoryIncomplete: if the history does not reach back that far.
        :raises InvalidInput: for an invalid time.
        """
        self._require_open()
        _check_time("time", time)
        self._require_history(time)
        moment = (time + 1) * agents.MICROSECONDS - 1
        current = [*self._squelches()]
        events = self._events(history.SQUELCHES, moment + 1, limits.INTEGER_MAX)
        return [s.past() for s in squelches.by_regex(history.past_squelches(current, events, moment))]

    def history_start(self) -> int:
        """The earliest time (whole seconds) for which the store may have history."""
        self._require_open()
        return -(-self._history_start() // agents.MICROSECONDS)

    def expired_history(self, grace: int = 0) -> bool:
        """True if the store has events that are past their time by more than ``grace`` (seconds)."""
        self._require_open()
        overdue = self._events(None, 0, self._history_start() - grace * agents.MICROSECONDS)
        return next(iter(overdue), None) is not None

    def count_expired_history(self) -> int:
        """The number of events that are past their time, and not deleted yet."""
        self._require_open()
        return self._count_events(self._history_start())

    def prune_history(self, limit: int = 1000) -> int:
        """Delete at most ``limit`` events that are past their time; return how many.

        If these are fewer, all entries that have expired are deleted, too; they are not counted.
        """
        self._require_open()
        number = self._forget(self._history_start(), limit)
        if number < limit:
            while self._forget_entries(_ENTRIES) == _ENTRIES:
                pass
        return number

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
    def _touch(self, agent: str, touch: Touch) -> bool:
        """Set the agent's heartbeat to now if ``touch`` holds for its row; return whether it did.

        It should cost one small write for any number of faults.
        """

    @abstractmethod
    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        """Replace the agent's report atomically, even if others write at the same time.

        :func:`zc.cimaa.history.replacement` computes what to write: row, faults and events.
        With ``unmark`` it removes the row's mark; return its ``woken``, which says whether
        there was one.  A mark that is set after the row was read must not be overwritten.
        """

    @abstractmethod
    def _wake(self, agents: Sequence[str]) -> int:
        """Mark the rows of these agents (each name once), where there are any; return how many have one.

        It is durable when it returns.
        """

    @abstractmethod
    def _remove_agent(self, agent: str, user: str | None) -> None:
        """Remove the agent's row and faults, and store the events of :func:`zc.cimaa.history.removal`, atomically."""

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
        """Add the squelch, or replace the one with its regular expression; store :func:`zc.cimaa.history.squelched`."""

    @abstractmethod
    def _remove_squelch(self, regex: str, user: str | None) -> None:
        """Remove the squelch with this regular expression, if there is one; store its event."""

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
        """Everything, in parts, as of one moment if the store can provide that; heartbeats may be a little older."""

    @abstractmethod
    def _events(self, agent: str | None, since: int, until: int) -> Iterable[Event]:
        """The events from ``since`` to before ``until`` (microseconds), the latest first, read as they are consumed.

        Those of one time come in reverse order: of their agents' names, and within one write.  ``agent`` may be ``_``.
        """

    @abstractmethod
    def _forget(self, until: int, limit: int) -> int:
        """Delete at most ``limit`` events before ``until`` (microseconds); return how many."""

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

    def _history_start(self) -> int:
        """The time (microseconds) before which events may have been deleted."""
        return self._now() - self._retention * agents.MICROSECONDS

    def _count_events(self, until: int) -> int:
        """The number of events before ``until`` (microseconds)."""
        return sum(1 for _ in self._events(None, 0, until))

    def _row(self, agent: str) -> Row | None:
        """The agent's row."""
        return next((row for name, row in self._rows() if name == agent), None)

    def _kept(self, agent: str | None, moment: int) -> Iterable[tuple[str, Kept]]:
        """Each agent that has a row, or an event after ``moment`` (microseconds): its row, faults and such events.

        What is returned of one agent is of one moment.
        """
        if agent is not None:
            return [(agent, self._kept_of(agent, moment))]
        before = dict(self._rows())
        stored = _grouped(self._all_faults())
        events = _grouped((event.agent, [event]) for event in self._events(None, moment + 1, limits.INTEGER_MAX))
        after = dict(self._rows())
        names = (before.keys() | after.keys() | events.keys()) - {history.SQUELCHES}
        found = ((name, Kept(after.get(name), stored[name], events[name])) for name in names)
        return (
            (name, kept if _same_write(before.get(name), kept) else self._kept_of(name, moment)) for name, kept in found
        )

    def _set_messages(self, missing: Mapping[str, dict[str, FaultDict]], moment: int) -> None:
        """Give faults, by agent and name, the messages of their last events by ``moment``, as far as there are some."""
        spans = {
            agent: min(fault["since"] for fault in named.values()) * agents.MICROSECONDS
            for agent, named in missing.items()
        }
        for agent, events in self._events_of(spans, moment + 1):
            history.set_messages(missing[agent], events)

    def _events_of(self, spans: Mapping[str, int], until: int) -> Iterable[tuple[str, Iterable[Event]]]:
        """Of each agent, its events from its time in ``spans`` to before ``until``, as :meth:`_events` gives them."""
        return ((agent, self._events(agent, since, until)) for agent, since in spans.items())

    def _late_agents(self, otherwise: int | None) -> Iterable[types.LateAgent]:
        """See :meth:`late_agents`; in any order."""
        now = self._now()
        return (late for name, row in self._rows() if (late := agents.late(name, row, now, otherwise)))

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

    def _count_commands(self, key: str) -> Iterable[tuple[str | None, bool, int]]:
        """How many commands with this key have which ``state``, and whether they have ``found`` something.

        A state that is not a text of at most 32 characters may count as another invalid one, or as ``None``.
        """
        values = (entry.value if isinstance(entry.value, dict) else {} for entry in self._entries(COMMAND, None, key))
        counted = Counter((_text(value.get("state")), value.get("found") is True) for value in values)
        return ((state, found, number) for (state, found), number in counted.items())

    def _read_units(self, size: int) -> int | None:  # noqa: ARG002  # most stores do not bill
        """What it costs to read an entry of this many bytes, in units of the store; ``None``: nothing is billed."""
        return None

    def _scan_units(self, kind: str) -> int | None:  # noqa: ARG002  # most stores do not bill
        """About what it costs to read all entries of this kind, in units of the store; ``None``: nothing is billed."""
        return None

    def _add(self, entries: Iterable[Entry]) -> int:
        """Write the entries that are not there yet; return how many these were."""
        return sum(self._swap(entry.kind, entry.owner, entry.key, None, entry) for entry in entries)

    def _forget_entries(self, limit: int) -> int:  # noqa: ARG002  # for the backends
        """Delete at most ``limit`` entries that have expired; return how many.

        0 if the store deletes them by itself.
        """
        return 0

    # For backends

    @cached_property
    def _keeps_history(self) -> bool:
        """False if the configuration says that nothing is recorded."""
        return self._retention > 0

    @cached_property
    def _retention(self) -> int:
        """How long (seconds) events are kept."""
        return int(self.settings.get(HISTORY.name, 0))

    # Helpers of this class alone

    def _set_report(self, agent: str, faults: Iterable[Mapping[str, Any]], within: int | None, unmark: bool) -> bool:
        """Write a report; return whether it removed a mark."""
        if self._closed:
            self._require_open()
        agents.check_name(agent)
        if within is not None:
            agents.check_within(within)
        instance = self._given_instance or agents.this_process()
        unvalidated = _encode_unvalidated(faults, self._recent.get(agent)) if isinstance(faults, list) else None
        if unvalidated is not None and self._touch(agent, Touch(unvalidated.digest, instance.id, within, unmark)):
            return False
        report = _report(agent, faults, unvalidated)
        if unvalidated is None and self._touch(agent, Touch(report.digest, instance.id, within, unmark)):
            return False
        self._recent.put(agent, report)
        try:
            return self._replace(agent, report, instance, within, unmark)
        except BaseException:  # it may have removed a mark
            if unmark:
                self._unanswered.add(agent)
            raise

    def _lease_entry(self, name: str) -> Entry | None:
        return next(iter(self._entries(leases.KIND, "", name)), None)

    def _known_lease(self, name: str, holder: str) -> Entry | None:
        """The lease's entry as this handle wrote it for ``holder``, or else as it is stored."""
        entry = self._held.get(name)
        return entry if entry is not None and leases.is_held_by(entry, holder) else self._lease_entry(name)

    def _swap_lease(self, name: str, was: Entry | None, becomes: Entry | None) -> bool:
        return self._swap(leases.KIND, "", name, None if was is None else was.revision, becomes)

    def _period(self, since: int | None, until: int | None) -> tuple[int, int]:
        """The microseconds of these seconds, both included, as far as there is history."""
        start = self._history_start()
        first = start if since is None else max(start, since * agents.MICROSECONDS)
        return first, limits.INTEGER_MAX if until is None else (until + 1) * agents.MICROSECONDS

    def _require_history(self, time: int) -> None:
        if not self._keeps_history:
            raise HistoryIncomplete(f"this store keeps no history: {HISTORY.name} in [database] is 0s")
        if time < (start := self.history_start()):
            raise HistoryIncomplete(f"the history begins at {start}: {time} is before that", start)

    def _kept_of(self, agent: str, moment: int) -> Kept:
        """What the store has of one agent; read again if it was written meanwhile."""
        row = self._row(agent)
        while True:
            stored = [*self._agent_faults(agent)]
            events = [*self._events(agent, moment + 1, limits.INTEGER_MAX)]
            before, row = row, self._row(agent)
            kept = Kept(row, stored, events)
            if _same_write(before, kept):
                return kept

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"this {type(self).__module__} store has been closed")


_NAME = itemgetter("name")
# How often a change of a lease is tried if others write at the same time.  Each time, one of them succeeds.
_ATTEMPTS = 100
# How many expired entries are deleted at once.
_ENTRIES = 1000
# What every stored fault has.
_ALWAYS = ("name", "severity", "message", "since")

# The latest time (seconds) whose microseconds every store can hold, and compare with others.
_LATEST = 2**62 // agents.MICROSECONDS

# Within the class, parameters hide the modules faults and agents.
_report, _encode_unvalidated = faults.report, faults.encode_unvalidated
_check_name = agents.check_name


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _grouped(pairs: Iterable[tuple[str, list[T]]]) -> dict[str, list[T]]:
    """What belongs to each name; nothing for other names."""
    found: dict[str, list[T]] = defaultdict(list)
    for name, listed in pairs:
        found[name] += listed
    return found


def _same_write(before: Row | None, kept: Kept) -> bool:
    """True if faults and events were read while the agent was not written: they belong together."""
    if before is None or kept.row is None:
        last = kept.events[0].kind if kept.events else history.REMOVED
        return before is kept.row and (last == history.REMOVED or not kept.faults)
    return before.written == kept.row.written


def _among(
    found: Iterable[FaultDict], unsure: Mapping[str, Mapping[str, FaultDict]]
) -> dict[str, dict[str, FaultDict]]:
    """By agent and name, those of the faults found that are among the unsure ones."""
    among: dict[str, dict[str, FaultDict]] = defaultdict(dict)
    for fault in found:
        if fault["name"] in unsure.get(fault["agent"], ()):
            among[fault["agent"]][fault["name"]] = fault
    return among


def _without_extras(fault: FaultDict) -> FaultDict:
    return fault if len(fault) == len(_ALWAYS) else {key: fault[key] for key in _ALWAYS}


def _require_complete(complete: Mapping[str, int | None], moment: int) -> None:
    """Check since when (microseconds) each agent's history is complete."""
    missing = {
        agent: None if since is None else -(-since // agents.MICROSECONDS)
        for agent, since in sorted(complete.items())
        if since is None or since > moment
    }
    if not missing:
        return
    agent, earliest = max(missing.items(), key=lambda item: limits.INTEGER_MAX if item[1] is None else item[1])
    if earliest is None:
        text = (
            f"the history of agent {agent!r} is incomplete: a program that keeps none wrote last;"
            " it is complete again from the agent's next change with one that does"
        )
    else:
        text = f"the history of agent {agent!r} begins at {earliest}: ask for that time or later"
    raise HistoryIncomplete(text, earliest, missing)


def _check_wanted(agent: str | None, severity: int | None, pattern: str | None, limit: int | None) -> None:
    """Check what faults or events are filtered by."""
    if agent is not None:
        agents.check_name(agent)
    if severity is not None and (not isinstance(severity, int) or isinstance(severity, bool)):
        raise InvalidInput(f"severity must be an integer, not {severity!r}")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise InvalidInput(f"limit must be a whole number, 0 or more, not {limit!r}")
    if pattern is not None:
        squelches.compiled(squelches.check_regex(pattern))


def _check_time(what: str, time: int) -> None:
    if not isinstance(time, int) or isinstance(time, bool):
        raise InvalidInput(f"{what} must be whole seconds since the epoch, not {time!r}")
    if not 0 <= time <= _LATEST:
        raise InvalidInput(f"{what} must be from 0 to {_LATEST} seconds since the epoch")


def _checked_kinds(kinds: Iterable[str]) -> frozenset[str]:
    # A text is a series of texts too, of one character each, and would find nothing.
    wanted = None if isinstance(kinds, str) or not isinstance(kinds, Iterable) else [*kinds]
    if wanted is None or not all(isinstance(kind, str) for kind in wanted):
        raise InvalidInput(f"kinds must be a list of texts, such as ['began'], not {kinds!r}")
    return frozenset(wanted)


def _checked_user(user: str | None) -> str | None:
    return None if user is None else check_text("the user", user, InvalidInput, most=limits.USER, empty=True)


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
