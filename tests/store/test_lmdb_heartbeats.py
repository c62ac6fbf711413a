"""Heartbeats of the LMDB backend: slots that wait for no disk, and the locks around them."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from tests.support.forks import finished, in_fork
from tests.support.long_form import times
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.lmdb import DB, waiting
from zc.cimaa.testing import Clock, fault

MINUTE = 60
HOST = Instance("host", None, "1", "Linux")
START = 1_764_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


def opened(path: Path, clock: Callable[[], float]) -> DB:
    return DB({"path": str(path)}, instance=HOST, clock=clock)


def heartbeats(db: DB) -> dict[str, int]:
    return {agent["name"]: agent["updated"] for agent in db.get_agents()}


# When the data file is written


def test_unchanged_reports_write_the_data_file_every_quarter_of_an_hour(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [fault("f")])
        data = (path / "data.mdb").read_bytes()
        written = []
        for minute in range(1, 61):
            clock.now = START + minute * MINUTE
            db.set_faults("agent", [fault("f")])
            assert heartbeats(db) == {"agent": clock.now}
            before, data = data, (path / "data.mdb").read_bytes()
            if data != before:
                written.append(minute)
        assert written == [16, 32, 48]


def test_every_read_shows_the_heartbeat_of_the_slot(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])
        clock.now += 120
        db.set_faults("agent", [])
        expected = {"name": "agent", "updated": clock.now}
        assert db.old_agents(0) == [expected]
        assert db.dump()["faults"] == [{"agent": "_", "message": "", **expected}]
        assert [(one["updated"], one["instances"][0]["last"]) for one in db.get_agents()] == [(clock.now, clock.now)]
        clock.now += 10
        assert db.offline_agents(60, 10) == [expected]


def test_rivals_are_seen_by_the_heartbeat_of_the_slot(path: Path, clock: Clock) -> None:
    """The first instance's last report is in the slot alone when the second one's report replaces the row."""
    with (
        opened(path, clock) as first,
        DB({"path": str(path)}, instance=HOST._replace(host="other"), clock=clock) as other,
    ):
        first.set_faults("agent", [])
        clock.now += 10
        other.set_faults("agent", [])
        clock.now += 10
        first.set_faults("agent", [])
        clock.now += 10
        first.set_faults("agent", [])
        clock.now += 10
        other.set_faults("agent", [])
        [double] = first.double_agents(MINUTE)
        assert {one["host"]: (one["first"], one["last"]) for one in double["instances"]} == {
            "host": (START, START + 30),
            "other": (START + 10, START + 40),
        }


# Clocks


def test_a_clock_that_was_set_back_is_believed_at_once(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])
        clock.now += 600
        db.set_faults("agent", [])
        for back in (500, 700, 86400):
            clock.now = START + 600 - back
            db.set_faults("agent", [])
            assert heartbeats(db) == {"agent": clock.now}


@pytest.mark.parametrize("step", [0, -100])
def test_no_heartbeat_of_an_earlier_life_counts(path: Path, clock: Clock, step: int) -> None:
    """The agent returns at the time at which it first came, or before: its slot has a later time."""
    with opened(path, clock) as db:
        db.set_faults("agent", [fault("f")])
        clock.now += 600
        db.set_faults("agent", [fault("f")])
        db.remove_agent("agent")
        assert heartbeats(db) == {}
        clock.now = START + step
        for agent in ("another", "agent"):  # the first of them gets the slot
            db.set_faults(agent, [fault("f")])
            assert heartbeats(db)[agent] == clock.now
        clock.now += 1
        for agent in ("another", "agent"):
            db.set_faults(agent, [fault("f")])
            assert heartbeats(db)[agent] == clock.now


def test_a_changed_report_outdates_the_slot_whatever_the_clock_says(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])
        clock.now += 600
        db.set_faults("agent", [])
        for step in (0, -1, -600, -1200):
            clock.now = START + 600 + step
            db.set_faults("agent", [fault("f", message=f"at {step}")])
            assert heartbeats(db) == {"agent": clock.now}


# The file


def damage_delete(file: Path) -> None:
    file.unlink()


def damage_truncate(file: Path) -> None:
    os.truncate(file, 33)


def damage_empty(file: Path) -> None:
    os.truncate(file, 0)


def damage_fill(file: Path) -> None:
    file.write_bytes(random.Random(12).randbytes(file.stat().st_size))


DAMAGES = [damage_delete, damage_truncate, damage_empty, damage_fill]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("closed", [True, False])
def test_without_its_slot_an_agent_has_the_heartbeat_of_its_row(
    path: Path, clock: Clock, damage: Callable[[Path], None], closed: bool
) -> None:
    db = opened(path, clock)
    names = [f"agent{number}" for number in range(100)]
    for minutes in (0, 10):
        clock.now = START + minutes * MINUTE
        for name in names:
            db.set_faults(name, [fault("f")])
    if closed:
        db.close()
        db = opened(path, clock)
    damage(path / "heartbeats")
    if damage is damage_delete and not closed:
        with pytest.raises(errors.StoreUnavailable, match="were deleted, or moved away: the next call"):
            db.set_faults("agent5", [fault("f")])
    expected = dict.fromkeys(names, START)
    if damage is damage_truncate:
        expected["agent0"] = clock.now
    assert heartbeats(db) == expected
    clock.now += MINUTE
    for name in names:
        db.set_faults(name, [fault("f")])
    assert heartbeats(db) == dict.fromkeys(names, clock.now)
    db.close()


def test_a_slot_of_the_right_revision_with_a_wrong_checksum_does_not_count(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])
        clock.now += 600
        db.set_faults("agent", [])
        with (path / "heartbeats").open("r+b") as file:
            file.seek(15)
            file.write(b"\x7f")
        assert heartbeats(db) == {"agent": START}


def test_slots_are_used_again(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        for life in range(50):
            for number in range(20):
                db.set_faults(f"agent{life}-{number}", [])
            for number in range(20):
                db.remove_agent(f"agent{life}-{number}")
    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as transaction:
        assert transaction.get(b"slots") == b"20"


# Processes


def stopping(calls: int, clock: Callable[[], float]) -> Callable[[], float]:
    """A clock that stops the process when it is read so often: a report reads it once it holds the agent's lock."""

    def read() -> float:
        nonlocal calls
        now = clock()
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return now

    return read


def stop_in_slot(write: Callable[[int, bytes, int], int] = os.pwrite) -> Callable[[int, bytes, int], int]:
    """Writes the first bytes of a slot, stops the process, and writes the others once it is continued."""

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        write(descriptor, data[:10], offset)
        os.kill(os.getpid(), signal.SIGSTOP)
        return 10 + write(descriptor, data[10:], offset + 10)

    return pwrite


@contextlib.contextmanager
def stopped_rival(path: Path, work: Callable[[], object]) -> Iterator[int]:
    pid = in_fork(work)
    try:
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.mark.parametrize("faults", [[fault("f")], [fault("f", message="changed")]])
def test_a_rival_that_is_stopped_in_a_report_is_named_and_destroys_nothing(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, object]]
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.1)
    with opened(path, clock) as db:
        for agent in ("agent", "another"):
            db.set_faults(agent, [fault("f")])

    def rival() -> None:
        with opened(path, stopping(1, lambda: START + 5)) as db:
            db.set_faults("agent", faults)

    with stopped_rival(path, rival) as pid, opened(path, clock) as db:
        clock.now += 60
        with pytest.raises(errors.StoreUnavailable, match=r"writing for this agent for more than .* is it stopped\?"):
            db.set_faults("agent", [fault("f")])
        db.set_faults("another", [fault("f")])
        assert heartbeats(db) == {"agent": START, "another": START + 60}
        os.kill(pid, signal.SIGCONT)
        assert finished(pid) == 0
        assert heartbeats(db)["agent"] == START + 5
        db.set_faults("agent", [fault("f")])
        assert heartbeats(db)["agent"] == START + 60


def test_a_rival_that_is_killed_in_a_report_leaves_its_lock(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])

    def rival() -> None:
        with opened(path, stopping(1, clock)) as db:
            db.set_faults("agent", [])

    with stopped_rival(path, rival) as pid, opened(path, clock) as db:
        os.kill(pid, signal.SIGKILL)
        clock.now += 60
        db.set_faults("agent", [])
        assert heartbeats(db) == {"agent": START + 60}


def test_a_reader_waits_for_a_slot_that_is_being_written(path: Path, clock: Clock) -> None:
    """The last acknowledged report began a minute before: an older heartbeat must not be shown."""
    with opened(path, clock) as db:
        for minute in range(6):
            clock.now = START + minute * MINUTE
            db.set_faults("agent", [])

    def rival() -> None:
        os.pwrite = stop_in_slot()  # type: ignore[assignment]
        with opened(path, lambda: START + 6 * MINUTE + 5) as db:
            db.set_faults("agent", [])

    found: list[int] = []
    with stopped_rival(path, rival) as pid, opened(path, clock) as db:
        reader = threading.Thread(target=lambda: found.append(heartbeats(db)["agent"]))
        reader.start()
        reader.join(0.05)  # let it find the slot torn; whenever it looks, it must not show less
        os.kill(pid, signal.SIGCONT)
        assert finished(pid) == 0
        reader.join()
    assert found == [START + 6 * MINUTE + 5]


def test_a_fork_does_not_keep_the_locks_of_a_parent_that_was_killed(path: Path, clock: Clock) -> None:
    with opened(path, clock) as db:
        db.set_faults("agent", [])
    read, written = os.pipe()

    def parent() -> None:
        blocked, inside = threading.Event(), threading.Event()

        def block() -> float:
            inside.set()
            blocked.wait()
            return 0

        with opened(path, block) as db:
            threading.Thread(target=lambda: db.set_faults("agent", []), daemon=True).start()
            inside.wait()
            child = in_fork(signal.pause)
            os.write(written, b"%d" % child)
            signal.pause()

    pid = in_fork(parent)
    child = int(os.read(read, 20))
    try:
        os.kill(pid, signal.SIGKILL)
        finished(pid)
        clock.now += 60
        with opened(path, clock) as db:
            db.set_faults("agent", [])
            assert heartbeats(db) == {"agent": START + 60}
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_list_that_was_interrupted_keeps_nobody_waiting(path: Path, clock: Clock) -> None:
    """As by Ctrl-C: what was read is still referred to by the traceback when the store is closed."""
    with opened(path, clock) as db:
        for number in range(10):
            db.set_faults(f"agent{number}", [])
        interrupted = iter(db._heartbeats())
        next(interrupted)
        with opened(path, clock) as larger:
            larger.set_faults("another", [fault("f")])
    with opened(path, clock) as db:
        assert len(db.get_agents()) == 11
    with pytest.raises(errors.StoreError):
        next(interrupted)


def test_heartbeats_and_reads_wait_for_no_writer(path: Path, clock: Clock) -> None:
    """Another process holds LMDB's write lock, and a thread of this one waits for it."""
    with opened(path, clock) as db:
        for agent in ("waiting", "agent"):
            db.set_faults(agent, [])
    ready, started = os.pipe()

    def hold() -> None:
        with lmdb.open(str(path)) as environment, environment.begin(write=True):
            os.write(started, b"x")
            signal.pause()

    pid = in_fork(hold)
    os.read(ready, 1)
    with opened(path, clock) as db:
        writer = threading.Thread(target=lambda: db.set_faults("waiting", [fault("f")]))
        writer.start()
        try:
            clock.now += 60
            db.set_faults("agent", [])
            assert heartbeats(db)["agent"] == START + 60
            assert db.get_faults("waiting") == []
            assert writer.is_alive()
        finally:
            os.kill(pid, signal.SIGKILL)
            finished(pid)
            writer.join()
        assert len(db.get_faults("waiting")) == 1


SCALE = 1000  # so that whole seconds show milliseconds, and a second has more than a quarter of an hour


def fast_clock() -> float:
    return time.time() * SCALE


def write_and_tell(path: Path, number: int, first: int, pipe: int) -> None:
    """Report for an agent, changed and unchanged; write the step and the start of each acknowledged report."""
    with opened(path, fast_clock) as db:
        step = first
        while True:
            start = int(fast_clock())
            db.set_faults(f"agent{number}", [fault("f", message=f"at step {step // 3}")])
            db.set_faults("together", [fault("f", message=f"agent{number}")])
            os.write(pipe, b"%10d %20d\n" % (step, start))
            step += 1


def test_kill_under_eight_writers_loses_nothing_that_was_acknowledged(path: Path) -> None:
    dice = random.Random(12)
    acknowledged = dict.fromkeys(range(8), (0, 0))
    writers: dict[int, tuple[int, int]] = {}

    def start(number: int) -> None:
        read, pipe = os.pipe()
        first = acknowledged[number][0] + 3
        writers[number] = in_fork(lambda: write_and_tell(path, number, first, pipe)), read
        os.close(pipe)

    for number in range(8):
        start(number)
    try:
        for _ in range(times(100, 300)):
            number = dice.randrange(8)
            pid, read = writers.pop(number)
            time.sleep(dice.random() * 0.01)
            os.kill(pid, signal.SIGKILL)
            assert finished(pid) == -signal.SIGKILL
            with os.fdopen(read, "rb") as answers:
                lines = answers.read().splitlines()
            if lines:
                step, began = map(int, lines[-1].split())
                acknowledged[number] = step, began
                with opened(path, fast_clock) as db:
                    [stored] = db.get_faults(f"agent{number}")
                    assert int(stored["message"].split()[-1]) in (step // 3, (step + 1) // 3)
                    found = heartbeats(db)
                assert found[f"agent{number}"] >= began
                assert found["together"] >= began
            start(number)
    finally:
        for pid, read in writers.values():
            os.kill(pid, signal.SIGKILL)
            finished(pid)
            os.close(read)
    assert sum(step for step, _ in acknowledged.values()) > times(300, 1000)
