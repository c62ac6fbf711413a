"""A store in the memory of one process: the smallest correct backend, and the model that others are tested against."""

import threading
from collections.abc import Iterable
from copy import deepcopy
from typing import ClassVar
from weakref import WeakValueDictionary

from . import agents, entries, faults
from .agents import Instance, Row
from .db import DB as Contract
from .db import Snapshot
from .entries import Entry
from .faults import FaultDict, Report
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

    @classmethod
    def named(cls, name: str) -> "Store":
        """The store of this name; it exists while any handle has it open."""
        with cls._naming:
            return cls._named.setdefault(name, cls())


class DB(Contract):
    """A store in the memory of this process; it is lost when the process ends."""

    options = (
        Option("name", "handles of one process with the same name share one store; without a name, each has its own"),
    )

    def _open(self) -> None:
        name = self.settings["name"]
        self._store = Store() if name is None else Store.named(name)

    def _close(self) -> None:
        self._store = Store()

    def _touch(self, agent: str, digest: str, instance: str) -> bool:
        with self._store.lock:
            row = self._store.rows.get(agent)
            if row is None or (row.digest, row.instance) != (digest, instance):
                return False
            self._store.rows[agent] = row._replace(updated=self._now())
            return True

    def _replace(self, agent: str, report: Report, instance: Instance) -> None:
        with self._store.lock:
            now = self._now()
            row = agents.reported(self._store.rows.get(agent), report.digest, instance, now)
            stored = {fault["name"]: fault for fault in self._store.faults.get(agent, ())}
            changes = faults.changes(stored.values(), report, now // agents.MICROSECONDS)
            for name in changes.removed:
                del stored[name]
            stored |= {fault["name"]: fault for fault in changes.put}
            self._store.faults[agent] = list(stored.values())
            self._store.rows[agent] = row

    def _remove_agent(self, agent: str) -> None:
        with self._store.lock:
            self._store.rows.pop(agent, None)
            self._store.faults.pop(agent, None)

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
            self._store.squelches[squelch.regex] = squelch

    def _remove_squelch(self, regex: str) -> None:
        with self._store.lock:
            self._store.squelches.pop(regex, None)

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

    def _snapshot(self) -> Iterable[Snapshot]:
        with self._store.lock:
            heartbeats = [(agent, row.updated) for agent, row in self._store.rows.items()]
            stored = deepcopy(self._store.faults)
            return [Snapshot(heartbeats, stored.items(), list(self._store.squelches.values()))]
