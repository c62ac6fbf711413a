"""The test suite itself: its results do not depend on how it is started, and failures are easy to find."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.pages import ROOT


def run_pytest(*arguments: str | Path, python: str = sys.executable, before: str = "") -> str:
    """The output of pytest for these tests, run by a shell after the commands ``before``."""
    script = f'{before}\nexec "$@" -p no:cacheprovider 2>&1'
    command = ["bash", "-c", script, "bash", python, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False).stdout


def test_it_passes_in_a_background_job_where_signals_are_ignored() -> None:
    output = run_pytest("tests/agent/test_agent_checks.py", "-k", "ended_takes_its", before="trap '' HUP INT QUIT TERM")
    assert "4 passed" in output, output


def test_it_passes_if_python_is_started_by_a_path_with_dots() -> None:
    directory, name = os.path.split(sys.executable)
    python = f"{directory}/../{Path(directory).name}/{name}"
    output = run_pytest("tests/agent/test_systemd.py", "-k", "this_installation", python=python)
    assert "1 passed" in output, output


def test_tests_skipped_for_one_reason_are_one_line_above_the_failures(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_a(): pytest.skip('no server')\n"
        "def test_b(): pytest.skip('no server')\n"
        "def test_c(): pytest.skip('no program')\n"
        "def test_d(): assert False\n"
    )
    output = run_pytest(tmp_path / "test_it.py", "-p", "tests.conftest")
    lines = [line for line in output.splitlines() if line.startswith(("SKIPPED", "FAILED"))]
    assert [line.partition(" - ")[0] for line in lines] == [
        "SKIPPED [1] no program",
        "SKIPPED [2] no server",
        f"FAILED {os.path.relpath(tmp_path, ROOT)}/test_it.py::test_d",
    ]
