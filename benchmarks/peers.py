"""The embedded store beside what else takes reports on one host: ``python -m benchmarks.peers [SECONDS]``.

Each is asked to keep the same 10,000 agents with 2 faults each: Alertmanager (alerts by HTTP), Redis with
``appendfsync always`` (a hash of each agent), and Xymon (a status message for each fault).  Those that are not
installed are left out; on Debian: ``apt-get install prometheus-alertmanager redis-server xymon``.  One and eight
threads report alternately, each for some seconds, with everything unchanged, and with one report in ten changed.

Only zc.cimaa and Redis keep a changed report through a power failure; Alertmanager and Xymon keep all in memory, and
write it to disk every 15 minutes or at a checkpoint.
"""

import contextlib
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

from benchmarks import field
from zc.cimaa.lmdb import DB

AGENTS, FAULTS, ROUNDS = 10_000, 2, 5
XYMON = "/usr/lib/xymon/server/bin/xymond"
#: Takes an agent's number, and how often its first fault changed; each thread makes one of its own.
Report = Callable[[int, int], object]


@contextmanager
def cimaa(directory: Path) -> Iterator[Callable[[], Report]]:
    with DB({"path": str(directory / "store")}) as db:
        yield lambda: lambda agent, change: db.set_faults(field.name(agent), field.report(agent, FAULTS, change))


@contextmanager
def alertmanager(directory: Path) -> Iterator[Callable[[], Report]]:
    (directory / "config.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    port = free_port()
    command = ["prometheus-alertmanager", f"--config.file={directory}/config.yml", f"--storage.path={directory}/data"]
    options = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with server([*command, *options], port):

        def connect() -> Report:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

            def report(agent: int, change: int) -> None:
                alerts = [
                    {
                        "labels": {"alertname": one["name"], "instance": field.name(agent), "severity": "critical"},
                        "annotations": {"summary": one["message"]},
                    }
                    for one in field.report(agent, FAULTS, change)
                ]
                body = orjson.dumps(alerts)
                connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                assert response.status == 200, response.status

            return report

        yield connect


@contextmanager
def redis(directory: Path) -> Iterator[Callable[[], Report]]:
    port = free_port()
    options = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(directory)]
    with server(["redis-server", "--port", str(port), "--bind", "127.0.0.1", *options], port):

        def connect() -> Report:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def report(agent: int, change: int) -> None:
                faults = orjson.dumps(field.report(agent, FAULTS, change))
                words = [b"HSET", field.name(agent).encode(), b"updated", b"%d" % time.time(), b"faults", faults]
                parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
                connection.sendall(b"".join(parts))
                answer = connection.recv(100)
                assert answer.startswith(b":"), answer

            return report

        yield connect


@contextmanager
def xymon(directory: Path) -> Iterator[Callable[[], Report]]:
    port = free_port()
    (directory / "hosts.cfg").write_text("")
    shutil.chown(directory, "xymon")
    directory.chmod(0o755)
    command = [XYMON, "--no-daemon", f"--listen=127.0.0.1:{port}", f"--hosts={directory}/hosts.cfg", "--ghosts=allow"]
    environment = {**os.environ, "XYMONTMP": str(directory), "XYMONHOME": str(directory), "MACHINE": "localhost"}
    with server([*command, f"--checkpoint-file={directory}/checkpoint"], port, user="xymon", env=environment):

        def report(agent: int, change: int) -> None:
            for number, one in enumerate(field.report(agent, FAULTS, change)):
                host = field.name(agent).replace(".", ",")
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(f"status {host}.check{number} red {one['name']}\n{one['message']}\n".encode())
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(100):  # it closes the connection once it has read the message
                        pass

        yield lambda: report


@contextmanager
def server(command: list[str], port: int, **how: object) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)  # type: ignore[call-overload]
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


PEERS = {
    "zc.cimaa": (cimaa, sys.executable),
    "Alertmanager": (alertmanager, "prometheus-alertmanager"),
    "Redis, appendfsync always": (redis, "redis-server"),
    "Xymon": (xymon, XYMON),
}


def rate(connect: Callable[[], Report], threads: int, seconds: float, changing: bool, changes: list[int]) -> float:
    """Reports per second of this number of threads together."""
    done = [0] * threads
    errors: list[BaseException] = []
    end = time.perf_counter() + seconds

    def run(thread: int) -> None:
        try:
            report, agent = connect(), thread
            while time.perf_counter() < end:
                if changing and done[thread] % 10 == 0:
                    changes[agent] += 1
                report(agent, changes[agent])
                done[thread] += 1
                agent = (agent + threads) % AGENTS
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]
    return sum(done) / seconds


def main(arguments: list[str]) -> None:
    seconds = float(arguments[0]) if arguments else 3.0
    with ExitStack() as stack:
        opened: dict[str, Callable[[], Report]] = {}
        changes: dict[str, list[int]] = {}
        for name, (start, program) in PEERS.items():
            if shutil.which(program) is None:
                print(f"{name}: not installed")
                continue
            parent = os.environ.get("BENCHMARK_DIRECTORY", ".")
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True)))
            opened[name] = stack.enter_context(start(directory))
            changes[name] = [0] * AGENTS
            report = opened[name]()
            for agent in range(AGENTS):
                report(agent, 0)
        for changing in (False, True):
            for threads in (1, 8):
                what = "one report in ten changed" if changing else "unchanged"
                rates: dict[str, list[float]] = {name: [] for name in opened}
                for _ in range(ROUNDS):
                    for name, connect in opened.items():
                        rates[name].append(rate(connect, threads, seconds, changing, changes[name]))
                for name, found in rates.items():
                    print(
                        f"{what}, threads: {threads}: {name:26} {statistics.median(found):8,.0f} reports/s", flush=True
                    )


if __name__ == "__main__":
    main(sys.argv[1:])
