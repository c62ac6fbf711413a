"""Delays before something is tried again: they double up to a cap, and are random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import backoff


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 0.1), (1, 0.2), (2, 0.4), (3, 0.8), (6, 5.0), (10**9, 5.0)])
def test_the_longest_delay_doubles_up_to_the_cap(attempt: int, seconds: float) -> None:
    assert backoff.longest(attempt, 0.1, 5.0) == pytest.approx(seconds)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.0), (0.5, 0.2), (1.0, 0.4)])
def test_with_full_jitter_the_delay_is_any_fraction_of_the_longest(chance: float, seconds: float) -> None:
    assert backoff.delay(2, 0.1, 5.0, chance=lambda: chance) == pytest.approx(seconds)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.2), (0.5, 0.3), (1.0, 0.4)])
def test_a_least_fraction_is_always_waited(chance: float, seconds: float) -> None:
    assert backoff.delay(2, 0.1, 5.0, least=0.5, chance=lambda: chance) == pytest.approx(seconds)


@given(st.integers(0, 10**6), st.floats(0.001, 10), st.floats(0.001, 3600), st.floats(0, 1))
def test_no_delay_is_negative_or_beyond_the_cap(attempt: int, base: float, cap: float, least: float) -> None:
    assert 0 <= backoff.delay(attempt, base, cap, least=least) <= cap * (1 + 1e-9)


def test_delays_of_a_fleet_are_spread() -> None:
    delays = sorted(backoff.delay(3, 1, 60) for _ in range(1000))
    assert delays[100] < 2 < 6 < delays[-100]
