"""README.rst and the pages in doctests/ are tests: see tests/pages.py."""

from sybil import Sybil
from sybil.sybil import SybilCollection

from tests import pages

pytest_collect_file = SybilCollection(
    [
        Sybil(
            parsers=pages.PARSERS,
            patterns=["README.rst", "doctests/*.rst"],
            # tests/test_contract_page.py runs the one once per backend; the other needs a server
            excludes=["doctests/contract.rst", "doctests/postgres.rst"],
            setup=pages.set_up,
            teardown=pages.tear_down,
        ),
        Sybil(
            parsers=pages.PARSERS,
            patterns=["doctests/postgres.rst"],
            setup=pages.set_up_postgres,
            teardown=pages.tear_down_postgres,
        ),
    ]
).pytest()
