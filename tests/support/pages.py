"""Runs the pages: Python, commands, and the files that they show.

- Doctest and ``.. code-block:: python`` blocks run as they would at a prompt; the blocks of a page share their names.
- ``.. code-block:: console`` blocks run each line that starts with ``$``, and compare what it prints.
- A block after a paragraph that is only a file's name, as in ````cimaa.cfg``:``, is written to that file.

Each page has its own empty directory, home and state.  ``...`` matches any output.
"""

import contextlib
import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.rest import DocTestParser
from sybil.parsers.rest.lexers import DirectiveLexer

ROOT = Path(__file__).parents[2]
FOR_SPHINX = ("index.rst", "doctests/api.rst")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

_FILE_NAME = re.compile(r"^ *``(\S+)``:\n\n *\Z", re.MULTILINE)


class BlockParser:
    """Code blocks: files to write, commands to run, and Python."""

    lexer = DirectiveLexer(directive="code-block")

    def __call__(self, document: Document) -> Iterator[Region]:
        for lexeme in self.lexer(document):
            source = lexeme.lexemes["source"]
            if named := _FILE_NAME.search(document.text[: lexeme.start]):
                yield Region(lexeme.start, lexeme.end, (named[1], source), write_file)
            elif lexeme.lexemes["arguments"] == "console":
                yield Region(lexeme.start, lexeme.end, source, run_commands)
            elif lexeme.lexemes["arguments"] == "python":
                yield Region(lexeme.start, lexeme.end, source, PythonEvaluator())


PARSERS = [DocTestParser(optionflags=FLAGS), BlockParser()]


def all_pages() -> list[Path]:
    """Every page of the documentation, but those that only Sphinx can read."""
    found = (path for pattern in ("*.rst", "doctests/*.rst", "benchmarks/*.rst") for path in ROOT.glob(pattern))
    return sorted(path for path in found if str(path.relative_to(ROOT)) not in FOR_SPHINX)


def write_files(page: Path, directory: Path) -> None:
    """Write the files that the page shows into the directory."""
    document = Document(page.read_text(), str(page))
    for region in BlockParser()(document):
        if region.evaluator is write_file:
            name, text = region.parsed
            _write(directory / name, text)


def write_file(example: Example) -> None:
    name, text = example.parsed
    _write(Path(name), text)


def _write(path: Path, text: str) -> None:
    path.write_text(text.strip("\n") + "\n")


def run_commands(example: Example) -> str | None:
    """The difference between the output of a command and the page, if any."""
    for command, wanted in commands(example.parsed):
        status, printed = on_terminal(command)
        if not doctest.OutputChecker().check_output(wanted, printed, FLAGS):
            return f"$ {command}\nshould print:\n{wanted}\nbut printed:\n{printed}"
        if status and (not wanted or wanted.startswith("...")):  # the ellipsis may hide why it failed
            return f"$ {command}\nexited with status {status}"
    return None


def on_terminal(command: str) -> tuple[int, str]:
    """A command's exit status, and what it printed on a terminal, without white space at the ends of lines."""
    terminal, side = os.openpty()
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=side, stderr=side) as process:
        os.close(side)
        printed = b""
        with contextlib.suppress(OSError):  # how Linux reports that the last writer closed the terminal
            while chunk := os.read(terminal, 65536):
                printed += chunk
        os.close(terminal)
    return process.returncode, "".join(f"{line.rstrip()}\n" for line in printed.decode().splitlines())


def commands(text: str) -> Iterable[tuple[str, str]]:
    """Each command of a console block with what it should print."""
    found: list[tuple[str, str]] = []
    for line in text.strip("\n").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0][:-1]}{line}", "")
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def set_up(namespace: dict[str, Any]) -> None:
    namespace["_outside"] = outside = pytest.MonkeyPatch()
    directory = namespace["_directory"] = tempfile.mkdtemp(prefix="cimaa-page-")
    for variable in list(os.environ):
        if variable.startswith(("CIMAA", "XDG_", "STATE_DIRECTORY", "AWS_", "PG", "SUDO_")):
            outside.delenv(variable)
    outside.chdir(directory)
    outside.setenv("HOME", directory)
    outside.setenv("XDG_STATE_HOME", f"{directory}/state")
    outside.setenv("STATE_DIRECTORY", f"{directory}/state/cimaa")
    outside.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    outside.setenv("COLUMNS", "110")
    outside.setenv("NO_COLOR", "1")


def set_up_in_checkout(namespace: dict[str, Any]) -> None:
    """The page's commands run in the checkout, as a developer's do."""
    set_up(namespace)
    namespace["_outside"].chdir(ROOT)


def tear_down(namespace: dict[str, Any]) -> None:
    namespace["_outside"].undo()
    shutil.rmtree(namespace["_directory"])


def set_up_postgres(namespace: dict[str, Any]) -> None:
    """A server that is found through its socket, as on an operator's host."""
    from tests.support.postgres_servers import Server, programs_18

    set_up(namespace)
    server = namespace["_server"] = Server(programs_18())
    settings = {"PGHOST": str(server.directory), "PGPORT": str(server.port), "PGUSER": "postgres"}
    for variable, value in settings.items():
        namespace["_outside"].setenv(variable, value)
    namespace["_outside"].setenv("PATH", f"{os.environ['PATH']}:{server.programs}")


def tear_down_postgres(namespace: dict[str, Any]) -> None:
    for variable in ("PGDATABASE", "PGOPTIONS"):  # which the page sets
        os.environ.pop(variable, None)
    tear_down(namespace)
    namespace["_server"].remove()
