"""The layouts of keys and values, and what the records say together."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cfengine import samples
from zc.cimaa.cfengine import locks, records
from zc.cimaa.cfengine.hosts import Contact, Lastseen, SharedKey
from zc.cimaa.cfengine.locks import Holder, Kind, Lock, LockProcess

KEY, OTHER = samples.host_key(1), samples.host_key(2, "MD5")
QUALITY = {"time": 5, "last": 1.5, "expected": 2.5, "variance": 3.5, "change": -4.5}


def decoded(name: str, key: bytes, value: bytes) -> records.StateEntry:
    (entry,) = records.decode(name, [(key, value)])
    return entry


@pytest.mark.parametrize(
    ("name", "key", "raw", "value"),
    [
        ("cf_lastseen.lmdb", b"version\0", b"1\0", "1"),
        ("cf_lastseen.lmdb", b"a10.0.0.1\0", samples.text(KEY), KEY),
        ("cf_lastseen.lmdb", samples.text(f"k{KEY}"), b"10.0.0.1\0", "10.0.0.1"),
        ("cf_lastseen.lmdb", samples.text(f"qi{KEY}"), samples.quality(5, 1.5, 2.5, 3.5, -4.5), QUALITY),
        (
            "cf_lastseen.lmdb.backup",
            samples.text(f"qo{OTHER}"),
            samples.acknowledged(True, 5, 1.5, 2.5, 3.5, -4.5),
            {"acknowledged": True, **QUALITY},
        ),
        ("cf_lock.lmdb", b"x\0", samples.lock(7, 8, 9, b"junk"), {"pid": 7, "time": 8, "process_start": 9}),
        ("cf_state.lmdb", b"x\0", samples.persistent(7, 1, "a,b"), {"expires": 7, "policy": "preserve", "tags": "a,b"}),
        ("cf_state.lmdb", b"x\0", struct.pack("=II", 7, 0), {"expires": 7, "policy": "reset", "tags": ""}),
        ("performance.lmdb", b"x\0", samples.quality(5, 1.5, 2.5, 3.5, -4.5), QUALITY),
        ("packages_installed_apt.lmdb", b"x\0", b"a\nb\n", "a\nb\n"),
        ("packages_installed_apt.lmdb", b"x\0", b"1", "1"),
        ("nova_static.lmdb", b"x\0", "\u00e9\0".encode(), "\u00e9"),
    ],
)
def test_each_layout(name: str, key: bytes, raw: bytes, value: Any) -> None:
    assert decoded(name, key, raw) == (key[:-1].decode(), value, True)


@pytest.mark.parametrize(
    ("name", "key", "raw"),
    [
        ("cf_lastseen.lmdb", samples.text(f"qi{KEY}"), bytes(39)),
        ("cf_lastseen.lmdb", samples.text(f"qi{KEY}"), bytes(41)),
        ("cf_lastseen.lmdb", samples.text(f"qi{KEY}"), b"\2" + bytes(47)),
        ("cf_lastseen.lmdb", samples.text(f"qx{KEY}"), bytes(40)),
        ("cf_lastseen.lmdb", samples.text(f"qi{KEY[:-1]}"), bytes(40)),
        ("cf_lastseen.lmdb", samples.text(f"k{KEY}0"), b"10.0.0.1\0"),
        ("cf_lastseen.lmdb", b"other\0", b"text\0"),
        ("cf_lock.lmdb", b"x\0", bytes(23)),
        ("cf_state.lmdb", b"x\0", samples.persistent(7, 2, "")),
        ("cf_state.lmdb", b"x\0", struct.pack("=II", 7, 0) + b"unended"),
        ("performance.lmdb", b"x\0", bytes(48)),
        ("nova_static.lmdb", b"x\0", b"\xff\0"),
        ("nova_static.lmdb", b"x\0", b"a\0b\0"),
        ("nova_static.lmdb", b"x\0", b"\x1b[2J\0"),
    ],
)
def test_what_fits_no_layout_stays_bytes(name: str, key: bytes, raw: bytes) -> None:
    assert decoded(name, key, raw) == (key[:-1].decode(), raw, False)


@pytest.mark.parametrize("key", [b"without end", b"\xff\0", b"a\0b\0", b"\0\0", b""])
def test_a_key_that_is_not_one_text_with_its_end_stays_bytes(key: bytes) -> None:
    assert decoded("cf_lock.lmdb", key, bytes(24)) == (key, bytes(24), False)


@given(st.sampled_from(["cf_lastseen", "cf_lock", "cf_state", "performance", "history"]), st.binary(), st.binary())
def test_no_bytes_make_it_fail_and_none_are_lost(name: str, key: bytes, raw: bytes) -> None:
    for start in (b"", samples.text(f"qi{KEY}")):
        entry = decoded(f"{name}.lmdb", start or key, raw)
        assert entry.known or entry.value == raw
        if entry.known:
            json.dumps(entry._asdict(), allow_nan=False)


def test_numbers_that_json_has_not_are_text() -> None:
    value = decoded("performance.lmdb", b"x\0", samples.quality(1, math.inf, -math.inf, math.nan)).value
    assert value == {"time": 1, "last": "inf", "expected": "-inf", "variance": "nan", "change": 0.0}


@pytest.mark.parametrize(
    ("version", "first", "refusal"),
    [
        (b"1\0", b"a", None),
        (b"2\0", b"a", None),
        (None, b"a10.0.0.1\0", None),  # as CFEngine 3.21 writes it
        (None, b"+MD5=0\0", "version 0"),
        (None, b"-MD5=0\0", "version 0"),
        (b"3\0", b"a", "version 3"),
    ],
)
def test_versions_that_are_not_read(version: bytes | None, first: bytes, refusal: str | None) -> None:
    assert records.refusal("cf_lastseen.lmdb", version, first) == refusal
    assert records.refusal("cf_lock.lmdb", version, first) is None


def seen(*entries: tuple[bytes, bytes]) -> Lastseen:
    return Lastseen(records.decode("cf_lastseen.lmdb", entries))


def test_contacts_are_the_longest_silent_first() -> None:
    found = seen(
        (samples.text(f"k{KEY}"), b"10.0.0.1\0"),
        (samples.text(f"qi{KEY}"), samples.quality(50, 300, 290.5)),
        (samples.text(f"qo{KEY}"), samples.quality(70)),
        (samples.text(f"qi{OTHER}"), samples.quality(60, 300, 310)),
        (samples.text(f"qi{OTHER}x"), b""),
    )
    assert found.contacts() == [
        Contact(50, "10.0.0.1", KEY, "in", 290.5),
        Contact(60, "", OTHER, "in", 310),
        Contact(70, "10.0.0.1", KEY, "out", None),
    ]
    assert found.unknown == 1
    assert found.shared() == []


def test_a_key_with_several_addresses_and_an_address_with_several_keys() -> None:
    found = seen(
        (b"a10.0.0.1\0", samples.text(KEY)),
        (b"a10.0.0.2\0", samples.text(KEY)),
        (samples.text(f"k{KEY}"), b"10.0.0.2\0"),
        (samples.text(f"k{OTHER}"), b"10.0.0.2\0"),
        (samples.text(f"qi{KEY}"), samples.quality(50)),
        (samples.text(f"qo{OTHER}"), samples.quality(40)),
    )
    assert found.shared() == [
        SharedKey("key", KEY, "10.0.0.1", False, 50, None),
        SharedKey("key", KEY, "10.0.0.2", True, 50, None),
        SharedKey("address", OTHER, "10.0.0.2", False, None, 40),
        SharedKey("address", KEY, "10.0.0.2", True, 50, None),
    ]


def test_keys_of_locks() -> None:
    entries = {
        samples.lock_key("lock", "main", "files"): samples.lock(1, 30, 3),
        samples.lock_key("last", "main"): samples.lock(1, 20, 3),
        samples.long_lock_key("lock", "long"): samples.lock(1, 10, 3),
        b"lock.track_license_bundle.track_license\0": samples.lock(1, 5, 3),
        b"CF_CRITICAL_SECTION\0": samples.lock(1, 1, 0),
        b"lock_horizon\0": samples.lock(0, 40, 0),
        b"something\0": samples.lock(1, 1, 1),
        **samples.hashed_locks(1, 50),
    }
    found = locks.locks(records.decode("cf_lock.lmdb", entries.items()))
    assert [(lock.bundle, lock.promise) for lock in found.held] == [
        ("", ""),
        ("track_license_bundle", ""),
        ("long", "files"),
        ("main", "files"),
    ]
    assert found.held[0].what == "CF_CRITICAL_SECTION"
    assert (found.unknown, found.hashed) == (1, True)
    assert {lock.kind for lock in found.entries} == set(Kind)


@pytest.mark.parametrize(
    ("start", "process", "booted", "holder"),
    [
        (50, LockProcess("cf-agent", 50), 0, Holder.ALIVE),
        (50, LockProcess("cf-agent", 51), 0, Holder.REUSED),
        (50, None, 0, Holder.GONE),
        (50, LockProcess(), 0, Holder.UNKNOWN),
        (50, LockProcess("cf-agent", 50), 1001, Holder.REUSED),  # the machine was started later
        (50, None, 1001, Holder.GONE),
        (0, LockProcess("cf-agent", 50), 0, Holder.ALIVE),
        (0, LockProcess("bash", 50), 0, Holder.REUSED),
    ],
)
def test_what_became_of_a_holder(start: int, process: LockProcess | None, booted: float, holder: Holder) -> None:
    assert locks.holder(Lock(Kind.HELD, "k", "b", "p", 7, 1000, start), process, booted) is holder


def test_what_daemons_do_is_not_what_the_agent_did() -> None:
    def done(bundle: str, pid: int, time: int) -> Lock:
        return Lock(Kind.DONE, "k", bundle, "p", pid, time, pid)

    found = [done("server_cfengine_bundle", 1, 90), done("x", 2, 80), done("main", 3, 70), done("main", 4, 60)]
    processes = {
        2: LockProcess("cf-monitord", 2),
        3: LockProcess("cf-execd", 5),
    }  # the number of 3 was given to another
    last = locks.last_done(found, processes.get, 0)
    assert last is not None
    assert last.pid == 3
    assert locks.last_done(found[:2], processes.get, 0) is None
