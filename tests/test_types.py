"""Programs of users pass ``mypy --strict``, and their mistakes do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, write_files

PROGRAMS = Path(__file__).parent / "typed"
MISTAKES = PROGRAMS / "mistakes.py"


def errors(*files: Path) -> dict[tuple[str, int], set[str]]:
    """The codes of the errors that mypy reports for each line of these files."""
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={ROOT / '.mypy_cache'}"]
    packages = ["--namespace-packages", "--explicit-package-bases"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *packages, *files],
        env={"MYPYPATH": str(ROOT)},
        cwd=files[0].parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.stderr == ""
    found: dict[tuple[str, int], set[str]] = {}
    for name, line, code in re.findall(r"^(.*):(\d+): error: .*\[(.*)\]$", checked.stdout, re.MULTILINE):
        found.setdefault((Path(name).name, int(line)), set()).add(code)
    assert bool(found) == bool(checked.returncode), checked.stdout
    return found


def marked(file: Path) -> dict[tuple[str, int], set[str]]:
    """The codes that the comments in the file announce, for each line."""
    lines = enumerate(file.read_text().splitlines(), 1)
    return {(file.name, number): set(line.split("# E: ")[1].split()) for number, line in lines if "# E: " in line}


def test_mypy_accepts_programs_of_users_and_finds_their_mistakes(tmp_path: Path) -> None:
    write_files(ROOT / "doctests" / "backends.rst", tmp_path)
    programs = [*PROGRAMS.glob("*.py"), tmp_path / "jsonstore.py"]
    assert len(programs) == 5
    assert errors(*programs) == marked(MISTAKES)


@pytest.mark.parametrize("name", ["reads", "alerter", "sink"])
def test_the_programs_run(name: str, tmp_path: Path) -> None:
    command = [sys.executable, PROGRAMS / f"{name}.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
