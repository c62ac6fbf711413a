"""What becomes of a check's faults from one run to the next: errors escalate, and what is critical stays.  Pure.

All that must be known of the past is in the faults themselves, as a store keeps
them, so that an agent that starts again goes on where the last one ended.
"""

from collections.abc import Iterable, Sequence

from ... import limits
from ...faults import CRITICAL, ERROR, FaultDict
from ...naming import PART, check_fault_name, fault_name
from ...text import cut
from ..check_files import Broken, Check
from .perfdata import Metric
from .results import CHECK, FAILURES, METRIC, Result, crossed, is_monitor, uncounted
from .thresholds import crossings

#: An extra key of a fault: it is not to escalate (a check says so in its JSON).
ESCALATES = "escalates"


def advance(agent: str, check: Check, before: Iterable[FaultDict], result: Result) -> list[FaultDict]:
    """The check's faults after a run with this result, when it had those ``before``.

    A run in which the check misbehaved does not tell what is over: all that was found
    before stands as it stood, so that errors still count and thresholds still hold.
    """
    was = {fault["name"]: fault for fault in before}
    now = {fault["name"]: _escalated(check, was.get(fault["name"]), fault) for fault in result.faults}
    if not result.told:
        now = {name: fault for name, fault in was.items() if not is_monitor(fault)} | now
    return [owned(agent, check, fault) for fault in now.values()]


def is_failing(faults: Iterable[FaultDict]) -> bool:
    """True if a check with these faults should be tried again soon."""
    return any(fault["severity"] >= ERROR for fault in faults)


def owner(agent: str, checks: Iterable[Check], fault: FaultDict) -> Check | None:
    """Which of the agent's checks found a fault that the store had: the one that it names, else by its own name."""
    if CHECK in fault:
        return next((check for check in checks if fault[CHECK] == _path(check)), None)
    own = fault["name"].partition(PART)[0]
    return next((check for check in checks if own == check_fault_name(agent, check.file, check.section)), None)


def kept(agent: str, broken: Broken, faults: Iterable[FaultDict]) -> list[FaultDict]:
    """Those of the faults that stay while their check, or its whole file, cannot be read: all that the checks found."""
    return [fault for fault in faults if not is_monitor(fault) and _found_by(agent, broken, fault)]


def resumed(
    check: Check, faults: Iterable[FaultDict], stored: Iterable[FaultDict], metrics: Sequence[Metric], complete: bool
) -> list[FaultDict]:
    """The faults of a check that ran before the agent could ask the store for those of an earlier process.

    They are what they were if it had known them from the start.  ``metrics`` are those
    of the last run; ``complete`` is true if a run since the start did not fail.
    """
    was = {fault["name"]: fault for fault in stored if not is_monitor(fault)}
    now = {fault["name"]: _continued(check, was.get(fault["name"]), fault) for fault in faults}
    if complete:
        held = {crossing.name for crossing in crossings(check.thresholds, metrics, crossed(was.values()))}
        was = {name: fault for name, fault in was.items() if fault.get(METRIC) in held}
    return list((was | now).values())


def _found_by(agent: str, broken: Broken, fault: FaultDict) -> bool:
    own, path = str(fault["name"]).partition(PART)[0], fault.get(CHECK)
    if broken.section:
        name = check_fault_name(agent, broken.file, broken.section)
        return own == name if path is None else path == f"{broken.file}/{broken.section}"
    if path is None:
        return own.startswith(f"{fault_name(agent, broken.file)}/")
    return str(path).startswith(f"{broken.file}/")


def owned(agent: str, check: Check, fault: FaultDict) -> FaultDict:
    """The fault, with the check that told it if its name does not say so, as a global one does not."""
    own = fault_name(agent, check.file, check.section)
    return fault if fault["name"].partition(PART)[0] == own else {**fault, CHECK: _path(check)}


def _path(check: Check) -> str:
    return f"{check.file}/{check.section}"


def _continued(check: Check, before: FaultDict | None, fault: FaultDict) -> FaultDict:
    """The fault, with its failures counted on from those of the one before."""
    if FAILURES not in fault:
        return fault
    uncounted_fault = {**fault, "message": uncounted(fault)}
    return _escalated(check, before, uncounted_fault, uncounted_fault.pop(FAILURES))


def _escalated(check: Check, before: FaultDict | None, fault: FaultDict, failures: int = 1) -> FaultDict:
    if is_monitor(fault) or not ERROR <= fault["severity"] < CRITICAL:
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
