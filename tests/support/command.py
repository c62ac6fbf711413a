"""The command ``cimaa``, run in this process, and its completion."""

import os
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from zc.cimaa import lmdb
from zc.cimaa.agents import Instance
from zc.cimaa.cli import cimaa as cimaa_command
from zc.cimaa.db import DB, Clock


class Cimaa:
    """The command, with its own store and directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._store = {"path": str(directory / "store")}
        (directory / "cimaa.cfg").write_text(f"[database]\npath = {directory}/store\n")

    def __call__(self, *arguments: str, input: str | bytes | None = None) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(cimaa_command, arguments, input=input, prog_name="cimaa", catch_exceptions=False)

    def store(
        self, ago: float = 0, instance: Instance | None = None, clock: Clock | None = None, **settings: str
    ) -> DB:
        """The store, as it is, or with a clock that is ``ago`` seconds behind; ``settings`` are those of its class."""
        return lmdb.DB(self._store | settings, instance=instance, clock=clock or (lambda: time.time() - ago))


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


def completed(arguments: list[str], incomplete: str) -> list[str]:
    """What ``cimaa`` completes the last word to."""
    complete = ShellComplete(cimaa_command, {}, "cimaa", "_CIMAA_COMPLETE")
    return [item.value for item in complete.get_completions(arguments, incomplete)]
