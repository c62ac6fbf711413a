"""The layouts of keys and values of CFEngine, by the name of the file, the size, and the version.  Pure.

They are those of a 64-bit program of this machine's byte order.  What does not fit is left as bytes; nothing is
guessed.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

#: A value: text, the fields of a structure, or bytes where it fits no layout.
Value: TypeAlias = str | dict[str, Any] | bytes
Decode: TypeAlias = Callable[[str, bytes], Value | None]

#: What is known about files, by their name without what follows ``.lmdb``.
DESCRIPTIONS = {
    "cf_lastseen": "hosts seen",
    "cf_lock": "locks",
    "cf_state": "persistent classes",
    "performance": "how long things take",
    "cf_observations": "what cf-monitord measured",
    "history": "what cf-monitord measured, by week",
    "cf_changes": "changed files",
    "checksum_digests": "digests of files",
    "nova_agent_execution": "when the agent ran",
    "packages_installed": "installed packages",
    "packages_updates": "updates of packages",
}

_VERSION = "version"
#: The key of the version of a file, where it has one.
VERSION_KEY = b"version\0"
#: The versions of ``cf_lastseen`` that are read.
_LASTSEEN_VERSIONS = ("1", "2")

# time, last value, expected, variance, change of it
_TIMED = Struct("=q4d")
# acknowledged, padding, and the same
_ACKNOWLEDGED = Struct("=B7xq4d")
# number of the process, padding, time, start of the process
_LOCK = Struct("=i4xqq")
# end, policy
_CLASS = Struct("=II")
_POLICIES = ("reset", "preserve")
_HOST_KEY = re.compile("MD5=[0-9a-f]{32}|SHA=[0-9a-f]{64}")
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f]")


class StateEntry(NamedTuple):
    """A decoded entry."""

    key: str | bytes
    value: Value
    #: False if the key or the value fits no layout.
    known: bool = True


def kind(name: str) -> str:
    """The kind of a file, by its name: ``cf_lock`` of ``cf_lock.lmdb.backup``."""
    return name.partition(".lmdb")[0]


def describe(name: str) -> str:
    """What a file of this name holds, as far as it is known."""
    return next((text for start, text in DESCRIPTIONS.items() if kind(name).startswith(start)), "")


def refusal(name: str, version: bytes | None, first: bytes) -> str | None:
    """Why the layout of a file is not known, going by its version and its first key; nothing if it is.

    CFEngine 3.21 writes no version for a while, but the layout of version 1.  In version 0 a key starts with a sign.
    """
    if kind(name) != "cf_lastseen":
        return None
    if version is None:
        return "version 0" if first.startswith((b"+", b"-")) else None
    known = text(version)
    return None if known in _LASTSEEN_VERSIONS else f"version {known}"


def decode(name: str, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[StateEntry]:
    """The entries of a file of this name."""
    layout = _LAYOUTS.get(kind(name), _text)
    for raw_key, raw in entries:
        key = _key(raw_key)
        value = None if key is None else layout(key, raw)
        if value is None:
            yield StateEntry(raw_key if key is None else key, raw, False)
        else:
            yield StateEntry(key, value)  # type: ignore[arg-type]  # a value was found for it, so it is text


def text(raw: bytes) -> str | None:
    """The text of these bytes, without the NUL at its end; nothing if they are not text."""
    try:
        found = raw.removesuffix(b"\0").decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(found) else found


def _key(raw: bytes) -> str | None:
    return text(raw) if raw.endswith(b"\0") else None


def _text(_key: str, raw: bytes) -> Value | None:
    return text(raw)


def _lastseen(key: str, raw: bytes) -> Value | None:
    if key == _VERSION or key.startswith("a"):
        return text(raw)
    if key.startswith("k") and _HOST_KEY.fullmatch(key, 1):
        return text(raw)
    if key.startswith(("qi", "qo")) and _HOST_KEY.fullmatch(key, 2):
        return _quality(raw)
    return None


def _quality(raw: bytes) -> Value | None:
    if len(raw) == _TIMED.size:
        return _timed("", raw)
    if len(raw) != _ACKNOWLEDGED.size:
        return None
    acknowledged, *fields = _ACKNOWLEDGED.unpack(raw)
    return None if acknowledged > 1 else {"acknowledged": bool(acknowledged), **_moment(*fields)}


def _timed(_key: str, raw: bytes) -> Value | None:
    return _moment(*_TIMED.unpack(raw)) if len(raw) == _TIMED.size else None


def _moment(time: int, last: float, expected: float, variance: float, change: float) -> dict[str, Any]:
    return {
        "time": time,
        "last": _number(last),
        "expected": _number(expected),
        "variance": _number(variance),
        "change": _number(change),
    }


def _number(value: float) -> float | str:
    """The number; JSON has none for infinity and what is not a number."""
    return value if math.isfinite(value) else str(value)


def _lock(_key: str, raw: bytes) -> Value | None:
    if len(raw) != _LOCK.size:
        return None
    pid, time, start = _LOCK.unpack(raw)
    return {"pid": pid, "time": time, "process_start": start}


def _class(_key: str, raw: bytes) -> Value | None:
    if len(raw) < _CLASS.size:
        return None
    expires, policy = _CLASS.unpack_from(raw)
    tags = text(raw[_CLASS.size :])
    if policy >= len(_POLICIES) or tags is None or (len(raw) > _CLASS.size and not raw.endswith(b"\0")):
        return None
    return {"expires": expires, "policy": _POLICIES[policy], "tags": tags}


_LAYOUTS: dict[str, Decode] = {"cf_lastseen": _lastseen, "cf_lock": _lock, "cf_state": _class, "performance": _timed}
