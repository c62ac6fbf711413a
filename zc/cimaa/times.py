"""Points in time as users write them, in local time.  Pure."""

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta

from .text import quoted
from .units import parse_duration

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ERRORS = (ValueError, OverflowError, OSError)


def parse_future(text: str, now: float) -> int:
    """Seconds since the epoch, in one of several forms.

    - a date and time in ISO 8601, ``2026-11-23 08:00``, or a date;
    - a time, ``08:00`` or ``8:00``: the next such time after ``now``;
    - ``tomorrow``, or a weekday, ``friday`` or ``fri``: the start of the next such day;
    - both, ``tomorrow 08:00``.

    It is local time unless the text has a UTC offset.

    :raises ValueError: for any other text, and for a time that is not after ``now``.
    """
    try:
        found = _day_and_clock(text, now, {"tomorrow": 1})
        if found is None:
            seconds = int(datetime.fromisoformat(text).timestamp())
        else:
            days, clock, period = found
            day = _today(now) + timedelta(days=days)
            seconds = _moment(day, clock)
            if seconds <= now:
                seconds = _moment(day + timedelta(days=period), clock)
    except _ERRORS:
        hint = "write it like 08:00, tomorrow, 'friday 08:00' or '2026-11-23 08:00'"
        raise ValueError(f"invalid time {quoted(text)}: {hint}") from None
    if seconds <= now:
        raise ValueError(f"{text} is in the past")
    return seconds


def parse_past(text: str, now: float) -> int:
    """Seconds since the epoch, in one of several forms.

    - a duration before ``now``, ``2h`` or ``2h ago``, or ``now``;
    - a time, ``08:00`` or ``8:00``: the last such time;
    - ``today``, ``yesterday``, or a weekday, ``friday`` or ``fri``: the start of the last such day;
    - both, ``yesterday 08:00``;
    - a date and time in ISO 8601, ``2026-11-23 08:00``, or a date.

    It is local time unless the text has a UTC offset.  When clocks are set forward, a time that
    they skip is read as that much later; when they are set back, a time that comes twice is the later one.

    :raises ValueError: for any other text, and for a time after ``now``, or before 1970.
    """
    try:
        seconds = _past(text.strip().casefold(), now)
    except _ERRORS:
        hint = "write it like '2h ago', 08:00, 'yesterday 08:00', friday or '2026-11-23 08:00'"
        raise ValueError(f"invalid time {quoted(text)}: {hint}") from None
    if not 0 <= seconds <= now:
        raise ValueError(f"{quoted(text)} is {'in the future' if seconds > now else 'before 1970'}")
    return seconds


def _past(text: str, now: float) -> int:
    if text == "now":
        return int(now)
    if match := re.fullmatch(r"([0-9][0-9a-z]*[a-z])( ago)?", text):
        return int(now) - parse_duration(match[1])
    found = _day_and_clock(text, now, {"today": 0, "yesterday": -1})
    if found is None:
        parsed = datetime.fromisoformat(text.upper())
        return int(parsed.timestamp()) if parsed.tzinfo else _moment(parsed, parsed.time(), now)
    days, clock, period = found
    day = _today(now) + timedelta(days=days - (period if days > 0 else 0))
    seconds = _moment(day, clock, now)
    return seconds if seconds <= now else _moment(day - timedelta(days=period), clock, now)


def _day_and_clock(text: str, now: float, words: Mapping[str, int]) -> tuple[int, time, int] | None:
    """What ``friday 08:00`` means: the days from today, the time of day, and after how many days it comes again.

    A weekday is the next one, 1 to 7 days from today; one of the ``words`` does not come again.
    ``None`` for a text of another form.
    """
    match = re.fullmatch(r"(?:([a-z]+) ?)?([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)?", text.casefold())
    if not match or not text:
        return None
    word, digits = match[1], match[2] or "00:00"
    clock = time.fromisoformat(digits if digits[1] != ":" else f"0{digits}")
    if word is None:
        return 0, clock, 1
    if word in words:
        return words[word], clock, 0
    for number, name in enumerate(_WEEKDAYS):
        if word in (name, name[:3]):
            return (number - _today(now).weekday() - 1) % 7 + 1, clock, 7
    return None


def _today(now: float) -> datetime:
    return datetime.fromtimestamp(now)


def _moment(day: datetime, clock: time, now: float = 0) -> int:
    """The seconds since the epoch of a local time; if clocks were set back over it, the later one that is by ``now``.

    If clocks were set forward over it, it is as long after that as it would have been.
    """
    local = datetime.combine(day.date(), clock)
    first, second = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
    return second if first < second <= now else first
