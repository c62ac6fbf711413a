"""Durations, sizes and times as people write and read them.  Pure."""

import re
from datetime import UTC, datetime, time, timedelta

_SECONDS: dict[str, int] = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
_BYTES: dict[str, int] = {"": 1, "B": 1} | {f"{unit}iB": 1024**power for power, unit in enumerate("KMGT", 1)}


def parse_duration(text: str) -> int:
    """Seconds from ``90s``, ``15m``, ``2h``, ``7d``, or several of them together: ``1h30m``.

    :raises ValueError: if it is no duration.
    """
    if not re.fullmatch(r"([0-9]{1,9}[smhd])+", text):
        raise ValueError(f"{text!r} is no duration: write it like 90s, 15m, 2h, 7d or 1h30m")
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def format_duration(seconds: float, parts: int = 2) -> str:
    """Seconds as ``3d 4h``: the largest units, at most ``parts`` of them.  Negative ones count as none."""
    rest = max(0, int(seconds))
    shown: list[str] = []
    for unit, size in reversed(_SECONDS.items()):
        count, rest = divmod(rest, size)
        if count or (shown and len(shown) < parts):
            shown.append(f"{count}{unit}" if count else "")
        if len(shown) == parts:
            break
    return " ".join(filter(None, shown)) or "0s"


def parse_size(text: str) -> int:
    """Bytes from ``1048576``, ``512MiB`` or ``4GiB``.

    :raises ValueError: if it is no size.
    """
    match = re.fullmatch(r"([0-9]{1,15}) ?([KMGT]iB|B|)", text)
    if not match:
        raise ValueError(f"{text!r} is no size: write it like 512MiB or 4GiB")
    return int(match[1]) * _BYTES[match[2]]


def format_size(size: int) -> str:
    """Bytes as ``4GiB``, in the largest unit that leaves no fraction."""
    whole = [(scale, unit) for unit, scale in _BYTES.items() if unit and size % scale == 0 and scale <= max(size, 1)]
    scale, unit = max(whole)
    return f"{size // scale}{unit}"


def parse_time(text: str, now: float) -> int:
    """Seconds since the epoch from ``2026-11-23 08:00`` (or any ISO 8601), or ``08:00``: the next such time.

    Without an offset it is local time.

    :raises ValueError: if it is no time.
    """
    try:
        if re.fullmatch("[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
            here = datetime.fromtimestamp(now)
            moment = datetime.combine(here.date(), time.fromisoformat(text))
            later = moment if moment.timestamp() > now else moment + timedelta(days=1)
            return int(later.timestamp())
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no time: write it like 08:00 or '2026-11-23 08:00'") from None


def format_time(seconds: float) -> str:
    """Seconds since the epoch as local time, ``2026-11-23 08:00:00``; as they are beyond what a calendar has."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def format_utc(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-23 08:00 UTC``, the same on every host; beyond a calendar as they are."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
