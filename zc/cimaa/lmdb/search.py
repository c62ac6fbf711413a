"""Finds faults without decoding what is left out.  Pure."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from .. import faults, squelches
from ..faults import FaultDict
from . import records

Stored: TypeAlias = Iterable[tuple[bytes, bytes]]


def find_faults(stored: Stored, severity: int | None, pattern: str | None, limit: int | None) -> list[FaultDict]:
    """Faults from the records of all agents, in the order and by the rules of ``DB.find_faults``."""
    matches = None if pattern is None else squelches.searching(pattern)
    if limit is not None:
        return _worst(stored, severity, matches, limit)
    found: list[FaultDict] = []
    for agent, listed in _chosen(stored, severity, matches):  # records come sorted by agent, and faults by name
        for fault in listed:
            fault["agent"] = agent
        found += listed
    return faults.ranked(found)


def _chosen(stored: Stored, severity: int | None, matches: Any) -> Iterator[tuple[str, list[FaultDict]]]:
    for key, value in stored:
        if severity is None or records.worst(value)[0] >= severity:
            listed = records.decode_faults(value)
            if severity is not None:
                listed = [fault for fault in listed if fault["severity"] >= severity]
            if matches is not None:
                listed = [fault for fault in listed if matches(fault["name"])]
            yield records.name(key), listed


def _worst(stored: Stored, severity: int | None, matches: Any, limit: int) -> list[FaultDict]:
    """At most ``limit`` faults; an agent's are decoded only if the worst of them could be in the result."""
    heap: list[tuple[int, int, int, FaultDict]] = []  # the least severe, and the latest, first

    def could_be_listed(value: bytes) -> bool:
        worst, since = records.worst(value)
        return len(heap) < limit or (worst, -since) > heap[0][:2]

    count = 0
    if limit:
        candidates = ((key, value) for key, value in stored if could_be_listed(value))
        for agent, listed in _chosen(candidates, severity, matches):
            for fault in listed:
                count -= 1  # records come sorted: of equals the first stays
                entry = (fault["severity"], -fault["since"], count, {**fault, "agent": agent})
                if len(heap) < limit:
                    heapq.heappush(heap, entry)
                elif entry[:3] > heap[0][:3]:
                    heapq.heapreplace(heap, entry)
    return [entry[3] for entry in sorted(heap, key=lambda entry: entry[:3], reverse=True)]
