"""The settings of an agent that runs actions."""

from pathlib import Path

import pytest

from tests.support.command import Cimaa
from tests.support.ssh_keys import Keys
from zc.cimaa.actions.config import ActionSettings
from zc.cimaa.agent.config import Settings
from zc.cimaa.config import Config
from zc.cimaa.errors import ConfigurationError


def configured(text: str) -> Config:
    Path("cimaa.cfg").write_text(text)
    return Config.read("cimaa.cfg")


def test_without_a_section_no_action_is_run(cimaa: Cimaa) -> None:
    assert not ActionSettings.load(configured("")).check()


def test_paths_are_relative_to_the_file(cimaa: Cimaa, tmp_path: Path) -> None:
    Path("etc").mkdir()
    Path("etc/cimaa.cfg").write_text(
        "[actions]\ninvestigators = i\nrevoked = r\njournal = j\nkey = ~/k\nlongest = 2h\n"
    )
    settings = ActionSettings.load(Config.read("etc/cimaa.cfg"))
    assert settings == (Path("etc/i"), Path("etc/r"), Path("etc/j"), 7200, tmp_path / "k")
    assert settings.check()


def test_a_window_may_be_a_day_long_unless_it_is_said(cimaa: Cimaa) -> None:
    assert ActionSettings.load(configured("[actions]\n")).longest == 86400


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("investigator = i", ".*has no option 'investigator'; did you mean investigators"),
        ("revoked = r", "has revoked, but no investigators"),
        ("investigators = i", "journal is missing"),
        ("longest = 0s", "longest .*'0s' is too short"),
        ("longest = 31d", "longest .*'31d' is too long: at most 30d"),
        ("longest = day", "longest .*invalid duration 'day'"),
    ],
)
def test_a_wrong_setting_is_named(cimaa: Cimaa, section: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[actions\] {message}"):
        ActionSettings.load(configured(f"[actions]\n{section}\n")).check()


def test_an_agent_has_tags(cimaa: Cimaa) -> None:
    assert Settings.load(configured("[agent]\ntags = eu db\n")).tags == ("db", "eu")
    with pytest.raises(ConfigurationError, match=r"\[agent\] tags .*the tag 'db' is there twice"):
        Settings.load(configured("[agent]\ntags = db eu db\n"))


def test_config_check_reads_the_files_of_actions(cimaa: Cimaa, keys: Keys, modules_of_tests: None) -> None:
    keys.make("jane")
    investigators = keys.signers(f"jane {keys.public('jane')}")
    good = f"[actions]\ninvestigators = {investigators}\njournal = journal\n[permission:look]\nminimum = 1\nweights = "
    configured(f"{good}jane 1\n")
    assert cimaa("config", "--check").exit_code == 0
    configured(f"{good}joe 1\n")
    result = cimaa("config", "--check")
    assert (result.exit_code, "Warning: no investigator is named 'joe'" in result.stderr) == (0, True)
    configured(f"{good}jane 1\n".replace("minimum = 1", "minimum = 2"))
    result = cimaa("config", "--check")
    assert result.exit_code == 0
    assert "Warning: [permission:look] permits nothing to anybody: the weights add up to 1" in result.stderr
    configured(f"{good}jane 0\n")
    result = cimaa("config", "--check")
    assert (result.exit_code, "[permission:look] weights: the weight of jane" in result.stdout) == (1, True)
    configured(f"{good}jane 1\n")
    investigators.chmod(0o666)
    result = cimaa("config", "--check")
    assert (result.exit_code, f"other users may write to {investigators}" in result.stdout) == (1, True)
    assert not Path("journal").exists()
