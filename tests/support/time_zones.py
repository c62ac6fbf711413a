"""Time zones in which tests run."""

import os
import time
from collections.abc import Iterator

import pytest


@pytest.fixture
def new_york() -> Iterator[None]:
    """The process is in New York, where clocks change."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.__setitem__("TZ", before)
    time.tzset()
