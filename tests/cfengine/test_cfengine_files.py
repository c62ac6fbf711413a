"""Reading beside others: what they write is read as of one moment, and they notice nothing."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cfengine import real, samples, writer
from tests.support.cfengine.real import Site
from tests.support.command import Cimaa
from zc.cimaa.cfengine import locks, records, snapshot, state_files
from zc.cimaa.cfengine.state_files import Unreadable

IN_NONBLOCK = os.O_NONBLOCK
# Anything but opening, reading, and closing what was open for reading.
IN_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800


@contextmanager
def watched(directory: Path) -> Iterator[list[bytes]]:
    """What inotify reports of changes in the directory; filled when the context ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_NONBLOCK)
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, os.fsencode(directory), IN_CHANGES) >= 0
    events: list[bytes] = []
    try:
        yield events
        try:
            while data := os.read(descriptor, 65536):
                events.append(data)
        except BlockingIOError:
            pass
    finally:
        os.close(descriptor)


def read_times(path: Path, times: int) -> Iterator[dict[bytes, bytes] | Unreadable]:
    for found in state_files.read_all([str(path)] * times):
        if isinstance(found, Unreadable):
            yield found
        else:
            with found:
                yield dict(found.entries())


def test_each_of_1000_readings_beside_a_writer_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "cf_lock.lmdb"
    with writer.writing(path) as running:
        numbers, refused = [], 0
        for found in read_times(path, 1000):
            if isinstance(found, Unreadable):
                assert found.kind == "busy", found
                refused += 1
            else:
                numbers.append(writer.number_of(found))
    assert numbers == sorted(numbers)
    assert len(numbers) > 500, refused
    assert len(set(numbers)) > 100  # it did write meanwhile
    assert running.commits > numbers[-1]
    assert running.slowest < 5


def test_none_is_refused_beside_an_agent_in_a_loop(tmp_path: Path) -> None:
    real.require()
    site = Site(tmp_path)
    site.agent.run("cf-agent", "--file", str(site.quick))
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            site.agent.run("cf-agent", "--file", str(site.quick))

    thread = threading.Thread(target=loop)
    with site.serving():
        thread.start()
        try:
            seen = set()
            for found in read_times(site.agent.state / "cf_lock.lmdb", 300):
                assert isinstance(found, dict), found
                decoded = locks.locks(records.decode("cf_lock.lmdb", found.items()))
                assert decoded.unknown == 0
                seen.add(max(lock.time for lock in decoded.entries))
        finally:
            over.set()
            thread.join()


def test_a_file_that_is_replaced_meanwhile_is_one_or_the_other(tmp_path: Path) -> None:
    """As a repair by CFEngine replaces it."""
    path = tmp_path / "cf_lastseen.lmdb"
    old = samples.write(tmp_path / "old", samples.hosts(400, 1))
    new = samples.write(tmp_path / "new", samples.hosts(500, 2))
    shutil.copy(old, path)
    wanted = [samples.entries_of(old), samples.entries_of(new)]
    over = threading.Event()

    def replace() -> None:
        count = 0
        while not over.is_set():
            shutil.copy((old, new)[count % 2], tmp_path / "temporary")
            (tmp_path / "temporary").rename(path)
            count += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        seen = [wanted.index(found) for found in read_times(path, 100) if isinstance(found, dict)]
    finally:
        over.set()
        thread.join()
    assert len(seen) > 50
    assert set(seen) == {0, 1}


def test_nothing_is_written_and_no_file_appears(cimaa: Cimaa, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    now = int(time.time())
    samples.write(state / "cf_lastseen.lmdb", samples.hosts(50, now))
    samples.write(state / "cf_lock.lmdb", {samples.lock_key("last", "main"): samples.lock(1, now, 3)})
    (state / "cf_lock.lmdb-lock").write_bytes(bytes(8192))
    (state / "damaged.lmdb").write_bytes((state / "cf_lock.lmdb").read_bytes()[:9000])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.iterdir()}
    place = "--state", str(state)
    with watched(state) as events:
        for arguments in (
            ("list", *place),
            ("hosts", *place),
            ("hosts", "--double", *place),
            ("locks", "--all", *place),
            ("dump", *map(str, before)),
        ):
            cimaa("cfengine", *arguments)
        assert cimaa("check", "cfengine", *place).exit_code == 2
    assert events == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.iterdir()} == before
    with watched(state) as events:  # a change would have been noticed
        (state / "cf_lock.lmdb").touch()
    assert events


def test_no_file_is_opened_for_writing(tmp_path: Path) -> None:
    real.require()
    path = samples.write(tmp_path / "cf_lastseen.lmdb", samples.hosts(50, 1))
    trace = tmp_path / "trace"
    command = [Path(sys.executable).with_name("cimaa"), "cfengine", "dump", path]
    subprocess.run(
        ["strace", "-f", "-o", trace, "-e", "trace=open,openat,creat,truncate,rename,unlink,mkdir", *command],
        check=True,
        capture_output=True,
        timeout=120,
    )
    opened = [line for line in trace.read_text().splitlines() if str(tmp_path) in line]
    assert len(opened) == 1, opened
    assert "O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC" in opened[0]


@contextmanager
def struck(number: signal.Signals) -> Iterator[list[int]]:
    """Send the signal to the first child process that reads; its number."""
    struck: list[int] = []
    over = threading.Event()

    def strike() -> None:
        while not over.is_set() and not struck:
            for child in Path(f"/proc/self/task/{main}/children").read_text().split():
                # Not before it runs its own program: its parent waits for that.
                if b"snapshot" in Path(f"/proc/{child}/cmdline").read_bytes():
                    struck.append(int(child))
                    os.kill(int(child), number)

    main = threading.get_native_id()
    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield struck
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV])
def test_a_reading_that_a_signal_ends_is_damage_and_the_next_file_is_read(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = samples.write(tmp_path / "cf_lastseen.lmdb", samples.hosts(50, 1))
    with struck(number):
        first, second = state_files.read_all([str(path), str(path)])
    assert isinstance(first, Unreadable)
    assert str(first).startswith(f"{path}: it is damaged: reading it ended with {number.name}; repair it")
    assert not isinstance(second, Unreadable)
    second.close()


def test_a_reading_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "cf_lastseen.lmdb", samples.hosts(50, 1))
    with struck(signal.SIGSTOP) as child:
        (found,) = state_files.read_all([str(path)], timeout=0.2)
    assert isinstance(found, Unreadable)
    assert str(found) == f"{path}: reading it was given up (it took longer than 0.2 s)"
    assert not Path(f"/proc/{child[0]}").exists()


def test_the_process_that_reads_has_a_limit_of_memory() -> None:
    code = "from zc.cimaa.cfengine import snapshot; snapshot.main([]); bytearray(2**30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "MemoryError"


def test_a_file_that_keeps_changing_is_refused(tmp_path: Path) -> None:
    """Each attempt finds another file."""
    path = tmp_path / "cf_lastseen.lmdb"
    whole = samples.write(path, samples.hosts(5, 1)).read_bytes()
    copy = os.memfd_create("copy")
    over = threading.Event()

    def replace() -> None:
        while not over.is_set():
            (tmp_path / "temporary").write_bytes(whole)
            (tmp_path / "temporary").rename(path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        outcomes = [snapshot.outcome(str(path), copy) for _ in range(300)]
    finally:
        over.set()
        thread.join()
        os.close(copy)
    assert all(outcome.get("entries") == 16 or outcome == {"kind": "busy", "reason": ""} for outcome in outcomes)


def test_importing_the_room_loads_no_lmdb() -> None:
    code = "import sys, zc.cimaa.cfengine.state_files, zc.cimaa.cfengine.hosts; print('lmdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
