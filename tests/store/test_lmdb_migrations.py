"""LMDB stores of older formats are upgraded when they are opened, also if other processes use them meanwhile."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import lmdb
import orjson
import pytest

from tests.support.forks import finished, in_fork
from tests.support.lmdb_format_1 import FORMAT_1, ROW_1
from tests.support.lmdb_format_2 import FORMAT_2, HEARTBEATS_2
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.lmdb import DB
from zc.cimaa.testing import Clock, fault

NOW = 1_764_000_000
INSTANCE = Instance("web1.example.com", 4711, "1.0", "Linux 6.1")
FAULTS = [fault("//web1/a", 50, "m"), fault("//web1/disk", 40, "92 % used", free=8.0), fault("//web1/load", 50, "m")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    store(path, FORMAT_1.items())
    return path


def store(path: Path, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    path.mkdir()
    with lmdb.open(str(path), map_size=2**30) as environment, environment.begin(write=True) as transaction:
        transaction.cursor().putmulti(pairs)


def opened(path: Path, now: float = NOW, instance: Instance = INSTANCE) -> DB:
    return DB({"path": str(path)}, instance=instance, clock=Clock(now))


def records(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def test_everything_in_a_store_of_format_1_is_kept(path: Path) -> None:
    with opened(path) as db:
        assert db.get_faults("web1") == [{"agent": "web1", **one} for one in FAULTS]
        since = {"//web1/a": 1763400000, "//web1/load": 1763500000, "//web1/disk": 1763000000}
        assert {one["name"]: one["since"] for one in db.find_faults()} == since
        assert [one["name"] for one in db.find_faults(limit=2)] == ["//web1/a", "//web1/load"]
        assert [(one["name"], one["updated"]) for one in db.get_agents()] == [("web1", NOW), ("web2", NOW - 1000)]
        assert [len(one["instances"]) for one in db.double_agents(3600)] == [2]
        [squelch] = db.get_squelch_details()
        assert (squelch["regex"], squelch["reason"], squelch["permanent"]) == ("^//web1/", "new rack", True)
    assert records(path)[b"version"] == b"3"
    assert sorted(file.name for file in path.iterdir()) == ["data.mdb", "heartbeats", "lock.mdb"]
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


def test_a_damaged_record_of_format_1_is_kept_and_reported(tmp_path: Path) -> None:
    path, damaged = tmp_path / "store", {**FORMAT_1, b"f:web1": b"[damaged"}
    store(path, damaged.items())
    for _ in range(2):
        with opened(path) as db, pytest.raises(errors.StoreIncompatible, match="a record that cannot be read"):
            db.set_faults("web2", [fault("f")])
    assert records(path) == damaged


def test_an_upgraded_row_is_touched(path: Path) -> None:
    with opened(path, NOW + 60) as db:
        db.get_agents()
        before = (path / "data.mdb").read_bytes()
        db.set_faults("web1", FAULTS)
        assert [one["updated"] for one in db.get_agents()] == [NOW + 60, NOW - 1000]
        assert (path / "data.mdb").read_bytes() == before


@pytest.fixture
def path_2(tmp_path: Path) -> Path:
    path = tmp_path / "store2"
    store(path, FORMAT_2.items())
    (path / "heartbeats").write_bytes(HEARTBEATS_2)
    return path


FAULTS_2 = [fault("//web1/a", 50, "m"), fault("//web1/disk", 40, "92 % used", free=8.0)]


def test_everything_in_a_store_of_format_2_is_kept(path_2: Path) -> None:
    with opened(path_2, NOW + 600) as db:
        assert db.get_faults("web1") == [{"agent": "web1", **one} for one in FAULTS_2]
        assert {one["since"] for one in db.find_faults()} == {NOW}
        assert [(one["name"], one["updated"]) for one in db.get_agents()] == [("web1", NOW + 600), ("web2", NOW + 60)]
        assert [len(one["instances"]) for one in db.get_agents()] == [1, 2]
        assert [one["regex"] for one in db.get_squelch_details()] == ["^//web1/"]
        assert db.get_history() == db.late_agents() == []
    assert records(path_2)[b"version"] == b"3"


def test_an_upgraded_row_of_format_2_is_touched(path_2: Path) -> None:
    with opened(path_2, NOW + 660) as db:
        db.get_agents()
        before = (path_2 / "data.mdb").read_bytes()
        db.set_faults("web1", FAULTS_2)
        assert [one["updated"] for one in db.get_agents()] == [NOW + 660, NOW + 60]
        assert (path_2 / "data.mdb").read_bytes() == before


def test_the_history_of_an_upgraded_agent_begins_with_its_next_change(path_2: Path) -> None:
    with opened(path_2, NOW + 660) as db:
        with pytest.raises(errors.HistoryIncomplete, match="history of agent 'web1' is incomplete"):
            db.faults_at(NOW + 650, agent="web1")
        db.set_faults("web1", [fault("//web1/a", 50, "other"), fault("//web1/disk", 50, "full")])
        db.remove_agent("web2", user="ann")
        assert [(one["agent"], one["kind"]) for one in db.get_history()] == [
            *(("web1", "started"), ("web1", "worse")),
            *(("web2", "started"), ("web2", "removed")),
        ]
    with opened(path_2, NOW + 700) as db:
        assert [one["name"] for one in db.faults_at(NOW + 660)] == ["//web1/a", "//web1/disk"]
        with pytest.raises(errors.HistoryIncomplete, match=rf"history of agent 'web1' begins at {NOW + 660}"):
            db.faults_at(NOW + 659, agent="web1")


def test_an_upgrade_that_was_interrupted_is_made_again(path: Path) -> None:
    (path / "upgrade").mkdir()
    (path / "upgrade" / "data.mdb").write_bytes(b"half of it")
    with opened(path) as db:
        assert len(db.get_faults("web1")) == 3
    assert not (path / "upgrade").exists()
    (path / "upgrade").mkdir()  # interrupted at its very end
    with opened(path) as db:
        assert len(db.get_faults("web1")) == 3
    assert not (path / "upgrade").exists()


def test_an_upgrade_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    dice = random.Random(12)
    rows = [(b"a:agent%05d" % number, ROW_1) for number in range(5000)]
    origin = tmp_path / "origin"
    store(origin, [*FORMAT_1.items(), *rows])
    upgraded = 0
    shutil.copytree(origin, tmp_path / "timed")
    start = time.monotonic()
    assert finished(in_fork(lambda: opened(tmp_path / "timed").get_squelches())) == 0
    takes = time.monotonic() - start
    for number in range(40):
        path = tmp_path / f"store{number}"
        shutil.copytree(origin, path)
        pid = in_fork(lambda path=path: opened(path).get_squelches())  # type: ignore[misc]
        time.sleep(dice.random() * 2 * takes)
        os.kill(pid, signal.SIGKILL)
        finished(pid)
        upgraded += records(path)[b"version"] == b"3"
        with opened(path) as db:
            assert len(db.get_agents()) == 5002
            assert len(db.get_faults("web1")) == 3
        assert not (path / "upgrade").exists()
        shutil.rmtree(path)
    assert 0 < upgraded < 40


def old_program(path: Path, number: int, pipe: int) -> None:
    """Write as the programs of format 1 did, and announce each report that was acknowledged.

    Before each transaction they looked whether the files are those that they opened; then they waited for LMDB's lock.
    """
    files = [path / "data.mdb", path / "lock.mdb"]
    with lmdb.open(str(path), max_readers=1024, map_size=2**30, metasync=False) as environment:
        opened = [file.stat().st_ino for file in files]
        step = 0
        while True:
            step += 1
            try:
                if [file.stat().st_ino for file in files] != opened:
                    return
            except FileNotFoundError:
                return
            while True:
                try:
                    transaction = environment.begin(write=True)
                    break
                except lmdb.MapResizedError:
                    environment.set_mapsize(0)
            with transaction:
                transaction.put(b"a:old%d" % number, ROW_1)
                faults = [{**fault("f", message=f"{step}"), "since": NOW}]
                transaction.put(b"f:old%d" % number, orjson.dumps(faults))
            os.write(pipe, b"%10d" % step)


@pytest.mark.parametrize("attempt", range(10))
def test_what_older_programs_wrote_meanwhile_is_kept_and_they_stop(path: Path, attempt: int) -> None:
    read, pipe = zip(*(os.pipe() for _ in range(4)), strict=True)
    pids = [in_fork(lambda number=number: old_program(path, number, pipe[number])) for number in range(4)]  # type: ignore[misc]
    try:
        for one in read:
            os.read(one, 10)
        time.sleep(attempt * 0.001)
        with opened(path) as db:
            db.set_faults("new", [])
            assert set(map(finished, pids)) <= {0, 1}  # 1: LMDB refused to begin a transaction
            for number in range(4):
                os.close(pipe[number])
                with os.fdopen(read[number], "rb") as answers:
                    acknowledged = int(answers.read()[-10:] or 1)
                assert int(db.get_faults(f"old{number}")[0]["message"]) >= acknowledged
            assert len(db.get_faults("web1")) == 3
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def test_several_processes_may_upgrade_at_once(path: Path) -> None:
    def report(number: int) -> None:
        with opened(path) as db:
            db.set_faults(f"agent{number}", [fault("f")])

    pids = [in_fork(lambda number=number: report(number)) for number in range(8)]  # type: ignore[misc]
    assert list(map(finished, pids)) == [0] * 8
    with opened(path) as db:
        assert len(db.get_agents()) == 10


def test_an_upgrade_needs_room_and_leaves_the_old_file_if_there_is_none(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        path = disk / "store"
        store(path, [*FORMAT_1.items(), *((b"a:agent%05d" % number, ROW_1) for number in range(2500))])
        for _ in range(2):
            with opened(path) as db, pytest.raises(errors.StoreFull, match="disk is full"):
                db.get_agents()
        assert records(path)[b"a:web1"] == ROW_1
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_an_older_format_on_a_read_only_file_system_is_said(path: Path) -> None:
    seen = path.with_name("seen")
    seen.mkdir()
    commands = (["mount", "--bind", str(path), str(seen)], ["mount", "-o", "remount,bind,ro", str(seen)])
    if os.geteuid() or any(subprocess.run(one, capture_output=True, check=False).returncode for one in commands):
        pytest.skip("only root may mount a file system")
    try:
        with (
            opened(seen) as db,
            pytest.raises(errors.StoreUnavailable, match=r"older format.*read-only; mount it"),
        ):
            db.get_agents()
    finally:
        subprocess.run(["umount", "-l", str(seen)], check=True)
