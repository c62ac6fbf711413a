"""README.rst and the pages in doctests/ are run: Python, commands, and the files that they show.

- Doctest and ``.. code-block:: python`` blocks run as they would at a prompt; one page shares its names.
- ``.. code-block:: console`` blocks run each line that starts with ``$``, and compare what it prints.
- A block with a ``:caption:`` is written to the file that the caption names.

All of it happens in an empty directory of the page's own, with a home and a state of its own.  ``...`` stands
for whatever is printed there.
"""

import contextlib
import doctest
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.rest import DocTestParser
from sybil.parsers.rest.lexers import DirectiveLexer
from sybil.sybil import SybilCollection

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class BlockParser:
    """Code blocks: files to write, commands to run, and Python."""

    lexer = DirectiveLexer(directive="code-block")

    def __call__(self, document: Document) -> Iterator[Region]:
        for lexeme in self.lexer(document):
            source = lexeme.lexemes["source"]
            if caption := lexeme.lexemes["options"].get("caption"):
                yield Region(lexeme.start, lexeme.end, (caption, source), write_file)
            elif lexeme.lexemes["arguments"] == "console":
                yield Region(lexeme.start, lexeme.end, source, run_commands)
            elif lexeme.lexemes["arguments"] == "python":
                yield Region(lexeme.start, lexeme.end, source, PythonEvaluator())


def write_file(example: Example) -> None:
    name, text = example.parsed
    Path(name).write_text(text.strip("\n") + "\n")


def run_commands(example: Example) -> str | None:
    """What a command printed that the page does not show, if anything."""
    for command, wanted in commands(example.parsed):
        status, printed = on_terminal(command)
        if not doctest.OutputChecker().check_output(wanted, printed, FLAGS):
            return f"$ {command}\nshould print:\n{wanted}\nbut printed:\n{printed}"
        if status and not wanted:
            return f"$ {command}\nexited with status {status}"
    return None


def on_terminal(command: str) -> tuple[int, str]:
    """A command's exit status, and what it printed on a terminal, with white space at the ends of lines left out."""
    terminal, side = os.openpty()
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=side, stderr=side) as process:
        os.close(side)
        printed = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody writes any more
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
    directory = namespace["_directory"] = pytest.TempPathFactory.from_config(CONFIG, _ispytest=True).mktemp("page")
    for variable in list(os.environ):
        if variable.startswith(("CIMAA", "XDG_", "STATE_DIRECTORY", "AWS_", "PG", "SUDO_")):
            outside.delenv(variable)
    outside.chdir(directory)
    outside.setenv("HOME", str(directory))
    outside.setenv("XDG_STATE_HOME", str(directory / "state"))
    outside.setenv("STATE_DIRECTORY", str(directory / "state" / "cimaa"))
    outside.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    outside.setenv("COLUMNS", "110")
    outside.setenv("NO_COLOR", "1")


def tear_down(namespace: dict[str, Any]) -> None:
    namespace["_outside"].undo()


def set_up_postgres(namespace: dict[str, Any]) -> None:
    """A server that is found over its socket, as on an operator's machine."""
    from tests.postgres_servers import Server, programs_18

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


def pytest_configure(config: pytest.Config) -> None:
    global CONFIG
    CONFIG = config


PARSERS = [DocTestParser(optionflags=FLAGS), BlockParser()]

pytest_collect_file = SybilCollection(
    [
        Sybil(
            parsers=PARSERS,
            patterns=["README.rst", "doctests/*.rst"],
            # tests/test_contract_page.py runs the one once per backend; the other wants a server
            excludes=["doctests/contract.rst", "doctests/postgres.rst"],
            setup=set_up,
            teardown=tear_down,
        ),
        Sybil(parsers=PARSERS, patterns=["doctests/postgres.rst"], setup=set_up_postgres, teardown=tear_down_postgres),
    ]
).pytest()
