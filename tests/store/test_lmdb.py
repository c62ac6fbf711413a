"""The LMDB backend keeps the contract, and what it promises beyond: files, forks, kills, and full disks."""

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from tests.support.forks import finished, in_fork
from tests.support.long_form import times
from zc.cimaa import agents, entries, errors, faults, history
from zc.cimaa.lmdb import DB
from zc.cimaa.lmdb.environment import Environment
from zc.cimaa.lmdb.shared import Transaction
from zc.cimaa.testing import Conformance, Opener, fault


class TestLMDB(Conformance):
    @pytest.fixture
    def opener(self, lmdb_opener: Opener) -> Opener:
        return lmdb_opener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(path: Path, **settings: str) -> DB:
    return DB({"path": str(path), **settings})


# The files


def test_only_the_owner_may_read_the_store(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(path / "deeper") as db:
            db.set_faults("agent", [])
    finally:
        os.umask(before)
    assert (path / "deeper").stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in (path / "deeper").iterdir()} == {
        "data.mdb": 0o600,
        "lock.mdb": 0o600,
        "heartbeats": 0o600,
    }


def test_the_directory_around_the_store_need_not_be_readable() -> None:
    """As /var/lib/private for a systemd service with a dynamic user."""
    with tempfile.TemporaryDirectory() as around:
        path = Path(around, "store")
        path.mkdir()
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
        Path(around).chmod(0o311)

        def as_nobody() -> None:
            if os.geteuid() == 0:
                os.setuid(65534)
            with opened(path) as db:
                db.set_faults("agent", [])

        assert finished(in_fork(as_nobody)) == 0
        Path(around).chmod(0o700)


def test_nothing_is_made_before_it_is_needed(path: Path) -> None:
    with opened(path):
        assert not path.exists()


@pytest.mark.parametrize(
    ("environment", "root", "expected"),
    [
        ({"STATE_DIRECTORY": "/run/one:/run/two", "XDG_STATE_HOME": "/x"}, True, "/run/one"),
        ({"XDG_STATE_HOME": "/x"}, True, "/var/lib/cimaa"),
        ({"XDG_STATE_HOME": "/x"}, False, "/x/cimaa"),
        ({}, False, "/home/of/user/.local/state/cimaa"),
    ],
)
def test_the_default_path(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], root: bool, expected: str
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/of/user", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert DB().settings["path"] == expected


def test_a_newer_format_is_refused_by_name(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"version", b"7")
    with opened(path) as db, pytest.raises(errors.StoreIncompatible, match=r"format 7.*reads format 3.*upgrade"):
        db.get_agents()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (b"0", r"format 0, of an older version of zc\.cimaa, and this one reads format 3.* move the directory away"),
        (b"1x", r"format 1x, which is not a version: it is damaged"),
        (b"\xff", r"format \\xff, which is not a version"),
    ],
)
def test_an_older_or_damaged_format_is_not_answered_with_an_upgrade(path: Path, version: bytes, message: str) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"version", version)
    with opened(path) as db, pytest.raises(errors.StoreIncompatible, match=message) as caught:
        db.get_agents()
    assert "upgrade zc.cimaa" not in str(caught.value)


@pytest.mark.parametrize("work", [lambda db: db.get_agents(), lambda db: db.set_faults("agent", [fault("f")])])
def test_a_number_of_slots_that_cannot_be_read_is_a_damaged_record(path: Path, work: Callable[[DB], object]) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"slots", b"damaged")
    with opened(path) as db, pytest.raises(errors.StoreIncompatible, match="a record that cannot be read"):
        work(db)


def test_a_slot_that_no_file_can_have_is_a_damaged_record(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        row = transaction.get(b"a:agent") or b""
        transaction.put(b"a:agent", row[:16] + (1 << 62).to_bytes(8, "little") + row[24:])
    with opened(path) as db:
        calls = (lambda: db.set_faults("agent", [fault("f")]), lambda: db.remove_agent("agent"), db.get_agents)
        for call in calls:
            with pytest.raises(errors.StoreIncompatible, match="a record that cannot be read"):
                call()


def test_a_bug_while_the_store_is_opened_is_not_reported_as_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an operator would discard a good store."""
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])

    def broken(*_: object, **__: object) -> None:
        raise TypeError("unexpected argument")

    with opened(path) as db:
        with monkeypatch.context() as patched:
            patched.setattr(lmdb, "open", broken)
            with pytest.raises(TypeError, match="unexpected argument"):
                db.get_faults("agent")
        assert len(db.get_faults("agent")) == 1


@pytest.mark.parametrize("bug", [TypeError("unexpected argument"), ValueError("empty"), KeyError("state")], ids=repr)
def test_a_bug_in_a_transaction_is_not_reported_as_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch, bug: Exception
) -> None:
    """It is raised as it is, and nothing is changed."""

    def broken(*_: object, **__: object) -> None:
        raise bug

    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
        before = list(db.dump())
        calls = {
            (history, "replacement"): lambda: db.set_faults("agent", [fault("g")]),
            (history, "removal"): lambda: db.remove_agent("agent"),
            (entries, "permits"): lambda: db.lease("name", "holder", 60),
            (agents, "shown_alone"): db.get_agents,
            (faults, "ranked"): db.find_faults,
        }
        for place, call in calls.items():
            with monkeypatch.context() as patched:
                patched.setattr(*place, broken)
                with pytest.raises(type(bug)) as caught:
                    call()
            assert caught.value is bug, place
        assert list(db.dump()) == before


def test_an_lmdb_file_of_others_is_left_alone(path: Path) -> None:
    path.mkdir()
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"theirs", b"1")
    with opened(path) as db, pytest.raises(errors.StoreIncompatible, match="holds an LMDB file that is not a store"):
        db.set_faults("agent", [])
    with lmdb.open(str(path)) as environment, environment.begin() as transaction:
        assert transaction.stat()["entries"] == 1


def test_a_file_that_is_not_an_lmdb_file_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"something else entirely" * 1000)
    for _ in range(2):
        with opened(path) as db, pytest.raises(errors.StoreIncompatible, match="is not an LMDB file"):
            db.get_agents()


@pytest.mark.parametrize("size", [8192, 12288, 20000])
def test_a_file_that_was_cut_short_is_refused(path: Path, size: int) -> None:
    with opened(path) as db:
        for number in range(20):
            db.set_faults(f"agent{number}", [fault("f", message="m" * 5000)])
    os.truncate(path / "data.mdb", size)
    for _ in range(2):
        with opened(path) as db, pytest.raises(errors.StoreIncompatible, match="was cut short"):
            db.get_agents()


@pytest.mark.parametrize("file", ["data.mdb", "lock.mdb"])
@pytest.mark.parametrize("size", [0, 8192])
def test_a_file_that_is_cut_short_in_use_is_an_error_and_kills_nobody(path: Path, file: str, size: int) -> None:
    with opened(path) as db:
        for number in range(20):
            db.set_faults(f"agent{number}", [fault("f", message="m" * 5000)])
        os.truncate(path / file, size)
        with pytest.raises(errors.StoreUnavailable, match="were cut short: the next call looks again"):
            db.get_agents()
        if (file, size) == ("data.mdb", 8192):
            with pytest.raises(errors.StoreIncompatible, match=r"data\.mdb was cut short: move it away"):
                db.get_agents()
        else:  # empty, it is a new one; the lock file holds nothing that lasts
            assert len(db.get_agents()) == (0 if file == "data.mdb" else 20)


@pytest.mark.parametrize("what", ["delete", "move", "replace"])
def test_a_store_that_is_gone_while_in_use_is_made_anew(path: Path, what: str) -> None:
    with opened(path) as db:
        db.set_faults("old", [])
        if what == "delete":
            shutil.rmtree(path)
        else:
            path.rename(path.with_name("away"))
        if what == "replace":
            with opened(path.with_name("other")) as other:
                other.set_faults("other", [])
            path.with_name("other").rename(path)
        with pytest.raises(errors.StoreUnavailable, match=r"were (deleted, or moved away|replaced): the next call"):
            db.set_faults("new", [])
        db.set_faults("new", [])
        with_others = ["new", "other"] if what == "replace" else ["new"]
        assert [agent["name"] for agent in db.get_agents()] == with_others


def test_a_data_file_that_is_deleted_in_use_is_made_again_for_all(path: Path) -> None:
    with opened(path) as db:
        for number in range(5):
            db.set_faults(f"old{number}", [fault("f")])
        (path / "data.mdb").unlink()

        def other() -> None:
            with opened(path) as another:
                another.set_faults("other", [fault("f")])
                another.set_faults("other", [fault("g")])

        assert finished(in_fork(other)) == 0
        with pytest.raises(errors.StoreUnavailable, match="were replaced"):
            db.set_faults("new", [])
        db.set_faults("new", [fault("f")])
        assert [agent["name"] for agent in db.get_agents()] == ["new", "other"]
        assert finished(in_fork(other)) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, b'[{"name": "\xed"}]') for key in (b"a:web1", b"f:web1", b"s:x", b"f:\xff")),
        *((b"f:web1", b"" if value is None else bytes(16) + value) for value in (None, b"5", b"null", b'"x"', b"[5]")),
        *((b"f:web1", bytes(16) + value) for value in (b"[{}]", b'[{"name": "f"}]')),
        *((b"s:x", value) for value in (b"5", b"[]", b"{}")),
        *((b"a:web1", value) for value in (b"", b"5", b"x" * 90)),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_says_what_to_do(path: Path, key: bytes, value: bytes) -> None:
    with opened(path) as db:
        db.set_faults("web1", [fault("f")])
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(key, value)
    with opened(path) as db:
        read = db.get_agents if key.startswith(b"a:") else db.dump
        for work in (read, lambda: db.set_faults("web1", [fault("g")])):
            if work is read or key in (b"a:web1", b"f:web1"):
                with pytest.raises(errors.StoreIncompatible, match="a record that cannot be read"):
                    work()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "'' is not a path"),
        ({"path": "a\0b"}, "is not a path"),
        ({"path": "~no-such-user/x"}, "the home directory of ~ is unknown"),
        ({"map_size": "99999TiB"}, "map_size: it must be from 16KiB to 64TiB"),
        ({"map_size": "1KiB"}, "map_size: it must be from 16KiB to 64TiB"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message):
        DB({"path": str(tmp_path), **settings})


def test_a_path_need_not_be_text(tmp_path: Path) -> None:
    with DB({"path": os.fsdecode(os.fsencode(tmp_path) + b"/\xff")}) as db:
        db.set_faults("agent", [])


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with opened(path) as db, pytest.raises(errors.StoreError, match="is not a directory"):
            db.get_agents()


def test_a_store_of_another_user_is_denied(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as db:
        db.set_faults("agent", [])

    def as_nobody() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        else:
            path.chmod(0)
        with opened(path) as db, pytest.raises(errors.StoreDenied, match="no permission"):
            db.get_agents()

    assert finished(in_fork(as_nobody)) == 0
    path.chmod(0o700)


# Handles and processes


def test_handles_of_one_process_share_the_file_and_close_apart(path: Path) -> None:
    first, second = opened(path), DB({"path": f"{path}/../{path.name}"})
    first.set_faults("agent", [fault("f")])
    first.close()
    assert second.get_faults("agent") == [fault("f", agent="agent")]
    second.close()
    with opened(path) as third:
        assert third.get_faults("agent") == [fault("f", agent="agent")]


def test_a_fork_uses_the_handle_that_it_inherits(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("parent", [fault("f")])

        def child(number: int) -> None:
            for message in ("first", "last"):
                db.set_faults(f"child{number}", [fault("f", message=message)])
            assert db.get_faults("parent")[0] == fault("f", agent="parent")
            if number % 2:
                db.close()

        children = [in_fork(functools.partial(child, number)) for number in range(6)]
        for index in range(20):
            db.set_faults("parent", [fault("f"), fault(f"g{index}")])
            db.set_faults("parent", [fault("f")])
        assert [finished(pid) for pid in children] == [0] * 6
        assert {agent["name"]: agent["instances"][0]["pid"] for agent in db.get_agents()} == {
            "parent": os.getpid(),
            **{f"child{number}": pid for number, pid in enumerate(children)},
        }


def test_a_fork_is_safe_while_other_threads_use_the_store(path: Path) -> None:
    stop = threading.Event()
    with opened(path) as db:

        def use(number: int) -> None:
            while not stop.is_set():
                db.set_faults(f"agent{number}", [])
                db.set_faults(f"agent{number}", [fault("f")])
                db.find_faults()

        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: this is about them
                for number in range(20):
                    child = in_fork(lambda number=number: db.set_faults(f"child{number}", [fault("f")]))  # type: ignore[misc]
                    assert finished(child) == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert len(db.find_faults(pattern="^f$")) >= 20


def test_a_handle_closed_by_another_thread_does_not_open_again(path: Path) -> None:
    for _ in range(30):
        db = opened(path)

        def use(db: DB = db) -> None:
            with contextlib.suppress(errors.StoreClosed):
                while True:
                    db.set_faults("agent", [])

        thread = threading.Thread(target=use)
        thread.start()
        db.close()
        thread.join()
        with opened(path) as again:
            again.set_faults("agent", [])


def test_a_relative_path_is_where_it_was_when_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with DB({"path": "store"}) as db:
        monkeypatch.chdir(tmp_path / "two")
        db.set_faults("agent", [])
        assert finished(in_fork(lambda: db.set_faults("child", []))) == 0
        assert [agent["name"] for agent in db.get_agents()] == ["agent", "child"]
    assert (tmp_path / "one/store/data.mdb").exists()
    assert not (tmp_path / "two/store").exists()


def test_the_dead_leave_no_readers_behind(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("agent", [])  # as long as this handle is open, the table of readers stays
        ready, started = os.pipe()

        def victim() -> None:
            db.close()
            environment = lmdb.open(str(path))
            transaction = environment.begin()
            os.write(started, b"x")
            signal.pause()
            transaction.abort()

        pid = in_fork(victim)
        os.read(ready, 1)
        os.kill(pid, signal.SIGKILL)
        assert finished(pid) == -signal.SIGKILL

        def readers() -> str:
            read, written = os.pipe()

            def list_readers() -> None:
                db.close()
                with lmdb.open(str(path)) as environment:
                    os.write(written, environment.readers().encode())

            assert finished(in_fork(list_readers)) == 0
            os.close(written)
            with os.fdopen(read) as answer:
                return answer.read()

        assert str(pid) in readers()
        assert finished(in_fork(lambda: db.get_agents())) == 0  # opens, and clears
        assert str(pid) not in readers()


def test_kill_at_any_moment_loses_no_acknowledged_report(path: Path) -> None:
    """Each time the file opens, and holds the last acknowledged report, or the next, whole."""
    dice = random.Random(20261122)

    def report(step: int) -> list[dict[str, object]]:
        return [fault(f"f{index}", message=f"at step {step}", extra=["x" * 300] * (step % 7)) for index in range(5)]

    acknowledged = 0
    for _ in range(times(100, 300)):
        read, written = os.pipe()

        def stream(first: int = acknowledged + 1, pipe: int = written) -> None:
            with opened(path) as db:
                for step in range(first, first + 1000):
                    db.set_faults("agent", report(step))
                    os.write(pipe, b"%10d" % step)
                    db.set_faults("agent", report(step))  # a mere heartbeat

        pid = in_fork(stream)
        os.close(written)
        with os.fdopen(read, "rb") as answers:
            noted = answers.read(10) if dice.random() < 0.7 else b""  # it is under way, or not
            time.sleep(dice.random() * 0.01)
            os.kill(pid, signal.SIGKILL)
            assert finished(pid) == -signal.SIGKILL
            noted += answers.read()
        acknowledged = int(noted[-10:] or acknowledged)
        with opened(path) as db:
            stored = db.get_faults("agent")
            step = int(stored[0]["message"].split()[-1]) if stored else 0
            assert step in (acknowledged, acknowledged + 1)
            assert stored == [{"agent": "agent", **one} for one in (report(step) if step else [])]
            acknowledged = step
    assert acknowledged > times(100, 300)


# The size of the map


def test_a_process_follows_another_that_made_the_map_larger(path: Path) -> None:
    with opened(path, map_size="128KiB") as db:
        db.set_faults("agent", [fault("f")])

        def grow() -> None:
            with opened(path, map_size="10MiB") as larger:
                for number in range(20):
                    larger.set_faults(f"agent{number}", [fault("f", message="m" * 30000)])

        assert finished(in_fork(grow)) == 0
        assert len(db.get_agents()) == 21
        db.set_faults("agent", [fault("g", message="m" * 30000)])
        assert db.get_faults("agent") == [fault("g", message="m" * 30000, agent="agent")]


def test_the_largest_map_asked_for_counts(path: Path) -> None:
    with opened(path, map_size="64KiB") as small:
        small.set_faults("agent", [])
        with opened(path, map_size="1MiB"):
            for number in range(10):
                small.set_faults(f"agent{number}", [fault("f", message="m" * 20000)])


# A file system that is mounted read-only


@pytest.fixture
def read_only(path: Path) -> Iterator[Callable[[], Path]]:
    """Mounts the store's directory read-only at another place; the directory itself stays writable."""
    seen = path.with_name("seen")

    def mount() -> Path:
        seen.mkdir()
        commands = (["mount", "--bind", str(path), str(seen)], ["mount", "-o", "remount,bind,ro", str(seen)])
        if os.geteuid() or any(subprocess.run(one, capture_output=True, check=False).returncode for one in commands):
            pytest.skip("only root may mount a file system")
        return seen

    yield mount
    if seen.exists():
        subprocess.run(["umount", "-l", str(seen)], check=False, capture_output=True)


READ_ONLY = "can only be read: its file system is mounted read-only; mount it for writing, or give another path"


def test_a_store_on_a_read_only_file_system_can_be_read(path: Path, read_only: Callable[[], Path]) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
        db.squelch("x", "r", "u")
        expected = db.dump(), db.find_faults(), db.get_agents()
    (path / "lock.mdb").unlink()  # as in a copy
    with opened(read_only()) as db:
        assert (db.dump(), db.find_faults(), db.get_agents()) == expected
        assert db.get_faults("agent") == [fault("f", agent="agent")]
        for write in (
            lambda: db.set_faults("agent", []),
            lambda: db.set_faults("agent", [fault("f")]),
            lambda: db.remove_agent("agent"),
            lambda: db.squelch("y", "r", "u"),
            lambda: db.unsquelch("x"),
        ):
            with pytest.raises(errors.StoreUnavailable, match=READ_ONLY) as caught:
                write()
            assert "Errno" not in str(caught.value)
        assert (db.dump(), db.find_faults(), db.get_agents()) == expected


def test_commands_that_only_read_work_on_a_read_only_file_system(path: Path, read_only: Callable[[], Path]) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f", message="bad")])
    environment = {**os.environ, "CIMAA_DATABASE_PATH": str(read_only())}

    def cimaa(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zc.cimaa", *arguments]
        return subprocess.run(command, env=environment, input="[]", capture_output=True, text=True, check=False)

    for command in (["faults"], ["agents"], ["dump"], ["squelches"]):
        assert (cimaa(*command).returncode, cimaa(*command).stderr.count("error")) == (0, 0)
    assert "bad" in cimaa("faults").stdout
    report = cimaa("report", "agent")
    assert report.returncode == 1
    assert report.stderr == f"cimaa: error: the store in {path.with_name('seen')} {READ_ONLY}\n"


def test_where_there_is_no_store_on_a_read_only_file_system_it_is_said(
    path: Path, read_only: Callable[[], Path]
) -> None:
    path.mkdir()
    seen = read_only()
    for where in (seen, seen / "deeper"):
        with opened(where) as db, pytest.raises(errors.StoreUnavailable, match="mounted read-only"):
            db.get_agents()


def test_a_store_that_is_mounted_for_writing_again_is_written_to(path: Path, read_only: Callable[[], Path]) -> None:
    with opened(path) as db:
        db.set_faults("agent", [fault("f")])
    seen = read_only()
    with opened(seen) as db:
        assert len(db.find_faults()) == 1
        subprocess.run(["mount", "-o", "remount,bind,rw", str(seen)], check=True)
        db.set_faults("agent", [])
        assert db.find_faults() == []
        subprocess.run(["mount", "-o", "remount,bind,ro", str(seen)], check=False)


def write_elsewhere(path: Path, writes: int) -> None:
    """Another process changes the agent's faults this number of times."""
    code = """
import sys
from zc.cimaa.lmdb import DB
with DB({"path": sys.argv[1]}) as db:
    for number in range(int(sys.argv[2])):
        db.set_faults("agent", [{"name": f"{number} of {sys.argv[3]}", "severity": 40, "message": ""}])
"""
    command = [sys.executable, "-c", code, str(path), str(writes), str(time.monotonic_ns())]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize(("writes", "attempts"), [(1, 1), (2, 2), (5, 2)])
def test_what_others_may_have_overwritten_is_read_again(
    path: Path, read_only: Callable[[], Path], writes: int, attempts: int
) -> None:
    """A read-only mount takes no lock, so a writer elsewhere may reuse pages that are being read."""
    with opened(path) as db:
        db.set_faults("agent", [])
    environment = Environment(read_only(), 2**20)
    made = []

    def work(transaction: "Transaction") -> bytes | None:
        if not made:
            write_elsewhere(path, writes)
        made.append(transaction.id())
        return transaction.get(b"f:agent")

    found = environment.read(work)
    environment.close()
    assert len(made) == attempts
    assert (found is None) == (attempts == 1)


def test_a_store_that_changes_all_the_time_cannot_be_read_without_locks(
    path: Path, read_only: Callable[[], Path]
) -> None:
    with opened(path) as db:
        db.set_faults("agent", [])
    environment = Environment(read_only(), 2**20)
    with pytest.raises(errors.StoreUnavailable, match="changes faster than it can be read"):
        environment.read(lambda _transaction: write_elsewhere(path, 2))
    environment.close()


# What it costs


def test_importing_it_loads_no_other_driver() -> None:
    code = "import sys, zc.cimaa.lmdb; print({'boto3', 'botocore', 'psycopg', 'stevedore'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_many_agents_are_woken_in_several_transactions(path: Path) -> None:
    """Waking writes the data file, but a report of an agent that was not woken does not."""
    names = [f"agent{number}" for number in range(500)]
    with opened(path) as db, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: db.set_faults(name, []), names))
        assert db.wake(reversed(names[:450])) == 450
        before = (path / "data.mdb").read_bytes()
        assert [db.report(name, []) for name in names[450:]] == [False] * 50
        assert (path / "data.mdb").read_bytes() == before
        assert list(pool.map(lambda name: db.report(name, []), names)) == [True] * 450 + [False] * 50
