"""The daemon as it is run: its sinks in the end, and its log when something has a bug."""

import contextlib
import json
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from zc.cimaa import memory
from zc.cimaa.agent import service
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.reload import Configuration
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.config import Config
from zc.cimaa.metrics import Sample, Sink
from zc.cimaa.systemd.notify import Systemd

DATAGRAM = (socket.AF_UNIX, socket.SOCK_DGRAM)

Run = Callable[..., tuple[int, list[str]]]


class Broken(Sink):
    """A sink that has a bug, the text of which would steer a terminal."""

    closed = False

    def write(self, samples: Sequence[Sample]) -> None:
        warnings.warn("that is an old way", UserWarning, stacklevel=1)
        raise KeyError("\x1b[2J https://user:pass@example.com/?token=hidden")

    def close(self) -> None:
        self.closed = True


class Pager(Alerter):
    def __init__(self) -> None:
        super().__init__({"timeout": 5})

    def send(self, alert: Alert) -> None:
        raise IndexError("of this pager")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a daemon for a tick of a second; the exit status, and the lines of its log."""
    (tmp_path / "f.cfg").write_text('[a]\ncommand = echo \'{"faults": [{"severity": "critical", "message": "x"}]}\'\n')

    def run(base: int = 1, as_json: bool = False, **parts: Any) -> tuple[int, list[str]]:
        settings = Settings("web1", tmp_path, 20, 10, base)
        configuration = Configuration(Config(None, {}, {}), settings, parts.get("alerters", {}), parts.get("sinks", {}))
        status = service.run(configuration, memory.DB(), count=1, keep=True, as_json=as_json)
        return status, capsys.readouterr().err.splitlines()

    return run


def test_sinks_are_closed_when_the_daemon_ends(run: Run) -> None:
    sink = Broken({})
    run(sinks={"s": sink})
    assert sink.closed


def test_a_bug_is_one_record_with_its_traceback_and_steers_no_terminal(run: Run) -> None:
    status, log = run(sinks={"s": Broken({})}, alerters={"pager": Pager()})
    assert status == 0
    (sink,) = [line for line in log if "metrics s" in line]
    assert "Traceback (most recent call last)" in sink
    assert "in write" in sink
    assert "\x1b" not in sink
    (pager,) = [line for line in log if "a bug in the alerter pager: IndexError" in line]
    assert 'raise IndexError("of this pager")' in pager


def test_as_json_the_traceback_is_a_value_of_its_own(run: Run) -> None:
    _, log = run(sinks={"s": Broken({})}, as_json=True)
    records = [json.loads(line) for line in log]
    (bug,) = [record for record in records if "traceback" in record]
    assert bug["message"].startswith("metrics s: cannot write metrics: ")
    assert "in write" in bug["traceback"]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("as_json", [False, True])
def test_urls_in_the_log_and_in_tracebacks_are_masked(run: Run, as_json: bool) -> None:
    _, log = run(sinks={"s": Broken({})}, as_json=as_json)
    (bug,) = [line for line in log if "metrics s" in line]
    assert bug.count("https://********@example.com/?********") >= 2  # in the message and in the traceback
    assert "pass@" not in str(log)


@pytest.mark.filterwarnings("default")
def test_warnings_of_other_code_are_records_of_the_log(run: Run) -> None:
    _, log = run(sinks={"s": Broken({})}, as_json=True)
    (warning,) = [record for record in map(json.loads, log) if record["logger"] == "py.warnings"]
    assert "that is an old way" in warning["message"]


def test_a_bug_that_ends_the_daemon_is_in_its_log(run: Run) -> None:
    status, log = run(base=0)
    assert status == 1
    assert log[-1].startswith("CRITICAL zc.cimaa.agent: a bug in zc.cimaa, please report it: ZeroDivisionError")
    assert "Traceback" in log[-1]


def test_the_log_of_the_process_is_as_it_was_afterwards(run: Run) -> None:
    import logging

    before = [*logging.getLogger().handlers], [*logging.getLogger("zc.cimaa").handlers]
    run()
    assert ([*logging.getLogger().handlers], [*logging.getLogger("zc.cimaa").handlers]) == before
    assert logging.getLogger("zc.cimaa").propagate
    assert sys.stderr


def test_a_systemd_that_takes_no_messages_holds_up_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(*DATAGRAM) as systemd, socket.socket(*DATAGRAM) as other:
        systemd.bind(address)
        other.setblocking(False)
        other.connect(address)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"x")
        start = time.monotonic()
        Systemd({"NOTIFY_SOCKET": address}).notify("WATCHDOG=1")
        assert time.monotonic() < start + 10
