"""Programs that tests need besides Python packages."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it in continuous integration, which must have all programs."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
