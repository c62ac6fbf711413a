"""The manual pages: what is in them, and that man shows them without a complaint."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tests.support.needs import missing
from zc.cimaa.cli import manual

SECTIONS = ["SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man") / "man1"
    manual.write(directory)
    return directory


def run(*command: str | Path) -> str:
    """What the program prints, on both streams."""
    if shutil.which(command[0]) is None:
        missing(f"there is no {command[0]} here")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout


def test_each_program_has_a_page(directory: Path) -> None:
    assert {page.name for page in directory.iterdir()} == {"cimaa.1", "setup-dynamodb.1", "setup-postgres.1"}


@pytest.mark.parametrize("name", manual.MANUALS)
def test_a_page_has_the_usual_sections_in_the_usual_order(directory: Path, name: str) -> None:
    text = (directory / f"{name}.1").read_text()
    assert f".SH Name\n{name} \\- " in text
    found = re.findall(r"^\.SH (.+)$", text, re.MULTILINE)
    assert [section for section in found if section in SECTIONS] == SECTIONS


@pytest.mark.parametrize("name", manual.MANUALS)
def test_a_page_shows_every_option(directory: Path, name: str) -> None:
    text = (directory / f"{name}.1").read_text().replace("\\-", "-")
    command = manual.MANUALS[name].command
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert options
    assert [option for option in options if option not in text] == []


def test_the_page_of_cimaa_shows_each_command_and_refers_to_the_other_programs(directory: Path) -> None:
    text = (directory / "cimaa.1").read_text().replace("\\-", "-")
    command = manual.MANUALS["cimaa"].command
    assert isinstance(command, click.Group)
    for name in command.list_commands(click.Context(command)):
        assert f".SS cimaa {name}\n" in text
    assert "\nSee setup-postgres(1).\n" in text
    assert "--passwords" not in text


def test_lines_that_the_help_keeps_are_lines_of_the_page(directory: Path) -> None:
    """As the table of what a filter may name in ``cimaa faults --help``."""
    text = (directory / "cimaa.1").read_text().replace("\\-", "-")
    assert "\nKEY        any other key that faults have, such as team\n" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)


def test_a_page_is_dated_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    manual.write(tmp_path)
    assert '"1970-01-02"' in (tmp_path / "cimaa.1").read_text()


@pytest.mark.parametrize("name", manual.MANUALS)
def test_mandoc_finds_no_mistake(directory: Path, name: str) -> None:
    found = run("mandoc", "-T", "lint", "-W", "warning", directory / f"{name}.1").splitlines()
    # docutils writes an empty line after each title, which mandoc leaves out
    assert [line for line in found if not re.search("skipping paragraph macro: sp after S[HS]$", line)] == []


@pytest.mark.parametrize("name", manual.MANUALS)
def test_man_shows_the_page_without_a_warning(directory: Path, name: str) -> None:
    shown = run("man", "--warnings", "-E", "ascii", "-l", directory / f"{name}.1")
    assert "warning:" not in shown
    assert shown.startswith(f"{name}(1)")
