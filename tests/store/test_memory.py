"""The memory backend keeps the contract."""

import pytest

from zc.cimaa.agents import Instance
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.faults import Report
from zc.cimaa.memory import DB
from zc.cimaa.testing import Conformance, Opener, fault


class TestMemory(Conformance):
    processes = False

    @pytest.fixture
    def opener(self, memory_opener: Opener) -> Opener:
        return memory_opener


def test_without_a_name_each_handle_has_a_store_of_its_own() -> None:
    one, other = DB(), DB()
    one.set_faults("agent", [])
    assert other.get_agents() == []


class LosesAnswers(DB):
    """Loses the connection after it wrote a report."""

    lost = 0

    def _replace(self, agent: str, report: Report, instance: Instance, within: int | None, unmark: bool) -> bool:
        woken = super()._replace(agent, report, instance, within, unmark)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the connection was lost")
        return woken


def test_a_wake_whose_answer_was_lost_is_answered_by_the_next_report() -> None:
    with LosesAnswers({}) as db:
        db.report("agent", [])
        db.wake(["agent"])
        db.lost = 2
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                db.report("agent", [fault(str(db.lost))])
        assert db.report("other", []) is False
        assert db.report("agent", []) is True
        assert db.report("agent", []) is False
