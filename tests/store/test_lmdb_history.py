"""The history in an LMDB file: kills, a full store, what is dropped, silence after a power failure, and its size."""

import os
import random
import resource
import signal
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import lmdb
import pytest

from tests.support.forks import finished, in_fork
from tests.support.long_form import times
from zc.cimaa import errors, history, memory
from zc.cimaa.agents import Instance
from zc.cimaa.db import DB as Contract
from zc.cimaa.lmdb import DB, event_log
from zc.cimaa.testing import Clock, fault
from zc.cimaa.testing.replay import replayed, state

START = 1_764_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400
HOST = Instance("host", None, "1", "Linux")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def quick_path(path: Path) -> Iterator[Path]:
    """On a file system in memory, if there is one: for many reports that need not survive a power failure."""
    if not os.access("/dev/shm", os.W_OK):
        yield path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory, "store")


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


def opened(path: Path, clock: Callable[[], float], **settings: str) -> DB:
    return DB({"path": str(path), **settings}, instance=HOST, clock=clock)


# Kills


def step_once(db: Contract, clock: Clock, step: int) -> None:
    """A report, a removal, or a squelch: always the same for the same step."""
    dice = random.Random(step)
    clock.now = START + step
    agent = f"agent{step % 3}"
    if step % 11 == 0:
        db.remove_agent(agent, user="ann")
    else:
        names = [name for name in "abcdef" if dice.random() < 0.5]
        db.set_faults(agent, [fault(name, dice.choice([30, 40, 50]), f"at {step // 2}") for name in names])


def report_steps(path: Path, first: int, pipe: int) -> None:
    clock = Clock(START)
    with opened(path, clock) as db:
        for step in range(first, first + 10_000):
            step_once(db, clock, step)
            os.write(pipe, b"%10d" % step)


def kill_after_a_while(path: Path, first: int, dice: random.Random) -> int:
    """Report from this step on in a process that is killed; return the last step that was acknowledged."""
    read, pipe = os.pipe()
    pid = in_fork(lambda: report_steps(path, first, pipe))
    os.close(pipe)
    with os.fdopen(read, "rb") as answers:
        acknowledged = answers.read(10)
        time.sleep(dice.random() * 0.01)
        os.kill(pid, signal.SIGKILL)
        assert finished(pid) == -signal.SIGKILL
        return int((acknowledged + answers.read())[-10:])


def test_after_a_kill_at_any_moment_the_history_equals_what_was_acknowledged(path: Path) -> None:
    """Many times; the memory backend takes the same steps, and says what was at each of them."""
    dice, clock, next_step = random.Random(15), Clock(START), 0
    model = memory.DB(instance=HOST, clock=clock)
    was: dict[int, tuple[dict[tuple[str, str], tuple[int, int]], list[str]]] = {}
    for _ in range(times(60, 200)):
        last = kill_after_a_while(path, next_step, dice)
        for step in range(next_step, last + 1):
            step_once(model, clock, step)
            was[step] = state(model.find_faults()), [one["message"] for one in model.faults_at(int(clock.now))]
        with opened(path, clock) as db:
            next_step = last + 1
            if db.dump() != model.dump():  # the next step was not acknowledged, but is there
                step_once(model, clock, next_step)
                next_step += 1
            assert db.dump() == model.dump()
            assert db.get_history() == model.get_history()
            assert replayed(db.get_history()) == state(db.find_faults())
            for step in dice.sample([*was], min(5, len(was))):
                found = db.faults_at(START + step)
                assert (state(found), [one["message"] for one in found]) == was[step]
    assert len(was) > times(60, 200)


# A full store


def change(db: DB, number: int, agents: int, text: str = "m") -> None:
    """One report in a series of which each has events."""
    faults = [fault("f", 40, text)] if number // agents % 2 else [fault("f", 50, text), fault("g", 30, text)]
    db.set_faults(f"agent{number % agents}", faults)


def used(path: Path) -> int:
    """The bytes of the pages that are in use."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        status = environment.stat()
    return int((status["branch_pages"] + status["leaf_pages"] + status["overflow_pages"]) * status["psize"])


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_a_full_history_makes_no_report_fail(quick_path: Path, clock: Clock, size: int) -> None:
    """The oldest events go before the map is three quarters full; what is left is the truth."""
    with opened(quick_path, clock, map_size=f"{size}KiB") as db:
        for number in range(size):
            clock.now += 10
            change(db, number, 3, "m" * 1000)
        began, history_start = db.get_history()[0]["time"], db.history_start()
        assert START < history_start <= began // 10**6 + 1
        with pytest.raises(errors.HistoryIncomplete, match=f"the history begins at {history_start}"):
            db.faults_at(history_start - 1)
        assert {one["agent"] for one in db.faults_at(history_start)} == {"agent0", "agent1", "agent2"}
        assert state(db.faults_at(int(clock.now))) == state(db.find_faults())
    assert used(quick_path) <= 3 * size * 1024 / 4


@pytest.mark.parametrize("size", [400, 512, 700, 1000])
def test_events_that_are_larger_than_their_share_make_no_report_fail(path: Path, clock: Clock, size: int) -> None:
    """An agent with many faults that all end: the history is right, or says that it is incomplete."""
    with opened(path, clock, map_size=f"{size}KiB") as db:
        faults = [fault(f"f{number}", message="m" * 1000) for number in range(180)]
        for report in (faults, [], [fault("g")]):
            db.set_faults("agent", report)
            assert len(db.find_faults()) == len(report)
            clock.now += 10
        assert state(db.faults_at(int(clock.now))) == {("agent", "g"): (40, START + 20)}
        for moment, number in ((START, 180), (START + 10, 0)):
            try:
                assert len(db.faults_at(moment)) == number
            except errors.HistoryIncomplete:
                assert size < 1000


def test_on_a_full_disk_the_history_makes_room_for_squelches_and_leases_too(quick_path: Path, clock: Clock) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        with opened(quick_path, clock) as db:
            for number in range(1000):
                clock.now += 10
                db.squelch("full$", f"{number} " + "r" * 1000, "jane")
                db.lease("backup", "host1", 60, state=number)
            assert START < db.history_start() < clock.now
            assert [squelch["time"] for squelch in db.squelches_at(int(clock.now))] == [clock.now]
            assert db.get_leases()[0].state == 999

    assert finished(in_fork(limited)) == 0


@pytest.mark.parametrize("number", range(4, 14))
def test_an_agent_is_removed_from_a_store_that_has_no_room_for_its_history(
    path: Path, clock: Clock, number: int
) -> None:
    """It says so, instead of showing that the agent had no faults."""
    faults = [fault(f"{index}", message="m" * 900) for index in range(10 * number)]
    with opened(path, clock, map_size="256KiB") as db:
        db.set_faults("agent", faults)
        clock.now += 10
        db.remove_agent("agent", user="ann")
        assert db.get_agents() == []
        assert db.get_history()[-1]["kind"] == "removed"
        assert db.faults_at(int(clock.now)) == []
        if any(event["kind"] == "ended" for event in db.get_history()):
            assert len(db.faults_at(START + 5)) == len(faults)
        else:
            with pytest.raises(errors.HistoryIncomplete):
                db.faults_at(START + 5)


# What is dropped


def test_events_past_their_time_go_with_later_changes(path: Path, clock: Clock) -> None:
    """A few with each, so that no report takes long; reports without an event drop nothing."""
    with opened(path, clock, history="1d") as db:
        for number in range(40):
            clock.now += 1
            change(db, number, 4)
        clock.now += 2 * DAY
        assert db.expired_history()
        change(db, 39, 4, "another message is not an event")
        counts = []
        for number in range(40, 53):
            clock.now += 1
            change(db, number, 4)
            counts.append(db._environment.read(lambda transaction: transaction.stat()["entries"]))
        assert not db.expired_history()
        assert max(before - after for before, after in pairwise(counts)) <= 8


def test_what_was_dropped_is_not_claimed_later(path: Path, clock: Clock) -> None:
    """With a longer retention, or after the clock was set back."""
    with opened(path, clock, history="1d") as db:
        db.set_faults("agent", [fault("f")])
        clock.now += 3 * DAY
        db.set_faults("agent", [])
        assert db.get_history(since=0)[0]["kind"] == "ended"
    with opened(path, clock, history="90d") as db:
        assert db.history_start() == START + 1
        with pytest.raises(errors.HistoryIncomplete, match=f"the history begins at {START + 1}"):
            db.faults_at(START)
        assert len(db.faults_at(START + 1)) == 1
        clock.now = START
        assert db.history_start() == START + 1


def test_events_are_forgotten_one_by_one(path: Path, clock: Clock) -> None:
    with opened(path, clock, history="1d") as db:
        db.set_faults("agent", [fault(name) for name in "abc"])  # four events in one record
        db.squelch("x", "r", "u")
        clock.now += 2 * DAY
        assert [db.prune_history(limit) for limit in (3, 0, 1, 7, 1)] == [3, 0, 1, 1, 0]
        assert not db.expired_history()
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        kept = [key for key in transaction.cursor().iternext(values=False) if key.startswith((b"h:", b"z:"))]
    assert kept == [b"z:"]


@pytest.mark.parametrize("value", [b"", b"5", b"[5]", b'[{"kind": "began"}]', b"[[]]", b'[["\xed"]]'])
def test_a_damaged_record_of_events_is_an_error_that_says_what_to_do(path: Path, clock: Clock, value: bytes) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"z:" + (START * 10**6).to_bytes(8, "big") + b"agent", value)
    clock.now += 10
    with opened(path, clock) as db:
        for read in (db.get_history, lambda: db.get_history("agent"), lambda: db.faults_at(START - 1)):
            with pytest.raises(errors.StoreIncompatible, match="a record that cannot be read"):
                read()
        db.set_faults("agent", [])


# Silence


def silences(db: DB) -> list[int]:
    return [event["since"] - START for event in db.get_history(kinds=["returned"])]


def test_the_heartbeat_of_the_slot_ends_a_silence(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        for seconds in (0, 50, 100, 150, 211, 260, 330):
            clock.now = START + seconds
            db.set_faults("agent", [], within=60)
    with opened(path, clock) as db:
        assert silences(db) == [150, 260]


@pytest.mark.parametrize("damage", ["deleted", "of an earlier boot"])
def test_after_a_power_failure_a_silence_must_be_longer(path: Path, clock: Clock, damage: str) -> None:
    """By 15 minutes: later heartbeats may have been lost."""
    for away, expected in ((60 + 15 * MINUTE, []), (61 + 15 * MINUTE, [0 if damage == "deleted" else 30])):
        clock.now = START
        with opened(path, clock) as db:
            db.remove_agent("agent")
            db.set_faults("agent", [], within=60)
            clock.now += 30
            db.set_faults("agent", [], within=60)
        if damage == "deleted":
            (path / "heartbeats").unlink()
        else:
            slots = bytearray((path / "heartbeats").read_bytes())
            slots[20:28] = b"otherone"
            (path / "heartbeats").write_bytes(slots)
        clock.now = START + away + expected[0] if expected else START + away
        with opened(path, clock) as db:
            before = silences(db)
            db.set_faults("agent", [], within=60)
            assert silences(db)[len(before) :] == expected


# Size and speed


def fill(path: Path, events: int, agents: int = 100) -> None:
    """Store this number of events of ordinary size, a minute apart, as :meth:`DB.set_faults` does."""
    with opened(path, lambda: START, map_size="1GiB") as db:
        db.get_agents()
    with (
        lmdb.open(str(path), map_size=2**30, sync=False, max_readers=1024) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number in range(events):
            agent = f"web-frontend-{number % agents:04}.fra1.example.com"
            at, name = (START + number) * 10**6, f"//{agent}/check-disk-usage#/var/lib/postgresql"
            message = "DISK CRITICAL - free space: /var/lib/postgresql 5121 MiB (3.2% inode=87%)"
            event = history.Event(at, agent, history.BEGAN, name, None, 50, START + number, message=message)
            event_log.append(transaction, [event])


def test_an_event_of_ordinary_size_takes_at_most_400_bytes(path: Path) -> None:
    fill(path, 1)
    before = used(path)
    fill(path, 20_000)
    assert (used(path) - before) / 20_000 <= 400


def test_memory_does_not_grow_with_what_is_passed_over(path: Path) -> None:
    fill(path, 20_000)
    peaks = {}
    with opened(path, lambda: START + DAY, map_size="1GiB") as db:
        for hours in (1, 5):
            tracemalloc.start()
            assert db.get_history(since=START, until=START + hours * HOUR, kinds=["removed"]) == []
            assert len(db.get_history(since=START, until=START + hours * HOUR, limit=1)) == 1
            peaks[hours] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peaks[5] < 1.5 * peaks[1] < 10_000_000


@pytest.mark.parametrize("agent", [None, "web-frontend-0007.fra1.example.com"])
def test_all_pages_of_events_are_read(path: Path, agent: str | None) -> None:
    fill(path, 10_000, agents=100 if agent is None else 8)
    with opened(path, lambda: START + DAY, map_size="1GiB") as db:
        found = db.get_history(agent, since=START + 100, until=START + 9_000)
        times = [event["time"] // 10**6 - START for event in found]
        assert times == [*range(100, 9_001)] if agent is None else [*range(103, 9_001, 8)]


def test_a_store_that_reports_for_a_year_stops_growing(quick_path: Path, clock: Clock) -> None:
    """With a window of 30 days, each of 20 agents has events twice a day."""
    sizes: list[int] = []
    for first, last in ((0, 31), (31, 365)):
        with opened(quick_path, clock, history="30d") as db:
            for number in range(first * 40, last * 40):
                clock.now += DAY / 40
                change(db, number, 20)
        sizes += (quick_path / "data.mdb").stat().st_blocks * 512, used(quick_path)
    assert sizes[2] <= 1.3 * sizes[0]
    assert sizes[3] <= 1.3 * sizes[1]
