"""Combines the results of all checks in one report within the limits of a store.  Pure."""

from collections.abc import Sequence

from ... import limits
from ...faults import FaultDict, encode
from .results import Result, check_failure, worst


def faults(agent: str, results: Sequence[Result]) -> list[FaultDict]:
    """The faults of all results: the most severe fault of each name, within the limits of a report.

    If they exceed the limits, the faults of the check with the largest share are replaced with one that says so.
    """
    return list(worst(fault for result in _fitting(agent, results) for fault in result.faults).values())


def _fitting(agent: str, results: Sequence[Result]) -> list[Result]:
    fitting = list(results)
    sizes, counts = [_size(result) for result in results], [len(result.faults) for result in results]
    size, count = sum(sizes), sum(counts)
    shares = [max(sizes[i] / limits.REPORT, counts[i] / limits.FAULTS) for i in range(len(results))]
    for index in sorted(range(len(results)), key=shares.__getitem__, reverse=True):
        if size <= limits.REPORT and count <= limits.FAULTS:
            break
        fitting[index] = _instead(agent, results[index], sizes[index])
        size += _size(fitting[index]) - sizes[index]
        count += 1 - counts[index]
    return fitting


def _instead(agent: str, result: Result, size: int) -> Result:
    text = f"its {len(result.faults)} faults ({size} bytes) do not fit in one report with those of the other checks"
    return result._replace(faults=[check_failure(agent, result, "size", text)])


def _size(result: Result) -> int:
    """The bytes that the faults take in a report, with a comma each."""
    return len(encode(result.faults))
