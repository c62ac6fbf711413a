"""The rules of leases and entries, without a store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import entries, leases
from zc.cimaa.agents import MICROSECONDS
from zc.cimaa.entries import Entry
from zc.cimaa.errors import InvalidAgent, InvalidInput, InvalidLease

NOW = 1_700_000_000 * MICROSECONDS
REVISION = "0" * 32


def leased(stored: Entry | None, holder: str, seconds: float, now: int, margin: float = 0) -> Entry:
    return leases.leased(stored, leases.request("job", holder, seconds), now, margin, REVISION)


times = st.integers(NOW, NOW + 200 * MICROSECONDS)


@given(st.lists(st.tuples(st.sampled_from("abc"), times, st.floats(1, 60)), max_size=20), st.integers(0, 10))
def test_nobody_gets_a_lease_that_another_has(asked: list[tuple[str, int, float]], margin: int) -> None:
    """By the store's clock, which only advances here: a holder has it for as long as it asked for; tokens grow."""
    stored, held, token = None, {}, 0  # type: Entry | None, dict[str, float], int
    for holder, now, seconds in sorted(asked, key=lambda one: one[1]):
        after = leased(stored, holder, seconds, now, margin)
        if after is not stored:
            for other, until in held.items():
                assert other == holder or now >= until + margin * MICROSECONDS
            lease = leases.lease(after, now, margin)
            assert lease.token == token + (holder not in held or now >= held[holder])
            token = lease.token
            held = {holder: lease.until * MICROSECONDS}
            assert held[holder] >= now + seconds * MICROSECONDS
        stored = after


@given(times, st.floats(1, 60), times, st.integers(0, 10))
def test_what_remains_is_the_time_until_others_may_take_it(then: int, seconds: float, now: int, margin: int) -> None:
    stored = leased(None, "a", seconds, then)
    remaining = leases.lease(stored, now, margin).remaining
    assert (leased(stored, "b", 60, now, margin) is stored) == (remaining > 0)
    later = now + remaining * MICROSECONDS
    assert leased(stored, "b", 60, later, margin) is not stored


def test_a_lease_that_ended_is_taken_again_with_the_next_token() -> None:
    """Another process may have the holder's name, while the first is suspended."""
    stored = leased(None, "a", 60, NOW)
    assert leases.lease(leased(stored, "a", 60, NOW + 59 * MICROSECONDS), NOW, 0).token == 1
    assert leases.lease(leased(stored, "a", 60, NOW + 60 * MICROSECONDS), NOW, 0).token == 2


def test_a_lease_that_was_released_stays_so_if_the_clock_is_set_back() -> None:
    stored = leases.released(leased(None, "a", 60, NOW), "a", NOW + MICROSECONDS, REVISION)
    assert stored is not None
    assert leases.lease(stored, NOW - 10 * MICROSECONDS, 10).remaining == 0
    assert leases.lease(leased(stored, "b", 60, NOW - 10 * MICROSECONDS), NOW, 10).token == 2


@pytest.mark.parametrize(
    "value",
    [None, 5, "x", [], {}, {"until": "x"}, {"token": None, "holder": 5, "released": 1}, {"since": 1.5, "more": {}}],
    ids=repr,
)
def test_a_value_that_is_not_a_leases_is_read_as_one_that_is_over(value: Any) -> None:
    stored = Entry("lease", "", "job", value, REVISION)
    assert leases.lease(stored, NOW, 0) == leases.Lease("job", "", 0, 0, 0, 0)
    assert leases.released(stored, "a", NOW, REVISION) is None
    assert leases.lease(leased(stored, "a", 60, NOW), NOW, 0).token == 1


def test_the_messages_name_the_culprit() -> None:
    for call, message in (
        (lambda: leases.request("", "a", 60), "the lease's name is empty"),
        (lambda: leases.request("job", "x" * 256, 60), "the lease's holder .* has 256 bytes; at most 255 are allowed"),
        (lambda: leases.request("job", "a", 0), "a lease must last from 1 to 86400 seconds"),
        (lambda: leases.request("job", "a", 1, (1,)), "the state of the lease 'job' has a part that JSON does not"),
        (lambda: leases.request("job", "a", 1, {1}), "the state of the lease 'job' cannot be encoded as JSON"),
    ):
        with pytest.raises(InvalidLease, match=message):
            call()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kind": ""}, InvalidInput),
        ({"kind": "a b"}, InvalidInput),
        ({"kind": "Lease"}, InvalidInput),
        ({"owner": "_"}, InvalidAgent),
        ({"owner": "x" * 256}, InvalidAgent),
        ({"key": ""}, InvalidInput),
        ({"key": "x" * 256}, InvalidInput),
        ({"value": "\0"}, InvalidInput),
        ({"value": float("nan")}, InvalidInput),
        ({"value": "x" * (256 * 1024 - 1)}, InvalidInput),
    ],
    ids=lambda wrong: str(wrong)[:30],
)
def test_an_entry_that_breaks_a_rule_is_rejected(wrong: dict[str, Any], error: type[InvalidInput]) -> None:
    good = Entry("test", "web1", "key", {"\\u0000": "\\u0000"}, REVISION)
    assert entries.check(good) == good
    with pytest.raises(error):
        entries.check(good._replace(**wrong))
