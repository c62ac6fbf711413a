"""Threads of one process that report to an LMDB store at the same time."""

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb
import pytest

from tests.support.forks import finished, in_fork
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.lmdb import DB
from zc.cimaa.lmdb.group_commit import GroupCommit, PendingChange
from zc.cimaa.testing import fault

HOST = Instance("host", None, "1", "Linux")
NAMES = [f"agent{number}" for number in range(8)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(path: Path, clock: Callable[[], float] | None = None, **settings: str) -> DB:
    return DB({"path": str(path), **settings}, instance=HOST, clock=clock)


def in_threads(work: Callable[[str], object], names: list[str] = NAMES) -> dict[str, Exception | None]:
    """Do the work for each name in a thread, and return the errors."""
    found: dict[str, Exception | None] = {}

    def run(name: str) -> None:
        try:
            work(name)
        except Exception as error:
            found[name] = error
        else:
            found[name] = None

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def transactions(path: Path) -> int:
    """How many transactions have written to the file."""
    with lmdb.open(str(path), readonly=True) as environment:
        number: int = environment.info()["last_txnid"]
    return number


@contextmanager
def blocked_writers(path: Path) -> Iterator[Callable[[], None]]:
    """Another process holds LMDB's write lock; the function that is returned makes it release it."""
    ready, held = os.pipe()

    def hold() -> None:
        with lmdb.open(str(path)) as environment, environment.begin(write=True):
            os.write(held, b"x")
            signal.pause()

    pid = in_fork(hold)
    os.read(ready, 1)
    try:
        yield lambda: os.kill(pid, signal.SIGKILL)
    finally:
        os.kill(pid, signal.SIGKILL)
        finished(pid)


def report_at_once(path: Path, work: Callable[[DB, str], object]) -> dict[str, Exception | None]:
    """Do the work in eight threads, which all wait for LMDB's write lock before one of them gets it."""
    begun, lock = [0], threading.Lock()
    all_begun = threading.Event()

    def clock() -> float:  # which a changed report reads last before it waits to write
        with lock:
            begun[0] += 1
            if begun[0] >= 2 * len(NAMES):  # once to compare, and once to replace
                all_begun.set()
        return time.time()

    with blocked_writers(path) as release, opened(path, clock) as db:

        def release_later() -> None:
            all_begun.wait(30)
            time.sleep(0.1)  # the few steps from the clock to the lock
            release()

        releasing = threading.Thread(target=release_later)
        releasing.start()
        try:
            return in_threads(lambda name: work(db, name))
        finally:
            all_begun.set()
            releasing.join()


def test_changes_that_wait_for_the_writer_share_a_transaction(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("first", [])
    before = transactions(path)
    found = report_at_once(path, lambda db, name: db.set_faults(name, [fault("f", message=name)]))
    assert found == dict.fromkeys(NAMES)
    assert transactions(path) - before <= 4  # mostly two: the first thread's, and the others'
    with opened(path) as db:
        assert [(one["agent"], one["message"]) for one in db.find_faults()] == [(name, name) for name in NAMES]
        assert len({agent["name"] for agent in db.get_agents()}) == 9


def test_a_change_that_fails_affects_no_other(path: Path) -> None:
    with opened(path) as db:
        for name in NAMES:
            db.set_faults(name, [fault("f", message="old")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"f:agent5", b"damaged")
    found = report_at_once(path, lambda db, name: db.set_faults(name, [fault("f", message="new")]))
    assert isinstance(found.pop("agent5"), errors.StoreIncompatible)
    assert set(found.values()) == {None}
    with opened(path) as db:
        assert [db.get_faults(name)[0]["message"] for name in found] == ["new"] * 7


def test_a_thread_that_is_interrupted_keeps_its_agent_until_its_group_is_done() -> None:
    """By Ctrl-C.  Else a report that another process makes next would be overwritten by the older one."""
    changes, done, ended = GroupCommit(), [], threading.Event()

    def until_waiting(number: int) -> None:
        while len(changes._waiting) < number:
            time.sleep(0.001)
        time.sleep(0.05)  # the step from there to the lock

    def write(group: Sequence[PendingChange[None]]) -> None:
        if not done:
            until_waiting(3)
        elif len(group) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            ended.wait(0.2)  # which the main thread would set
        done.append(len(group))

    def run() -> None:
        changes.commit(PendingChange(lambda _: None, b"key"), write)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until_waiting(number)
    with pytest.raises(KeyboardInterrupt):
        run()
    seen = list(done)
    ended.set()
    for thread in threads:
        thread.join()
    assert seen == [1, 2]


def test_the_next_thread_writes_if_one_that_waited_was_interrupted() -> None:
    changes, done = GroupCommit(), []

    def until_waiting(number: int) -> None:
        while len(changes._waiting) != number:
            time.sleep(0.001)
        time.sleep(0.05)  # the step from there to the wait

    def write(group: Sequence[PendingChange[None]]) -> None:
        if not done:
            until_waiting(3)
            os.kill(os.getpid(), signal.SIGINT)
            until_waiting(2)
        done.append(len(group))

    def run() -> None:
        changes.commit(PendingChange(lambda _: None, b"key"), write)

    first, last = threading.Thread(target=run), threading.Thread(target=lambda: (until_waiting(2), run()))
    first.start()
    until_waiting(1)
    last.start()
    with pytest.raises(KeyboardInterrupt):
        run()
    for thread in (first, last):
        thread.join(60)
    assert done == [1, 1]


class Interrupted(Exception):
    """As Ctrl-C interrupts the main thread."""


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], object]], None]]:
    """A function that makes a call in the main thread, and interrupts it at a random moment, unless it has ended."""
    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    def run(call: Callable[[], object]) -> None:
        nonlocal armed
        with suppress(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4), 0.05)
            armed = True
            call()
            armed = False

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield run
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_thread_that_is_interrupted_at_any_moment_lets_the_others_write(
    interrupted: Callable[[Callable[[], object]], None],
) -> None:
    changes, stopped = GroupCommit(), threading.Event()

    def write(_group: Sequence[PendingChange[None]]) -> None:
        time.sleep(0.0001)

    def commit() -> None:
        changes.commit(PendingChange(lambda _: None, b"key"), write)

    def run() -> None:
        while not stopped.is_set():
            commit()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3000):
        interrupted(commit)
    stopped.set()
    end = time.monotonic() + 20
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads)


def test_each_change_is_made_once_whatever_else_is_excluded_meanwhile() -> None:
    changes, made, excluded = GroupCommit(), [], []

    def write(group: Sequence[PendingChange[None]]) -> None:
        time.sleep(0)  # other threads run
        made.extend(group)

    def run(name: str) -> None:
        for _ in range(200):
            changes.commit(PendingChange(lambda _: None, name.encode()), write)
            if name == NAMES[0]:
                changes.exclude(lambda: excluded.append(len(made)))

    assert in_threads(run) == dict.fromkeys(NAMES)
    assert len(made) == len({*made}) == 200 * len(NAMES)
    assert len(excluded) == 200
    assert not changes._waiting


def test_in_a_full_map_what_is_acknowledged_is_stored(path: Path) -> None:
    names = [f"agent{number}" for number in range(60)]
    with opened(path, map_size="256KiB") as db:
        found = in_threads(lambda name: db.set_faults(name, [fault("f", message=name * 1000)]), names)
        stored = {one["agent"] for one in db.find_faults()}
        assert stored == {name for name, error in found.items() if error is None}
        assert 0 < len(stored) < len(names)
        assert {type(error) for error in found.values()} == {errors.StoreFull, type(None)}
        for name in stored:
            db.remove_agent(name)
        db.set_faults("agent", [fault("f")])


def test_threads_with_unchanged_reports_do_not_hand_over_the_interpreter_at_each_system_call(path: Path) -> None:
    """Before they took turns, it was four times for each report, unless other programs used all processors."""
    reports = 1000
    with opened(path) as db:
        for name in NAMES:
            db.set_faults(name, [fault("f")])

        def report(name: str) -> None:
            for _ in range(reports):
                db.set_faults(name, [fault("f")])

        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        assert in_threads(report) == dict.fromkeys(NAMES)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before < reports * len(NAMES)


def test_each_thread_gets_its_turn(path: Path) -> None:
    """Three threads report as fast as they can, until another one has reported 50 times."""
    end, stopped = time.monotonic() + 60, threading.Event()
    with opened(path) as db:
        for name in NAMES:
            db.set_faults(name, [])

        def report(name: str) -> None:
            try:
                for _ in range(50):
                    db.set_faults(name, [])
                    assert time.monotonic() < end
                while name != NAMES[0] and not stopped.is_set():
                    db.set_faults(name, [])
            finally:
                if name == NAMES[0]:
                    stopped.set()

        assert in_threads(report, NAMES[:4]) == dict.fromkeys(NAMES[:4])


def test_other_agents_do_not_wait_for_one_that_another_process_reports(path: Path) -> None:
    with opened(path) as db:
        for name in NAMES:
            db.set_faults(name, [])
    ready, held = os.pipe()

    def stop() -> float:
        os.write(held, b"x")
        os.kill(os.getpid(), signal.SIGSTOP)
        return time.time()

    def rival() -> None:
        with opened(path, stop) as db:
            db.set_faults("agent0", [])

    pid = in_fork(rival)
    os.read(ready, 1)
    try:
        with opened(path) as db:
            waiting = threading.Thread(target=lambda: db.set_faults("agent0", []))
            waiting.start()
            for _ in range(100):
                for name in NAMES[1:]:
                    db.set_faults(name, [])
            assert waiting.is_alive()
            os.kill(pid, signal.SIGCONT)
            waiting.join()
    finally:
        os.kill(pid, signal.SIGKILL)
        finished(pid)


def test_forks_can_report_whatever_the_threads_of_their_parent_do(path: Path) -> None:
    stopped = threading.Event()
    with opened(path) as db:

        def report(name: str) -> None:
            number = 0
            while not stopped.is_set():
                number += 1
                db.set_faults(name, [fault("f", message=f"change {number // 5}")])

        def child() -> None:
            signal.alarm(30)
            for number in range(3):
                db.set_faults("child", [fault("f", message=f"change {number // 2}")])

        threads = [threading.Thread(target=report, args=(name,)) for name in NAMES[:4]]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                assert finished(in_fork(child)) == 0
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


def test_kill_under_threads_loses_nothing_that_was_acknowledged(path: Path) -> None:
    dice = random.Random(12)

    def report(pipe: int) -> None:
        with opened(path) as db:

            def thread(name: str) -> None:
                for step in range(10**9):
                    db.set_faults(name, [fault("f", message=f"step {step // 2}")])
                    os.write(pipe, b"%b %6d\n" % (name.encode(), step))

            in_threads(thread)

    for _ in range(20):
        read, pipe = os.pipe()
        pid = in_fork(lambda pipe=pipe: report(pipe))  # type: ignore[misc]
        os.close(pipe)
        with os.fdopen(read, "rb") as answers:
            started = answers.readline()
            time.sleep(dice.random() * 0.1)
            os.kill(pid, signal.SIGKILL)
            assert finished(pid) == -signal.SIGKILL
            acknowledged = dict(line.split() for line in [started, *answers.read().splitlines()])
        with opened(path) as db:
            for name, step in acknowledged.items():
                [stored] = db.get_faults(name.decode())
                assert int(stored["message"].split()[-1]) in (int(step) // 2, (int(step) + 1) // 2)
