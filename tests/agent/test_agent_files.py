"""The [agent] section, and the files that describe checks."""

import os
import platform
import socket
from pathlib import Path

import pytest

from zc.cimaa.agent import check_files
from zc.cimaa.agent.config import Settings, host_name
from zc.cimaa.agent.rules.check import Broken, Check
from zc.cimaa.config import Config
from zc.cimaa.errors import ConfigurationError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("CIMAA_CONFIG", raising=False)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


# The [agent] section


def test_without_a_configuration_the_host_runs_its_built_in_checks() -> None:
    assert Settings.load(Config.read()) == (host_name(), None, 60, 10, 60, ())


def test_the_directory_is_found_from_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path / "etc" / "x.cfg", "[agent]\nname = web1\ndirectory = checks\ntimeout = 1m30s\nparallel = 3\n"
    )
    assert Settings.load(Config.read(path)) == ("web1", tmp_path / "etc" / "checks", 90, 3, 60, ())


def test_the_home_directory_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/operator")
    path = written(tmp_path / "x.cfg", "[agent]\ndirectory = ~/checks\n")
    assert Settings.load(Config.read(path)).directory == Path("/home/operator/checks")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[agent]\nnam = web1", "has no option 'nam'; did you mean name?"),
        ("[agnet]\nname = web1", "unknown section .agnet.; did you mean agent?"),
        ("[DEFAULT]\nname = web1", "unknown section .DEFAULT."),
        ("[agent]\nname = _", "no agent may be named '_'"),
        ("[agent]\nname =", "the agent's name is empty"),
        ("[agent]\nparallel = 0", "'0' is less than 1"),
        ("[agent]\nparallel = many", "'many' is not a whole number"),
        ("[agent]\ntimeout = 60", "invalid duration '60'"),
        ("[agent]\ntimeout = 0s", "'0s' is too short"),
        ("[agent]\ndirectory = ~nobody-of-that-name/x", "the home directory of ~ is unknown"),
        ("name = web1", "line 1 is before any"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        Settings.load(Config.read(written(tmp_path / "x.cfg", text)))


@pytest.mark.parametrize(
    ("node", "full", "name"),
    [
        ("web1.example.com", "other", "web1.example.com"),
        ("web1", "web1.example.com", "web1.example.com"),
        ("web1", "localhost", "web1"),
        ("web1", "localhost.localdomain", "web1"),
        ("web1", "web1", "web1"),
        ("", "localhost", "localhost"),
    ],
)
def test_the_host_s_full_name_is_no_localhost(monkeypatch: pytest.MonkeyPatch, node: str, full: str, name: str) -> None:
    monkeypatch.setattr(platform, "node", lambda: node)
    monkeypatch.setattr(socket, "getfqdn", lambda: full)
    assert host_name() == name


# Check files


def test_a_section_is_a_check(tmp_path: Path) -> None:
    text = "[disk /var]\ncommand = check_disk -w 10%% '/my disk'\n[load]\ncommand = bin/load.py\ntimeout = 5s\n"
    written(tmp_path / "checks" / "host.cfg", text)
    assert check_files.load(Path("checks"), 60) == [
        Check("host", "disk /var", ("check_disk", "-w", "10%%", "/my disk"), 60, tmp_path / "checks"),
        Check("host", "load", (f"{tmp_path}/checks/bin/load.py",), 5, tmp_path / "checks"),
    ]


@pytest.mark.parametrize(
    ("command", "program"),
    [("check", "check"), ("/bin/check", "/bin/check"), ("./check", "/checks/check"), ("~/check", "/home/me/check")],
)
def test_a_program_is_found_on_the_path_or_from_the_file(
    monkeypatch: pytest.MonkeyPatch, command: str, program: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    check = check_files.check("f", "s", {"command": f"{command} ~/x ./y"}, Path("/checks"), 60)
    assert isinstance(check, Check)
    assert check.command == (program, "~/x", "./y")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "the command is missing"),
        ({"command": ""}, "the command is missing"),
        ({"command": "sh -c 'x"}, "No closing quotation"),
        ({"command": "~nobody-of-that-name/x"}, "home directory"),
        ({"comand": "x"}, "has no option 'comand'; did you mean command?"),
        ({"command": "x", "timeout": "5"}, "timeout: invalid duration '5'"),
        ({"command": "x", "timeout": "0s"}, "is too short"),
    ],
)
def test_a_check_that_cannot_be_understood_is_broken(given: dict[str, str], wrong: str) -> None:
    check = check_files.check("f", "s", given, Path("/"), 60)
    assert isinstance(check, Broken)
    assert wrong in check.reason
    assert (check.file, check.section) == ("f", "s")


def test_a_check_s_name_may_not_hold_what_separates_its_faults() -> None:
    assert isinstance(check_files.check("f", "a#b", {"command": "x"}, Path("/"), 60), Broken)


def test_a_broken_file_leaves_the_others_alone(tmp_path: Path) -> None:
    written(tmp_path / "bad.cfg", "command = x\n")
    written(tmp_path / "good.cfg", "[a]\ncommand = x\n")
    (tmp_path / "latin.cfg").write_bytes(b"[a]\ncommand = \xe4\n")
    (tmp_path / "missing.cfg").symlink_to("nowhere")
    (tmp_path / "directory.cfg").mkdir()
    os.mkfifo(tmp_path / "pipe.cfg")
    written(tmp_path / "twice.cfg", "[a]\ncommand = x\n[a]\ncommand = y\n")
    written(tmp_path / ".hidden.cfg", "rubbish")
    written(tmp_path / "other.txt", "rubbish")
    found = {item.file: item for item in check_files.load(tmp_path, 60)}
    assert isinstance(found.pop("good"), Check)
    assert sorted(found) == ["bad", "directory", "latin", "missing", "pipe", "twice"]
    assert all(isinstance(item, Broken) and not item.section for item in found.values())


def test_a_file_s_text_is_not_in_the_fault_that_it_is_broken(tmp_path: Path) -> None:
    written(tmp_path / "bad.cfg", "[a]\ncommand = x\npassword-without-a-sign hunter2\n")
    (broken,) = check_files.load(tmp_path, 60)
    assert isinstance(broken, Broken)
    assert "hunter2" not in broken.reason
    assert "line 3" in broken.reason


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_no_directory_or_no_check_in_it_is_an_error_that_says_what_to_do(tmp_path: Path, name: str) -> None:
    written(tmp_path / "file", "")
    written(tmp_path / "empty" / "x.cfg", "")
    with pytest.raises(ConfigurationError, match=f"directory: (cannot read|there is no check in) .*{name}"):
        check_files.load(tmp_path / name, 60)


def test_an_empty_directory_setting_is_no_wish_for_the_built_in_checks(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"directory .*'' is not a path"):
        Settings.load(Config.read(written(tmp_path / "x.cfg", "[agent]\ndirectory =\n")))
