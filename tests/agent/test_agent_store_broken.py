"""Agents whose embedded store breaks under them go on checking and alerting, say so, and report again when it works."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.agent_process import Start, alerts, remembered, stored
from tests.support.command import Cimaa
from tests.support.processes import until
from zc.cimaa.errors import Error


def emptied(store: Path) -> None:
    os.truncate(store / "data.mdb", 0)


def cut_short(store: Path) -> None:
    os.truncate(store / "data.mdb", 8192)


def lock_emptied(store: Path) -> None:
    os.truncate(store / "lock.mdb", 0)


def _overwritten(store: Path, start: int) -> None:
    with (store / "data.mdb").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
        file.write(os.urandom(size - start))


def overwritten(store: Path) -> None:
    _overwritten(store, 0)


def garbled(store: Path) -> None:
    _overwritten(store, 8192)


def deleted(store: Path) -> None:
    shutil.rmtree(store)


def replaced(store: Path) -> None:
    shutil.rmtree(store)
    store.write_text("no directory")


def say(host: Cimaa, *faults: dict[str, str]) -> None:
    """What the agent's check finds from now on."""
    new = host.directory / "new"
    new.write_text(json.dumps({"faults": faults}))
    new.rename(host.directory / "result")


@pytest.fixture
def reporting(host: Cimaa, start: Start) -> subprocess.Popen[str]:
    """An agent that reported that all is well."""
    (host.directory / "checks" / "f.cfg").write_text(f"[a]\ncommand = cat {host.directory}/result\n")
    say(host)
    process = start()

    def reported() -> bool:
        with host.store() as db:
            return bool(db.get_agents())

    assert until(reported)
    return process


def recorded(host: Cimaa) -> bool:
    """True once the store has the fault, and that people were alerted of it."""
    try:
        return remembered(host)
    except Error:
        return False


@pytest.mark.parametrize(
    ("damage", "logged"),
    [
        (emptied, "were cut short"),
        (cut_short, "data.mdb was cut short: move it away, or put back a backup"),
        (lock_emptied, "were cut short"),
        (overwritten, "is not an LMDB file, or it is damaged"),
        (garbled, "is not an LMDB file, or it is damaged"),
        (deleted, "were deleted, or moved away"),
        (replaced, "is not a directory"),
    ],
)
def test_a_store_that_breaks_ends_no_agent(
    host: Cimaa,
    reporting: subprocess.Popen[str],
    damage: Callable[[Path], None],
    logged: str,
) -> None:
    store = host.directory / "store"
    damage(store)
    say(host, {"severity": "critical", "message": "bad"})
    assert until(lambda: alerts(host))
    assert until(lambda: logged in (host.directory / "log").read_text())
    # What the message says.
    shutil.move(store, host.directory / "away") if store.exists() else None
    assert until(lambda: recorded(host))
    assert reporting.poll() is None
    assert [alert["event"] for alert in alerts(host)] == ["triggered"]


def test_a_full_disk_ends_no_agent(host: Cimaa, reporting: subprocess.Popen[str]) -> None:
    _, hard = resource.prlimit(reporting.pid, resource.RLIMIT_FSIZE)
    # Less than the data file has allocated, and not enough for the report.
    resource.prlimit(reporting.pid, resource.RLIMIT_FSIZE, (48 * 1024, hard))
    say(
        host, {"severity": "critical", "message": "bad"}, *({"name": f"n{n}", "message": "x" * 500} for n in range(100))
    )
    assert until(lambda: alerts(host))
    assert until(lambda: "there is no room for the store" in (host.directory / "log").read_text())
    assert "triggered" not in str(stored(host))
    resource.prlimit(reporting.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert until(lambda: recorded(host))
    assert until(lambda: len(stored(host)) == 102)  # one of them reports the outage
    assert [alert["event"] for alert in alerts(host)] == ["triggered"]
