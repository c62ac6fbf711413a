"""A store in the memory of one process: the smallest correct backend, and the model that others are tested against."""

import bisect
import threading
from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import islice
from operator import attrgetter
from typing import ClassVar
from weakref import WeakValueDictionary

from . import entries, history
from .agents import Instance, Row, Touch
from .db import DB as Contract
from .db import Snapshot
from .entries import Entry
from .faults import FaultDict, Report
from .history import Event
from .options import Option
from .squelches import StoredSquelch


class Store:
    """The data of one store, shared by its handles."""

    _named: ClassVar[WeakValueDictionary[str, "Store"]] = WeakValueDictionary()
    _naming: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: dict[str, Row] = {}
        self.faults: dict[str, list[FaultDict]] = {}
        self.squelches: dict[str, StoredSquelch] = {}
        self.entries: dict[tuple[str, str, str], Entry] = {}
        self.events: list[Event] = []

    @classmethod
    def named(cls, name: str) -> "Store":
        """The store of this name; it exists while any handle has it open."""
        with cls._naming:
            return cls._named.setdefault(name, cls())


class DB(Contract):
    """A store in the memory of this process; it is lost when the process ends."""

    options = (
        Option("name", "handles of one process with the same name share one store; without a name, each has its own"),
        *Contract.options,
    )

    deletes_history = True

    def _open(self) -> None:
        name = self.settings["name"]
        self._store = Store() if name is None else Store.named(name)

    def _close(self) -> None:
        self._store = Store()

    def _touch(self, agent: str, touch: Touch) -> bool:
        with self._store.lock:
            row, now = self._store.rows.get(agent), self._now()
            if row is None or not touch.holds(row, now):
                return False
            self._store.rows[agent] = row._replace(updated=now)
            return True

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        with self._store.lock:
            row, old = self._store.rows.get(agent), self._store.faults.get(agent, [])
            last = None if row else self._last(agent)
            new = history.replacement(
                *(agent, row, old, report, instance, within, self._now()),
                keep=self._keeps_history,
                last=last,
                unmark=unmark,
            )
            stored = {fault["name"]: fault for fault in old}
            for name in new.changes.removed:
                del stored[name]
            stored |= {fault["name"]: fault for fault in new.changes.put}
            self._store.faults[agent] = list(stored.values())
            self._store.rows[agent] = new.row
            self._record(new.events)
            return new.woken

    def _wake(self, agents: Sequence[str]) -> int:
        with self._store.lock:
            marked = {name: self._store.rows[name]._replace(marked=True) for name in agents if name in self._store.rows}
            self._store.rows |= marked
            return len(marked)

    def _remove_agent(self, agent: str, user: str | None) -> None:
        with self._store.lock:
            row, old = self._store.rows.pop(agent, None), self._store.faults.pop(agent, [])
            self._record(history.removal(agent, row, old, user, self._now()))

    def _record(self, events: Iterable[Event]) -> None:
        if self._keeps_history:
            for event in events:
                bisect.insort(self._store.events, event, key=_TIME_AND_AGENT)
            del self._store.events[: bisect.bisect_left(self._store.events, self._history_start(), key=_TIME)]

    def _last(self, agent: str) -> Event | None:
        return next((event for event in reversed(self._store.events) if event.agent == agent), None)

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        with self._store.lock:
            return deepcopy(self._store.faults.get(agent, []))

    def _all_faults(self) -> Iterable[tuple[str, list[FaultDict]]]:
        with self._store.lock:
            return deepcopy(self._store.faults).items()

    def _rows(self) -> Iterable[tuple[str, Row]]:
        with self._store.lock:
            return list(self._store.rows.items())

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        with self._store.lock:
            old = self._store.squelches.get(squelch.regex)
            self._store.squelches[squelch.regex] = squelch
            self._record(history.squelched(old, squelch, None, self._now(), self._last(history.SQUELCHES)))

    def _remove_squelch(self, regex: str, user: str | None) -> None:
        with self._store.lock:
            old = self._store.squelches.pop(regex, None)
            self._record(history.squelched(old, None, user, self._now(), self._last(history.SQUELCHES)))

    def _squelches(self) -> Iterable[StoredSquelch]:
        with self._store.lock:
            return list(self._store.squelches.values())

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        with self._store.lock:
            now = self._now()
            current = (entry for entry in self._store.entries.values() if entry.is_current(now))
            return [deepcopy(entry) for entry in current if entry.is_one_of(kind, owner, key)]

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        where = (kind, owner, key)
        with self._store.lock:
            if not entries.permits(self._store.entries.get(where), was, becomes, self._now()):
                return False
            self._store.entries.pop(where, None)
            if becomes is not None:
                self._store.entries[where] = deepcopy(becomes)
            return True

    def _forget_entries(self, limit: int) -> int:
        with self._store.lock:
            now = self._now()
            expired = (where for where, entry in self._store.entries.items() if not entry.is_current(now))
            found = [*islice(expired, limit)]
            for where in found:
                del self._store.entries[where]
            return len(found)

    def _snapshot(self) -> Iterable[Snapshot]:
        with self._store.lock:
            heartbeats = [(agent, row.updated) for agent, row in self._store.rows.items()]
            stored = deepcopy(self._store.faults)
            return [Snapshot(heartbeats, stored.items(), list(self._store.squelches.values()))]

    def _events(self, agent: str | None, since: int, until: int) -> Iterable[Event]:
        with self._store.lock:
            start = bisect.bisect_left(self._store.events, since, key=_TIME)
            end = bisect.bisect_left(self._store.events, until, key=_TIME)
            found = self._store.events[start:end]
        return (event for event in reversed(found) if agent in (None, event.agent))

    def _forget(self, until: int, limit: int) -> int:
        with self._store.lock:
            number = min(limit, bisect.bisect_left(self._store.events, until, key=_TIME))
            del self._store.events[:number]
            return number


_TIME, _TIME_AND_AGENT = attrgetter("time"), attrgetter("time", "agent")
