"""A check's faults from one run to the next: errors escalate, and critical faults stay critical.  Pure.

All that is remembered of earlier runs is in the faults themselves, as the store keeps
them: an agent that restarts continues where the last process stopped.
"""

from collections.abc import Iterable, Sequence

from ... import limits
from ...faults import SEVERITIES, FaultDict
from ...naming import PART
from ...text import cut
from .check import Broken, Check, name_of, own_name, path
from .perfdata import Metric
from .results import CHECK, FAILURES, METRIC, Result, crossed, is_check_failure, uncounted
from .thresholds import crossings

CRITICAL, ERROR = SEVERITIES["critical"], SEVERITIES["error"]

#: An extra key of a fault, set in a check's JSON: false if the fault must not escalate.
ESCALATES = "escalates"


def advance(agent: str, check: Check, before: Iterable[FaultDict], result: Result) -> list[FaultDict]:
    """The check's faults after a run with this result; ``before`` are its faults before the run.

    A run in which the check failed cannot clear anything: earlier faults persist, so that
    errors are still counted and thresholds still hold.
    """
    was = {fault["name"]: fault for fault in before}
    now = {fault["name"]: _escalated(check, was.get(fault["name"]), fault) for fault in result.faults}
    if not result.complete:
        now = {name: fault for name, fault in was.items() if not is_check_failure(fault)} | now
    return [owned(agent, check, fault) for fault in now.values()]


def is_failing(faults: Iterable[FaultDict]) -> bool:
    """True if a check with these faults runs at its retry interval."""
    return any(fault["severity"] >= ERROR for fault in faults)


def owner(agent: str, checks: Iterable[Check], fault: FaultDict) -> Check | None:
    """The check that found a stored fault: the one that the fault names, else the one whose name it has."""
    if CHECK in fault:
        return next((check for check in checks if fault[CHECK] == path(check)), None)
    own = fault["name"].partition(PART)[0]
    return next((check for check in checks if own == name_of(agent, check)), None)


def kept(agent: str, broken: Broken, faults: Iterable[FaultDict]) -> list[FaultDict]:
    """The faults that persist while their check, or its whole file, cannot be read."""
    return [fault for fault in faults if not is_check_failure(fault) and _found_by(agent, broken, fault)]


def merge_stored(
    check: Check, faults: Iterable[FaultDict], stored: Iterable[FaultDict], metrics: Sequence[Metric], complete: bool
) -> list[FaultDict]:
    """The faults of a check that ran before the faults of an earlier process could be read from the store.

    They are the same as if those had been known from the start.  ``metrics`` are those of the
    last run; ``complete`` is true if any run since the start was complete.
    """
    was = {fault["name"]: fault for fault in stored if not is_check_failure(fault)}
    now = {fault["name"]: _continued(check, was.get(fault["name"]), fault) for fault in faults}
    if complete:
        held = {crossing.name for crossing in crossings(check.thresholds, metrics, crossed(was.values()))}
        was = {name: fault for name, fault in was.items() if fault.get(METRIC) in held}
    return list((was | now).values())


def _found_by(agent: str, broken: Broken, fault: FaultDict) -> bool:
    own, found_by = str(fault["name"]).partition(PART)[0], fault.get(CHECK)
    if broken.section:
        return own == name_of(agent, broken) if found_by is None else found_by == path(broken)
    if found_by is None:
        return own.startswith(f"{own_name(agent, broken)}/")
    return str(found_by).startswith(f"{broken.file}/")


def owned(agent: str, check: Check, fault: FaultDict) -> FaultDict:
    """The fault, with the check that found it where its name does not say so: a global name does not."""
    return fault if fault["name"].partition(PART)[0] == own_name(agent, check) else {**fault, CHECK: path(check)}


def _continued(check: Check, before: FaultDict | None, fault: FaultDict) -> FaultDict:
    """The fault, with the failures of the one before added."""
    if FAILURES not in fault:
        return fault
    uncounted_fault = {**fault, "message": uncounted(fault)}
    return _escalated(check, before, uncounted_fault, uncounted_fault.pop(FAILURES))


def _escalated(check: Check, before: FaultDict | None, fault: FaultDict, failures: int = 1) -> FaultDict:
    if is_check_failure(fault) or not ERROR <= fault["severity"] < CRITICAL:
        return fault
    if not check.escalates or fault.get(ESCALATES) is False:
        return fault
    failures += 0 if before is None else _failures(before)
    if failures > check.retry or (before is not None and before["severity"] >= CRITICAL):
        return {**fault, "severity": CRITICAL}
    return {**fault, "message": _counted(fault["message"], failures, check.retry + 1), FAILURES: failures}


def _failures(fault: FaultDict) -> int:
    failures = fault.get(FAILURES)
    return failures if isinstance(failures, int) else 0


def _counted(message: str, failures: int, most: int) -> str:
    suffix = f" ({failures} of {most})"
    return cut(message, limits.MESSAGE - len(suffix)) + suffix
