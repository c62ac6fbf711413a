"""The pure rules of agents: instances, silent agents, double agents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import agents, memory
from zc.cimaa.agents import INSTANCE_MEMORY, INSTANCES, MICROSECONDS, Instance, Row
from zc.cimaa.errors import InvalidAgent

A, B, C = (Instance("host", pid, "1", "Linux") for pid in (1, 2, 3))

histories = st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(0, 400 * MICROSECONDS)), min_size=1, max_size=12)


def row_after(*reports: tuple[Instance, float]) -> Row:
    """The row after these reports, each of an instance at a second."""
    row = None
    for instance, seconds in reports:
        row = agents.reported(row, "digest", instance, int(seconds * MICROSECONDS))
    assert row is not None
    return row


def rivals(row: Row, now: float, within: float = 600) -> list[Instance]:
    return [seen.instance for seen in agents.rivals(row, within, int(now * MICROSECONDS))]


def test_a_single_instance_has_no_rival() -> None:
    assert rivals(row_after((A, 1), (A, 2), (A, 3)), 3) == []


def test_a_restart_makes_no_rivals() -> None:
    assert rivals(row_after((A, 1), (A, 2), (B, 2.1), (B, 3), (C, 3.1)), 4) == []


def test_an_instance_that_reports_again_is_a_rival() -> None:
    assert rivals(row_after((A, 1), (B, 2), (A, 2.000001)), 3) == [A, B]


def test_only_overlapping_instances_are_rivals() -> None:
    assert rivals(row_after((A, 1), (A, 2), (B, 3), (C, 4), (B, 5)), 6) == [B, C]


def test_rivals_are_rivals_for_as_long_as_both_report() -> None:
    row = row_after((A, 1), (B, 2), (A, 3), (B, 500), (B, 602))
    assert rivals(row, 602) == [A, B]
    assert rivals(row, 604) == []


@given(histories)
def test_rivals_reported_again_after_the_first_report_of_the_other(history: list[tuple[Instance, int]]) -> None:
    """Compared with the definition, for every pair of instances of a history."""
    ordered = sorted({time: instance for instance, time in history}.items())
    row = None
    for time, instance in ordered:
        row = agents.reported(row, "digest", instance, time)
    assert row is not None
    first = {instance: time for time, instance in reversed(ordered)}
    last = {instance: time for time, instance in ordered}
    pairs = {
        frozenset((one, other))
        for one in first
        for other in first
        if one != other and last[one] > first[other] and last[other] > first[one]
    }
    expected = {instance for pair in pairs for instance in pair}
    assert {seen.instance for seen in agents.rivals(row, 1000, row.updated)} == expected
    assert {seen.instance: (seen.first, seen.last) for seen in agents.instances(row)} == {
        instance: (first[instance], last[instance]) for instance in first
    }


def test_a_clock_set_back_makes_no_rivals() -> None:
    assert rivals(row_after((A, 1000), (A, 2000), (B, 500), (B, 501)), 502) == []
    assert rivals(row_after((A, 1000), (A, 2000), (B, 500), (A, 501)), 502) == [A, B]
    assert rivals(row_after((A, 1000), (A, 500), (A, 501), (B, 502)), 503) == []


def test_silent_instances_are_forgotten_and_the_number_is_limited() -> None:
    row = row_after((A, 0), (B, INSTANCE_MEMORY), (B, INSTANCE_MEMORY + 1))
    assert [seen.instance for seen in agents.instances(row)] == [B]
    many = row_after(*((Instance("host", pid, "1", "Linux"), pid) for pid in range(1, 100)))
    assert [seen.instance.pid for seen in many.instances] == list(range(100 - INSTANCES, 100))


def test_an_instance_that_reports_all_the_time_is_remembered_among_many_short_ones() -> None:
    """Processes that crash and restart at the same time must not hide that the agent is double."""
    many = [Instance("host", pid, "1", "Linux") for pid in range(100, 140)]
    row = row_after(*((who, 2 * n + offset) for n, short in enumerate(many) for offset, who in enumerate((A, short))))
    assert [seen.instance for seen in agents.instances(row)] == [A, *many[1 - INSTANCES :]]
    assert A in rivals(row, 80)


@pytest.mark.parametrize(
    ("silent", "offline", "double"),
    [
        *[(299, False, True), (300, True, True), (599, True, True), (600, True, False)],
        *[(30 * 86400 - 1, True, False), (30 * 86400, False, False)],
    ],
)
def test_the_default_ages_are_5_minutes_30_days_and_10_minutes(silent: int, offline: bool, double: bool) -> None:
    now = 1_700_000_000.0
    with memory.DB({"name": "ages"}, instance=A, clock=lambda: now) as db:
        with memory.DB({"name": "ages"}, instance=B, clock=lambda: now) as other:
            for _ in range(2):
                db.set_faults("web1", [])
                other.set_faults("web1", [])
                now += 0.001
        now += silent - 0.001
        assert bool(db.offline_agents()) is offline
        assert bool(db.double_agents()) is double


@pytest.mark.parametrize(("silent", "hosts"), [(86399, [1, 2]), (86400, [2])])
def test_an_instance_is_forgotten_a_day_before_the_last_report(silent: int, hosts: list[int]) -> None:
    row = row_after((A, 1), (B, 2), (B, 1 + silent))
    assert [seen.instance.pid for seen in agents.instances(row)] == hosts


def test_old_and_offline_agents_have_the_same_limit() -> None:
    second = MICROSECONDS
    assert agents.is_old(10 * second, 5, 15 * second)
    assert not agents.is_old(10 * second + 1, 5, 15 * second)
    assert agents.is_old(10 * second, 0, 10 * second)
    assert agents.is_offline(10 * second, 5.1, 5, 15 * second)
    assert not agents.is_offline(10 * second, 5, 5, 15 * second)


def test_the_id_of_an_instance_is_the_same_everywhere() -> None:
    assert A.id == "245fde7f7254d65454ff85837e34ab76"
    assert len({A.id, B.id, A._replace(pid=None).id, A._replace(version="2").id}) == 4


def test_the_parts_of_an_instance_may_be_empty() -> None:
    """A container without a name must be able to report."""
    nameless = Instance("", 0, "", "")
    with memory.DB(instance=nameless) as db:
        db.set_faults("web1", [])
        (agent,) = db.get_agents()
    assert [(seen["host"], seen["pid"]) for seen in agent["instances"]] == [("", 0)]


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (A._replace(pid=-1), "the instance's pid is -1"),
        (A._replace(pid=2**63), "the instance's pid is 9223372036854775808"),
        (A._replace(host="h" * 256), "the instance's host '.*' has 256 bytes; at most 255 are allowed"),
        (A._replace(os="\0"), "the instance's os .* holds a NUL character"),
    ],
)
def test_an_instance_that_not_every_store_can_hold_is_rejected(instance: Instance, message: str) -> None:
    with pytest.raises(InvalidAgent, match=message):
        memory.DB(instance=instance)


def test_this_process_and_its_host_are_different_instances() -> None:
    assert agents.this_process()._replace(pid=None) == agents.this_host()
