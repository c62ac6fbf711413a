"""CONTRIBUTING.rst: every path that it names exists."""

import re

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from tests.support.pages import ROOT

PAGE = ROOT / "CONTRIBUTING.rst"


def named_paths() -> list[str]:
    """The texts on the page that are set as code and look like a path in the checkout."""
    page = publish_doctree(PAGE.read_text(), settings_overrides={"report_level": 5})
    codes = {literal.astext() for literal in page.findall(nodes.literal)}
    return sorted(
        code for code in codes if re.fullmatch(r"\.?\w[\w-]*(/[\w.-]+)+|[\w-]+\.(rst|cfg)|tests|doctests", code)
    )


def test_the_page_names_paths() -> None:
    assert {"tests/store", "setup.cfg", "zc/cimaa/limits.py", ".ci/run"} <= set(named_paths())


@pytest.mark.parametrize("path", named_paths())
def test_the_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_tests_mirror_the_package() -> None:
    for directory in ("agent", "cli", "checks"):
        assert (ROOT / "zc" / "cimaa" / directory).is_dir()
        assert list((ROOT / "tests" / directory).glob("test_*.py"))


def test_the_paths_of_tests_that_modules_name_exist() -> None:
    for directory in ("zc", "tests", "benchmarks"):
        for path in (ROOT / directory).rglob("*.py"):
            for named in re.findall(r"\btests/[\w/]+\.py\b", path.read_text()):
                assert (ROOT / named).exists(), f"{path}: {named}"
