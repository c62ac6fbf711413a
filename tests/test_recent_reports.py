"""The memory of the last reports."""

import tracemalloc

from zc.cimaa import faults
from zc.cimaa.recent_reports import RecentReports


def report(message: str) -> faults.Report:
    return faults.report("a", [{"name": "f", "severity": 40, "message": message}])


def test_the_last_report_of_each_agent_is_remembered() -> None:
    recent = RecentReports()
    assert recent.get("a") is None
    for agent, message in (("a", "1"), ("b", "2"), ("a", "3")):
        recent.put(agent, report(message))
    assert recent.get("a") == report("3")
    assert recent.get("b") == report("2")


def test_the_memory_is_bounded_and_has_the_latest_report() -> None:
    recent, large = RecentReports(), report("m" * 30_000)
    agents = [f"agent{number}" for number in range(1000)]
    for agent in agents:
        recent.put(agent, large)
        assert recent.get(agent) == large
        assert sum(recent.get(each) is not None for each in agents) * 30_000 < 5_000_000


def test_the_reports_of_many_agents_take_no_more_memory() -> None:
    """Also if each is short, as of agents without faults."""
    recent, peak = RecentReports(), 0
    tracemalloc.start()
    try:
        for number in range(20_000):
            recent.put(f"agent{number}", report(str(number)))
            if number % 500 == 0:
                peak = max(peak, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000


def test_an_agent_with_many_changes_does_not_displace_others() -> None:
    recent, large = RecentReports(), report("m" * 30_000)
    recent.put("a", large)
    for _ in range(1000):
        recent.put("b", large)
    assert recent.get("a") == large
