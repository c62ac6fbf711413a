"""Durations, sizes and times as users write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import units

pytestmark = pytest.mark.usefixtures("new_york")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("7d", 604800),
        ("1h30m", 5400),
        ("0s", 0),
        ("1d2h3m4s", 93784),
        ("1w", 604800),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1.5h", "h", "-1h", "1 h", "1y", "1H", "٣s", "9" * 10 + "d"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid duration .*: write it like 90s, 15m, 2h, 7d, 1w or 1h30m"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(0, "0s"), (0.9, "0s"), (-5, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3660, "1h 1m")],
        *[(3661, "1h 1m"), (3601, "1h"), (90061, "1d 1h"), (86400 + 59, "1d"), (40 * 86400, "40d")],
    ],
)
def test_durations_as_people_read_them(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_a_duration_is_read_as_it_is_written(seconds: int) -> None:
    assert units.parse_duration(units.format_duration(seconds, parts=4).replace(" ", "")) == seconds


@pytest.mark.parametrize(("text", "size"), [("7", 7), ("7B", 7), ("64KiB", 65536), ("4 GiB", 2**32), ("1TiB", 2**40)])
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1GB", "1.5GiB", "-1", "1gib", "0x10"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid size .*: write it like 512MiB or 4GiB"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (7, "7B"), (65536, "64KiB"), (2**32, "4GiB"), (2**20 + 1, "1048577B")]
)
def test_sizes_as_people_read_them(size: int, text: str) -> None:
    assert units.format_size(size) == text


NOON = 1_780_329_600  # 2026-06-01 12:00 in New York
HALLOWEEN = 1_793_491_200  # 2026-10-31 20:00 in New York


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(NOON, "2026-06-01 16:00 UTC"), (0, "1970-01-01 00:00 UTC"), (10**18, "1000000000000000000")],
)
def test_universal_time_is_the_same_everywhere(seconds: int, shown: str) -> None:
    assert units.format_utc(seconds) == shown


def test_local_time_names_its_zone() -> None:
    assert units.format_local(NOON) == "2026-06-01 12:00:00 EDT"
    assert [units.format_local(HALLOWEEN + hour * 3600) for hour in (5, 6)] == [
        "2026-11-01 01:00:00 EDT",
        "2026-11-01 01:00:00 EST",
    ]
    assert units.format_local(10**18) == "1000000000000000000"


@pytest.mark.parametrize(("text", "seconds"), [("10", 10), ("0.5", 0.5), ("0", 0), ("90s", 90), ("1h30m", 5400)])
def test_seconds_are_a_number_or_a_duration(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "inf", ".5", "5.", "1.5m", "1 s"])
def test_other_text_is_not_a_number_of_seconds(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        units.parse_seconds(text)
