"""``cimaa config --check``: everything that the agent would read, and what is wrong with it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Cimaa
from tests.support.ssh_keys import Keys
from zc.cimaa.masking import MASK


@pytest.fixture
def host(cimaa: Cimaa) -> Cimaa:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[agent]\nname = web1\ndirectory = checks\n")
    Path("checks").mkdir()
    Path("checks/shop.cfg").write_text("[a]\ncommand = true\n[b]\ncommand = true\n")
    return cimaa


def test_a_configuration_without_problems_says_what_was_looked_at(host: Cimaa) -> None:
    result = host("config", "--check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No problems in cimaa.cfg: 2 checks, 0 alerters, 0 metrics sinks.\n"
    assert json.loads(host("config", "--check", "--json").stdout) == {"problems": [], "warnings": []}
    assert not Path("store").exists()


def test_a_missing_file_is_reported(cimaa: Cimaa) -> None:
    Path("cimaa.cfg").unlink()
    reported = "No problems in the defaults (no configuration file): the built-in checks, 0 alerters"
    assert reported in cimaa("config", "--check").stderr


def test_every_problem_is_a_line(host: Cimaa) -> None:
    Path("cimaa.cfg").write_text(
        "[database]\npaht = x\nmap_size = big\n"
        "[agent]\nname = web1\ndirectory = checks\nparallel = 0\ntimeout = never\n"
        "[alerter:a]\nclass = comand\n[alerter:b]\nclass = command\n"
        "[metrics:a]\nclass = prometheus\n[metrics:b]\nclass = statsd\nport = 99999\n"
    )
    result = host("config", "--check")
    assert result.exit_code == 1
    reported = result.stdout.splitlines()
    wrong = {
        "[database] (file cimaa.cfg) has no option 'paht'",
        "[database] map_size (file cimaa.cfg): invalid size 'big'",
        "[alerter:a] class: there is no alerter 'comand'; did you mean command?",
        "[alerter:b] command: the command is missing",
        "[metrics:a] has neither path nor port",
        "[metrics:b] port (file cimaa.cfg): '99999' is not a port",
        "[agent] timeout (file cimaa.cfg): invalid duration 'never'",
        "[agent] parallel (file cimaa.cfg): '0' is less than 1",
    }
    assert len(reported) == len(wrong), reported
    assert {start for start in wrong if any(line.startswith(start) for line in reported)} == wrong
    assert json.loads(host("config", "--check", "--json").stdout)["problems"] == reported


def test_every_unknown_section_is_a_line(host: Cimaa) -> None:
    Path("cimaa.cfg").write_text("[databse]\n[agnet]\n")
    result = host("config", "--check")
    assert (result.exit_code, result.stdout.count("has an unknown section")) == (1, 2)


@pytest.mark.parametrize("text", ["rubbish", "[database\n", None])
def test_a_file_that_cannot_be_read_is_a_problem(cimaa: Cimaa, text: str | None) -> None:
    if text is not None:
        Path("broken.cfg").write_text(text)
    result = cimaa("--config", "broken.cfg", "config", "--check")
    assert (result.exit_code, result.stdout.count("\n"), "broken.cfg" in result.stdout) == (1, 1, True)


WRONG_CHECKS = {
    "a.cfg": ("[x]\ncomand = x\n", "checks/a.cfg: [x] has no option 'comand'; did you mean command?"),
    "b.cfg": ("[x\n", "the closing ] is missing"),
    "ba.cfg": ("[]\n", "line 1 is a [section] without a name"),
    "c.cfg": ("[x]\ncommand = x\nthresholds = many\n", "checks/c.cfg: [x] thresholds: "),
}


def test_every_file_of_the_checks_is_read(host: Cimaa) -> None:
    for name, (text, _) in WRONG_CHECKS.items():
        Path("checks", name).write_text(text)
    Path("checks/d.cfg").symlink_to("nowhere")
    result = host("config", "--check")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for line, wrong in zip(
        lines, [*(reported for _, reported in WRONG_CHECKS.values()), "checks/d.cfg: "], strict=True
    ):
        assert wrong in line


@pytest.mark.parametrize("prepare", ["rm -r checks", "rm checks/*"])
def test_without_checks_there_is_a_problem(host: Cimaa, prepare: str) -> None:
    subprocess.run(["sh", "-c", prepare], check=True)
    result = host("config", "--check")
    assert result.exit_code == 1
    assert result.stdout.startswith("[agent] directory: ")


def test_config_warns_of_a_wrong_checks_file(host: Cimaa) -> None:
    Path("checks/a.cfg").write_text("[x]\ncomand = x\n")
    result = host("config")
    assert result.exit_code == 0
    assert "Warning: checks/a.cfg: [x] has no option 'comand'; did you mean command?\n" in result.stderr


def test_programs_that_are_missing_and_secrets_that_all_may_read_are_warnings(host: Cimaa) -> None:
    Path("checks/a.cfg").write_text("[x]\ncommand = no-such-program\n[y]\ncommand = ./none\n")
    with Path("cimaa.cfg").open("a") as file:
        file.write("[alerter:a]\nclass = command\ncommand = no-alerter\n")
        file.write("[alerter:b]\nclass = apprise\nurls = json://u:hush@localhost/\n")
        file.write("[alerter:c]\nclass = apprise\nurls_file = urls\n")
    Path("urls").write_text("json://u:hush@localhost/")
    Path("urls").chmod(0o600)
    Path("cimaa.cfg").chmod(0o644)
    result = host("config", "--check")
    assert (result.exit_code, result.stdout) == (0, "")
    warnings = result.stderr.splitlines()
    assert warnings[0].startswith("Warning: [alerter:b] urls is a secret, and every user may read it in cimaa.cfg: ")
    assert warnings[1:4] == [
        "Warning: [alerter:a] command: no-alerter not found on the PATH, or not executable by this user",
        "Warning: a.cfg: [x] command: no-such-program not found on the PATH, or not executable by this user",
        f"Warning: a.cfg: [y] command: {host.directory}/checks/none not found, or not executable by this user",
    ]
    assert "hush" not in result.output


def test_what_a_store_takes_from_elsewhere_is_shown_with_its_source(
    cimaa: Cimaa, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    Path("aws").write_text("[default]\nregion = eu-west-1\n[profile shop]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", "aws")
    text = "[database]\nclass = zc.cimaa.dynamodb\n"
    Path("cimaa.cfg").write_text(text)
    assert "[database]\tregion\teu-west-1\tAWS profile default\n" in cimaa("config").stdout
    Path("cimaa.cfg").write_text(f"{text}profile = shop\n")
    assert "[database]\tregion\teu-north-1\tAWS profile shop\n" in cimaa("config").stdout
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://joe:hush@localhost/")
    shown = cimaa("config").stdout
    assert f"[database]\tendpoint_url\thttp://{MASK}@localhost/\tenvironment variable AWS_ENDPOINT_URL\n" in shown
    Path("cimaa.cfg").write_text(text)
    assert "[database]\tregion\tus-east-2\tenvironment variable AWS_DEFAULT_REGION\n" in cimaa("config").stdout


def test_a_key_that_cannot_sign_answers_is_a_warning(host: Cimaa, keys: Keys) -> None:
    keys.make("jane")
    keys.signers(f"jane {keys.public('jane')}")
    text = Path("cimaa.cfg").read_text()
    section = f"[actions]\ninvestigators = {keys.directory}/investigators\njournal = journal\n"
    Path("cimaa.cfg").write_text(f"{text}{section}key = nokey\n")
    result = host("config", "--check")
    warning = (
        "Warning: [actions] key: answers would not be signed: cannot read the key nokey: No such file or directory\n"
    )
    assert (result.exit_code, warning in result.stderr) == (0, True)
    Path("cimaa.cfg").write_text(f"{text}{section}key = {keys.directory}/jane\n")
    assert "Warning" not in host("config", "--check").stderr
