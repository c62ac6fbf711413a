"""Builds the documentation as a site; CONTRIBUTING.rst has the command."""

import posixpath
from pathlib import PurePosixPath
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import zc.cimaa

project = "zc.cimaa"
version = release = zc.cimaa.__version__
extensions = ["sphinx.ext.autodoc"]
include_patterns = ["*.rst", "doctests/*.rst", "benchmarks/*.rst"]
exclude_patterns = [".*", "build", "dist", "README.rst"]  # index.rst includes the README
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!zc\.cimaa\b).*")]  # other projects' names: the build needs no network

autodoc_member_order = "bysource"

html_theme = "furo"  # search, navigation and dark mode without a script of ours; follows each release of Sphinx
html_title = f"zc.cimaa {version}"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False


class PageLinks(SphinxTransform):
    """Makes references of links to pages (``doctests/cli.rst``), which work in a checkout as they are."""

    default_priority = 700  # when docutils has resolved the names of links

    def apply(self, **_options: Any) -> None:
        here = PurePosixPath(self.env.docname).parent
        for link in list(self.document.findall(nodes.reference)):
            target = link.get("refuri", "")
            if target.endswith(".rst") and "://" not in target:
                attributes = {"refdomain": "std", "reftype": "doc", "refexplicit": True, "refwarn": True}
                attributes |= {"refdoc": self.env.docname, "reftarget": _page(here / target)}
                reference = addnodes.pending_xref("", *link.children, **attributes)
                reference.source, reference.line = link.source, link.line
                link.replace_self(reference)


def _page(path: PurePosixPath) -> str:
    """The name by which Sphinx knows the page in this file, from the root of the project."""
    page = posixpath.normpath(f"/{path}").removesuffix(".rst")
    return "/index" if page == "/README" else page


def drop_aliases(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Leave out what Python writes for a field of a named tuple that has no comment."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def setup(app: Sphinx) -> None:
    app.add_transform(PageLinks)
    app.connect("autodoc-process-docstring", drop_aliases)
