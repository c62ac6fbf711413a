"""Real plugins, from Debian's package monitoring-plugins-basic, run by the agent."""

import asyncio
import os
import shlex
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.needs import missing
from zc.cimaa.agent import check_files, runner
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result

PLUGINS = Path("/usr/lib/nagios/plugins")

WARNING, ERROR = 30, 40  # Nagios' CRITICAL and UNKNOWN are errors
OLD = 3600  # seconds


class Case(NamedTuple):
    """A plugin with its arguments, and what the agent should make of it."""

    command: str
    severity: int | None = None
    #: How its message starts.
    message: str = ""
    #: What it measures: names, and units.
    metrics: dict[str, str] = {}  # noqa: RUF012  # it is never changed
    #: True if it writes on standard error, too.
    complains: bool = False


LOADS = {"load1": "", "load5": "", "load15": ""}
AGE = {"age": "s", "size": "B"}

CASES = {
    "load": Case("check_load -w 999,999,999 -c 999,999,999", metrics=LOADS),
    "load-warning": Case("check_load -w 0,0,0 -c 999,999,999", WARNING, "LOAD WARNING", LOADS),
    "load-critical": Case("check_load -w 0,0,0 -c 0,0,0", ERROR, "LOAD CRITICAL", LOADS),
    "procs": Case("check_procs", metrics={"procs": ""}),
    "procs-warning": Case("check_procs -w 0:0", WARNING, "PROCS WARNING", {"procs": ""}),
    "procs-critical": Case("check_procs -c 1: -C none-such", ERROR, "PROCS CRITICAL: 0 processes", {"procs": ""}),
    "users": Case("check_users -w 9999 -c 9999", metrics={"users": ""}),
    "disk": Case("check_disk -w 0 -c 0 -p {directory}"),
    "disk-warning": Case("check_disk -w 100% -c 0 -p {directory}", WARNING, "DISK WARNING"),
    "disk-critical": Case("check_disk -w 100% -c 100% -p {directory}", ERROR, "DISK CRITICAL"),
    "swap": Case("check_swap -w 1% -c 1% -n ok", metrics={"swap": "B"}),
    "dummy": Case("check_dummy 0 fine"),
    "dummy-warning": Case("check_dummy 1 'so so'", WARNING, "WARNING: so so"),
    "dummy-critical": Case("check_dummy 2 bad", ERROR, "CRITICAL: bad"),
    "dummy-unknown": Case("check_dummy 3 what", ERROR, "UNKNOWN: what"),
    "file-age": Case("check_file_age -w 86400 -c 86400 -W 1 -C 1 -f {directory}/old", metrics=AGE),
    "file-age-warning": Case("check_file_age -w 60 -c 86400 -f {directory}/old", WARNING, "FILE_AGE WARNING", AGE),
    "file-age-critical": Case("check_file_age -w 60 -c 61 -f {directory}/old", ERROR, "FILE_AGE CRITICAL", AGE),
    "file-age-none": Case("check_file_age -f {directory}/none", ERROR, "FILE_AGE CRITICAL: File not found"),
    "log": Case("check_log -F {directory}/log -O {directory}/seen -q panic"),
    "log-critical": Case("check_log -F {directory}/log -O {directory}/seen2 -q ERROR", ERROR, "(1) "),
    "cluster": Case("check_cluster -s -l web -d 0,0,0 -w 0 -c 1"),
    "cluster-warning": Case("check_cluster -s -l web -d 0,2,0 -w 0 -c 1", WARNING, "CLUSTER WARNING: web: 2 ok"),
    "cluster-critical": Case("check_cluster -s -l web -d 2,2,0 -w 0 -c 1", ERROR, "CLUSTER CRITICAL: web: 1 ok"),
    "tcp": Case("check_tcp -H 127.0.0.1 -p {ssh}", metrics={"time": "s"}),
    "tcp-warning": Case("check_tcp -H 127.0.0.1 -p {ssh} -w 0", WARNING, "TCP WARNING", {"time": "s"}),
    "tcp-critical": Case("check_tcp -H 127.0.0.1 -p {closed}", ERROR, "connect to address 127.0.0.1"),
    "http": Case("check_http -H 127.0.0.1 -p {http} -s hello", metrics={"time": "s", "size": "B"}),
    "http-warning": Case("check_http -H 127.0.0.1 -p {http} -u /none", WARNING, "HTTP WARNING: HTTP/1.0 404"),
    "http-critical": Case("check_http -H 127.0.0.1 -p {http} -s bye", ERROR, "HTTP CRITICAL"),
    "ssh": Case("check_ssh -p {ssh} 127.0.0.1", metrics={"time": "s"}),
    "ssh-critical": Case("check_ssh -p {closed} 127.0.0.1", ERROR, "connect to address 127.0.0.1"),
    "smtp": Case("check_smtp -H 127.0.0.1 -p {smtp}", metrics={"time": "s"}),
    "ftp-warning": Case("check_ftp -H 127.0.0.1 -p {ssh}", WARNING, "FTP WARNING"),
    "time": Case("check_time -H 127.0.0.1 -p {time} -w 100 -c 200", metrics={"time": "s", "offset": "s"}),
    "negate": Case("negate {plugins}/check_dummy 0 fine", ERROR, "OK: fine"),
    "usage": Case("check_load --none-such", ERROR, complains=True),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Result]]:
    """What the agent makes of each."""
    if not (PLUGINS / "check_load").exists():
        missing(f"there is no {PLUGINS}/check_load: install Debian's package monitoring-plugins-basic")
    directory = tmp_path_factory.mktemp("plugins")
    (directory / "old").write_text("x" * 100)
    os.utime(directory / "old", (time.time() - OLD, time.time() - OLD))
    (directory / "log").write_text("all is well\nERROR: no\n")
    for name in ("seen", "seen2"):
        (directory / name).write_text("all is well\n")
    with Servers() as ports:
        places = {"directory": directory, "plugins": PLUGINS, **ports}
        sections = [f"[{name}]\ncommand = {PLUGINS}/{case.command.format(**places)}\n" for name, case in CASES.items()]
        (directory / "real.cfg").write_text("".join(sections))
        checks = [check for check in check_files.load(directory, 30, 60) if isinstance(check, Check)]

        async def run() -> list[Result]:
            return await asyncio.gather(*(runner.run("web1", check, ()) for check in checks))

        yield {result.section: result for result in asyncio.run(run())}


class Servers:
    """Little servers for the plugins that want one, on ports of their own."""

    def __enter__(self) -> dict[str, int]:
        smtp = b"220 mail ready\r\n250 fine\r\n221 bye\r\n"
        handlers = {
            "http": Web,
            "ssh": saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "smtp": saying(smtp),
            "time": saying(struct.pack(">I", int(time.time()) + 2_208_988_800)),  # since 1900
        }
        self._servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), handler) for name, handler in handlers.items()}
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        ports = {name: server.server_address[1] for name, server in self._servers.items()}
        with socketserver.TCPServer(("127.0.0.1", 0), Web) as closed:
            return {**ports, "closed": closed.server_address[1]}

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()


class Web(BaseHTTPRequestHandler):
    """One page, which says hello."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *arguments: Any) -> None:
        pass


def saying(text: bytes) -> Any:
    """A handler that sends this, and reads until the client has closed the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(text)
            self.request.settimeout(5)
            while self.request.recv(1000):
                pass

    return Handler


@pytest.mark.parametrize("name", CASES)
def test_a_real_plugin(results: dict[str, Result], name: str) -> None:
    case, result = CASES[name], results[name]
    found = [(fault["name"], fault["severity"]) for fault in result.faults]
    expected = [(f"//web1/real/{name}#monitor-stderr", WARNING)] if case.complains else []
    if case.severity is not None:
        expected.append((f"//web1/real/{name}", case.severity))
    assert found == expected, result.faults
    for fault in result.faults:
        assert fault["message"].startswith(case.message)
    assert result.complete
    measured = {metric.name: metric.unit for metric in result.metrics}
    assert case.metrics.items() <= measured.items()


def test_the_figures_are_those_of_the_plugin(results: dict[str, Result]) -> None:
    by_name = {metric.name: metric.value for metric in results["file-age"].metrics}
    assert by_name["size"] == 100
    assert OLD <= by_name["age"] < OLD + 600
    (disk,) = results["disk"].metrics
    assert disk.unit in ("B", "MiB", "MB")
    assert disk.value > 0


def test_there_are_more_than_a_dozen() -> None:
    assert len({shlex.split(case.command)[0] for case in CASES.values()}) > 12
