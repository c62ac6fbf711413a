"""Completion in real shells at a terminal: nothing that others stored runs, and each name stays one word."""

import contextlib
import io
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.needs import missing
from zc.cimaa import memory
from zc.cimaa.cli import bash_words, main, shells
from zc.cimaa.cli.commands.completion import PROGRAMS
from zc.cimaa.errors import InvalidSquelch
from zc.cimaa.squelches import compiled

READY = b"<ready>"
# Starts fast: the shells run this, and the test runs the command in its own process.
RELAY = """#!{python} -IS
import os, socket, sys
with socket.socket(socket.AF_UNIX) as relay:
    relay.connect({address!r})
    wanted = ("COMP_LINE", "COMP_WORD", "_CIMAA_COMPLETE")
    variables = ["%s=%s" % (name, os.environ[name]) for name in wanted if name in os.environ]
    relay.sendall("\\0".join([*map(repr, variables), "", *map(repr, sys.argv[1:])]).encode(errors="surrogateescape"))
    relay.shutdown(socket.SHUT_WR)
    while piece := relay.recv(65536):
        sys.stdout.buffer.write(piece)
"""
START = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], "PS1='<''ready>'; PS2=; HISTFILE=; source ./script\n"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PS1='<''ready>'; PS2=; autoload -Uz compinit; compinit -u -D; source ./script; unsetopt beep\n",
    ),
    "fish": (
        ["fish", "--no-config", "--private", "-i"],
        "function fish_prompt; echo -n '<'ready'>'; end; function fish_greeting; end; source ./script\n",
    ),
}
SPICE = [
    *[";touch PWNED", "|touch PWNED", "&touch PWNED", "$(touch PWNED)", "`touch PWNED`", "\n touch PWNED\n", "*", "?"],
    *["[ab]*", "{a,b}", "'", "''", '"', "\\", "\\\\", "~", "~root", "!", "!!", "!touch", "#", " # ", " ", "  a", "\t"],
    *["$HOME", "${HOME}", "$", ">PWNED", "<PWNED", "<(touch PWNED)", "(", ")", "=", "=ls", ":", "a:b:c", "^", "^a^b^"],
    *["ö", "€ ", "日本", "%", "%1", ",", "a,b", "@", "@host", "-", "--", "--help", "-x", "\x1b[2J", "\x07", "\x7f"],
    *["\u202e", "\r", "\\n", "$'\\n'", '";touch PWNED;"', "';touch PWNED;'", "\\';touch PWNED;'", "+(a)", "..", "/"],
]
SHAPES = ["{}", "a{}b", "{}a", "//web1/{0}{0}#/var$"]
NAMES = [shape.format(spice) for shape in SHAPES for spice in SPICE]


class Shell:
    """An interactive shell at a terminal."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.listener = socket.socket(socket.AF_UNIX)
        address = str(directory / "relay")
        self.listener.bind(address)
        self.listener.listen()
        (directory / "bin").mkdir()
        program = directory / "bin" / "cimaa"
        program.write_text(RELAY.format(python=sys.executable, address=address))
        program.chmod(0o755)
        command, first = START[name]
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            path = f"{directory}/bin:{os.environ['PATH']}"
            os.environ.update(PATH=path, TERM="xterm", LC_ALL="C.UTF-8", COLUMNS="300")
            os.chdir(directory)
            os.execvp(command[0], command)
        self.type(first)
        self._wait(lambda output, _: READY in output)

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def enter(self, line: str, close: str = "") -> list[str]:
        """Type a line, Tab, a closing quote if one is needed, and Return; the arguments of the command that runs."""
        self.type(f"{line}\t{close}\n")
        return self._wait(lambda output, ran: bool(ran) and READY in output)[0]

    def _wait(self, done: Callable[[bytes, list[list[str]]], bool]) -> list[list[str]]:
        """What was run until the shell has a prompt again."""
        output, ran, end = b"", [], time.monotonic() + 10
        while not done(output, ran):
            readable, _, _ = select.select([self.terminal, self.listener], [], [], max(0, end - time.monotonic()))
            assert readable, output
            if self.listener in readable:
                arguments = self._answer()
                if arguments is not None:
                    ran, output = [*ran, arguments], b""
            else:
                output += os.read(self.terminal, 65536)
        return ran

    def _answer(self) -> list[str] | None:
        """Answer a completion; the arguments if the command itself was run."""
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as file:
            parts = file.read().decode().split("\0")
            variables = [eval(part) for part in parts[: parts.index("")]]
            arguments = [eval(part) for part in parts[parts.index("") + 1 :] if part]
            environment = dict(one.split("=", 1) for one in variables)
            if "_CIMAA_COMPLETE" not in environment:
                return arguments
            printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="")
            with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
                for name, text in environment.items():
                    patch.setenv(name, text)
                patch.setattr(sys, "argv", ["cimaa", *arguments])
                patch.setattr(sys, "stdout", printed)
                main()
            printed.seek(0)
            connection.sendall(printed.buffer.read())
            return None

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        self.listener.close()


@pytest.fixture(params=START)
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    name = request.param
    if not shutil.which(name):
        missing("a shell is not installed (apt-get install bash zsh fish)")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIMAA_CONFIG", str(tmp_path / "cimaa.cfg"))
    (tmp_path / "cimaa.cfg").write_text(f"[database]\nclass = zc.cimaa.memory\nname = {tmp_path}\n")
    for file in ("aa", "ab", "b"):  # for patterns to find
        (tmp_path / file).touch()
    made = shells.SHELLS[name](None, {}, "cimaa", "_CIMAA_COMPLETE")  # type: ignore[arg-type]
    (tmp_path / "script").write_text(made.source())
    opened = Shell(name, tmp_path)
    yield opened
    opened.close()


def is_pattern(name: str) -> bool:
    try:
        compiled(name)
    except InvalidSquelch:
        return False
    return True


def visible(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def test_what_is_completed_is_what_was_stored(shell: Shell, tmp_path: Path) -> None:
    wrong = []
    before = visible(tmp_path)
    for number, name in enumerate(NAMES):
        command = "unsquelch" if number % 2 and is_pattern(name) else "remove-agent"
        with memory.DB({"name": str(tmp_path)}) as db:
            db.squelch(name, "", "") if command == "unsquelch" else db.set_faults(name, [])
            offered = name.isprintable() and not (shell.name == "fish" and name.startswith("~"))
            quote = ["", "'", '"'][number % 3] if offered else ""
            # fish lets one go on after these, and closes no quote.
            close = quote if shell.name == "fish" and name.endswith(tuple("/=@:.,-")) else ""
            dashes = "-- " if name.startswith("-") else ""
            # Half of the words are typed in part.  fish hides what starts with a dot until that is typed.
            start = name[0] if name[0] in "./aö日" and len(name) > 1 else ""
            got = shell.enter(f"cimaa {command} {dashes}{quote}{start}", close)
        wanted = [command, *dashes.split(), *filter(None, [name if offered else start])]
        if got != wanted:
            wrong.append((quote, wanted, got))
    assert len(NAMES) > 200
    assert not wrong
    assert visible(tmp_path) == before


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("faults --agent=", ["faults", "--agent=a:b c=d"]),
        ("faults --agent=a:", ["faults", "--agent=a:b c=d"]),
        ("faults --agent ", ["faults", "--agent", "a:b c=d"]),
        ("faults --agent a:b\\ c=", ["faults", "--agent", "a:b c=d"]),
        ("faults --agent 'a:b c", ["faults", "--agent", "a:b c=d"]),
        ('faults --agent "a:', ["faults", "--agent", "a:b c=d"]),
        ("faults --squ", ["faults", "--squelched"]),
        ("faults sever", ["faults", "severity>="]),
        ("faults severity\\>=err", ["faults", "severity>=error"]),
        ("faults 'severity>=err", ["faults", "severity>=error"]),
        ("faults squelched=no team=x squelched=y", ["faults", "squelched=no", "team=x", "squelched=yes"]),
        ("faults agent=", ["faults", 'agent="a:b c=d"']),
        ("faults agent!=", ["faults", 'agent!="a:b c=d"']),
        ("faults mess", ["faults", "message="]),
        ("faults team=", ["faults", "team="]),
        ("agents sil", ["agents", "silent>="]),
        ("agents os=~Linux age", ["agents", "os=~Linux", "agent="]),
        ("remove-a", ["remove-agent"]),
        ("--config none remove-agent ", ["--config", "none", "remove-agent"]),
    ],
)
def test_a_word_may_be_typed_in_part(shell: Shell, tmp_path: Path, typed: str, completed: list[str]) -> None:
    with memory.DB({"name": str(tmp_path)}) as db:
        db.set_faults("a:b c=d", [])
        assert shell.enter(f"cimaa {typed}") == completed


def test_completing_twice_goes_on_from_what_is_common(shell: Shell, tmp_path: Path) -> None:
    if shell.name == "fish":
        pytest.skip("fish and its pager choose otherwise")
    with memory.DB({"name": str(tmp_path)}) as db:
        for name in ("a $(touch PWNED) b", "a $(touch PWNED) c;d"):
            db.set_faults(name, [])
        assert shell.enter("cimaa remove-agent a\tc") == ["remove-agent", "a $(touch PWNED) c;d"]
    assert not (tmp_path / "PWNED").exists()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.sampled_from(["", "'", '"']))
def test_bash_reads_what_was_quoted_for_it(text: str, quote: str) -> None:
    inserted = bash_words.quoted(text, quote)
    if quote:  # as readline puts it on the line
        line = quote.removesuffix(inserted[:1]) + inserted
        line += "" if inserted.endswith(quote) else quote
    else:
        line = inserted
    assert bash_words.parse(f"cimaa {line}").words == ["cimaa", text]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", shells.SHELLS)
def test_every_program_has_a_script(name: str, program: str) -> None:
    written = subprocess.run(
        [Path(sys.executable).with_name("cimaa"), "completion", name, "--program", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_{program.upper().replace('-', '_')}_COMPLETE={name}_complete" in written.stdout
    assert f" {program}" in written.stdout


def test_a_setup_program_completes_its_options() -> None:
    environment = {**os.environ, "_SETUP_POSTGRES_COMPLETE": "fish_complete"}
    command = [Path(sys.executable).with_name("setup-postgres"), "--loc"]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert completed.stdout.startswith("plain,--local\t")
