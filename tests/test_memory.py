"""The memory backend keeps the contract."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from zc.cimaa.memory import DB
from zc.cimaa.testing import Conformance, Opener


class TestMemory(Conformance):
    processes = False

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Opener]:
        opener = functools.partial(DB, {"name": str(tmp_path)})
        with opener():  # the store lives for as long as a handle is open
            yield opener


def test_without_a_name_each_handle_has_a_store_of_its_own() -> None:
    one, other = DB(), DB()
    one.set_faults("agent", [])
    assert other.get_agents() == []
