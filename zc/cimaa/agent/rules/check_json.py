"""Parses JSON in which a check, or a user, reports faults: ``{"faults": [...]}``.  Pure.

A check may add ``metrics``, a list of objects with ``name``, ``value``, and optionally
``unit``.  A severity is a number or a name.  :func:`zc.cimaa.faults.report` validates the
faults.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ...errors import InvalidFault
from ...faults import parse_severity
from ...text import quoted, storable
from .perfdata import Metric


def load(text: str) -> Any:
    """The value of a JSON text; duplicate keys and ``NaN`` are errors.

    :raises InvalidFault: with the problem, and its line and column.
    """
    if not text.strip():
        raise InvalidFault("it is empty")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise InvalidFault(f"line {error.lineno}, column {error.colno}: {reason}") from None
    except RecursionError:
        raise InvalidFault("it is nested too deeply") from None
    except InvalidFault:
        raise
    except ValueError as error:  # a number with thousands of digits
        raise InvalidFault(f"it has an invalid number: {error}") from None


def faults(document: Any) -> list[Any]:
    """The faults of a document, with the number of each severity that is a name.

    :raises InvalidFault: if it has no list of faults, or the name of a severity is unknown.
    """
    if not isinstance(document, dict):
        raise InvalidFault(f"it must be an object with a list of 'faults', not {_kind(document)}")
    if "faults" not in document:
        keys = ", ".join(document)
        raise InvalidFault(f"it has no 'faults'; its keys are: {quoted(keys) if keys else 'none'}")
    if not isinstance(document["faults"], list):
        raise InvalidFault(f"its 'faults' must be a list, not {_kind(document['faults'])}")
    return [_numbered(fault) for fault in document["faults"]]


def listed(document: Any) -> list[Any]:
    """The faults of a document, which may also be a list of faults; see :func:`faults`."""
    return faults({"faults": document} if isinstance(document, list) else document)


def metrics(document: Any) -> list[Metric]:
    """The metrics of a document, if it has any.

    :raises InvalidFault: naming the invalid one.
    """
    items = document.get("metrics", []) if isinstance(document, dict) else []
    if not isinstance(items, list):
        raise InvalidFault(f"its 'metrics' must be a list, not {_kind(items)}")
    found = {metric.name: metric for metric in map(_metric, items)}
    if len(found) < len(items):
        raise InvalidFault("two of its 'metrics' have the same name")
    return list(found.values())


def _metric(item: Any) -> Metric:
    if not isinstance(item, dict) or not (isinstance(item.get("name"), str) and item["name"]):
        raise InvalidFault("each of its 'metrics' must be an object with a 'name' and a 'value'")
    name, value, unit = item["name"], item.get("value"), item.get("unit", "")
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.nan
    if not math.isfinite(number):
        raise InvalidFault(f"metric {quoted(name)}: its value must be a number, less than 1e308")
    if not isinstance(unit, str):
        raise InvalidFault(f"metric {quoted(name)}: its unit must be text")
    return Metric(storable(name), number, storable(unit))


def _numbered(fault: Any) -> Any:
    if not (isinstance(fault, dict) and isinstance(fault.get("severity"), str)):
        return fault
    try:
        return {**fault, "severity": parse_severity(fault["severity"])}
    except ValueError as error:
        raise InvalidFault(f"fault {quoted(str(fault.get('name', '')))}: {error}") from None


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise InvalidFault(f"an object has the key {quoted(twice)} twice")
    return made


def _no_constant(name: str) -> Any:
    raise InvalidFault(f"{name} is not valid in JSON")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
