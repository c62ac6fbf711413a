"""The LMDB backend on a full disk, in a full map, and at a limit on the size of files."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forks import finished, in_fork
from zc.cimaa import errors
from zc.cimaa.lmdb import DB
from zc.cimaa.testing import fault


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(path: Path, **settings: str) -> DB:
    return DB({"path": str(path), **settings})


def report_until_full(db: DB) -> tuple[str, int]:
    """Report for one agent after the other until there is no room, and see that this changed nothing.

    Returns the error, and the number of agents.
    """
    number = 0
    while True:
        before = db.dump() if number % 20 == 0 else None
        try:
            db.set_faults(f"agent{number}", [fault("f", message="m" * 5000)])
        except errors.StoreFull as error:
            assert before is None or db.dump() == before
            return str(error), number
        number += 1


def remove_all(db: DB, agents: int) -> None:
    """Remove agents one after the other, and see that the others stay."""
    for number in range(agents):
        db.remove_agent(f"agent{number}")
        if number % 20 == 0:
            expected = {f"agent{left}" for left in range(number + 1, agents)}
            assert {one["agent"] for one in db.find_faults()} == expected == {one["name"] for one in db.get_agents()}
    assert db.dump()["faults"] == []


@pytest.mark.parametrize("size", [64, 128, 129, 132, 140, 256, 1000])
def test_a_full_map_is_a_clear_error_that_loses_nothing(path: Path, size: int) -> None:
    with opened(path, map_size=f"{size}KiB") as db:
        message, agents = report_until_full(db)
        assert f"map_size is {size}KiB" in message
        before = db.dump()
        assert len(before["faults"]) == 2 * agents >= 4
        with pytest.raises(errors.StoreFull):
            db.set_faults("agent0", [fault("f", message="n" * 30000)])
        assert db.dump() == before
        db.set_faults("agent0", [fault("f", message="m" * 5000)])
        remove_all(db, agents)
        db.set_faults("agent0", [fault("f", message="m" * 5000)])


def test_a_full_map_may_be_made_larger(path: Path) -> None:
    with opened(path, map_size="128KiB") as db:
        report_until_full(db)
    with opened(path, map_size="1MiB") as db:
        db.set_faults("more", [fault("f", message="m" * 30000)])
        assert db.get_faults("agent1") == [fault("f", message="m" * 5000, agent="agent1")]


def fill_the_disk(path: Path) -> None:
    """Report until the disk is full; see that nothing is lost, and that all can be removed."""
    with opened(path) as db:
        message, agents = report_until_full(db)
        assert "disk is full" in message
        db.set_faults("agent0", [fault("f", message="m" * 5000)])  # a heartbeat finds room
        db.set_faults("agent0", [fault("f", message="n" * 5000)])  # and so does what needs the same space as before
        assert db.get_faults("agent0") == [fault("f", message="n" * 5000, agent="agent0")]
        db.unsquelch("a squelch that does not exist")
        remove_all(db, agents)
    with opened(path) as db:
        db.set_faults("another", [fault("f")])
        assert db.get_faults("another") == [fault("f", agent="another")]


@pytest.mark.parametrize("limit", [2_000_000, 2_004_096, 2_345_678, 3_000_000])
def test_a_limit_on_the_size_of_files_loses_nothing(path: Path, limit: int) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        fill_the_disk(path)

    assert finished(in_fork(limited)) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("taken", [0, 4, 200, 1000, 1500])
def test_a_full_disk_loses_nothing(small_disk: Path, taken: int) -> None:
    """With this size (KiB) of other files; later ones take all that is left."""
    (small_disk / "others").write_bytes(b"x" * taken * 1024)
    assert finished(in_fork(lambda: fill_the_disk(small_disk / "store"))) == 0


def test_what_others_filled_the_disk_with_keeps_nothing_from_being_removed(small_disk: Path) -> None:
    with opened(small_disk / "store") as db:
        for number in range(100):
            db.set_faults(f"agent{number}", [fault("f", message="m" * 5000)])
        with contextlib.suppress(OSError), (small_disk / "others").open("wb", buffering=0) as others:
            while True:
                others.write(b"x" * 1024)
        remove_all(db, 100)


@pytest.mark.parametrize("left", [0, 8, 40, 66, 70, 200, 600, 1100])
def test_a_disk_that_is_full_from_the_start_kills_no_process(small_disk: Path, left: int) -> None:
    """With this space (KiB) left; LMDB alone would die of SIGBUS on its lock file."""
    with (small_disk / "others").open("wb") as others:
        others.write(b"x" * (4096 - left) * 1024)

    def start() -> None:
        with opened(small_disk / "store") as db, pytest.raises(errors.StoreFull, match="disk is full"):
            db.set_faults("agent", [fault("f", message="m" * 30000)])

    assert finished(in_fork(start)) == 0


def test_woken_agents_can_report_in_a_full_store(path: Path) -> None:
    with opened(path, map_size="1MiB") as db:
        woken = [f"woken{number}" for number in range(20)]
        for name in woken:
            db.set_faults(name, [fault("f")])
        assert db.wake(woken) == 20
        report_until_full(db)
        assert [db.report(name, [fault("f")]) for name in woken] == [True] * 20
        assert [db.report(name, [fault("f")]) for name in woken] == [False] * 20
