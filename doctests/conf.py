"""Builds the documentation as a site: ``sphinx-build -c doctests . SITE`` in the root of the project."""

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
root_doc = "README"
include_patterns = ["*.rst", "doctests/*.rst", "benchmarks/*.rst"]
exclude_patterns = [".*", "build", "dist"]
nitpicky = True
suppress_warnings = ["toc.not_included"]  # the README links to every page


class PageLinks(SphinxTransform):
    """Makes references of links to pages (``doctests/cli.rst``), which work in a checkout as they are."""

    default_priority = 5

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
    return posixpath.normpath(f"/{path}").removesuffix(".rst")


def setup(app: Sphinx) -> None:
    app.add_transform(PageLinks)
