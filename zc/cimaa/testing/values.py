"""Hostile values: texts, numbers and reports at every limit and one beyond it."""

from typing import Any

from .. import limits
from ..faults import FaultDict, encode
from .tools import fault

#: Texts that are known to cause errors in some store or driver.
HOSTILE_TEXTS = {
    "apostrophe": "it's '' \" ` quoted",
    "sql": "'); DROP TABLE faults; --",
    "percent": "100 % %s %(name)s %% {0} {name} $1 :name ?",
    "backslash": "C:\\new\\table \\u0000 \\",
    "json": '{"a": [1, null]}',
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "newlines": "one\ntwo\r\nthree\u2028four",
    "spaces": "  leading and trailing \t",
    "combining": "e\u0301 \u00e9 \u212b \ufb01",
    "right to left": "\u202eabc \u05d0\u05d1",
    "zero width": "\u200b\ufeff\u2060",
    "noncharacters": "\ufffe\uffff",
    "astral": "\U0001f4a5 \U00010000 \U0010ffff",
    "glob": "* ? [a-z] _ .",
    "null words": "NULL None null undefined nan",
    "slashes": "//agent/file/section#name/../..",
}

#: Values that are returned as they were set, or at least equal.
VALUES = {
    "empty text": "",
    "text": "y",
    "zero": 0,
    "one": 1,
    "negative": -1,
    "largest integer": 2**63 - 1,
    "smallest integer": -(2**63),
    "beyond double": 2**53 + 1,
    "true": True,
    "false": False,
    "null": None,
    "float": 0.1,
    "whole float": 1.0,
    "negative zero": -0.0,
    "seventeen digits": 0.30000000000000004,
    "largest float": 1e125,
    "smallest float": 1e-130,
    "negative float": -1.5e-100,
    "empty list": [],
    "empty object": {},
    "list": [1, "two", 3.5, None, True, []],
    "object": {"a": {"b": [{"c": ""}]}, "Ä": 1},
    "kinds": [True, 1, False, 0],
    "long": "x" * 80_000,
}


def _nested(levels: int) -> Any:
    value: Any = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


def _sized(size: int, name: str = "sized") -> FaultDict:
    """A fault with an encoding of exactly ``size`` bytes."""
    bare = fault(name, message="", filler="")
    return bare | {"filler": "x" * (size - len(encode(bare)))}


def _report_sized(size: int) -> list[FaultDict]:
    """A report with an encoding of exactly ``size`` bytes: the faults, commas between them, and the brackets."""
    count = 20
    each, rest = divmod(size - count - 1, count)
    return [_sized(each + (rest if index == 0 else 0), f"sized{index:02}") for index in range(count)]


#: Reports at a limit: one more byte, level or fault would exceed it.
AT_LIMIT: dict[str, list[FaultDict]] = {
    "name": [fault("n" * limits.FAULT_NAME)],
    "name of four-byte characters": [fault("\U0001f4a5" * (limits.FAULT_NAME // 4))],
    "message": [fault("f", message="m" * limits.MESSAGE)],
    "message of three-byte characters": [fault("f", message="\u20ac" * (limits.MESSAGE // 3))],
    "key": [fault("f") | {"k" * limits.EXTRA_KEY: 1}],
    "nesting": [fault("f", deep=_nested(limits.NESTING))],
    "severities": [fault("low", severity=-(2**63)), fault("high", severity=2**63 - 1)],
    "size of a fault": [_sized(limits.FAULT)],
    "size of a report": _report_sized(limits.REPORT),
    "faults": [fault(f"f{index:05}", message="") for index in range(limits.FAULTS)],
}

#: Reports that break one rule each.
REFUSED: dict[str, Any] = {
    "name too long": [fault("n" * (limits.FAULT_NAME + 1))],
    "name too long in bytes": [fault("\u20ac" * (limits.FAULT_NAME // 3 + 1))],
    "name empty": [fault("")],
    "name missing": [{"severity": 40, "message": "m"}],
    "name no text": [fault(7)],  # type: ignore[arg-type]
    "name bytes": [fault(b"f")],  # type: ignore[arg-type]
    "name with NUL": [fault("f\0")],
    "name with half a surrogate pair": [fault("f\ud800")],
    "two of one name": [fault("f"), fault("g"), fault("f", severity=50)],
    "message too long": [fault("f", message="m" * (limits.MESSAGE + 1))],
    "message missing": [{"name": "f", "severity": 40}],
    "message none": [fault("f", message=None)],  # type: ignore[arg-type]
    "message with NUL": [fault("f", message="a\0b")],
    "message with half a surrogate pair": [fault("f", message="\udfff")],
    "severity missing": [{"name": "f", "message": "m"}],
    "severity text": [fault("f", severity="40")],  # type: ignore[arg-type]
    "severity true": [fault("f", severity=True)],
    "severity float": [fault("f", severity=40.0)],  # type: ignore[arg-type]
    "severity too large": [fault("f", severity=2**63)],
    "severity too small": [fault("f", severity=-(2**63) - 1)],
    "integer too large": [fault("f", x=2**63)],
    "integer too large within": [fault("f", x=[{"y": -(2**63) - 1}])],
    "float infinite": [fault("f", x=float("inf"))],
    "float no number": [fault("f", x=float("nan"))],
    "float too large": [fault("f", x=1.1e125)],
    "float too small": [fault("f", x=-0.9e-130)],
    "text with NUL": [fault("f", x=["\0"])],
    "key with NUL": [fault("f", x={"\0": 1})],
    "key empty": [fault("f") | {"": 1}],
    "key empty within": [fault("f", x={"": 1})],
    "key no text": [fault("f", x={1: 1})],
    "key with half a surrogate pair": [fault("f") | {"\ud800": 1}],
    "key too long": [fault("f") | {"k" * (limits.EXTRA_KEY + 1): 1}],
    "nested too deep": [fault("f", deep=_nested(limits.NESTING + 1))],
    "tuple": [fault("f", x=(1, 2))],
    "bytes": [fault("f", x=b"b")],
    "object": [fault("f", x=object())],
    "set": [fault("f", x={1})],
    "agent of another": [fault("f", agent="another")],
    "fault too large": [_sized(limits.FAULT + 1)],
    "report too large": _report_sized(limits.REPORT + 1),
    "too many faults": [fault(f"f{index:05}") for index in range(limits.FAULTS + 1)],
    "fault no dict": ["f"],
    "report no list": fault("f"),
    "report text": "f",
    "report none": None,
}

#: Invalid names of agents.
BAD_AGENTS = {
    "empty": "",
    "underscore": "_",
    "too long": "a" * (limits.AGENT + 1),
    "too long in bytes": "\u20ac" * (limits.AGENT // 3 + 1),
    "NUL": "a\0",
    "half a surrogate pair": "a\udc00",
    "bytes": b"a",
    "none": None,
}
