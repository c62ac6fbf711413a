"""``cimaa check``: real plugins, against real servers, files and this very host."""

import http.server
import json
import os
import shlex
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.support.command import Cimaa
from zc.cimaa.checks import disk, file_age, processes, swap, tcp
from zc.cimaa.checks.file_age import WrittenFile
from zc.cimaa.checks.processes import Process, ProcessFilter
from zc.cimaa.checks.ranges import thresholds
from zc.cimaa.checks.states import State
from zc.cimaa.cli.commands.check_plugins import check
from zc.cimaa.masking import MASK


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.release.wait(20)  # type: ignore[attr-defined]
        status = {"/there": 302, "/broken": 500}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/")
        self.end_headers()
        self.wfile.write(f"ready {self.headers.get('X-Who', '')}{self.headers.get('Authorization', '')}".encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.release = threading.Event()  # type: ignore[attr-defined]
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the other side went: so it shall
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.release.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def web() -> Iterator[int]:
    yield from serving()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [*shlex.split(made), *shlex.split(names), "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serving(context)


@pytest.fixture
def closed() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.mark.parametrize(
    ("path", "options", "status", "reported"),
    [
        ("/", "", 0, "200 OK"),
        ("/", "--contains ready -w 5 -c 9", 0, ";5;9;0 size="),
        ("/", "-H X-Who:ann --contains 'ready ann'", 0, "200 OK"),
        ("/", "--contains absent", 2, "does not contain 'absent'"),
        ("/", "--status 404", 2, "200 OK, expected 404"),
        ("/", "-w @0:100", 1, "200 OK"),
        ("/", "-c @0:100", 2, "200 OK"),
        ("/broken", "", 2, "500 Internal Server Error, expected 200 to 399"),
        ("/there", "", 0, "200 OK"),
        ("/there", "--no-follow", 0, "302 Found"),
        ("/slow", "-t 0.5", 2, "no response within"),
    ],
)
def test_http(cimaa: Cimaa, web: int, path: str, options: str, status: int, reported: str) -> None:
    result = cimaa("check", "http", f"http://127.0.0.1:{web}{path}", *shlex.split(options))
    assert (result.exit_code, result.stderr) == (status, "")
    assert result.stdout.startswith(f"HTTP {State(status).name} - http://127.0.0.1:{web}{path}: ")
    assert reported in result.stdout


def test_a_password_in_a_url_is_sent_and_not_shown(cimaa: Cimaa, web: int, closed: int) -> None:
    signed = "--contains", "Basic YW5uOnNANWNyZXQ="
    result = cimaa("check", "http", f"http://ann:s%405cret@127.0.0.1:{web}/?a@b", *signed)
    assert (result.exit_code, "cret" in result.stdout) == (0, False)
    assert f" http://127.0.0.1:{web}/?{MASK}: " in result.stdout
    result = cimaa("check", "http", f"ann:s@5cret@127.0.0.1:{closed}", "-v")
    assert (result.exit_code, "cret" in result.stdout) == (2, False)


def test_a_server_that_is_not_there_is_critical(cimaa: Cimaa, closed: int) -> None:
    for arguments in (["http", f"127.0.0.1:{closed}"], ["tcp", "127.0.0.1", str(closed)]):
        result = cimaa("check", *arguments)
        assert result.exit_code == 2
        assert "Connection refused" in result.stdout


def test_an_unknown_host_name_is_critical(cimaa: Cimaa) -> None:
    assert cimaa("check", "http", "http://nobody.invalid/").exit_code == 2
    assert cimaa("check", "tcp", "nobody.invalid", "80").exit_code == 2


def test_https_needs_a_certificate_to_trust(
    cimaa: Cimaa, secure: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://localhost:{secure}/"
    result = cimaa("check", "http", url)
    assert result.exit_code == 2
    assert "its certificate is not trusted" in result.stdout
    assert cimaa("check", "http", url, "--ca-file", f"{certificate}.crt").exit_code == 0
    result = cimaa("check", "tcp", "localhost", str(secure), "--tls")
    assert result.exit_code == 2
    assert "its certificate is not trusted" in result.stdout
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    assert cimaa("check", "tcp", "localhost", str(secure), "--tls").exit_code == 0


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 hello\r\n")
        self.wfile.write(b"250 " + self.rfile.readline())


@pytest.fixture
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("options", "status", "reported"),
    [
        ("", 0, "answered in"),
        ("--expect hello", 0, "answered in"),
        ("--send EHLO --expect '250 EHLO'", 0, "answered in"),
        ("--send EHLO --expect nothing", 2, "starts with: 220 hello"),
        ("--expect never -t 0.4", 2, "no response within"),
        ("-w @0:100", 1, "answered in"),
    ],
)
def test_tcp(cimaa: Cimaa, echo: int, options: str, status: int, reported: str) -> None:
    result = cimaa("check", "tcp", "127.0.0.1", str(echo), *shlex.split(options))
    assert result.exit_code == status
    assert reported in result.stdout


@pytest.mark.parametrize(("hours", "status"), [(1, 0), (25, 1), (49, 2)])
def test_file_age(cimaa: Cimaa, hours: int, status: int) -> None:
    Path("dump").touch()
    then = time.time() - hours * 3600
    os.utime("dump", (then, then))
    assert cimaa("check", "file-age", "dump").exit_code == status


def test_file_age_by_the_clock() -> None:
    limits = thresholds("60", "120")
    items = file_age.judge(
        [WrittenFile("a", 40), WrittenFile("b", 39), WrittenFile("c", None, "gone"), WrittenFile("d", 130)], limits, 100
    )
    states = [State.OK, State.WARNING, State.CRITICAL, State.CRITICAL]
    assert [item.state for item in items] == states
    assert items[3].message == "d is dated 30s ahead"
    assert str(file_age.parse_range("1h30m:2d")) == "5400:172800"


def test_processes_are_counted_by_what_is_wanted() -> None:
    table = [Process(1, "init", "root", "sleeping", "/sbin/init"), Process(2, "sh", "ann", "zombie", "sh -c x")]
    for wanted, count in (
        (ProcessFilter(), 2),
        (ProcessFilter(name="init"), 1),
        (ProcessFilter(user="ann", state="zombie"), 1),
        (ProcessFilter(user="root", state="zombie"), 0),
        (ProcessFilter(command="-c x"), 1),
    ):
        assert processes.judge(table, thresholds(None, None), wanted)[0].metrics[0].value == count


def test_swap_may_be_missing() -> None:
    limits = thresholds(*swap.THRESHOLDS)
    assert swap.judge(0, 0, limits)[0].state is State.OK
    states = [swap.judge(used, 100, limits)[0].state for used in (50, 51, 81)]
    assert states == [State.OK, State.WARNING, State.CRITICAL]


@pytest.mark.parametrize("name", ["disk", "memory", "load", "swap", "processes"])
def test_this_host_is_read(cimaa: Cimaa, name: str) -> None:
    result = cimaa("check", name)
    assert result.exit_code in (0, 1, 2)
    assert result.stdout.startswith(f"{name.upper()} {State(result.exit_code).name} - ")
    assert result.stdout.count("\n") == 1


def test_a_path_that_is_not_there_is_critical(cimaa: Cimaa) -> None:
    result = cimaa("check", "disk", "-v", "-p", "/", "-p", "/nowhere", "-w", "100", "-c", "100")
    assert result.exit_code == 2
    assert result.stdout.startswith("DISK CRITICAL - /nowhere cannot be read: No such file or directory | /=")
    assert result.stdout.count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        ("load -w 90%", "'90%' is not a number"),
        ("disk --pth /", "Did you mean '--path'?"),
        ("dsik", "Did you mean 'disk'?"),
        ("", "Name one."),
        ("http", "Missing argument 'URL'"),
        ("http ftp://localhost/", "the scheme ftp is not supported"),
        ("http http://u:hu/sh@h/", "invalid port or address (it is not shown"),
        ("http http:/u:hush@h/", "not a URL with a scheme and a host (it is not shown"),
        ("http u:hush@", "not a URL with a scheme and a host (it is not shown"),
        ("http x -H hush", "this is not a header (it is not shown"),
        ("http x -H hush\u20ac:x", "this is not a header"),
        ("http x -H x:hush\u20ac", "this is not a header"),
        ("http x --method GE/T", "'GE/T' is not an HTTP method"),
        ("http x --ca-file nowhere.pem", "'nowhere.pem' does not exist"),
        ("http x --status x", "'x' is neither a status nor a range"),
        ("tcp localhost 99999", "99999"),
        ("disk -t 0", "0"),
        ("disk -V", "cimaa "),
        ("disk -h", "Usage: cimaa check disk"),
    ],
)
def test_wrong_usage_is_unknown_and_reported_on_standard_output(cimaa: Cimaa, arguments: str, reported: str) -> None:
    result = cimaa("check", *arguments.split())
    assert (result.exit_code, result.stderr) == (3, "")
    assert reported in result.stdout
    assert "hush" not in result.stdout


ODD = [
    "",
    " ",
    "\u20ac",
    "\udcff",
    "\x1b[2J",
    "a\nb",
    "|",
    "-1",
    "1e999",
    "9" * 400,
    "nan",
    "%",
    "99999999d",
    "~",
    "/" * 5000,
]
OPTIONS = {
    "disk": ["{}", "-p {}", "-w {}", "-c {}", "-t {}"],
    "memory": ["-w {}"],
    "load": ["-c {}"],
    "swap": ["-w {}"],
    "processes": ["--name {}", "--user {}", "--state {}", "--command {}"],
    "http": [
        "{}",
        "http://{}@127.0.0.1:9/",
        "http://127.0.0.1:9/{}",
        "127.0.0.1:{}",
        *(f"127.0.0.1:9 {option}" for option in ("--contains {}", "-H {}", "-H x:{}", "--method {}", "--ca-file {}")),
        "127.0.0.1:9 --status {}",
    ],
    "tcp": ["{} 9", "127.0.0.1 {}", "127.0.0.1 9 --send {}", "127.0.0.1 9 --expect {}"],
    "file-age": ["{}", "-w {} /etc/passwd"],
    "{}": [""],
}


TRIED = [(name, option) for name, some in OPTIONS.items() for option in some]


@pytest.fixture(scope="module")
def odd_outcomes() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """What each plugin printed for each odd argument, and its status.

    They run in one process of their own, as arguments that are not text reach a plugin.
    """
    lines = [
        ["check", *(word.format(odd) for word in [name, *option.split()])] for name, option in TRIED for odd in ODD
    ]
    code = (
        "import json, sys\n"
        "from zc.cimaa.cli import main\n"
        "for arguments in json.load(sys.stdin):\n"
        "    sys.argv[1:] = arguments\n"
        "    print('status', main(), flush=True)\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code]
    given = json.dumps(lines).encode()
    done = subprocess.run(command, input=given, capture_output=True, timeout=300, check=False, env=environment)
    assert done.stderr == b""
    reported = iter(done.stdout.decode().splitlines())
    pairs = list(zip(reported, reported, strict=True))
    assert len(pairs) == len(lines), pairs[-1]
    return {tried: pairs[at * len(ODD) : (at + 1) * len(ODD)] for at, tried in enumerate(TRIED)}


@pytest.mark.parametrize("tried", TRIED, ids=" ".join)
def test_odd_arguments_get_one_line_and_a_status_that_nagios_knows(
    odd_outcomes: dict[tuple[str, str], list[tuple[str, str]]], tried: tuple[str, str]
) -> None:
    for first, status in odd_outcomes[tried]:
        state = first.partition(" - ")[0].split()[-1]
        assert status == f"status {State[state].value}", (first, status)
        assert "Error:" not in first, first  # the name of an exception


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["http", "http://u:p\u20ac@127.0.0.1:{port}/"], 0), (["tcp", "127.0.0.1", "{port}", "--send", "\udcff"], 0)],
)
def test_what_is_not_ascii_is_sent_as_it_was_typed(web: int, arguments: list[str], status: int) -> None:
    command = [Path(sys.executable).with_name("cimaa"), "check", *(word.format(port=web) for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_token_in_the_query_is_sent_and_not_shown(cimaa: Cimaa, web: int) -> None:
    result = cimaa("check", "http", f"http://127.0.0.1:{web}/?token=hush")
    assert result.stdout.startswith(f"HTTP OK - http://127.0.0.1:{web}/?{MASK}: 200 OK")
    result = cimaa("check", "http", f" http://ann:hush@127.0.0.1:{web}/broken")
    assert result.stdout.startswith(f"HTTP CRITICAL - http://127.0.0.1:{web}/broken: 500")


@pytest.mark.parametrize("limits", ["-w 100% -c 100%", "-w 0%:100 -c @101%:102%"])
def test_percentages_may_be_written_with_their_sign(cimaa: Cimaa, limits: str) -> None:
    for name in ("disk -p /", "memory"):
        result = cimaa("check", *name.split(), *limits.split())
        assert (result.exit_code, result.stderr) == (0, ""), result.stdout


def test_without_a_file_system_to_look_at_it_is_not_known_that_all_is_well() -> None:
    (item,) = disk.judge_all([], thresholds("90", "95"))
    assert (item.state, item.message[:20]) == (State.UNKNOWN, "no local, writable f")


def test_bytes_that_are_not_text_are_sent_and_found(echo: int) -> None:
    service = tcp.Service("127.0.0.1", echo, send=b"\xff\r\n", expect=b"\xff")
    assert tcp.read(thresholds(None, None), service, 10)[0].state is State.OK


def test_every_example_in_a_help_can_be_read() -> None:
    for name, plugin in check.commands.items():
        assert plugin.epilog
        for line in plugin.epilog.splitlines()[2:]:
            words = shlex.split(line)
            assert words[:3] == ["cimaa", "check", name]
            assert isinstance(plugin.make_context(name, words[3:]), click.Context)
