"""``cimaa config``, ``backends``, ``completion``, and what the configuration does to every command."""

import json
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from zc.cimaa.cli import cimaa as command

from .conftest import Cimaa

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
        "[agent]\tname\tweb1\tfile cimaa.cfg",
        "[agent]\tdirectory\t\tdefault",
        "[agent]\ttimeout\t60s\tdefault",
        "[agent]\tparallel\t10\tdefault",
    ]
    shown = json.loads(cimaa("config", "--json").stdout)
    assert shown["file"] == "cimaa.cfg"
    assert shown["settings"][3] == {"section": "agent", "option": "name", "value": "web1", "from": "file cimaa.cfg"}
    assert shown["settings"][4]["value"] is None


def test_without_a_file_config_shows_the_defaults(cimaa: Cimaa) -> None:
    Path("cimaa.cfg").unlink()
    result = cimaa("config", "--json")
    assert result.stderr == "There is no configuration file.\n"
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
        ("[database]\nmap_size = big", "map_size (file cimaa.cfg): 'big' is no size"),
        ("[databse]\npath = x", "has an unknown section [databse]; did you mean database?"),
        ("[zzz]", "has an unknown section [zzz]; there is: database, agent"),
        ("path = x", "cannot read cimaa.cfg: line 1 stands before any [section]"),
        ("[database]\npath", "cannot read cimaa.cfg: line 2 is neither"),
        ("[database]\npath = /proc/none", "/proc/none"),
    ],
)
@pytest.mark.parametrize("arguments", [["faults"], ["report", "web1", "empty.json"], ["agent", "--once"]])
def test_a_wrong_configuration_is_told_in_one_line(cimaa: Cimaa, text: str, wrong: str, arguments: list[str]) -> None:
    Path("cimaa.cfg").write_text(text)
    Path("empty.json").write_text("[]")
    result = cimaa(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("cimaa: error: ")
    assert wrong in result.stderr


def test_a_file_that_is_named_and_not_there_is_an_error(cimaa: Cimaa) -> None:
    assert cimaa("--config", "none.cfg", "faults").stderr == "cimaa: error: there is no configuration file none.cfg\n"


def test_config_refuses_an_unknown_key_of_the_agent(cimaa: Cimaa) -> None:
    Path("cimaa.cfg").write_text("[agent]\nnmae = x\n")
    assert "[agent] (file cimaa.cfg) has no option 'nmae'; did you mean name?" in cimaa("config").stderr


# backends


def test_backends_are_listed_with_what_they_are(cimaa: Cimaa) -> None:
    listed = dict(line.split("\t") for line in cimaa("backends").stdout.splitlines())
    assert listed["zc.cimaa.lmdb"].startswith("A store in a directory")
    assert listed["zc.cimaa.memory"].startswith("A store in this process's memory")
    assert {each["name"] for each in json.loads(cimaa("backends", "--json").stdout)} == set(listed)


def test_a_backend_tells_its_options(cimaa: Cimaa) -> None:
    options = [line.split("\t") for line in cimaa("backends", "zc.cimaa.lmdb").stdout.splitlines()]
    assert [option[:2] for option in options] == [["path", "path"], ["map_size", "size"]]
    (name,) = json.loads(cimaa("backends", "zc.cimaa.memory", "--json").stdout)
    assert (name["name"], name["default"], name["secret"]) == ("name", None, False)


def test_a_backend_that_is_not_there_is_an_error(cimaa: Cimaa) -> None:
    result = cimaa("backends", "zc.cimaa.lmbd")
    assert result.exit_code == 1
    assert "did you mean zc.cimaa.lmdb?" in result.stderr


# completion


def completed(arguments: list[str], incomplete: str) -> list[str]:
    complete = ShellComplete(command, {}, "cimaa", "_CIMAA_COMPLETE")
    return [item.value for item in complete.get_completions(arguments, incomplete)]


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_s_completion_script_names_the_command(cimaa: Cimaa, shell: str) -> None:
    result = cimaa("completion", shell)
    assert result.exit_code == 0
    assert f"_CIMAA_COMPLETE={shell}_complete" in result.stdout


def test_bash_understands_its_script(cimaa: Cimaa) -> None:
    script = cimaa("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)
