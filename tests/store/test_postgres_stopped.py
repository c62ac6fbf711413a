"""A server that stops responding with its connections open: each call fails in bounded time, and nothing is lost."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.support import postgres_servers
from tests.support.postgres_calls import CALLS, fill, interruptible  # noqa: F401  # the last is a fixture
from tests.support.postgres_servers import Server, new_schema
from zc.cimaa import errors
from zc.cimaa.cli import cimaa
from zc.cimaa.cli.commands.setup_postgres import setup_postgres
from zc.cimaa.postgres import DB

PROCESSES = 16
SETTINGS = {"connect_timeout": "1s", "statement_timeout": "1s", "response_timeout": "2s", "pool_size": "1"}
#: Seconds: a wait for a connection, one for a response, and as much again for a busy machine.
BOUND = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_servers.server_18() as server:
        yield server


@pytest.fixture
def schema(server: Server) -> Iterator[str]:
    with new_schema(server.socket_dsn) as schema:
        yield schema


@pytest.fixture
def settings(server: Server, schema: str) -> dict[str, str]:
    return {"dsn": server.socket_dsn, "schema": schema, **SETTINGS}


@contextmanager
def suspended(server: Server) -> Iterator[None]:
    server.suspend()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.parametrize("connected", [True, False])
def test_each_call_fails_in_bounded_time_and_works_again(
    server: Server, settings: dict[str, str], connected: bool
) -> None:
    with ExitStack() as stack:
        handles = {call: stack.enter_context(DB(settings)) for call in CALLS}
        if connected:
            for db in handles.values():
                fill(db)
        with suspended(server), ThreadPoolExecutor(len(CALLS)) as executor:
            outcomes = list(executor.map(outcome, handles, handles.values()))
        assert [each for each in outcomes if not SAID.search(each[1]) or each[2] > BOUND] == []
        for call, db in handles.items():
            CALLS[call](db)


SAID = re.compile("stopped responding|cannot be reached")


def outcome(call: str, db: DB) -> tuple[str, str, float]:
    """The call, what it says if the store is unavailable, and how long it took (seconds)."""
    start = time.monotonic()
    try:
        CALLS[call](db)
    except errors.StoreUnavailable as error:
        return call, str(error), time.monotonic() - start
    return call, "it succeeded", time.monotonic() - start


def test_the_message_names_the_option(server: Server, settings: dict[str, str]) -> None:
    with DB(settings | {"connect_timeout": "1s"}) as db:
        db.get_agents()
        with (
            suspended(server),
            pytest.raises(errors.StoreUnavailable, match=r"no response within 2 s \(see the option response_timeout\)"),
        ):
            db.get_agents()


def test_a_slow_statement_is_not_taken_for_a_server_that_stopped(server: Server, settings: dict[str, str]) -> None:
    with psycopg.connect(server.socket_dsn) as other, DB(settings) as db:
        db.set_faults("web1", [])
        other.execute(f"LOCK TABLE {settings['schema']}.agents")
        with pytest.raises(errors.StoreUnavailable, match="statement_timeout"):
            db.set_faults("web1", [])


def test_the_time_for_a_response_must_be_longer_than_that_for_a_statement() -> None:
    with pytest.raises(errors.ConfigurationError, match="response_timeout: 30s must be longer than statement_timeout"):
        DB({"statement_timeout": "30s", "response_timeout": "30s"})


def test_a_handle_closes_in_bounded_time(server: Server, settings: dict[str, str]) -> None:
    db = DB(settings)
    db.get_agents()
    with suspended(server):
        start = time.monotonic()
        db.close()
        assert time.monotonic() - start < BOUND


@pytest.mark.parametrize("call", ["an unchanged report", "a changed report", "find_faults"])
@pytest.mark.usefixtures("interruptible")
def test_a_call_is_interrupted_in_bounded_time(server: Server, settings: dict[str, str], call: str) -> None:
    """Ctrl-C has the driver cancel the statement first, over another connection, which gets no response either."""
    with DB(settings | {"response_timeout": "10m"}) as db:
        fill(db)
        with suspended(server), ThreadPoolExecutor(1) as executor:
            start = time.monotonic()
            executor.submit(interrupt, threading.get_ident())
            with pytest.raises(KeyboardInterrupt):
                CALLS[call](db)
            assert time.monotonic() - start < BOUND
        fill(db)


def interrupt(thread: int) -> None:
    """Interrupt a thread once it waits."""
    threading.Event().wait(0.5)
    signal.pthread_kill(thread, signal.SIGINT)


COMMANDS = {
    "agent": ["agent", "--once"],
    "faults": ["faults"],
    "squelch": ["squelch", "disk", "why"],
    "unsquelch": ["unsquelch", "disk"],
    "squelches": ["squelches"],
    "agents": ["agents"],
    "remove-agent": ["remove-agent", "web1"],
    "report": ["report", "web1"],
    "dump": ["dump"],
}


@pytest.fixture
def config(settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "one.cfg").write_text("[one]\ncommand = echo\n")
    path = tmp_path / "cimaa.cfg"
    lines = [f"{key} = {value}" for key, value in settings.items()]
    agent = "[agent]\nname = web1\ndirectory = checks\n"
    path.write_text("\n".join(["[database]", "class = zc.cimaa.postgres", *lines, agent]))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_fails_in_bounded_time_with_one_line(server: Server, config: Path, command: str) -> None:
    with suspended(server):
        start = time.monotonic()
        done = CliRunner().invoke(cimaa, ["--config", str(config), *COMMANDS[command]], input="[]")
        assert time.monotonic() - start < BOUND
    assert done.exit_code == 1, done.output
    assert "cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_meta_check_says_so_in_bounded_time(server: Server, config: Path) -> None:
    with suspended(server):
        start = time.monotonic()
        done = CliRunner().invoke(cimaa, ["--config", str(config), "meta-check", "--nagios"])
        assert time.monotonic() - start < BOUND
    assert done.exit_code == 3
    assert "cannot be reached" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--local"]])
def test_setting_up_does_not_even_begin(server: Server, config: Path, arguments: list[str]) -> None:
    with suspended(server):
        start = time.monotonic()
        done = CliRunner().invoke(setup_postgres, [str(config), *arguments])
        assert time.monotonic() - start < BOUND
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr


SETUP = "from zc.cimaa.cli.commands.setup_postgres import main; main()"


def test_setting_up_ends_in_bounded_time_if_the_server_stops_meanwhile(
    server: Server, config: Path, settings: dict[str, str]
) -> None:
    # What setup-postgres waits for is held by this session.
    with psycopg.connect(server.socket_dsn) as other, ExitStack() as stack:
        other.execute(f"LOCK TABLE {settings['schema']}.version")
        process = subprocess.Popen(
            [sys.executable, "-c", SETUP, config, "--wait", "2s"],
            stderr=subprocess.PIPE,
            text=True,
        )
        with process, psycopg.connect(server.socket_dsn, autocommit=True) as watching:
            waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            for _ in range(3000):
                if watching.execute(waits).fetchall():
                    break
                threading.Event().wait(0.01)
            stack.enter_context(suspended(server))
            start = time.monotonic()
            assert process.stderr is not None
            message = process.stderr.read()
            assert process.wait(BOUND) == 1
            assert time.monotonic() - start < BOUND
        assert "stopped responding" in message
        stack.close()
        other.rollback()
    assert CliRunner().invoke(setup_postgres, [str(config)]).exit_code == 0


REPORTER = """
import itertools, json, sys, time
from zc.cimaa import errors
from zc.cimaa.postgres import DB
agent, settings = sys.argv[1], json.loads(sys.argv[2])
with DB(settings) as db:
    for number in itertools.count(1):
        for _ in range(3):  # a change, and what repeats it
            start = time.monotonic()
            try:
                db.set_faults(agent, [{"name": "n", "severity": 40, "message": "", "number": number}])
                print("done", number, flush=True)
            except errors.StoreUnavailable:
                print("failed", time.monotonic() - start, flush=True)
"""


class Reporter:
    """A process that reports one number after the other, and writes what came of each report."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        self.name = name
        self.done = 0
        self.failures: list[float] = []
        self._progress = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-c", REPORTER, name, json.dumps(settings)], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):  # it was killed meanwhile
                break
            kind, _, number = line.partition(" ")
            with self._progress:
                if kind == "done":
                    self.done = int(number)
                else:
                    self.failures.append(float(number))
                self._progress.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._progress:
            assert self._progress.wait_for(condition, 90), f"{self.name}: {self.done} done, failed: {self.failures}"

    def wait_for_more(self) -> None:
        number = self.done
        self.wait_for(lambda: self.done > number)

    def stop(self) -> None:
        self._process.kill()
        with self._process:  # which closes its pipe in the end
            self._thread.join()


def test_sixteen_reporting_processes_lose_nothing(server: Server, settings: dict[str, str]) -> None:
    with ExitStack() as stack:
        reporters = []
        for number in range(PROCESSES):
            reporters.append(Reporter(f"agent{number}", settings))
            stack.callback(reporters[-1].stop)
        for _ in range(2):
            for reporter in reporters:
                reporter.wait_for_more()
            with suspended(server):
                for reporter in reporters:
                    failed = len(reporter.failures)
                    reporter.wait_for(lambda: len(reporter.failures) > failed)  # noqa: B023  # called at once
            for reporter in reporters:
                reporter.wait_for_more()
    assert max(seconds for reporter in reporters for seconds in reporter.failures) < BOUND
    with DB(settings) as db:
        for reporter in reporters:
            (stored,) = db.get_faults(reporter.name)
            # What was killed in the middle of a report may have got it through.
            assert stored["number"] in (reporter.done, reporter.done + 1)
