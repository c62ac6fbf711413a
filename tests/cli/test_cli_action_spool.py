"""``cimaa action spool``: files in, answers out, whenever it is killed."""

import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.forks import finished, in_fork
from tests.support.killed_agents import AtMostOnce, Steps
from tests.support.long_form import times
from tests.support.needs import missing
from zc.cimaa import lmdb
from zc.cimaa.actions.documents import Document, document_id
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.cli.action_spool import ActionSpool
from zc.cimaa.cli.spool_files import SpoolError, locked
from zc.cimaa.db import DB


def deliver(fleet: FleetActions, document: Document, _size: int, agents: Sequence[str]) -> None:
    list(fleet.deliver(document, agents))


class Spooling(AtMostOnce):
    """A host with an agent and a spool."""

    def __init__(self, directory: Path, spool: str = "spool") -> None:
        super().__init__(directory)
        self.spool = directory / spool
        self.spool.mkdir(exist_ok=True)
        self.turn()

    def turn(self, later: float = 0, opener: Callable[[], DB] | None = None, keep: float = 3600) -> list[str]:
        """One pass of the spool, ``later`` seconds from now."""
        with opener() if opener else self.store(later) as db, locked(self.spool):
            spool = ActionSpool(self.spool, db, "jane", deliver, lambda: time.time() + later)
            spool.prepare()
            said = [*spool.send_new(), *spool.follow()]
            spool.prune(keep)
        return said

    def drop(self, name: str, number: int, who: str = "jane") -> str:
        """Put an action that notes this number into ``new``; its id."""
        parameters = {"name": "note", "arguments": [str(number)]}
        data = self.questions.document("command", time.time(), parameters=parameters)
        (self.spool / "action/new" / f"{name}.sig").write_bytes(self.questions.keys.sign(who, data))
        (self.spool / "action/new" / name).write_bytes(data)
        return document_id(data)

    def files(self) -> dict[str, list[str]]:
        """The files in each directory that has some."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.spool.rglob("*")):
            if path.is_file() and path.name != ".lock":
                found.setdefault(str(path.parent.relative_to(self.spool)), []).append(path.name)
        return found

    def read(self, path: str) -> Any:
        return json.loads((self.spool / path).read_text())


DONE = {"action/done": ["q", "q.sig", "q.status"], "command/done/q": ["web1.json"]}


@pytest.fixture
def host(tmp_path: Path) -> Spooling:
    return Spooling(tmp_path)


def test_a_file_is_sent_and_its_answer_is_written(host: Spooling) -> None:
    identity = host.drop("q", 7)
    assert host.turn() == [f"q is sent: {identity}"]
    assert host.files() == {"action/inflight": ["q", "q.sig", "q.status"], "command/ready/q": ["web1.json"]}
    assert host.read("action/inflight/q.status")["counters"]["states"]["sent"] == 1
    finished(in_fork(host.work))
    assert host.turn() == ["q is done"]
    assert host.files() == DONE
    answer = host.read("command/done/q/web1.json")
    assert (answer["action"], answer["state"], answer["operations"][0]["status"]) == (identity, "success", "success")
    assert host.read("action/done/q.status")["state"] == "completed"
    assert host.turn() == []
    assert host.lines() == {"7": 1}


def test_what_is_done_or_invalid_is_removed_after_a_while(host: Spooling) -> None:
    host.drop("q", 7)
    (host.spool / "action/new/wrong").write_text("{")
    host.turn()
    finished(in_fork(host.work))
    host.turn(later=60)
    assert set(host.files()) == {*DONE, "action/invalid"}
    host.turn(later=3500)
    assert set(host.files()) == {*DONE, "action/invalid"}
    host.turn(later=3700)
    assert host.files() == {}


def sig(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_text("{"), "the document is not JSON"),
        (lambda path: path.write_text(path.read_text() + " "), "q.sig: signature 1"),
        (lambda path: path.with_name("q.sig").unlink(), "q is not signed"),
        (lambda path: path.with_name("q.sig").write_text("-----BEGIN SSH SIGNATURE-----\nU1NI"), "end without"),
        (lambda path: (path.unlink(), path.mkdir()), "q is not a file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "q is not a file"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "q is not a file"),
        (lambda path: path.write_bytes(b"x" * 70000), "too large: at most 65536 bytes"),
        (lambda path: (sig(path).unlink(), sig(path).mkdir()), "q.sig is not a file"),
        (lambda path: (sig(path).unlink(), os.mkfifo(sig(path))), "q.sig is not a file"),
        (lambda path: (sig(path).unlink(), sig(path).symlink_to("/etc/passwd")), "q.sig is not a file"),
    ],
)
def test_a_file_that_is_wrong_is_invalid_once_it_has_not_changed_for_a_while(
    host: Spooling, spoil: Callable[[Path], Any], reason: str
) -> None:
    host.drop("q", 7)
    spoil(host.spool / "action/new/q")
    assert host.turn() == []
    assert (host.spool / "action/new/q").is_symlink() or (host.spool / "action/new/q").exists()
    host.turn(later=20)
    assert reason in (host.spool / "action/invalid/q.reason").read_text()
    assert not list((host.spool / "action/new").iterdir())
    with host.store() as db:
        assert FleetActions(db).actions() == []


@pytest.mark.parametrize("name", [b"q" * 250, b"q\xff", b"q\n"])
def test_a_file_whose_name_cannot_be_used_is_invalid_and_keeps_nothing_else_up(host: Spooling, name: bytes) -> None:
    host.drop("q", 7)
    host.drop("r", 8)
    new = host.spool / "action/new"
    sig(new / "q").rename(new / os.fsdecode(name[:240] + b".sig"))
    (new / "q").rename(new / os.fsdecode(name))
    said = host.turn(later=20)
    assert [line.partition(":")[0] for line in said if "is sent" in line] == ["r is sent"]
    [reason] = (host.spool / "action/invalid").glob("*.reason")
    assert "choose a name of at most 200 bytes" in reason.read_text()
    assert reason.with_suffix("").is_file()


@pytest.mark.parametrize("suffix", [".status", ".reason"])
def test_an_action_that_is_named_like_a_file_of_the_spool_is_invalid(host: Spooling, suffix: str) -> None:
    host.drop("q", 7)
    host.turn()
    host.drop(f"q{suffix}", 8)
    assert host.turn() == []
    assert f"does not end with {suffix}" in host.turn(later=20)[0]
    invalid = {f"q{suffix}", f"q{suffix}.sig", f"q{suffix}.reason"}
    assert invalid == {path.name for path in (host.spool / "action/invalid").iterdir()}
    assert not list((host.spool / "action/new").iterdir())


def test_signatures_wait_for_their_action(host: Spooling) -> None:
    host.drop("q", 7)
    (host.spool / "action/new/q").rename(host.spool / "later")
    assert host.turn(later=1000) == []
    (host.spool / "later").rename(host.spool / "action/new/q")
    assert "q is sent" in host.turn()[0]


def test_a_file_that_cannot_be_written_is_named(host: Spooling) -> None:
    host.drop("q", 7)
    (host.spool / "action/inflight/q.status").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        host.turn()
    assert raised.value.filename == str(host.spool / "action/inflight/q.status")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_not_a_file_among_the_actions_in_flight_keeps_nothing_up(
    host: Spooling, make: Callable[[Path], Any]
) -> None:
    make(host.spool / "action/inflight/odd")
    host.drop("q", 7)
    assert "odd is invalid: odd is not a file" in host.turn()
    finished(in_fork(host.work))
    assert host.turn() == ["q is done"]
    assert (host.spool / "action/invalid/odd.reason").read_text() == "odd is not a file\n"
    assert not list((host.spool / "action/inflight").iterdir())


def test_a_file_that_is_written_slowly_is_sent_when_it_is_complete(host: Spooling) -> None:
    host.drop("q", 7)
    new = host.spool / "action/new"
    data, signatures = (new / "q").read_bytes(), (new / "q.sig").read_bytes()
    (new / "q.sig").unlink()
    for end in range(0, len(data), 100):
        (new / "q").write_bytes(data[:end])
        assert host.turn() == []
    (new / "q").write_bytes(data)
    (new / "q.sig").write_bytes(signatures[:-5])
    assert host.turn() == []
    (new / "q.sig").write_bytes(signatures)
    assert "q is sent" in host.turn()[0]


def test_another_action_of_the_same_name_is_refused(host: Spooling) -> None:
    host.drop("q", 1)
    host.turn()
    host.drop("q", 2)
    host.turn(later=20)
    assert "choose another name" in (host.spool / "action/invalid/q.reason").read_text()
    finished(in_fork(host.work))
    assert host.lines() == {"1": 1}


def test_on_a_full_disk_nothing_is_lost(tmp_path: Path) -> None:
    disk = tmp_path / "spool"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        missing("needs the right to mount a file system")
    try:
        host = Spooling(tmp_path)
        for number in range(1, 4):
            host.drop(f"q{number}", number)
        for room in (0, 1, 2, 3, 4, 5):
            (disk / "filler").unlink(missing_ok=True)
            fill(disk / "filler", room)
            with suppress(OSError):
                host.turn()
            finished(in_fork(host.work))
        (disk / "filler").unlink()
        host.turn()
        finished(in_fork(host.work))
        host.turn()
        check(host, 3)
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(path: Path, room: int) -> None:
    """Fill the disk but for this number of pages."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(path, max(0, path.stat().st_size - room * 4096))


def test_one_process_works_on_a_directory(host: Spooling) -> None:
    with locked(host.spool), pytest.raises(SpoolError, match="another process works on"):
        host.turn()


def test_two_spools_may_have_the_same_actions(tmp_path: Path) -> None:
    host = Spooling(tmp_path)
    other = Spooling.__new__(Spooling)
    other.__dict__ |= host.__dict__ | {"spool": tmp_path / "other"}
    other.spool.mkdir()
    other.turn()
    host.drop("q", 7)
    for name in ("q.sig", "q"):
        (other.spool / "action/new" / f"x{name}").write_bytes((host.spool / "action/new" / name).read_bytes())
    children = [in_fork(host.turn), in_fork(other.turn)]
    assert [finished(child) for child in children] == [0, 0]
    finished(in_fork(host.work))
    assert host.turn() == ["q is done"]
    assert other.turn() == ["xq is done"]
    assert host.lines() == {"7": 1}


def test_it_may_be_killed_at_each_step(host: Spooling) -> None:
    """Then the next pass goes on, and each action is sent once, run once, and answered."""
    for number, step in enumerate(itertools.count(1, times(5, 1)), 1):
        host.drop(f"q{number}", number)
        killed = 0
        for _ in range(2):  # the pass that sends it, and the one that ends it
            status = finished(in_fork(partial(killed_pass, host, step)))
            killed += status != 0
            assert status in (0, -signal.SIGKILL)
            finished(in_fork(host.work))
        host.turn()
        finished(in_fork(host.work))
        host.turn()
        check(host, number)
        if not killed:
            break
    assert step > 15


def test_it_may_be_killed_at_any_time(host: Spooling) -> None:
    chance = random.Random(3)
    last = times(20, 300)
    for number in range(1, last + 1):
        host.drop(f"q{number}", number)
        child = in_fork(lambda: [host.turn() for _ in range(5)])
        time.sleep(chance.uniform(0, 0.1))  # the moment of the kill is random
        os.kill(child, signal.SIGKILL)
        finished(child)
        if chance.random() < 0.5:
            finished(in_fork(host.work))
    host.turn()
    finished(in_fork(host.work))
    host.turn()
    check(host, last)


def check(host: Spooling, last: int) -> None:
    """Each action, up to this number, was sent, run and answered once, and nothing else is in the directories."""
    names = [f"q{number}" for number in range(1, last + 1)]
    wanted = {"action/done": sorted(name + suffix for name in names for suffix in ("", ".sig", ".status"))}
    assert host.files() == wanted | {f"command/done/{name}": ["web1.json"] for name in names}
    assert host.lines() == {str(number): 1 for number in range(1, last + 1)}


def killed_pass(host: Spooling, step: int) -> None:
    """A pass of the spool that is killed at this step."""
    steps = Steps(step)
    store = steps.instrument()

    class Stepping(store):  # type: ignore[misc,valid-type]
        _add = steps.around(lmdb.DB._add)
        _wake = steps.around(lmdb.DB._wake)

    for name in ("replace", "unlink", "mkdir"):
        setattr(Path, name, steps.around(getattr(Path, name)))
    host.turn(opener=lambda: Stepping({"path": str(host.directory / "store")}))


def test_the_command_makes_one_pass(host: Spooling, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.command import Cimaa

    monkeypatch.chdir(host.directory)
    host.drop("q", 7)
    cimaa = Cimaa.__new__(Cimaa)
    cimaa.directory = host.directory
    result = cimaa("--config", str(host.path), "action", "spool", "spool", "--once", "--keep", "72h")
    assert (result.exit_code, "q is sent" in result.stderr) == (0, True)
    finished(in_fork(host.work))
    cimaa("--config", str(host.path), "action", "spool", "spool", "--once")
    assert host.files() == DONE
