"""The agent as a service: its unit as systemd sees it, and ``cimaa install-service``, which writes it."""

import configparser
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cimaa
from tests.support.needs import missing
from zc.cimaa.systemd import install as systemd

PROGRAM = systemd.program()
UNIT = "etc/systemd/system/cimaa-agent.service"
CONFIGURATION = "etc/cimaa/cimaa.cfg"
CHECKS = "etc/cimaa/checks/host.cfg"


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o077)
    yield
    os.umask(old)


@pytest.fixture
def analyze() -> str:
    """The program that checks units, which in the continuous integration must be there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("there is no systemd-analyze: install Debian's package systemd")
    return program


def service(text: str) -> dict[str, str]:
    """The ``[Service]`` section of a unit."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["Service"])


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


# The unit


def test_systemd_understands_the_unit(analyze: str, cimaa: Cimaa, tmp_path: Path) -> None:
    (tmp_path / "cimaa-agent.service").write_text(cimaa("install-service", "--print").stdout)
    checked = subprocess.run(
        [analyze, "verify", tmp_path / "cimaa-agent.service"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_finds_the_service_well_protected(analyze: str, cimaa: Cimaa, tmp_path: Path) -> None:
    (tmp_path / "cimaa-agent.service").write_text(cimaa("install-service", "--print").stdout)
    command = [analyze, "security", "--offline=true", "--threshold=25", str(tmp_path / "cimaa-agent.service")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "unrecognized option" in checked.stderr:
        pytest.skip("this systemd judges no files")
    assert checked.returncode == 0, checked.stdout


def test_the_unit_runs_this_installation_s_program(cimaa: Cimaa) -> None:
    unit = service(cimaa("install-service", "--print").stdout)
    program, *arguments = shlex.split(unit["ExecStart"])
    assert Path(program) == PROGRAM
    assert arguments == ["--config", "/etc/cimaa/cimaa.cfg", "agent", "--keep"]
    assert unit["Environment"].startswith(f"PATH={PROGRAM.parent}:")


def test_a_program_s_odd_path_is_quoted(analyze: str, tmp_path: Path) -> None:
    program = tmp_path / "a b 100%" / "cimaa"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    path = tmp_path / "cimaa-agent.service"
    path.write_text(systemd.unit(program))
    checked = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")


# Writing


def test_it_writes_a_service_and_a_configuration(cimaa: Cimaa, tmp_path: Path, umask: None) -> None:
    root = tmp_path / "root"
    result = cimaa("install-service", "--write", "--root", str(root))
    assert result.exit_code == 0, result.stderr
    assert sorted(tree(root)) == sorted([CHECKS, CONFIGURATION, UNIT, "etc/sysusers.d/cimaa.conf"])
    assert tree(root)[UNIT] == cimaa("install-service", "--print", "--program", "/usr/bin/cimaa").stdout
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")] if path.is_dir()} == {0o755}
    assert f"{root / UNIT}: written\n" in result.stderr
    assert "systemctl daemon-reload && systemctl enable --now cimaa-agent" in result.stderr
    assert result.stdout == ""


def test_a_unit_for_another_host_names_no_path_of_this_one(cimaa: Cimaa, tmp_path: Path) -> None:
    result = cimaa("install-service", "--write", "--root", str(tmp_path / "root"))
    assert str(PROGRAM.parent) not in "".join(tree(tmp_path / "root").values())
    assert "The service runs /usr/bin/cimaa.\n" in result.stderr
    # where the installation is part of what is built, or a path is given
    root = PROGRAM.parents[1]
    assert systemd.installed_program(root) == Path("/bin/cimaa")
    assert systemd.installed_program(Path(os.path.relpath(root))) == Path("/bin/cimaa")
    assert systemd.installed_program(Path("/")) == PROGRAM
    Path("link").symlink_to(root)
    assert systemd.installed_program(Path("link")) == Path("/bin/cimaa")
    cimaa("install-service", "--write", "--root", "other", "--program", "/opt/x/cimaa")
    unit = service(Path("other", UNIT).read_text())
    assert (unit["ExecStart"].split()[0], unit["Environment"].split(":")[0]) == ("/opt/x/cimaa", "PATH=/opt/x")


def test_it_may_be_run_again(cimaa: Cimaa, tmp_path: Path) -> None:
    cimaa("install-service", "--write", "--root", "root")
    before = {path: path.stat().st_mtime_ns for path in Path("root").rglob("*")}
    again = cimaa("install-service", "--write", "--root", "root")
    assert again.exit_code == 0
    assert f"root/{UNIT}: exists" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in Path("root").rglob("*")} == before


def test_a_configuration_that_is_there_stays(cimaa: Cimaa, tmp_path: Path) -> None:
    """It is not replaced, and a check that the operator removed is not added again."""
    path = tmp_path / CONFIGURATION
    path.parent.mkdir(parents=True)
    path.write_text("[agent]\nname = mine\n")
    assert cimaa("install-service", "--write", "--root", ".").exit_code == 0
    assert path.read_text() == "[agent]\nname = mine\n"
    assert not (tmp_path / CHECKS).exists()
    assert (tmp_path / UNIT).exists()


def test_a_unit_that_differs_is_kept_and_reported(cimaa: Cimaa, tmp_path: Path) -> None:
    path = tmp_path / UNIT
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\n")
    result = cimaa("install-service", "--write", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert path.read_text() == "[Service]\n"
    assert f"cimaa: error: {path} exists, and differs" in result.stderr
    assert "install-service --print" in result.stderr
    assert not (tmp_path / CONFIGURATION).exists()


def test_a_user_without_permission_to_write_gets_a_hint(cimaa: Cimaa, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0o555)
    # To root no directory is closed, but for this.
    closed = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    command = [*closed, str(PROGRAM), "install-service", "--write", "--root", "root"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stderr == (
        "cimaa: error: cannot write root/etc/sysusers.d/cimaa.conf: Permission denied.  Only root may: "
        f"sudo {PROGRAM} install-service --write.  To try it elsewhere: --root DIR.\n"
    )


def test_other_obstacles_are_reported(cimaa: Cimaa, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    result = cimaa("install-service", "--write", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"cimaa: error: cannot write {tmp_path}/etc/sysusers.d/cimaa.conf: Not a directory\n"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ([], "Give one of --print and --write."),
        (["--print", "--write"], "Give one of --print and --write."),
        (["--print", "--root", "x"], "--root is for --write."),
        (["--print", "--program", "cimaa"], "give an absolute path."),
        (["--wirte"], "No such option '--wirte'"),
    ],
)
def test_wrong_usage(cimaa: Cimaa, options: list[str], wrong: str) -> None:
    result = cimaa("install-service", *options)
    assert result.exit_code == 2
    assert wrong in result.stderr


def test_a_program_in_a_closed_directory_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "home" / "venv").mkdir(parents=True)
    program = tmp_path / "home" / "venv" / "cimaa"
    program.write_text("")
    program.chmod(0o755)
    # tmp_path is closed itself
    assert systemd.closed(program) in program.parents


# The example


def test_the_example_is_a_valid_configuration(cimaa: Cimaa, tmp_path: Path) -> None:
    cimaa("install-service", "--write", "--root", str(tmp_path))
    shown = cimaa("--config", str(tmp_path / CONFIGURATION), "config")
    assert shown.exit_code == 0, shown.stderr
    assert f"[agent]\tdirectory\t{tmp_path}/etc/cimaa/checks\t" in shown.stdout
    assert "[database]\tpath\t/var/lib/cimaa\t" in shown.stdout
    assert "[alerter:log]\tclass\tlog\t" in shown.stdout


def test_the_unit_s_command_runs_the_example(cimaa: Cimaa, tmp_path: Path) -> None:
    """As in the service: its arguments, its environment, its state directory."""
    cimaa("install-service", "--write", "--root", str(tmp_path), "--program", str(PROGRAM))
    unit = service((tmp_path / UNIT).read_text())
    command = [word.replace("/etc/cimaa", f"{tmp_path}/etc/cimaa") for word in shlex.split(unit["ExecStart"])]
    environment = dict([shlex.split(unit["Environment"])[0].split("=", 1)])
    environment |= {"STATE_DIRECTORY": str(tmp_path / "state"), "CIMAA_DATABASE_PATH": str(tmp_path / "state")}
    command = [word for word in command if word != "--keep"]
    done = subprocess.run(
        [*command, "--once"], env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert " ran 3 checks: " in done.stderr
    assert "monitor" not in done.stdout  # this host may have faults, but the checks could run


def test_the_commented_parts_of_the_example_are_valid_too(cimaa: Cimaa, tmp_path: Path) -> None:
    cimaa("install-service", "--write", "--root", str(tmp_path))
    path = tmp_path / CONFIGURATION
    lines = path.read_text().splitlines()
    uncommented = [line.removeprefix("# ") if line.startswith("# [") or " = " in line else line for line in lines]
    path.write_text("\n".join(uncommented))
    shown = cimaa("--config", str(path), "config")
    assert shown.exit_code == 0, shown.stderr
    assert "[agent]\tname\tweb1.example.com\t" in shown.stdout
