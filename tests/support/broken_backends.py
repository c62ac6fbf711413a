"""Backends that break a promise, each in one way, and the number of the promise; and one that breaks none.

Not collected by itself: test_conformance_is_strict.py runs it, and wants to see it fail.
"""

import functools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from zc.cimaa import agents, faults, memory
from zc.cimaa.agents import Instance, Touch
from zc.cimaa.db import Snapshot
from zc.cimaa.entries import Entry
from zc.cimaa.faults import FaultDict, Report
from zc.cimaa.history import Event
from zc.cimaa.leases import Lease
from zc.cimaa.squelches import StoredSquelch
from zc.cimaa.testing import Conformance, Opener


class BreaksNone(memory.DB):
    """The model itself."""

    breaks = 0


class ForgetsToRemove(memory.DB):
    """Adds and changes faults, but does not remove any."""

    breaks = 1

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = list(self._agent_faults(agent))
        woken = super()._replace(agent, report, instance, within, unmark)
        now = {fault["name"] for fault in self._store.faults[agent]}
        self._store.faults[agent] += [fault for fault in before if fault["name"] not in now]
        return woken


class TouchesBlindly(memory.DB):
    """Refreshes the heartbeat without comparing the digest."""

    breaks = 1

    def _touch(self, agent: str, touch: Touch) -> bool:
        row = self._store.rows.get(agent)
        return row is not None and super()._touch(agent, touch._replace(digest=row.digest))


class TouchesForAnybody(memory.DB):
    """Compares the digest, but not the instance."""

    breaks = 17

    def _touch(self, agent: str, touch: Touch) -> bool:
        row = self._store.rows.get(agent)
        return row is not None and super()._touch(agent, touch._replace(instance=row.instance))


class LosesHeartbeats(memory.DB):
    """Returns that it touched, but does not."""

    breaks = 12

    def _touch(self, agent: str, touch: Touch) -> bool:
        row = self._store.rows.get(agent)
        return row is not None and touch.holds(row, self._now())


class DropsEmptyTexts(memory.DB):
    """Does not store empty texts, as early versions of DynamoDB."""

    breaks = 4

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return [
            {key: value for key, value in fault.items() if value != "" or key == "message"}
            for fault in super()._agent_faults(agent)
        ]


class TakesTrueForOne(memory.DB):
    """Compares like Python: True equals 1."""

    breaks = 4

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = {fault["name"]: fault for fault in self._agent_faults(agent)}
        woken = super()._replace(agent, report, instance, within, unmark)
        self._store.faults[agent] = [
            before[fault["name"]] if before.get(fault["name"]) == fault else fault
            for fault in self._store.faults[agent]
        ]
        return woken


class BeginsAnew(memory.DB):
    """Sets since again whenever a fault changes."""

    breaks = 21

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = {fault["name"]: fault for fault in self._agent_faults(agent)}
        woken = super()._replace(agent, report, instance, within, unmark)
        for fault in self._store.faults[agent]:
            if before.get(fault["name"]) != fault:
                fault["since"] = self._now() // agents.MICROSECONDS
        return woken


class WritesInTwoSteps(memory.DB):
    """Removes, lets a reader run, and adds."""

    breaks = 29

    looked = threading.Event()

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        kept = self._store.faults.pop(agent, [])
        for _ in range(2):  # the first may have looked before
            self.looked.clear()
            self.looked.wait(0.05)
        self._store.faults[agent] = kept
        return super()._replace(agent, report, instance, within, unmark)

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        found = super()._agent_faults(agent)
        self.looked.set()
        return found


class RemovesByPrefix(memory.DB):
    """Removes an agent, and others whose names begin with its name."""

    breaks = 10

    def _remove_agent(self, agent: str, user: str | None) -> None:
        for name in [name for name in self._store.rows if name.startswith(agent)]:
            super()._remove_agent(name, user)


class IgnoresTheEnd(memory.DB):
    """Stores squelches without expires."""

    breaks = 24

    def _put_squelch(self, squelch: StoredSquelch) -> None:
        super()._put_squelch(squelch._replace(expires=None))


class DumpsWithoutHeartbeats(memory.DB):
    """Leaves agents without faults out of the dump."""

    breaks = 26

    def _snapshot(self) -> Iterable[Snapshot]:
        for part in super()._snapshot():
            yield part._replace(heartbeats=[one for one in part.heartbeats if self._store.faults[one[0]]])


class WritesBeforeItChecks(memory.DB):
    """Refreshes the heartbeat before it validates the report."""

    breaks = 7

    def set_faults(self, agent: str, faults: Iterable[FaultDict], within: int | None = None) -> None:
        if row := self._store.rows.get(agent):
            self._store.rows[agent] = row._replace(updated=self._now())
        super().set_faults(agent, faults, within)


class TakesRestartsForDoubles(memory.DB):
    """Returns all recent instances as rivals."""

    breaks = 18

    def _double_agents(self, within: float) -> list[dict[str, Any]]:
        return [agents.shown(name, row, row.instances) for name, row in sorted(self._rows()) if len(row.instances) > 1]


class KeepsTimesInSeconds(memory.DB):
    """Rounds heartbeats, so that the order of two reports in one second is lost."""

    breaks = 18

    def _now(self) -> int:
        return super()._now() // agents.MICROSECONDS * agents.MICROSECONDS


class GivesItsOwn(memory.DB):
    """Returns its own objects, which the caller may change."""

    breaks = 8

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return self._store.faults.get(agent, [])


class FoldsCase(memory.DB):
    """Ignores the case of names, as some databases do."""

    breaks = 10

    def _agent_faults(self, agent: str) -> Iterable[FaultDict]:
        return [fault for name, faults in self._all_faults() if name.lower() == agent.lower() for fault in faults]


class OldByOneMore(memory.DB):
    """Excludes the limit of an age."""

    breaks = 13

    def _old_agents(self, age: float) -> list[dict[str, Any]]:
        now = self._now()
        beats = [(name, row) for name, row in sorted(self._rows()) if row.updated < now - age * agents.MICROSECONDS]
        return [agents.heartbeat(name, row.updated) for name, row in beats]


class MixesUpThreads(memory.DB):
    """Keeps data of a call where another thread overwrites it."""

    breaks = 28

    company = threading.Barrier(2)

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        self._report = report
        try:
            self.company.wait(0.1)
        except threading.BrokenBarrierError:
            self.company.reset()
        return super()._replace(agent, self._report, instance, within, unmark)


class StaysOpen(memory.DB):
    """Works after it was closed."""

    breaks = 27

    def close(self) -> None:
        pass


class LimitsBeforeItSorts(memory.DB):
    """Applies the limit before sorting."""

    breaks = 20

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[FaultDict]:
        found = super()._find_faults(agent, severity, pattern, None)
        chosen = sorted(found, key=lambda fault: (fault["agent"], fault["name"]))[:limit]
        return faults.worst_first((fault["agent"], [fault]) for fault in chosen)


class MatchesFromTheStart(memory.DB):
    """Anchors a pattern at the start of the name."""

    breaks = 22

    def _find_faults(
        self, agent: str | None, severity: int | None, pattern: str | None, limit: int | None
    ) -> list[FaultDict]:
        return super()._find_faults(agent, severity, None if pattern is None else f"^(?:{pattern})", limit)


class ForgetsWhoElse(memory.DB):
    """Keeps only the last instance once a fault changed; the random histories find it, too."""

    breaks = 31

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        changed = agent in self._store.rows and self._store.rows[agent].digest != report.digest
        woken = super()._replace(agent, report, instance, within, unmark)
        row = self._store.rows[agent]
        if changed:
            only = tuple(seen for seen in row.instances if seen.instance == instance)
            self._store.rows[agent] = row._replace(instances=only)
        return woken


class SwapsWithoutCondition(memory.DB):
    """Writes entries without comparing their revision."""

    breaks = 41

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        found = next(iter(self._entries(kind, owner, key)), None)
        return super()._swap(kind, owner, key, found and found.revision, becomes)


class DeniesWhatItDid(memory.DB):
    """Does not recognize a write that is repeated."""

    breaks = 42

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        found = next(iter(self._entries(kind, owner, key)), None)
        return (found and found.revision) == was and super()._swap(kind, owner, key, was, becomes)


class SharesValues(memory.DB):
    """Returns its own objects as values of entries."""

    breaks = 43

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return [one for one in self._store.entries.values() if one.is_one_of(kind, owner, key)]


class FindsEntriesByPrefix(memory.DB):
    """Finds entries of owners whose names begin alike."""

    breaks = 44

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        return [one for one in super()._entries(kind, None, key) if one.owner.startswith(owner or "")]


class KeepsExpiredEntries(memory.DB):
    """Takes entries that have expired for present."""

    breaks = 45

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        stored = self._store.entries.get((kind, owner, key))
        return (stored and stored.revision) == was and super()._swap(kind, owner, key, was, becomes)


class CountsAllAdded(memory.DB):
    """Counts the entries that were there already."""

    breaks = 46

    def _add(self, entries: Iterable[Entry]) -> int:
        listed = list(entries)
        super()._add(listed)
        return len(listed)


class ReadsThenWrites(memory.DB):
    """Looks at the revision, lets others run, and writes."""

    breaks = 47

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        found = next(iter(self._entries(kind, owner, key)), None)
        if (found and found.revision) != was:
            return False
        time.sleep(0.002)
        now = next(iter(self._entries(kind, owner, key)), None)
        return super()._swap(kind, owner, key, now and now.revision, becomes)


class ForgetsTokens(memory.DB):
    """Removes a lease when it is released."""

    breaks = 50

    def release(self, name: str, holder: str) -> bool:
        return super().release(name, holder) and self.forget_lease(name)


class EndsEarly(memory.DB):
    """Returns a lease's end too early."""

    breaks = 48

    def _entries(self, kind: str, owner: str | None = None, key: str | None = None) -> Iterable[Entry]:
        for one in super()._entries(kind, owner, key):
            yield one._replace(value={**one.value, "until": one.value["until"] - 5}) if kind == "lease" else one


class LosesStates(memory.DB):
    """Removes the state of a lease when another takes it."""

    breaks = 51

    def lease(self, name: str, holder: str, seconds: float, *, state: Any = None) -> Lease:
        return super().lease(name, holder, seconds, state=state)


class NeverExpires(memory.DB):
    """Stores entries without expires; the random histories find it, too."""

    breaks = 55

    def _swap(self, kind: str, owner: str, key: str, was: str | None, becomes: Entry | None) -> bool:
        return super()._swap(kind, owner, key, was, becomes and becomes._replace(expires=None))


class RecordsEveryMessage(memory.DB):
    """Records a new message as an event."""

    breaks = 60

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = {fault["name"]: fault for fault in self._agent_faults(agent)}
        woken = super()._replace(agent, report, instance, within, unmark)
        at = self._store.rows[agent].written
        for fault in self._store.faults[agent]:
            if before.get(fault["name"], fault)["message"] != fault["message"]:
                self._record([Event(at, agent, "changed", fault["name"])])
        return woken


class RemovesTheHistory(memory.DB):
    """Deletes an agent's events with the agent."""

    breaks = 61

    def _remove_agent(self, agent: str, user: str | None) -> None:
        super()._remove_agent(agent, user)
        self._store.events = [event for event in self._store.events if event.agent != agent]


class IgnoresSilence(memory.DB):
    """Takes a report after a silence for a mere heartbeat."""

    breaks = 61

    def _touch(self, agent: str, touch: Touch) -> bool:
        row = self._store.rows.get(agent)
        if row is None or not touch.holds(row, row.updated):
            return False
        self._store.rows[agent] = row._replace(updated=self._now())
        return True


class TrustsTheClock(memory.DB):
    """Gives events the time of the clock, even if that was set back."""

    breaks = 64

    def _record(self, events: Iterable[Event]) -> None:
        super()._record(event._replace(time=self._now()) for event in events)


class HidesTheGap(memory.DB):
    """Claims a complete history though a program wrote that keeps none."""

    breaks = 67

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = self._store.rows.get(agent)
        woken = super()._replace(agent, report, instance, within, unmark)
        if before is not None:
            self._store.rows[agent] = self._store.rows[agent]._replace(recorded=before.recorded)
        return woken


class NeverAnswers(memory.DB):
    """Touches the rows of agents that were woken."""

    breaks = 80

    def _touch(self, agent: str, touch: Touch) -> bool:
        return super()._touch(agent, touch._replace(unmarked=False))


class AnswersTwice(memory.DB):
    """Does not remove the mark."""

    breaks = 80

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        woken = super()._replace(agent, report, instance, within, unmark)
        if woken:
            self._store.rows[agent] = self._store.rows[agent]._replace(marked=True)
        return woken


class AnswersTheWrongCall(memory.DB):
    """Removes the mark though nothing asked for it."""

    breaks = 81

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        return super()._replace(agent, report, instance, within, unmark=True)


class CountsWakingAsReport(memory.DB):
    """Refreshes the heartbeat of an agent that is woken."""

    breaks = 83

    def _wake(self, agents: Sequence[str]) -> int:
        for name in agents:
            if row := self._store.rows.get(name):
                self._store.rows[name] = row._replace(updated=self._now())
        return super()._wake(agents)


class WakesWhatIsGone(memory.DB):
    """Keeps the mark of an agent that is removed."""

    breaks = 84

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        marks = self._store.__dict__.setdefault("marks", set())
        woken = super()._replace(agent, report, instance, within, unmark)
        return woken or (agent in marks and not marks.discard(agent))

    def _remove_agent(self, agent: str, user: str | None) -> None:
        if (row := self._store.rows.get(agent)) and row.marked:
            self._store.__dict__.setdefault("marks", set()).add(agent)
        super()._remove_agent(agent, user)


class WakesOneAfterTheOther(memory.DB):
    """Marks the agents before an invalid one."""

    breaks = 85

    def wake(self, agents: Iterable[str]) -> int:
        return sum(super(WakesOneAfterTheOther, self).wake([name]) for name in agents)


class OverwritesMarks(memory.DB):
    """Looks at the mark, lets others run, and writes the row without it."""

    breaks = 86

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        before = self._store.rows.get(agent)
        time.sleep(0.002)
        super()._replace(agent, report, instance, within, unmark)
        self._store.rows[agent] = self._store.rows[agent]._replace(marked=False)
        return unmark and before is not None and before.marked


class ShowsWhatIsPast(memory.DB):
    """Shows events that are past their time."""

    breaks = 69

    def _history_start(self) -> int:
        return 0


BACKENDS = [cls for cls in memory.DB.__subclasses__() if cls.__module__ == __name__]


def suite(backend: type[memory.DB]) -> type[Conformance]:
    """The tests of a backend; for a broken one, only those of the promise that it breaks."""

    class Suite(Conformance):
        processes = False

        @pytest.fixture
        def opener(self, tmp_path: Path) -> Iterator[Opener]:
            opener = functools.partial(backend, {"name": str(tmp_path)})
            with opener():
                yield opener

    for name in dir(Conformance):
        if backend.breaks and name.startswith("test_") and not name.startswith(f"test_{backend.breaks:02}_"):
            setattr(Suite, name, None)
    return Suite


for backend in BACKENDS:
    globals()[f"Test{backend.__name__}"] = suite(backend)
