"""The memory backend keeps the contract."""

import pytest

from zc.cimaa.memory import DB
from zc.cimaa.testing import Conformance, Opener


class TestMemory(Conformance):
    processes = False

    @pytest.fixture
    def opener(self, memory_opener: Opener) -> Opener:
        return memory_opener


def test_without_a_name_each_handle_has_a_store_of_its_own() -> None:
    one, other = DB(), DB()
    one.set_faults("agent", [])
    assert other.get_agents() == []
