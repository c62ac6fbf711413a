"""Every page renders without a warning: in docutils, as on an index of packages or in an editor, and in Sphinx."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils.core import publish_doctree
from docutils.nodes import reference
from readme_renderer import rst

from .pages import ROOT, all_pages

PAGES = [str(page.relative_to(ROOT)) for page in all_pages()]


@pytest.mark.parametrize("page", PAGES)
def test_docutils_renders_the_page(page: str) -> None:
    warnings = io.StringIO()
    settings = {"report_level": 1, "warning_stream": warnings, "halt_level": 5, "file_insertion_enabled": False}
    publish_doctree((ROOT / page).read_text(), source_path=page, settings_overrides=settings)
    assert warnings.getvalue() == ""


@pytest.mark.parametrize("page", PAGES)
def test_each_link_of_the_page_leads_to_a_page(page: str) -> None:
    document = publish_doctree((ROOT / page).read_text(), settings_overrides={"report_level": 5})
    links = {link["refuri"] for link in document.findall(reference) if "refuri" in link}
    others = {link for link in links if not re.match(r"https?://", link)}
    assert {link for link in others if not ((ROOT / page).parent / link).is_file()} == set()


def test_an_index_of_packages_accepts_the_readme() -> None:
    warnings = io.StringIO()
    assert rst.render((ROOT / "README.rst").read_text(), warnings), warnings.getvalue()


def test_sphinx_renders_all_pages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-d", tmp_path / "trees"]
    built = subprocess.run(
        [*command, "-c", ROOT / "doctests", ROOT, tmp_path / "site"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    site = tmp_path / "site"
    assert {str(page.relative_to(site)) for page in site.rglob("*.html")} >= {f"{page[:-4]}.html" for page in PAGES}
    dead = [page.name for page in site.rglob("*.html") if re.search(r'href="[^":]*\.rst"', page.read_text())]
    assert dead == []
