"""Every page renders without a warning: in docutils, as on an index of packages or in an editor, and in Sphinx."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from readme_renderer import rst

from tests.support.pages import FOR_SPHINX, ROOT, all_pages

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
    links = {link["refuri"] for link in document.findall(nodes.reference) if "refuri" in link}
    others = {link for link in links if not re.match(r"https?://", link)}
    assert {link for link in others if not ((ROOT / page).parent / link).is_file()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_no_markup_as_text(page: str) -> None:
    """A table without its first line, or a directive in a paragraph, is text for docutils, and no warning."""
    document = publish_doctree((ROOT / page).read_text(), settings_overrides={"report_level": 5})
    texts = [paragraph.astext() for paragraph in document.findall(nodes.paragraph)]
    assert [text for text in texts if re.search(r"={7}|-{7}|:: |::$|(^|\s)\.\. \w", text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_name_of_a_file_is_a_paragraph_of_its_own(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r"\S\n *``(\S+)``:\n\n *\.\. code-block", text) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_text_of_a_table_is_torn_into_two_rows(page: str) -> None:
    """In a simple table, text in the first column starts a row, also where it should go on with the one before."""
    document = publish_doctree((ROOT / page).read_text(), settings_overrides={"report_level": 5})
    rows = [[cell.astext() for cell in row] for row in document.findall(nodes.row)]
    assert [row for row in rows if not any(row[1:])] == []


def test_an_index_of_packages_accepts_the_readme() -> None:
    warnings = io.StringIO()
    assert rst.render((ROOT / "README.rst").read_text(), warnings), warnings.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as a site, built as CONTRIBUTING.rst says, without a warning."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", directory / "trees"]
    built = subprocess.run(
        [*command, "-c", ROOT / "doctests", ROOT, directory / "html"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return directory / "html"


def test_the_site_has_all_pages_and_a_search(site: Path) -> None:
    wanted = {f"{page[:-4]}.html" for page in [*PAGES, *FOR_SPHINX]} - {"README.html"}
    assert {str(page.relative_to(site)) for page in site.rglob("*.html")} >= {*wanted, "search.html"}


def test_each_link_of_the_site_leads_to_a_file(site: Path) -> None:
    dead = []
    for page in site.rglob("*.html"):
        links = re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text())
        dead += [(page.name, link) for link in links if ":" not in link and not (page.parent / link).exists()]
    assert dead == []


def test_the_reference_of_the_api_shows_the_store(site: Path) -> None:
    page = (site / "doctests" / "api.html").read_text()
    for name in ("db.DB.set_faults", "errors.StoreUnavailable", "alerters.Alerter.send", "metrics.Sink.write"):
        assert f'id="zc.cimaa.{name}"' in page
