"""``cimaa config``, ``backends``, ``completion``, and what the configuration does to every command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Cimaa, completed

# config


def test_config_shows_each_setting_and_where_it_came_from(cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMAA_DATABASE_MAP_SIZE", "1GiB")
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\n")
    result = cimaa("config")
    assert result.stderr == "Configuration file: cimaa.cfg\n"
    assert result.stdout.splitlines() == [
        "[database]\tclass\tzc.cimaa.lmdb\tdefault",
        f"[database]\tpath\t{cimaa.directory}/store\tfile cimaa.cfg",
        "[database]\tmap_size\t1GiB\tenvironment variable CIMAA_DATABASE_MAP_SIZE",
        "[database]\thistory\t90d\tdefault",
        "[database]\tactions\t30d\tdefault",
        "[agent]\tname\tweb1\tfile cimaa.cfg",
        "[agent]\tdirectory\t\tdefault",
        "[agent]\ttimeout\t60s\tdefault",
        "[agent]\tparallel\t10\tdefault",
        "[agent]\tbase_interval\t60s\tdefault",
        "[agent]\ttags\t\tdefault",
    ]
    shown = json.loads(cimaa("config", "--json").stdout)
    assert shown["file"] == "cimaa.cfg"
    assert shown["settings"][5] == {"section": "agent", "option": "name", "value": "web1", "from": "file cimaa.cfg"}
    assert shown["settings"][6]["value"] is None


def test_config_shows_whose_actions_the_agent_runs(cimaa: Cimaa) -> None:
    """As they are in the file; no content of a key."""
    Path("key").write_text("PRIVATE")
    with Path("cimaa.cfg").open("a") as file:
        file.write(
            "[actions]\ninvestigators = signers\nkey = key\n"
            "[permission:file]\nminimum = 1\nweights = jane 2, joe 1\nwithin = /etc /srv\n"
            "[permission:command:restart]\nminimum = 2\nweights = jane 1\n"
            "[command:restart]\ncommand = restart --password=hidden\n"
        )
    result = cimaa("config")
    shown = [line for line in result.stdout.splitlines() if not line.startswith(("[database]", "[agent]"))]
    assert shown == [
        "[actions]\tinvestigators\tsigners\tfile cimaa.cfg",
        "[actions]\trevoked\t\tdefault",
        "[actions]\tjournal\t\tdefault",
        "[actions]\tlongest\t1d\tdefault",
        "[actions]\tkey\tkey\tfile cimaa.cfg",
        "[permission:file]\tminimum\t1\tfile cimaa.cfg",
        "[permission:file]\tweights\tjane 2, joe 1\tfile cimaa.cfg",
        "[permission:file]\twithin\t/etc /srv\tfile cimaa.cfg",
        "[permission:command:restart]\tminimum\t2\tfile cimaa.cfg",
        "[permission:command:restart]\tweights\tjane 1\tfile cimaa.cfg",
        "[command:restart]\tcommand\trestart --password=********\tfile cimaa.cfg",
        "[command:restart]\targuments\t\tdefault",
        "[command:restart]\ttimeout\t60s\tdefault",
    ]
    assert "Warning: [actions] journal is missing" in result.stderr
    assert "PRIVATE" not in cimaa("config", "--json").output


def test_a_wrong_permission_is_named(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[permission:process]\nminimum = 1\nwithin = /etc\nweights = jane 1\n")
    result = cimaa("config")
    assert (result.exit_code, "[permission:process] (file cimaa.cfg) has no option 'within'" in result.stderr) == (
        1,
        True,
    )


def test_without_a_file_config_shows_the_defaults(cimaa: Cimaa) -> None:
    Path("cimaa.cfg").unlink()
    result = cimaa("config", "--json")
    assert result.stderr == "No configuration file.\n"
    assert json.loads(result.stdout)["file"] is None
    assert {setting["from"] for setting in json.loads(result.stdout)["settings"]} == {"default"}


def test_the_file_that_an_option_names_counts(cimaa: Cimaa, tmp_path: Path) -> None:
    (tmp_path / "other.cfg").write_text("[database]\nclass = zc.cimaa.memory\nname = x\n")
    assert "[database]\tname\tx\tfile other.cfg\n" in cimaa("--config", "other.cfg", "config").stdout


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[database]\nclas = zc.cimaa.lmdb", "has no option 'clas'; did you mean class?"),
        ("[database]\nclass = zc.cimaa.lmbd", "there is no backend 'zc.cimaa.lmbd'; did you mean zc.cimaa.lmdb?"),
        ("[database]\npaht = x", "has no option 'paht'; did you mean path?"),
        ("[database]\nmap_size = big", "map_size (file cimaa.cfg): invalid size 'big'"),
        ("[databse]\npath = x", "has an unknown section [databse]; did you mean database?"),
        ("[zzz]", "has an unknown section [zzz]; available: database, agent"),
        ("path = x", "cannot read cimaa.cfg: line 1 is before any [section]"),
        ("[database]\npath", "cannot read cimaa.cfg: line 2 is neither"),
        ("[database]\npath = /proc/none", "/proc/none"),
    ],
)
@pytest.mark.parametrize("arguments", [["faults"], ["report", "web1", "empty.json"], ["agent", "--once"]])
def test_a_wrong_configuration_is_one_line(cimaa: Cimaa, text: str, wrong: str, arguments: list[str]) -> None:
    Path("cimaa.cfg").write_text(text)
    Path("empty.json").write_text("[]")
    result = cimaa(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("cimaa: error: ")
    assert wrong in result.stderr


def test_a_file_that_is_named_and_not_there_is_an_error(cimaa: Cimaa) -> None:
    assert (
        cimaa("--config", "none.cfg", "faults").stderr
        == "cimaa: error: there is no readable configuration file none.cfg\n"
    )


def test_config_refuses_an_unknown_key_of_the_agent(cimaa: Cimaa) -> None:
    Path("cimaa.cfg").write_text("[agent]\nnmae = x\n")
    assert "[agent] (file cimaa.cfg) has no option 'nmae'; did you mean name?" in cimaa("config").stderr


# backends


def test_backends_are_listed_with_what_they_are(cimaa: Cimaa) -> None:
    listed = dict(line.split("\t") for line in cimaa("backends").stdout.splitlines())
    assert listed["zc.cimaa.lmdb"].startswith("A store in a directory")
    assert listed["zc.cimaa.memory"].startswith("A store in the memory of this process")
    assert {each["name"] for each in json.loads(cimaa("backends", "--json").stdout)} == set(listed)


def test_a_backend_lists_its_options(cimaa: Cimaa) -> None:
    options = [line.split("\t") for line in cimaa("backends", "zc.cimaa.lmdb").stdout.splitlines()]
    assert [option[:2] for option in options] == [
        ["path", "path"],
        ["map_size", "size"],
        ["history", "duration"],
        ["actions", "duration"],
    ]
    name, *_ = json.loads(cimaa("backends", "zc.cimaa.memory", "--json").stdout)
    assert (name["name"], name["default"], name["secret"]) == ("name", None, False)


def test_a_backend_that_is_not_there_is_an_error(cimaa: Cimaa) -> None:
    result = cimaa("backends", "zc.cimaa.lmbd")
    assert result.exit_code == 1
    assert "did you mean zc.cimaa.lmdb?" in result.stderr


# Other people's backends

VAULT = """
from zc.cimaa.memory import DB as Memory
from zc.cimaa.options import Option

class DB(Memory):
    "A store behind a password."
    options = (Option("password", "what opens it", secret=True), Option("name", "which"))
"""
ENTRY_POINTS = """[zc.cimaa.database]
vault = vault:DB
missing = missing:DB
lost = no_such_module:DB
nothing = vault:VERSION
"""


@pytest.fixture
def others(cimaa: Cimaa, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command where a distribution is installed that has backends, most of them no good."""
    (tmp_path / "site/vault-1.dist-info").mkdir(parents=True)
    (tmp_path / "site/vault-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: vault\nVersion: 1\n")
    (tmp_path / "site/vault-1.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "site/vault.py").write_text(VAULT + "VERSION = 1\n")
    (tmp_path / "site/missing.py").write_text("import a_driver_that_is_not_installed\n")
    Path("cimaa.cfg").write_text("[database]\nclass = vault\nname = main\npassword = hunter2\n")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), **environment}
        program = Path(sys.executable).with_name("cimaa")
        return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("source", ["section", "environment", "file"])
def test_a_secret_is_never_shown(others: Callable[..., subprocess.CompletedProcess[str]], source: str) -> None:
    environment = {}
    if source == "environment":
        environment = {"CIMAA_DATABASE_PASSWORD": "hunter2"}
    elif source == "file":
        Path("secret").write_text("hunter2\n")
        Path("cimaa.cfg").write_text("[database]\nclass = vault\nname = main\npassword_file = secret\n")
    shown = others("config", **environment)
    assert "[database]\tpassword\t********\t" in shown.stdout
    for arguments in (["config"], ["config", "--json"], ["agent", "--once"], ["faults"], ["backends", "vault"]):
        result = others(*arguments, **environment)
        assert result.returncode == 0, result.stderr
        assert "hunter2" not in result.stdout + result.stderr
    assert "stored in vault (name main)." in others("agent", "--once", **environment).stderr


def test_backends_that_cannot_be_used_say_why(others: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    listed = dict(line.split("\t") for line in others("backends").stdout.splitlines())
    assert listed["vault"] == "A store behind a password."
    assert "not usable" in listed["missing"]
    assert "pip install" in listed["missing"]
    assert "not usable" in listed["lost"]
    assert "is not a backend" in listed["nothing"]


def test_names_that_are_not_text_are_shown_with_escapes(cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMAA_DATABASE_PATH", "a\udcff")
    assert "\\udcff" in cimaa("config").stdout
    assert json.loads(cimaa("config", "--json").stdout)["settings"][1]["value"] == "a\\udcff"


# completion


@pytest.mark.parametrize(
    ("arguments", "incomplete", "completions"),
    [
        ([], "squ", ["squelch", "squelches"]),
        (["faults"], "--sq", ["--squelched"]),
        (["faults", "--agent"], "web", ["web1", "web2"]),
        (["faults", "--severity"], "c", ["critical"]),
        (["remove-agent"], "", ["db1", "web1", "web2"]),
        (["report"], "d", ["db1"]),
        (["unsquelch"], "^", ["^//web1/"]),
        (["backends"], "zc.cimaa.m", ["zc.cimaa.memory"]),
        (["completion"], "z", ["zsh"]),
        (["--config", "other.cfg", "remove-agent"], "", ["other"]),
    ],
)
def test_words_are_completed(cimaa: Cimaa, arguments: list[str], incomplete: str, completions: list[str]) -> None:
    with cimaa.store() as db:
        for agent in ("web1", "web2", "db1", "hostile\x1b[2J"):
            db.set_faults(agent, [])
        db.squelch("^//web1/", "x", "ann")
    Path("other.cfg").write_text("[database]\npath = other\n")
    Path("report.json").write_text("[]")
    cimaa("--config", "other.cfg", "report", "other", "report.json")
    assert completed(arguments, incomplete) == completions


@pytest.mark.parametrize("text", ["[database]\npath = /proc/none", "rubbish", "[database]\nclass = none"])
def test_a_failing_store_completes_nothing_and_says_nothing(
    cimaa: Cimaa, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("cimaa.cfg").write_text(text)
    assert completed(["remove-agent"], "") == []
    assert completed(["unsquelch"], "") == []
    assert capfd.readouterr() == ("", "")


def test_names_that_could_not_be_read_for_completion_show_why_with_cimaa_debug(
    cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("cimaa.cfg").write_text("[database]\nclass = none\n")
    monkeypatch.setenv("CIMAA_DEBUG", "1")
    assert completed(["remove-agent"], "") == []
    assert "there is no backend 'none'" in capfd.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_s_completion_script_names_the_command(cimaa: Cimaa, shell: str) -> None:
    result = cimaa("completion", shell)
    assert result.exit_code == 0
    assert f"_CIMAA_COMPLETE={shell}_complete" in result.stdout


def test_bash_understands_its_script(cimaa: Cimaa) -> None:
    script = cimaa("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_bash_shows_why_a_completion_fails_only_with_cimaa_debug(cimaa: Cimaa, debug: str) -> None:
    Path("script").write_text(cimaa("completion", "bash").stdout)
    Path("cimaa.cfg").write_text("[database]\nclass = none\n")
    line = "cimaa remove-agent "
    typed = f"source ./script; COMP_LINE='{line}'; COMP_POINT={len(line)}; _cimaa_completion cimaa '' remove-agent"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CIMAA_DEBUG": debug}
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == ""
    assert ("there is no backend 'none'" in done.stderr) is (debug == "1"), done.stderr
