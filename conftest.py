"""Where the fixtures are, and the pages: README.rst and doctests/ are tests, run by tests/support/pages.py."""

import os
import sys

import pytest
from sybil import Sybil
from sybil.sybil import SybilCollection

# Otherwise each of the hundreds of processes that the tests start would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest.register_assert_rewrite("zc.cimaa.testing", "tests.support")

from tests.support import pages  # noqa: E402

pytest_plugins = [
    "tests.support.agent_process",
    "tests.support.command",
    "tests.support.dynamodb_fixtures",
    "tests.support.postgres_relay",
    "tests.support.modules_of_tests",
    "tests.support.postgres_servers",
    "tests.support.postgres_stores",
    "tests.support.ssh_keys",
    "tests.support.stores",
    "tests.support.time_zones",
]

pytest_collect_file = SybilCollection(
    [
        Sybil(
            parsers=pages.PARSERS,
            patterns=["README.rst", "doctests/*.rst"],
            # tests/store/test_contract_page.py runs the one once per backend; the other needs a server
            excludes=["doctests/contract.rst", "doctests/postgres.rst"],
            setup=pages.set_up,
            teardown=pages.tear_down,
        ),
        Sybil(
            parsers=pages.PARSERS,
            patterns=["CONTRIBUTING.rst"],
            setup=pages.set_up_in_checkout,
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
