"""The last reports of a process's agents: a report that repeats one needs no new digest.  Pure."""

from typing import Final

from .faults import Report

# How many bytes the memory takes at most; nearly always it has the report of one agent.
_MOST: Final = 4 * 1024 * 1024
# What each report takes besides its encoding: the objects, and its place in the dictionary.
_EACH: Final = 400


class RecentReports:
    """The last valid report of each agent, as long as there is room for all of them."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._size = 0

    def get(self, agent: str) -> Report | None:
        """The agent's last report, if it is remembered."""
        return self._reports.get(agent)

    def put(self, agent: str, report: Report) -> None:
        """Remember the agent's report."""
        before = self._reports.pop(agent, None)
        self._size += _size(report) - (_size(before) if before is not None else 0)
        if self._size > _MOST:
            self._reports.clear()
            self._size = _size(report)
        encoded = bytes(memoryview(report.encoded))  # a copy: orjson's own takes 4 KiB at least
        self._reports[agent] = Report(encoded, report.digest)


def _size(report: Report) -> int:
    return len(report.encoded) + _EACH
