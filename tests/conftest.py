"""The conditions that all tests run under, and an empty store of each backend for each test."""

import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, settings

pytest.register_assert_rewrite("zc.cimaa.testing")

from tests.support.dynamodb_fixtures import dynamodb_opener, dynamodb_settings, moto_client, moto_url  # noqa: E402, F401
from tests.support.postgres_servers import postgres_15, postgres_dsn, postgres_opener, postgres_server  # noqa: E402, F401
from zc.cimaa import lmdb, memory  # noqa: E402
from zc.cimaa.agents import Instance  # noqa: E402
from zc.cimaa.cli import cimaa as cimaa_command  # noqa: E402
from zc.cimaa.db import DB  # noqa: E402
from zc.cimaa.testing import Opener  # noqa: E402

# A busy machine is no reason to fail.
settings.register_profile("cimaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("unshrunk", settings.get_profile("cimaa"), phases=[Phase.generate])
settings.load_profile("cimaa")


def pytest_configure() -> None:
    """Signals have their usual effect, even in a background job (``nohup pytest &``), where some are ignored."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason for which tests were skipped, above the failures."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, number in sorted(Counter(report.longrepr[2] for report in skipped).items()):
        terminalreporter.write_line(f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}")


@pytest.fixture(params=["memory", "lmdb", "postgres", "dynamodb"])
def any_opener(request: pytest.FixtureRequest) -> Opener:
    """Opens a store of every backend in turn."""
    opener: Opener = request.getfixturevalue(f"{request.param}_opener")
    return opener


@pytest.fixture
def memory_opener(tmp_path: Path) -> Iterator[Opener]:
    opener = functools.partial(memory.DB, {"name": str(tmp_path)})
    with opener():  # the store lives for as long as a handle is open
        yield opener


@pytest.fixture
def lmdb_opener(tmp_path: Path) -> Opener:
    return functools.partial(lmdb.DB, {"path": str(tmp_path / "store")})


class Cimaa:
    """The command, on a store and in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._store = {"path": str(directory / "store")}
        (directory / "cimaa.cfg").write_text(f"[database]\npath = {directory}/store\n")

    def __call__(self, *arguments: str, input: str | bytes | None = None) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(cimaa_command, arguments, input=input, prog_name="cimaa", catch_exceptions=False)

    def store(self, ago: float = 0, instance: Instance | None = None) -> DB:
        """The store, as it is or would have been so many seconds ago."""
        return lmdb.DB(self._store, instance=instance, clock=lambda: time.time() - ago)


@pytest.fixture
def cimaa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cimaa:
    for variable in list(os.environ):
        if variable.startswith(
            ("CIMAA", "XDG_", "STATE_DIRECTORY", "SUDO_", "NO_COLOR", "COLUMNS", "PYTHONUNBUFFERED")
        ):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Cimaa(tmp_path)
