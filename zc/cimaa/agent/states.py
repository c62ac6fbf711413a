"""What becomes of a check's faults from one run to the next: errors escalate, and what is critical stays.  Pure.

All that must be known of the past is in the faults themselves, as a store keeps
them, so that an agent that starts again goes on where the last one ended.
"""

from collections.abc import Iterable

from .. import limits
from ..faults import SEVERITIES, Fault
from .files import Broken, Check
from .naming import PART, check_fault_name, cut, fault_name
from .results import FAILURES, Result, is_monitor, uncounted

CRITICAL, ERROR = SEVERITIES["critical"], SEVERITIES["error"]

#: Extra keys of a fault: it is not to escalate (a check says so in its JSON), and which check tells it.
ESCALATES = "escalates"
CHECK = "check"


def advance(agent: str, check: Check, before: Iterable[Fault], result: Result) -> list[Fault]:
    """The check's faults after a run with this result, when it had those ``before``."""
    was = {fault["name"]: fault for fault in before}
    now = {fault["name"]: _escalated(check, was.get(fault["name"]), fault) for fault in result.faults}
    if not result.told:
        now = {name: fault for name, fault in was.items() if fault["severity"] >= CRITICAL} | now
    return [owned(agent, check, fault) for fault in now.values()]


def is_failing(faults: Iterable[Fault]) -> bool:
    """True if a check with these faults should be tried again soon."""
    return any(fault["severity"] >= ERROR for fault in faults)


def owner(agent: str, checks: Iterable[Check], fault: Fault) -> Check | None:
    """Which of the agent's checks told a fault that the store had."""
    own, told = fault["name"].partition(PART)[0], fault.get(CHECK)
    by_name = (check for check in checks if own == check_fault_name(agent, check.file, check.section))
    return next(by_name, None) or next((check for check in checks if told == _path(check)), None)


def kept(agent: str, broken: Broken, faults: Iterable[Fault]) -> list[Fault]:
    """Those of the faults that stay while their check, or its whole file, cannot be understood: what was critical."""
    return [fault for fault in faults if fault["severity"] >= CRITICAL and _told_by(agent, broken, fault)]


def mended(faults: Iterable[Fault], stored: Iterable[Fault]) -> list[Fault]:
    """The faults of a check that ran before the agent knew those that the store has: what is critical there stays."""
    critical = {fault["name"] for fault in stored if fault["severity"] >= CRITICAL}
    return [
        {**fault, "severity": CRITICAL, "message": uncounted(fault)}
        if fault["name"] in critical and FAILURES in fault
        else fault
        for fault in faults
    ]


def _told_by(agent: str, broken: Broken, fault: Fault) -> bool:
    own, told = fault["name"].partition(PART)[0], str(fault.get(CHECK, ""))
    if broken.section:
        return check_fault_name(agent, broken.file, broken.section) == own or told == f"{broken.file}/{broken.section}"
    return own.startswith(f"{fault_name(agent, broken.file)}/") or told.startswith(f"{broken.file}/")


def owned(agent: str, check: Check, fault: Fault) -> Fault:
    """The fault, with the check that told it if its name does not say so, as a global one does not."""
    own = fault_name(agent, check.file, check.section)
    return fault if fault["name"].partition(PART)[0] == own else {**fault, CHECK: _path(check)}


def _path(check: Check) -> str:
    return f"{check.file}/{check.section}"


def _escalated(check: Check, before: Fault | None, fault: Fault) -> Fault:
    if is_monitor(fault) or not ERROR <= fault["severity"] < CRITICAL:
        return fault
    if not check.escalates or fault.get(ESCALATES) is False:
        return fault
    failures = 1 if before is None else _failures(before) + 1
    if failures > check.retry or (before is not None and before["severity"] >= CRITICAL):
        return {**fault, "severity": CRITICAL}
    return {**fault, "message": _counted(fault["message"], failures, check.retry + 1), FAILURES: failures}


def _failures(fault: Fault) -> int:
    failures = fault.get(FAILURES)
    return failures if isinstance(failures, int) else 0


def _counted(message: str, failures: int, most: int) -> str:
    suffix = f" ({failures} of {most})"
    return cut(message, limits.MESSAGE - len(suffix)) + suffix
