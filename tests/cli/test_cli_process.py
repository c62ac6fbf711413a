"""The command as a process of its own: exit statuses, streams, terminals, and what it does not import."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.support.cfengine import samples
from tests.support.command import Cimaa
from tests.support.faulty_documents import GOOD
from tests.support.ssh_keys import Keys
from zc.cimaa.agents import this_host
from zc.cimaa.cli import COMMANDS, reference
from zc.cimaa.cli import cimaa as command

PROGRAM = str(Path(sys.executable).with_name("cimaa"))
PAGE = Path(__file__).parents[2] / "doctests" / "cli.rst"
FAULT = {"name": "//web1/raid", "severity": 40, "message": "degraded " * 30}
PLAIN = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(PROGRAM).parent}:{os.environ['PATH']}")


@pytest.fixture
def fleet(cimaa: Cimaa) -> Cimaa:
    with cimaa.store() as db:
        db.set_faults("web1", [FAULT])
    return cimaa


def run(*arguments: str, program: str = PROGRAM, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def at_a_terminal(*arguments: str, width: int = 80, **environment: str) -> str:
    """What the command writes to a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # so a terminal ends
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return written.decode().replace("\r\n", "\n")


# Streams and exit statuses


def test_data_and_messages_go_apart(fleet: Cimaa) -> None:
    result = run("faults", "--json", "--limit", "1")
    assert json.loads(result.stdout)[0]["name"] == "//web1/raid"
    assert (result.returncode, result.stderr) == (0, "")
    result = run("faults", "--match", "nothing")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("No faults match: 1 agent reported")


@pytest.mark.parametrize(
    ("arguments", "status", "wrong"),
    [
        (["faults", "-e"], 3, ""),
        (["faults", "--match", "("], 1, "cimaa: error: '(' is not a valid RE2 regular expression"),
        (["--config", "none", "faults"], 1, "cimaa: error: there is no readable configuration file none"),
        (["fautls"], 2, "No such command 'fautls'. Did you mean 'faults'?"),
        (["zzzz"], 2, "No such command 'zzzz'."),
        (["faults", "--exit-cod"], 2, "Did you mean '--exit-code'?"),
        (["faults", "--config", "x"], 2, "--config must precede the command"),
        (["--conf", "x", "faults"], 2, "Did you mean '--config'?"),
        (["faults", "--limit", "0"], 2, "--limit"),
        (["report"], 2, "Missing argument 'AGENT'"),
        ([], 2, "Usage: cimaa"),
    ],
)
def test_an_error_is_reported_without_a_traceback(fleet: Cimaa, arguments: list[str], status: int, wrong: str) -> None:
    result = run(*arguments)
    assert result.returncode == status
    assert wrong in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_not_an_error(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        db.set_faults("web1", [{**FAULT, "name": f"{n}"} for n in range(10_000)])
    result = run("-c", f"set -o pipefail; {PROGRAM} faults | head -1", program="bash")
    assert result.returncode == 141
    assert (result.stdout.count("\n"), result.stderr) == (1, "")


BUG = "from zc.cimaa.cli import main, {0}; {0}.{1} = None; raise SystemExit(main())"


@pytest.mark.parametrize("environment", [{}, {"CIMAA_DEBUG": "0"}, {"CIMAA_DEBUG": ""}])
def test_a_bug_is_one_line_that_says_how_to_get_its_traceback(fleet: Cimaa, environment: dict[str, str]) -> None:
    bug = BUG.format("fault_list", "show")
    result = run("-c", bug, "faults", program=sys.executable, env={**os.environ, **environment})
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("cimaa: error: TypeError: ")
    assert "this is a bug in zc.cimaa, please report it with the traceback that CIMAA_DEBUG=1 shows" in result.stderr


@pytest.mark.parametrize(
    ("module", "name", "arguments", "status"),
    [("fault_list", "show", ["faults"], 1), ("nagios", "within", ["check", "load"], 3)],
)
def test_with_cimaa_debug_a_bug_has_its_traceback(
    fleet: Cimaa, module: str, name: str, arguments: list[str], status: int
) -> None:
    bug = BUG.format(module, name)
    result = run("-c", bug, *arguments, program=sys.executable, env={**os.environ, "CIMAA_DEBUG": "1"})
    assert result.returncode == status
    assert result.stderr.startswith("Traceback (most recent call last):\n")


def test_with_cimaa_debug_a_check_s_bug_has_its_traceback_in_a_single_run_too(cimaa: Cimaa) -> None:
    script = (
        "from zc.cimaa.cli import main; from zc.cimaa.checks import load\nload.read = None; raise SystemExit(main())"
    )
    for debug in ("", "1"):
        environment = {**os.environ, "CIMAA_DEBUG": debug}
        result = run("-c", script, "agent", "--once", program=sys.executable, env=environment)
        assert "//" in result.stdout
        assert "#monitor-command" in result.stdout
        assert ("Traceback" in result.stderr) is bool(debug)


def test_a_warning_that_python_raises_is_not_a_bug(cimaa: Cimaa) -> None:
    script = (
        "import warnings; from zc.cimaa import cli; from zc.cimaa.cli import fault_list\n"
        "fault_list.show = lambda *a, **k: warnings.warn('old')\nraise SystemExit(cli.main())"
    )
    result = run("-W", "error", "-c", script, "faults", program=sys.executable)
    assert result.returncode == 1
    assert "UserWarning: old; Python is set to turn warnings into errors (-W)" in result.stderr
    assert "bug" not in result.stderr


def test_deprecated_imports_of_apprise_are_not_errors(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nbase_interval = 1s\n[alerter:a]\nclass = apprise\nurls = json://localhost:1/\n")
    result = run("-W", "error", "-m", "zc.cimaa", "agent", "--count", "1", program=sys.executable)
    assert result.returncode == 0, result.stderr
    assert "Deprecat" not in result.stderr


def test_output_that_cannot_be_written_is_an_error(fleet: Cimaa) -> None:
    result = run("-c", f"{PROGRAM} faults > /dev/full", program="sh")
    assert (result.returncode, result.stderr) == (1, "cimaa: error: No space left on device\n")


@pytest.mark.parametrize(
    ("line", "status", "wrong"),
    [
        ("faults >&-", 0, ""),
        ("faults >&- 2>&-", 0, ""),
        ("faults --match none 2>&-", 0, ""),
        ("report web1 <&-", 1, "cimaa: error: the report in /dev/null cannot be used: it is empty"),
    ],
)
def test_a_closed_stream_is_not_an_error(fleet: Cimaa, line: str, status: int, wrong: str) -> None:
    result = run("-c", f"{PROGRAM} {line}", program="sh")
    assert (result.returncode, result.stderr.strip()) == (status, wrong)


def test_an_interrupted_command_says_nothing_more(cimaa: Cimaa) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([PROGRAM, "report", "web1"], stdin=theirs, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.readline() == "Type the report as JSON; end it with Ctrl-D.\n"
        for _ in range(60):  # Python may miss one that comes just before it starts to read
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        assert process.returncode == 130
        assert process.stderr.read().strip() == ""
    os.close(ours)
    os.close(theirs)


def test_text_that_the_locale_cannot_write_is_escaped(cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    with cimaa.store() as db:
        db.set_faults("web1", [{**FAULT, "message": "größer"}])
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "gr\\xf6\\xdfer" in run("faults").stdout


# Terminals


def test_people_get_a_table_with_colours_and_nothing_cut(fleet: Cimaa) -> None:
    written = at_a_terminal("faults")
    assert "\x1b[31merror" in written
    lines = PLAIN.sub("", written).splitlines()
    assert lines[0].split() == ["severity", "for", "agent", "fault", "message"]  # nothing is squelched
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).count("degraded") == 30


@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_terminal_of_any_width_shows_everything(fleet: Cimaa, width: int) -> None:
    written = PLAIN.sub("", at_a_terminal("faults", width=width))
    assert max(len(line) for line in written.splitlines()) <= width
    letters = "".join(written.split())
    assert letters.count("d") >= 30 * 2


LONG = "//web1.example.com/host/backup#monitor-command"


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("options", [[], ["--table"]])
def test_a_name_can_be_copied_whole(cimaa: Cimaa, width: int, options: list[str]) -> None:
    with cimaa.store() as db:
        db.set_faults("web1.example.com", [{**FAULT, "name": LONG, "message": "one two [bold]three[/x] " * 5}])
        db.squelch("^//web1", "because " * 20, "ann")
    lines = PLAIN.sub("", at_a_terminal("faults", *options, width=width)).splitlines()
    assert sum(LONG in line for line in lines) == 1
    assert all(len(line) <= width for line in lines if LONG not in line)
    shown = " ".join(" ".join(lines).split())
    assert shown.count("[bold]three[/x]") == 5
    assert "^//web1" in shown
    assert any("^//web1" in line for line in at_a_terminal("squelches", width=width).splitlines())


def test_a_table_goes_through_a_pipe_with_colours_on_request(fleet: Cimaa) -> None:
    plain = run("faults", "--table")
    assert plain.stdout.split()[:5] == ["severity", "for", "agent", "fault", "message"]
    assert "\x1b" not in plain.stdout
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    assert "\x1b[31merror" in run("faults", "--table", env=environment).stdout
    assert "\x1b" not in run("faults", "--table", env={**environment, "NO_COLOR": "1"}).stdout
    assert "\x1b" not in run("faults", env=environment).stdout


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(fleet: Cimaa, environment: dict[str, str]) -> None:
    assert "\x1b" not in at_a_terminal("faults", **environment)


def test_what_steers_a_terminal_is_shown_and_not_sent(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        db.set_faults("web1", [{"name": "x\x1b[2J", "severity": 40, "message": "a\x9b2J\x07\rb\nnext"}])
    written = PLAIN.sub("", at_a_terminal("faults", width=200))
    assert "\\x1b[2J" in written
    assert "\\x9b2J\\x07\\rb" in written
    assert not [c for c in written if not (c.isprintable() or c == "\n")]


def test_a_very_long_list_is_cut_only_on_a_terminal(cimaa: Cimaa) -> None:
    with cimaa.store() as db:
        db.set_faults("web1", [{**FAULT, "message": "", "name": f"{n:04}"} for n in range(1200)])
    assert "200 more are not shown" in at_a_terminal("faults")
    assert run("faults").stdout.count("\n") == 1200


# What is imported

AGENT = {"asyncio", "psutil", "zc.cimaa.agent.check_process", "zc.cimaa.checks"}
DRIVERS = {"boto3", "botocore", "psycopg", "psycopg_pool"}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["faults"], AGENT | DRIVERS | {"rich", "zc.cimaa.memory", "zc.cimaa.cli.commands.squelch", "zc.cimaa.agent"}),
        (["agents"], AGENT | DRIVERS | {"rich", "zc.cimaa.agent"}),
        (["squelches"], AGENT | DRIVERS | {"rich", "zc.cimaa.agent"}),
        (["meta-check"], {"asyncio", "psutil", "rich", "zc.cimaa.agent.check_process"} | DRIVERS),
        (["report", "web1", "report.json"], AGENT | DRIVERS | {"rich"}),
        (["config"], {"asyncio", "psutil", "rich"} | DRIVERS),
        (["module", "file", "path=/etc/passwd"], {"psutil", "rich", "zc.cimaa.agent.runner"} | DRIVERS),
        (["--version"], AGENT | DRIVERS | {"rich", "lmdb", "re2", "zc.cimaa.config"}),
        (["agent", "--once"], DRIVERS | {"rich"}),
    ],
)
def test_a_command_imports_nothing_that_it_does_not_use(fleet: Cimaa, arguments: list[str], unwanted: set[str]) -> None:
    Path("report.json").write_text("[]")
    script = (
        "import sys; from zc.cimaa.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    result = run("-c", script, *arguments, program=sys.executable)
    assert result.returncode == 0
    loaded = set(result.stderr.split())
    assert "zc.cimaa.cli" in loaded
    assert loaded & unwanted == set()


# The reference, and the examples in it


def test_the_page_on_the_command_line_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), "write it again: python -m zc.cimaa.cli.reference > doctests/cli.rst"


def examples() -> list[str]:
    context = command.make_context("cimaa", ["--version"], resilient_parsing=True)
    found = []
    for name in COMMANDS:
        helped = command.get_command(context, name)
        assert helped is not None
        assert helped.epilog, f"cimaa {name} --help has no example"
        found += [line.strip() for line in helped.epilog.partition("Examples:\n")[2].splitlines()]
    return found


def _with_a_question(fleet: Cimaa, example: str) -> str:
    """The example, as it works with the question, the key and perhaps the action that are there then."""
    Keys(Path(".ssh")).make("id_ed25519")
    look = {"module": "file", "parameters": {"path": "/etc", "name": "passwd"}}
    Path("question.json").write_text(json.dumps(GOOD | {"operations": [look]}))
    if " send " in example or " results " in example:
        assert fleet("action", "sign", "question.json").exit_code == 0
    if " results " in example:
        assert fleet("action", "send", "question.json", "--yes").exit_code == 0
        [sent] = json.loads(fleet("action", "list", "--json").stdout)
        example = example.replace("3f2a9c01", sent["id"][:8])
    return f"{example.replace('10m', '3s')} --yes" if " run " in example or " send " in example else example


@pytest.mark.parametrize("example", examples())
def test_every_example_in_a_help_works(fleet: Cimaa, example: str) -> None:
    for directory in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        Path(directory).mkdir(parents=True)
    Path("faults.json").write_text(json.dumps([FAULT]))
    with fleet.store(instance=this_host()._replace(os="Linux 6.1", tags=("db",))) as db:
        db.set_faults("web1.example.com", [])
        for pattern in ("^//web1/", "^//web1/disk#/var$"):
            db.squelch(pattern, "x", "ann")
        db.lease("nightly-backup", "web1", 60)
    example = example.replace("/usr/local/bin/report --all", "true")
    example = example.replace("/etc/cimaa/cimaa.cfg", "cimaa.cfg")
    if example.startswith("cimaa cfengine"):
        Path("state").mkdir()
        samples.write(Path("state/cf_lastseen.lmdb"), samples.hosts(3, 1))
        samples.write(Path("state/cf_lock.lmdb"), samples.hashed_locks(3, 1))
        example = f"{example.replace('/var/cfengine/state', 'state')} --state state"
    if example.startswith("cimaa action"):
        example = _with_a_question(fleet, example)
    result = run("-c", f"set -o pipefail; {example}", program="bash")
    # The status of a plugin depends on the host; wrong usage would be 3.
    good = (0, 1, 2) if example.startswith("cimaa check") else (0,)
    if example.startswith("cimaa action check"):  # this host has no permissions
        good = (1,)
    assert result.returncode in good, result.stdout + result.stderr
    assert "error" not in result.stderr
