"""``cimaa cfengine``: what its commands show."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.support.cfengine import samples
from tests.support.command import Cimaa
from zc.cimaa.cfengine import lock_holders, state_files
from zc.cimaa.units import format_time


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    return state


def shown(cimaa: Cimaa, *arguments: str) -> list[list[str]]:
    result = cimaa("cfengine", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_a_dump_in_json_is_an_object_a_line_with_all_digits(cimaa: Cimaa, state: Path) -> None:
    numbers = (1 / 3, 2.2250738585072014e-308, 1.7976931348623157e308, -0.1)
    samples.write(
        state / "performance.lmdb",
        {b"x\0": samples.quality(2**62, *numbers), b"y\0": b"\xff\x00", b"z": samples.quality(1), b"\x80\0": b"1"},
    )
    result = cimaa("cfengine", "dump", "--json", str(state / "performance.lmdb"))
    names = ("time", "last", "expected", "variance", "change")
    assert list(map(json.loads, result.stdout.splitlines())) == [
        {"key": "x", "value": dict(zip(names, (2**62, *numbers), strict=True))},
        {"key": "y", "value": {"hex": "ff00"}, "unknown": True},
        {"key": {"hex": "7a"}, "value": {"hex": samples.quality(1).hex()}, "unknown": True},
        {"key": {"hex": "8000"}, "value": {"hex": "31"}, "unknown": True},
    ]
    assert "performance.lmdb: 3 entries of an unknown layout" in result.stderr


def test_a_dump_of_several_files_names_them(cimaa: Cimaa, state: Path) -> None:
    samples.write(state / "cf_lock.lmdb", {b"CF_CRITICAL_SECTION\0": samples.lock(7, 8, 9)})
    samples.write(state / "cf_state.lmdb", {b"kept\0": samples.persistent(10, 1, "a\x1b[2J")})
    place = ("--state", str(state), "cf_lock.lmdb", "cf_state.lmdb")
    result = cimaa("cfengine", "dump", *place)
    assert result.stderr == f"{state}/cf_state.lmdb: 1 entry of an unknown layout, shown as bytes.\n"
    one, other = (line.split("\t") for line in result.stdout.splitlines())
    value = f"pid=7 time={format_time(8).replace(' ', 'T')} process_start=9"
    assert one == [f"{state}/cf_lock.lmdb", "CF_CRITICAL_SECTION", value]
    assert other[2].startswith("bytes of an unknown layout: 0a000000")
    keys = cimaa("cfengine", "dump", "--keys", *place).stdout
    assert keys == f"{state}/cf_lock.lmdb\tCF_CRITICAL_SECTION\n{state}/cf_state.lmdb\tkept\n"
    first = json.loads(cimaa("cfengine", "dump", "--json", "--keys", *place).stdout.splitlines()[0])
    assert first == {"file": f"{state}/cf_lock.lmdb", "key": "CF_CRITICAL_SECTION"}


def test_the_list_of_files(cimaa: Cimaa, state: Path) -> None:
    now = int(time.time())
    samples.write(state / "cf_lastseen.lmdb", samples.hosts(5, now, version=2))
    (state / "empty.lmdb").touch()
    (state / "cf_lock.lmdb.lock").touch()
    result = cimaa("cfengine", "list", "--state", str(state))
    assert result.exit_code == 1
    seen, empty = (line.split("\t") for line in result.stdout.splitlines())
    assert seen[:7] == ["cf_lastseen.lmdb", "hosts seen", "16", "12KiB", "0 %", "LMDB 1, version 2", seen[6]]
    assert empty == ["empty.lmdb", "", "", "", "", "", "", "it is empty: it is not an LMDB file yet"]
    one, other = json.loads(cimaa("cfengine", "list", "--state", str(state), "--json").stdout)
    assert (one["entries"], one["map_size"], one["version"], one["used"]) == (16, samples.MAP_SIZE, "2", 0.01)
    assert other["error"] == "empty"


def test_a_directory_without_files_is_named(cimaa: Cimaa, tmp_path: Path) -> None:
    result = cimaa("cfengine", "list", "--state", str(tmp_path))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"No LMDB files in {tmp_path}.\n")
    assert "error: '' cannot be listed: No such file" in cimaa("cfengine", "list", "--state", "").stderr


def test_hosts(cimaa: Cimaa, state: Path) -> None:
    now = int(time.time())
    key, other = samples.host_key(1), samples.host_key(2, "MD5")
    samples.write(
        state / "cf_lastseen.lmdb",
        {
            samples.text(f"k{key}"): b"10.0.0.1\0",
            samples.text(f"k{other}"): b"::1\0",
            samples.text(f"qi{key}"): samples.quality(now - 7200 - 5, 300, 300),
            samples.text(f"qo{other}"): samples.quality(now - 65, 300, 3600.7),
        },
    )
    place = ("--state", str(state))
    rows = shown(cimaa, "hosts", *place)
    assert rows == [
        ["10.0.0.1", "in", format_time(now - 7205), rows[0][3], "5m", rows[0][5], key],
        ["::1", "out", format_time(now - 65), rows[1][3], "1h", "", other],
    ]
    assert (rows[0][3][:2], rows[0][5][:6]) == ("2h", "1h 55m")
    assert [row[0] for row in shown(cimaa, "hosts", *place, "--silent", "1h")] == ["10.0.0.1"]
    assert [row[0] for row in shown(cimaa, "hosts", *place, "--direction", "out")] == ["::1"]
    assert [row[0] for row in shown(cimaa, "hosts", *place, "--sort", "late")] == ["::1", "10.0.0.1"]
    assert shown(cimaa, "hosts", *place, "--columns", "key,late", "--reverse")[0] == [other, ""]
    first = json.loads(cimaa("cfengine", "hosts", *place, "--json").stdout)[0]
    assert (first["key"], first["interval"], first["seen"]) == (key, 300.0, now - 7205)
    assert first["late"] == pytest.approx(6905, abs=60)
    assert cimaa("cfengine", "hosts", *place, "--silent", "9d", "--json").stdout == "[]\n"
    assert cimaa("cfengine", "hosts", *place, "--silent", "9d").stderr == "No hosts.\n"


def test_times_that_no_calendar_has_are_shown_as_they_are(cimaa: Cimaa, state: Path) -> None:
    key = samples.text(f"qi{samples.host_key(1)}")
    for seen in (2**62, -(2**62), -1, 0, 2**37 - 1):
        path = samples.write(state / "cf_lastseen.lmdb", {key: samples.quality(seen)})
        assert shown(cimaa, "hosts", "--state", str(state))[0][2] == format_time(seen)
        path.unlink()


def test_machines_that_were_cloned_with_their_key(cimaa: Cimaa, state: Path) -> None:
    now = int(time.time())
    entries = samples.hosts(4, now)
    cloned = samples.host_key(1, "MD5")
    entries[b"a10.9.9.9\0"] = samples.text(cloned)
    samples.write(state / "cf_lastseen.lmdb", entries)
    rows = shown(cimaa, "hosts", "--double", "--state", str(state))
    assert [row[:4] for row in rows] == [
        ["key", cloned, "10.0.0.1", "latest"],
        ["key", cloned, "10.9.9.9", ""],
    ]
    assert rows[0][4].startswith("1m")
    pairs = json.loads(cimaa("cfengine", "hosts", "--double", "--state", str(state), "--json").stdout)
    assert [pair["incoming"] for pair in pairs] == [now - 60, now - 60]
    for wrong in (("--silent", "1h"), ("--direction", "in")):
        assert cimaa("cfengine", "hosts", "--double", *wrong).exit_code == 2
    result = cimaa("cfengine", "hosts", "--double", "--state", str(state), "--sort", "ago")
    assert result.exit_code == 2
    assert "there is no column 'ago'; the columns are shared,key,address" in result.stderr


def test_locks_and_whether_their_holders_live(cimaa: Cimaa, state: Path) -> None:
    now, own = int(time.time()), os.getpid()
    process = lock_holders.find(own)
    assert process is not None
    assert process.start is not None
    samples.write(
        state / "cf_lock.lmdb",
        {
            samples.lock_key("lock", "alive"): samples.lock(own, now - 60, process.start),
            samples.lock_key("lock", "reused"): samples.lock(own, now - 70, process.start + 1),
            samples.lock_key("lock", "gone"): samples.lock(2**22 + 1, now - 80, 1),
            samples.lock_key("last", "finished", "files"): samples.lock(own, now - 90, process.start),
            b"odd\0": b"odd",
        },
    )
    result = cimaa("cfengine", "locks", "--state", str(state))
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [(row[0], row[2], row[6]) for row in rows] == [
        ("gone", "held", "gone"),
        ("reused", "held", "gone, and its number reused"),
        ("alive", "held", "alive"),
    ]
    assert result.stderr == "cf_lock.lmdb: 1 entry of an unknown layout, left out: 'cimaa cfengine dump' shows them.\n"
    every = json.loads(cimaa("cfengine", "locks", "--all", "--state", str(state), "--json").stdout)
    assert [(lock["bundle"], lock["promise"], lock["kind"]) for lock in every][3] == ("finished", "files", "done")


def test_locks_of_version_3_12_are_held_or_done(cimaa: Cimaa, state: Path) -> None:
    samples.write(state / "cf_lock.lmdb", samples.hashed_locks(3, int(time.time())))
    result = cimaa("cfengine", "locks", "--state", str(state))
    assert result.stdout == ""
    assert "as up to CFEngine 3.12: --all shows what is held or done" in result.stderr
    assert {row[2] for row in shown(cimaa, "locks", "--all", "--state", str(state))} == {"held or done"}
    assert cimaa("check", "cfengine", "--state", str(state)).exit_code == 0


@pytest.mark.parametrize("command", ["hosts", "dump"])
def test_a_version_that_is_not_known_is_named_and_not_read(cimaa: Cimaa, state: Path, command: str) -> None:
    path = samples.write(state / "cf_lastseen.lmdb", samples.hosts(2, 1, version=3))
    arguments = ["--state", str(state)] if command == "hosts" else [str(path)]
    result = cimaa("cfengine", command, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"cimaa: error: {path}: its layout is not known (version 3)\n"


def test_an_error_names_the_places_that_were_looked_at(cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "DIRECTORIES", ("/nowhere/cfengine/state", "/nowhere/cfengine3/state"))
    result = cimaa("cfengine", "hosts")
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(directory in result.stderr for directory in (*state_files.DIRECTORIES, "--state"))


def test_a_table_on_a_terminal(cimaa: Cimaa, state: Path) -> None:
    samples.write(state / "cf_lastseen.lmdb", samples.hosts(2, int(time.time())))
    result = cimaa("cfengine", "hosts", "--state", str(state), "--table", "--columns", "address,ago")
    assert result.stdout.splitlines()[0].split() == ["address", "ago"]
    assert result.stdout.count("\n") == 3
