"""Points in time as users write them: those to come, and those past."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zc.cimaa import times
from zc.cimaa.units import format_local, format_time, parse_duration

pytestmark = pytest.mark.usefixtures("new_york")


NOON = 1_780_329_600  # 2026-06-01 12:00 in New York


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-23 08:00", "2026-11-23 08:00:00"),
        ("2026-11-23", "2026-11-23 00:00:00"),
        ("2026-11-23T08:00:00Z", "2026-11-23 03:00:00"),
        ("2026-11-23T08:00+01:00", "2026-11-23 02:00:00"),
        ("12:01", "2026-06-01 12:01:00"),
        ("12:00", "2026-06-02 12:00:00"),
        ("08:00", "2026-06-02 08:00:00"),
        ("tomorrow", "2026-06-02 00:00:00"),
        ("Tomorrow 23:30", "2026-06-02 23:30:00"),
        ("tuesday", "2026-06-02 00:00:00"),
        ("sunday 08:00", "2026-06-07 08:00:00"),
        ("sunday 8:00", "2026-06-07 08:00:00"),
        ("Mon 12:01", "2026-06-08 12:01:00"),
    ],
)
def test_times_to_come(text: str, shown: str) -> None:
    assert format_time(times.parse_future(text, NOON)) == shown


def test_the_next_morning_is_at_the_same_hour_when_summer_time_ends() -> None:
    halloween = times.parse_future("2026-10-31 22:00", NOON)
    assert format_time(times.parse_future("08:00", halloween)) == "2026-11-01 08:00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "tomorrow 8",
        "tomorrow 25:00",
        "someday 08:00",
        "fr",
        "25:00",
        "2026-13-01",
        "8",
        "2026",
        "0800",
        "T08",
        "08:00+10:00",
        "0001-01-01",
        "yesterday",
        "2h",
    ],
)
def test_an_invalid_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid time .*: write it like 08:00, tomorrow"):
        times.parse_future(text, NOON)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("now", "2026-06-01 12:00:00"),
        ("2h ago", "2026-06-01 10:00:00"),
        ("2h", "2026-06-01 10:00:00"),
        (" 1d2h AGO ", "2026-05-31 10:00:00"),
        ("0s", "2026-06-01 12:00:00"),
        ("12:00", "2026-06-01 12:00:00"),
        ("11:59:30", "2026-06-01 11:59:30"),
        ("12:01", "2026-05-31 12:01:00"),
        ("today", "2026-06-01 00:00:00"),
        ("today 08:00", "2026-06-01 08:00:00"),
        ("Yesterday 08:00", "2026-05-31 08:00:00"),
        ("3:00", "2026-06-01 03:00:00"),
        ("yesterday 3:00:59", "2026-05-31 03:00:59"),
        ("yesterday", "2026-05-31 00:00:00"),
        ("monday", "2026-06-01 00:00:00"),
        ("monday 12:00", "2026-06-01 12:00:00"),
        ("mon 12:01", "2026-05-25 12:01:00"),
        ("sunday 03:00", "2026-05-31 03:00:00"),
        ("tue", "2026-05-26 00:00:00"),
        ("2025-11-23 08:00", "2025-11-23 08:00:00"),
        ("2025-11-23", "2025-11-23 00:00:00"),
        ("2025-11-23t08:00:00z", "2025-11-23 03:00:00"),
        ("2025-11-23T08:00+01:00", "2025-11-23 02:00:00"),
        ("2025-07-01T08:00+01:00", "2025-07-01 03:00:00"),
    ],
)
def test_times_past(text: str, shown: str) -> None:
    assert format_time(times.parse_past(text, NOON)) == shown


MARCH_8 = 1_772_974_800  # 2026-03-08 09:00 in New York, where 02:00 to 03:00 was skipped
NOVEMBER_1 = 1_793_541_600  # 2026-11-01 09:00 in New York, where 01:00 to 02:00 came twice


@pytest.mark.parametrize(
    ("text", "now", "shown"),
    [
        ("02:30", MARCH_8, "2026-03-08 03:30:00 EDT"),
        ("2026-03-08 02:30", MARCH_8, "2026-03-08 03:30:00 EDT"),
        ("01:59", MARCH_8, "2026-03-08 01:59:00 EST"),
        ("8h ago", MARCH_8, "2026-03-08 00:00:00 EST"),
        ("yesterday 09:00", MARCH_8, "2026-03-07 09:00:00 EST"),
        ("02:30", MARCH_8 - 6 * 3600 + 60, "2026-03-07 02:30:00 EST"),
        ("01:30", NOVEMBER_1, "2026-11-01 01:30:00 EST"),
        ("2026-11-01 01:30", NOVEMBER_1, "2026-11-01 01:30:00 EST"),
        ("2026-11-01T01:30-04:00", NOVEMBER_1, "2026-11-01 01:30:00 EDT"),
        ("01:30", NOVEMBER_1 - 8 * 3600, "2026-11-01 01:30:00 EDT"),
        ("00:30", NOVEMBER_1, "2026-11-01 00:30:00 EDT"),
        ("yesterday 01:30", NOVEMBER_1, "2026-10-31 01:30:00 EDT"),
    ],
)
def test_times_past_when_the_clocks_are_changed(text: str, now: float, shown: str) -> None:
    assert format_local(times.parse_past(text, now)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "ago", "2x ago", "h ago", "2h before", "yesterday 8", "25:00", "2026-13-01", "8", "someday"],
)
def test_an_invalid_time_past_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid time .*: write it like '2h ago', 08:00, 'yesterday 08:00'"):
        times.parse_past(text, NOON)


@pytest.mark.parametrize("text", ["today 12:01", "2026-06-01 12:01", "2026-06-02", "2026-06-01T16:00:01Z"])
def test_a_time_to_come_is_not_past(text: str) -> None:
    with pytest.raises(ValueError, match="is in the future"):
        times.parse_past(text, NOON)


@pytest.mark.parametrize("text", ["1969-12-31", "99999d ago", "0001-01-02T00:00:00Z"])
def test_a_time_before_the_epoch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is before 1970"):
        times.parse_past(text, NOON)


YEAR = 365 * 86400


@given(st.integers(NOON, NOON + YEAR), st.integers(0, 86399))
@example(MARCH_8, 9000)
@example(NOVEMBER_1, 5400)
def test_a_time_of_day_is_the_last_one(now: int, second: int) -> None:
    """It is shown as it was written, unless it was skipped, and is less than 25 hours ago."""
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    found = times.parse_past(clock, now)
    assert now - 25 * 3600 < found <= now
    assert format_time(found)[11:] == clock or format_time(found - 3600)[11:] <= clock < "03:00:00"


@given(st.integers(NOON - YEAR, NOON))
def test_a_local_time_is_read_as_it_is_written(moment: int) -> None:
    """It may be the second of two with the same text."""
    found = times.parse_past(format_time(moment), NOON)
    assert format_time(found) == format_time(moment)
    assert found in (moment, moment + 3600)


@given(st.text(max_size=20))
def test_any_text_is_a_time_past_or_refused(text: str) -> None:
    try:
        found = times.parse_past(text, NOON)
    except ValueError as error:
        found, refused = 0, str(error)
    else:
        refused = ""
    assert found <= NOON
    assert not refused or "write it like" in refused or "is in the future" in refused or "is before 1970" in refused


@given(st.integers(0, 10**8))
def test_a_duration_is_a_time_past(seconds: int) -> None:
    assert times.parse_past(f"{seconds}s ago", NOON) == NOON - parse_duration(f"{seconds}s")
