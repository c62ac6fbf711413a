"""One report of many checks' results, which a store takes whatever a single check did.  Pure."""

from collections.abc import Sequence

from ... import limits
from ...faults import FaultDict, encode
from .results import Result, monitor, worst


def faults(agent: str, results: Sequence[Result]) -> list[FaultDict]:
    """The faults of all results: each name once, with its most severe fault, and no more than a report may have.

    The check that takes the most room has it taken away, and a fault tells so.
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
    text = f"its {len(result.faults)} faults ({size} bytes) leave no room for the other checks' in one report"
    return result._replace(faults=[monitor(agent, result.file, result.section, "size", text)])


def _size(result: Result) -> int:
    """The bytes that the faults take in a report; each has a comma, and the list its brackets."""
    return len(encode(result.faults))
