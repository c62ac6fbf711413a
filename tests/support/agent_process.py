"""The daemon as a process, on a host with one check and one alerter."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Cimaa

PROGRAM = str(Path(sys.executable).with_name("cimaa"))
CRITICAL = json.dumps({"faults": [{"severity": "critical", "message": "bad"}]})

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def host(cimaa: Cimaa) -> Cimaa:
    """A host with a check that reports a critical fault, and an alerter that appends to a file."""
    directory = cimaa.directory
    (directory / "checks").mkdir()
    (directory / "checks" / "f.cfg").write_text(f"[a]\ncommand = echo '{CRITICAL}'\n")
    (directory / "pager").write_text(f"#!/bin/sh\ncat >> {directory}/alerts\n")
    (directory / "pager").chmod(0o755)
    with (directory / "cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\ndirectory = checks\nbase_interval = 1s\n")
        file.write(f"[alerter:pager]\nclass = command\ncommand = {directory}/pager\n")
    return cimaa


@pytest.fixture
def start(host: Cimaa) -> Iterator[Start]:
    """Starts daemons, and kills them in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **environment: str) -> "subprocess.Popen[str]":
        with (host.directory / "log").open("a") as log:
            process = subprocess.Popen(
                [PROGRAM, "agent", *options],
                stderr=log,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **environment},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def alerts(host: Cimaa) -> list[dict[str, Any]]:
    path = host.directory / "alerts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def stored(host: Cimaa) -> dict[str, dict[str, Any]]:
    with host.store() as db:
        return {fault["name"]: fault for fault in db.get_faults("web1")}


def remembered(host: Cimaa) -> bool:
    """True if the store says that the alert was sent."""
    return any(any(fault.get("triggered", {}).values()) for fault in stored(host).values())
