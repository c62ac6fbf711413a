"""``cimaa setup``, ``setup-postgres`` and ``setup-dynamodb``: what they share with the other commands."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Cimaa

DYNAMODB = "[database]\nclass = zc.cimaa.dynamodb\nregion = eu-west-1\nprefix = shop\n"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(arguments[0])
    return subprocess.run([program, *arguments[1:]], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "program", [["setup-postgres"], ["setup-dynamodb"], ["cimaa", "setup", "postgres"], ["cimaa", "setup", "dynamodb"]]
)
def test_a_setup_command_has_help_and_a_version(cimaa: Cimaa, program: list[str]) -> None:
    for option in ("-h", "--help"):
        shown = run(*program, option)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith(f"Usage: {' '.join(program)} [OPTIONS] [CONFIG]\n")
        assert "Examples:" in shown.stdout
    assert run(*program, "--version").stdout.endswith(f" {importlib.metadata.version('zc.cimaa')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["setup-dynamodb"],
        ["setup-dynamodb", "other.cfg"],
        ["setup-dynamodb", "--config", "other.cfg"],
        ["cimaa", "setup", "dynamodb"],
        ["cimaa", "setup", "dynamodb", "other.cfg"],
        ["cimaa", "setup", "dynamodb", "--config", "other.cfg"],
        ["cimaa", "--config", "other.cfg", "setup", "dynamodb"],
    ],
)
def test_the_configuration_is_found_as_everywhere(cimaa: Cimaa, arguments: list[str]) -> None:
    Path("cimaa.cfg").write_text(DYNAMODB)
    Path("other.cfg").write_text(DYNAMODB.replace("shop", "other"))
    printed = run(*arguments, "--policy", "reader")
    assert (printed.returncode, printed.stderr) == (0, "")
    (resource, *_) = json.loads(printed.stdout)["Statement"][0]["Resource"]
    assert ("other" if "other.cfg" in arguments else "shop") in resource


@pytest.mark.parametrize(
    ("arguments", "status", "wrong"),
    [
        (["setup-dynamodb"], 1, "[database] class (default) is zc.cimaa.lmdb: this command is for zc.cimaa.dynamodb"),
        (["setup-postgres"], 1, "[database] class (default) is zc.cimaa.lmdb: this command is for zc.cimaa.postgres"),
        (["setup-postgres", "none.cfg"], 1, "there is no readable configuration file none.cfg"),
        (["setup-postgres", "cimaa.cfg", "--config", "cimaa.cfg"], 2, "The configuration file is given twice."),
        (["cimaa", "--config", "cimaa.cfg", "setup", "postgres", "cimaa.cfg"], 2, "is given twice"),
        (["setup-dynamodb", "--wait", "5"], 2, "'5'"),
        (["cimaa", "setup", "postgers"], 2, "Did you mean 'postgres'?"),
        (["cimaa", "fautls"], 2, "Did you mean 'faults'?"),
    ],
)
def test_every_error_has_the_same_prefix(cimaa: Cimaa, arguments: list[str], status: int, wrong: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (status, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("cimaa: error: ")
    assert wrong in last
    assert "Error:" not in result.stderr


def test_called_from_python_it_writes_nothing_on_standard_output(cimaa: Cimaa) -> None:
    """It leaves the caller's streams alone, and returns nothing where it succeeds."""
    Path("cimaa.cfg").write_text(DYNAMODB)
    script = (
        "import contextlib, io, importlib.metadata as m\n"
        "[entry] = m.entry_points(group='console_scripts', name='setup-dynamodb')\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    assert entry.load()(['cimaa.cfg', '--policy', 'reader']) is None\n"
        "    assert out.getvalue()\n"
        "    try: entry.load()(['none.cfg'])\n"
        "    except SystemExit as ended: assert ended.code == 1\n"
        "print('still here')"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "still here\n")


def test_a_bug_shows_its_traceback_on_request(cimaa: Cimaa) -> None:
    script = (
        "import zc.cimaa.cli.commands.report_dump as r, sys; r.open_store = lambda *a: 1 / 0\n"
        "from zc.cimaa.cli import main; sys.argv[1:] = ['dump']; sys.exit(main())"
    )
    for value in ("", "1"):
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "CIMAA_DEBUG": value},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 1
        assert "cimaa: error: ZeroDivisionError: division by zero; this is a bug in zc.cimaa" in result.stderr
        assert ("Traceback" in result.stderr) is bool(value)
