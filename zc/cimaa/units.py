"""Durations and sizes as users write and read them, and times as they read them.  Pure."""

import re
from datetime import UTC, datetime

from .text import quoted

_SECONDS: dict[str, int] = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
# Weeks are read, but not written: 10d is easier to read than 1w 3d.
_SHOWN = {unit: _SECONDS[unit] for unit in "dhms"}
_BYTES: dict[str, int] = {"": 1, "B": 1} | {f"{unit}iB": 1024**power for power, unit in enumerate("KMGT", 1)}


def parse_duration(text: str) -> int:
    """Seconds from ``90s``, ``15m``, ``2h``, ``7d``, ``1w``, or several of them together: ``1h30m``.

    :raises ValueError: for any other text.
    """
    if not re.fullmatch(r"([0-9]{1,9}[smhdw])+", text):
        raise ValueError(f"invalid duration {quoted(text)}: write it like 90s, 15m, 2h, 7d, 1w or 1h30m")
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))


def parse_seconds(text: str) -> float:
    """Seconds from a number, which may have a fraction (``10``, ``0.5``), or from a duration (``15m``).

    :raises ValueError: for any other text.
    """
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", text) else parse_duration(text)


def format_duration(seconds: float, parts: int = 2) -> str:
    """Seconds as ``3d 4h``: the largest units, at most ``parts`` of them; ``0s`` for negative seconds."""
    rest = max(0, int(seconds))
    shown: list[str] = []
    for unit, size in _SHOWN.items():
        count, rest = divmod(rest, size)
        if count or (shown and len(shown) < parts):
            shown.append(f"{count}{unit}" if count else "")
        if len(shown) == parts:
            break
    return " ".join(filter(None, shown)) or "0s"


def parse_size(text: str) -> int:
    """Bytes from ``1048576``, ``512MiB`` or ``4GiB``.

    :raises ValueError: for any other text.
    """
    match = re.fullmatch(r"([0-9]{1,15}) ?([KMGT]iB|B|)", text)
    if not match:
        raise ValueError(f"invalid size {quoted(text)}: write it like 512MiB or 4GiB")
    return int(match[1]) * _BYTES[match[2]]


def format_size(size: int) -> str:
    """Bytes as ``4GiB``, in the largest unit without a fraction."""
    whole = [(scale, unit) for unit, scale in _BYTES.items() if unit and size % scale == 0 and scale <= max(size, 1)]
    scale, unit = max(whole)
    return f"{size // scale}{unit}"


def format_time(seconds: float) -> str:
    """Seconds since the epoch as local time, ``2026-11-23 08:00:00``; a number outside the calendar unchanged."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def format_local(seconds: float) -> str:
    """As :func:`format_time`, with the name of the time zone: ``2026-11-23 08:00:00 CET``."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def format_utc(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-23 08:00 UTC``, the same on every host; other numbers unchanged."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
