"""Real files of CFEngine: every entry equals what its own tools, and LMDB's, show of the same file."""

import json
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cfengine import real, samples
from tests.support.cfengine.real import Site
from tests.support.command import Cimaa
from zc.cimaa.cfengine import lock_holders, locks, records, state_files


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub with its server, and an agent, of which one run is in the middle, and files copied at that time."""
    real.require()
    site = Site(tmp_path_factory.mktemp("site"))
    with site.serving():
        for _ in range(2):
            site.agent.run("cf-agent", "--file", str(site.quick))
        with site.agent_in_the_middle():
            for host in (site.hub, site.agent):
                for path in host.files():
                    shutil.copy(path, host.copies)
            yield site


def copies(site: Site) -> list[Path]:
    return [path for host in (site.hub, site.agent) for path in sorted(host.copies.glob("*.lmdb"))]


def of_cf_check(path: Path) -> dict[str, Any]:
    """What ``cf-check dump`` writes, without its trailing commas."""
    done = subprocess.run(["cf-check", "dump", path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(re.sub(r",\n}", "\n}", done.stdout))
    return found


def of_mdb_dump(path: Path) -> dict[bytes, bytes]:
    """The bytes that ``mdb_dump`` writes."""
    done = subprocess.run(["mdb_dump", "-n", path], capture_output=True, text=True, check=True)
    lines = [bytes.fromhex(line) for line in done.stdout.splitlines() if line.startswith(" ")]
    return dict(zip(lines[::2], lines[1::2], strict=True))


def dumped(cimaa: Cimaa, path: Path) -> dict[str, Any]:
    result = cimaa("cfengine", "dump", "--json", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    return {entry["key"]: entry["value"] for entry in map(json.loads, result.stdout.splitlines())}


def as_cf_check_shows(path: Path, value: Any) -> Any:
    """A value as ``cf-check`` shows it: floats with four digits, and names of its own."""
    if not isinstance(value, dict):
        return value
    if "pid" in value:
        return {"pid": value["pid"], "time": value["time"], "process_start_time": value["process_start"]}
    if "policy" in value:
        return {"expires": value["expires"], "policy": value["policy"].upper(), "tags": value["tags"]}
    names = {"q": "last", "expect": "expected", "var": "variance", "dq": "change"}
    shown = {name: float(f"{value[field]:.4f}") for name, field in names.items()}
    return {"lastseen": value["time"], "Q": shown}


def test_every_entry_equals_what_cf_check_shows(cimaa: Cimaa, site: Site) -> None:
    compared = {path.name: 0 for path in copies(site)}
    for path in copies(site):
        if path.name.startswith("performance"):  # where it gives up
            continue
        wanted = of_cf_check(path)
        found = {key: as_cf_check_shows(path, value) for key, value in dumped(cimaa, path).items()}
        assert found == wanted, path
        compared[path.name] += len(wanted)
    assert compared["cf_lastseen.lmdb"] == 6
    assert compared["cf_lock.lmdb"] > 8
    assert compared["cf_state.lmdb"] == 2


def test_every_byte_equals_what_mdb_dump_shows(site: Site) -> None:
    for path in copies(site):
        with state_files.read(str(path)) as snapshot:
            assert dict(snapshot.entries()) == of_mdb_dump(path)


def test_the_figures_equal_what_mdb_stat_shows(site: Site) -> None:
    for path in copies(site):
        shown = subprocess.run(["mdb_stat", "-nef", path], capture_output=True, text=True, check=True).stdout
        with state_files.read(str(path)) as snapshot:
            facts = snapshot.facts
        for name, value in (
            ("Map size", facts.map_size),
            ("Page size", facts.page_size),
            ("Number of pages used", facts.pages),
            ("Last transaction ID", facts.transaction),
            ("Free pages", facts.free_pages),
        ):
            assert f"{name}: {value}\n" in shown
        assert shown.endswith(f"Entries: {facts.entries}\n")


def test_how_long_things_take_equals_the_bytes(cimaa: Cimaa, site: Site) -> None:
    path = site.agent.copies / "performance.lmdb"
    refused = subprocess.run(["cf-check", "dump", path], capture_output=True, text=True, check=False)
    assert "unknown binary data" in refused.stdout
    names = ("time", "last", "expected", "variance", "change")
    wanted = {
        key[:-1].decode(): dict(zip(names, struct.unpack("=q4d", value), strict=True))
        for key, value in of_mdb_dump(path).items()
    }
    assert dumped(cimaa, path) == wanted
    assert "truth:commands:/bin/true" in wanted


def test_hosts_equal_what_cf_key_shows(cimaa: Cimaa, site: Site) -> None:
    for host in (site.hub, site.agent):
        shown = host.run("cf-key", "--show-hosts", "--no-truncate")
        wanted = set()
        for line in shown.splitlines()[1:-1]:
            direction, address, *_, key = line.split()
            when = " ".join(line.split()[3:8])
            wanted.add((direction.lower(), address, int(time.mktime(time.strptime(when))), key))
        found = json.loads(cimaa("cfengine", "hosts", "--state", str(host.state), "--json").stdout)
        names = {"in": "incoming", "out": "outgoing"}
        assert {(names[one["direction"]], one["address"], one["seen"], one["key"]) for one in found} == wanted
        assert len(wanted) == 1


def test_a_run_in_the_middle_holds_a_lock(cimaa: Cimaa, site: Site) -> None:
    (held,) = json.loads(cimaa("cfengine", "locks", "--state", str(site.agent.state), "--json").stdout)
    assert (held["bundle"], held["promise"], held["holder"]) == ("slow", "commands", "alive")
    process = lock_holders.find(held["pid"])
    assert process is not None
    assert (process.name, process.start) == ("cf-agent", held["process_start"])
    line = cimaa("cfengine", "locks", "--state", str(site.agent.state)).stdout
    assert line.startswith("slow\tcommands\theld\t")


def test_the_server_holds_a_lock_for_as_long_as_it_runs_and_does_not_hang(cimaa: Cimaa, site: Site) -> None:
    (held,) = json.loads(cimaa("cfengine", "locks", "--state", str(site.hub.state), "--json").stdout)
    assert (held["bundle"], held["holder"]) == ("server_cfengine_bundle", "alive")
    result = cimaa("check", "cfengine", "--state", str(site.hub.state), "--locks", "0s", "-v")
    assert result.exit_code == 2  # no agent ever ran there
    assert "the agent never got anything done" in result.stdout
    assert "locked" not in result.stdout


def test_the_check_of_a_host_that_works(cimaa: Cimaa, site: Site) -> None:
    result = cimaa("check", "cfengine", "--state", str(site.agent.state))
    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("CFENGINE OK - the agent works, and its files are whole | agent=")
    hanging = cimaa("check", "cfengine", "--state", str(site.agent.state), "--locks", "0s")
    assert (hanging.exit_code, "slow (commands) is locked since" in hanging.stdout) == (2, True)


def test_the_agent_and_the_server_are_told_apart(site: Site) -> None:
    with state_files.read(str(site.hub.state / "cf_lock.lmdb")) as snapshot:
        found = locks.locks(records.decode(snapshot.name, snapshot.entries()))
    assert any(lock.kind is locks.Kind.DONE for lock in found.entries)
    assert locks.last_done(found.entries, lock_holders.find, lock_holders.booted()) is None


def test_files_of_other_versions_equal_what_mdb_dump_shows(tmp_path: Path) -> None:
    real.require()
    now = int(time.time())
    contents = {
        "cf_lock.lmdb": samples.hashed_locks(500, now),
        "cf_lastseen.lmdb": samples.hosts(300, now, version=2),
        "cf_state.lmdb": {b"a\0": samples.persistent(now, 0, "x,y"), b"b\0": samples.persistent(now, 1, "")},
        "nova_static.lmdb": {b"big\0": bytes(range(256)) * 100, b"one\0": b"1"},
    }
    for name, entries in contents.items():
        path = samples.write(tmp_path / name, entries, commits=7)
        with state_files.read(str(path)) as snapshot:
            assert dict(snapshot.entries()) == of_mdb_dump(path) == entries
