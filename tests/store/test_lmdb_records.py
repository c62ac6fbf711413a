"""The records in an LMDB file: one of each kind is pinned, so that a change of the format cannot go unnoticed."""

import os
from hashlib import blake2b
from pathlib import Path
from uuid import UUID
from zlib import crc32

import lmdb
import pytest

from zc.cimaa.agents import Instance
from zc.cimaa.errors import StoreIncompatible
from zc.cimaa.faults import FaultDict
from zc.cimaa.leases import Lease
from zc.cimaa.lmdb import DB
from zc.cimaa.testing import Clock, fault
from zc.cimaa.testing.tools import shown_instance

NOW = 1_764_000_000
INSTANCE = Instance("web1.example.com", 4711, "1.0", "Linux 6.1")
ANOTHER = INSTANCE._replace(pid=4712)
FAULTS = [fault("//web1/disk", 40, "92 % used", free=8.0, paths=["/", "/var"])]
CONDITION = b"c88a62fbfe94f22c15be49b04884ab28 c1b58e11c6b9aa5cd7f0cd8743cc02f6"
SEEN = b'[["web1.example.com",4711,"1.0","Linux 6.1",1764000000000000,1764000000000000]]'
REVISION = b"revision"
# The time, the revision, the slot, the number of instances.
HEAD = (1_764_000_000_000_000).to_bytes(8, "little") + REVISION + bytes(8) + b"\1"
# When it was written, since when the history is complete, when a message changed without an event.
TIMES = (1_764_000_000_000_000).to_bytes(8, "little") + bytes(8) + bytes(8)
# The length of the condition.
ROW = HEAD + TIMES + b"\x41\0" + CONDITION + SEEN
STAMP = (1_764_000_000_000_000).to_bytes(8, "big")
STARTED, LATER = ((1_764_000_000_000_000 + later).to_bytes(8, "little") for later in (0, 60_000_000))
EVENTS = (
    b'[["appeared","",null,null,null,null,"","web1.example.com",""],'
    b'["began","//web1/disk",null,40,1764000000,null,"92 % used","",""]]'
)
SQUELCHED = b'[["squelched","^//web1/",null,null,1764000000,1764003600,"","ann","new rack"]]'
STORED = (
    b'[{"free":8.0,"message":"92 % used","name":"//web1/disk","paths":["/","/var"],"severity":40,"since":1764000000}]'
)
SQUELCH = {
    b"s:" + blake2b(b"^//web1/", digest_size=32).digest(): b'{"expires":1764003600,"permanent":false,'
    b'"reason":"new rack","regex":"^//web1/","time":1764000000,"user":"ann"}'
}
ENTRY = {
    b"e:"
    + blake2b(b"lease", digest_size=8).digest()
    + blake2b(b"", digest_size=8).digest()
    + blake2b(b"job", digest_size=16).digest(): b'["lease","","job",{"holder":"web1","released":false,'
    b'"since":1764000000,"state":[1],"token":1,"until":1764000060},"00000000000000000000000000000001",null]'
}
GOLDEN = {
    b"version": b"3",
    b"a:web1": ROW,
    b"f:web1": bytes([40, 0, 0, 0, 0, 0, 0, 0]) + (1_764_000_000).to_bytes(8, "little") + STORED,
    b"slots": b"1",
    b"h:web1\0" + STAMP: b"",
    b"z:" + STAMP + b"web1": EVENTS,
    b"h:_\0" + STAMP: b"",
    b"z:" + STAMP + b"_": SQUELCHED,
    **SQUELCH,
    **ENTRY,
}
# A slot after a touch 60.5 seconds later: the revision, the time, their CRC-32.
SLOT = REVISION + (1_764_000_060_500_000).to_bytes(8, "little")
SLOT += crc32(SLOT).to_bytes(4, "little")
# And a digest of the system's boot id.
BOOT = blake2b(Path("/proc/sys/kernel/random/boot_id").read_bytes(), digest_size=8).digest()


def stored(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def store(path: Path, pairs: dict[bytes, bytes]) -> None:
    path.mkdir(exist_ok=True)
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        for key, value in pairs.items():
            transaction.put(key, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(path: Path, now: float = NOW, instance: Instance = INSTANCE) -> DB:
    return DB({"path": str(path)}, instance=instance, clock=Clock(now))


@pytest.fixture(autouse=True)
def revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revisions are drawn at random, but not here."""
    monkeypatch.setattr(os, "urandom", lambda size: REVISION[:size])
    monkeypatch.setattr("zc.cimaa.db.uuid4", lambda: UUID(int=1))


def test_each_kind_of_record_is_written_like_this(path: Path) -> None:
    with opened(path) as db:
        db.set_faults("web1", FAULTS)
        db.squelch("^//web1/", "new rack", "ann", expires=NOW + 3600)
        db.lease("job", "web1", 60, state=[1])
    assert stored(path) == GOLDEN


def test_a_removed_agent_leaves_its_slot_and_its_events(path: Path) -> None:
    store(path, GOLDEN)
    with opened(path, NOW + 60) as db:
        db.remove_agent("web1", user="ann")
    left = stored(path)
    assert left.pop(b"x:" + bytes(8)) == b""
    stamp = (1_764_000_060_000_000).to_bytes(8, "big")
    assert left.pop(b"h:web1\0" + stamp) == b""
    assert left.pop(b"z:" + stamp + b"web1") == (
        b'[["ended","//web1/disk",40,null,1764000000,null,"92 % used","",""],'
        b'["removed","",null,null,null,null,"","ann",""]]'
    )
    assert left == {key: value for key, value in GOLDEN.items() if key not in (b"a:web1", b"f:web1")}


def test_each_kind_of_record_is_read_from_this(path: Path) -> None:
    store(path, GOLDEN)
    with opened(path) as db:
        assert db.get_faults("web1") == [{"agent": "web1", **FAULTS[0]}]
        assert [one["since"] for one in db.find_faults()] == [NOW]
        instance = {**shown_instance(INSTANCE), "first": NOW, "last": NOW}
        assert db.get_agents() == [{"name": "web1", "updated": NOW, "instances": [instance]}]
        [squelch] = db.get_squelch_details()
        assert db.get_leases() == [Lease("job", "web1", 1, NOW, NOW + 60, 60, [1])]
        assert [(one["agent"], one["kind"], one.get("message")) for one in db.get_history()] == [
            ("_", "squelched", None),
            ("web1", "appeared", None),
            ("web1", "began", "92 % used"),
        ]
    assert (squelch["regex"], squelch["expires"], squelch["permanent"]) == ("^//web1/", NOW + 3600, False)


def test_an_unchanged_report_writes_a_slot_and_reads_nothing_else(path: Path) -> None:
    """What follows the digest and the instance in the row, and the faults, are left alone: here they are not valid."""
    damaged = {**GOLDEN, b"a:web1": ROW.replace(SEEN, b"[damaged"), b"f:web1": b"[damaged"}
    store(path, damaged)
    with opened(path, NOW + 60.5) as db:
        db.set_faults("web1", FAULTS)
        with pytest.raises(StoreIncompatible):
            db.get_agents()
        assert [one["updated"] for one in db.old_agents(0)] == [NOW + 60]
    assert stored(path) == damaged
    assert (path / "heartbeats").read_bytes().rstrip(b"\0") == (SLOT + BOOT).rstrip(b"\0")


def test_a_condition_that_a_later_version_writes_is_kept(path: Path) -> None:
    """What is compared may become longer: the instances follow it, however long it is."""
    longer = CONDITION + b" and more"
    head = HEAD + TIMES + len(longer).to_bytes(2, "little")
    store(path, {**GOLDEN, b"a:web1": head + longer + SEEN})
    with opened(path, NOW + 60) as db:
        assert [one["instances"][0]["pid"] for one in db.get_agents()] == [4711]
        db.set_faults("web1", FAULTS)
    assert stored(path)[b"a:web1"] == HEAD.replace(STARTED, LATER) + LATER + TIMES[8:] + ROW[49:]


@pytest.mark.parametrize(("faults", "instance"), [([], INSTANCE), ([fault("f")], INSTANCE), (FAULTS, ANOTHER)])
def test_any_other_report_rewrites_the_row(path: Path, faults: list[FaultDict], instance: Instance) -> None:
    store(path, GOLDEN)
    with opened(path, NOW + 60, instance) as db:
        db.set_faults("web1", faults)
    after = stored(path)
    assert after[b"a:web1"][51:116] != CONDITION
    assert (after.get(b"f:web1") == GOLDEN[b"f:web1"]) == (faults == FAULTS)
    assert (b"f:web1" in after) == bool(faults)


MARKED = CONDITION + b" - marked"
MARKED_ROW = HEAD + TIMES + len(MARKED).to_bytes(2, "little") + MARKED + SEEN


def test_a_mark_is_a_part_of_the_condition(path: Path) -> None:
    """The row's revision stays the same, so that the heartbeat in its slot still counts; other agents are as before."""
    store(path, GOLDEN)
    with opened(path, NOW + 60.5) as db:
        db.set_faults("web1", FAULTS)
    for _ in range(2):
        with opened(path) as db:
            assert db.wake(["web1", "web2"]) == 1
            assert [one["updated"] for one in db.get_agents()] == [NOW + 60]
        assert stored(path) == {**GOLDEN, b"a:web1": MARKED_ROW}
    within = ROW.replace(CONDITION, CONDITION + b" 300").replace(b"\x41\0", b"\x45\0")
    store(path, {b"a:web1": within})
    with opened(path) as db:
        db.wake(["web1"])
    assert stored(path)[b"a:web1"] == within.replace(b" 300", b" 300 marked").replace(b"\x45\0", b"\x4c\0")


def test_set_faults_writes_the_slot_of_a_marked_row(path: Path) -> None:
    """It is the same touch as without a mark; that of a report fails, and removes the mark."""
    damaged = {**GOLDEN, b"a:web1": MARKED_ROW.replace(SEEN, b"[damaged"), b"f:web1": b"[damaged"}
    store(path, damaged)
    with opened(path, NOW + 60.5) as db:
        db.set_faults("web1", FAULTS)
    assert stored(path) == damaged
    path = path.with_name("another")
    store(path, GOLDEN | {b"a:web1": MARKED_ROW})
    with opened(path, NOW + 60) as db:
        assert db.report("web1", FAULTS) is True
        assert db.report("web1", FAULTS) is False
    assert stored(path) == {**GOLDEN, b"a:web1": HEAD.replace(STARTED, LATER) + LATER + TIMES[8:] + ROW[49:]}


def test_a_report_writes_a_slot_and_reads_nothing_else(path: Path) -> None:
    """As long as the row is not marked, it does what set_faults does."""
    damaged = {**GOLDEN, b"a:web1": ROW.replace(SEEN, b"[damaged"), b"f:web1": b"[damaged"}
    store(path, damaged)
    with opened(path, NOW + 60.5) as db:
        assert db.report("web1", FAULTS) is False
    assert stored(path) == damaged
    assert (path / "heartbeats").read_bytes().rstrip(b"\0") == (SLOT + BOOT).rstrip(b"\0")
