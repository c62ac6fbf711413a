"""Which alerts are due, and how reports record those that were sent.  Pure.

``triggered``, an extra key of a fault, has for each alerter the digest of the message
that it sent.  The digest is empty while an alert about the fault is due or being sent: a
daemon that starts with that triggers the fault again if it is critical, and resolves it
if it is not, because it is unknown whether that alert was sent.  A fault that is over
stays in the report, with severity ``info``, until every alerter has resolved it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from ...alerters import RESOLVED, TRIGGERED, Alert
from ...faults import SEVERITIES, FaultDict
from ...history import TRIGGERED_KEY
from ...naming import fault_name
from ...text import hex_digest
from .results import ALERTER, make_fault

CRITICAL, INFO = SEVERITIES["critical"], SEVERITIES["info"]

#: The file part in the names of faults that report failing alerters.
ALERTERS = "alerters"

#: By the name of each fault that an alerter triggered, the digest of the message; empty: it is unknown what was sent.
Sent = Mapping[str, str]


def digest(message: str) -> str:
    """16 hexadecimal digits, the same for the same message."""
    return hex_digest(message, 8)


def due(
    agent: str, alerter: str, sent: Sent, faults: Mapping[str, FaultDict], silenced: Callable[[str], object], now: int
) -> list[Alert]:
    """The alerts that the alerter has to send: first what is new, then what is over.

    A squelched fault is not triggered, but it is resolved.  An alerter does not send the
    fault that reports its own failure.
    """
    critical = {name: f for name, f in faults.items() if f["severity"] >= CRITICAL and f.get(ALERTER) != alerter}
    alerts = [
        _alert(TRIGGERED, agent, name, f["severity"], f["message"], now)
        for name, f in sorted(critical.items())
        if sent.get(name) != digest(f["message"]) and not silenced(name)
    ]
    for name in sorted(sent.keys() - critical.keys()):
        left = faults.get(name)
        severity, message = (INFO, "it is over") if left is None else (left["severity"], left["message"])
        alerts.append(_alert(RESOLVED, agent, name, severity, message, now))
    return alerts


def farewell(agent: str, sent: Sent, now: int) -> list[Alert]:
    """The alerts that the alerter has to send before the agent is removed: all faults are resolved."""
    text = f"the agent {agent} was stopped and removed: the fault is no longer monitored"
    return [_alert(RESOLVED, agent, name, INFO, text, now) for name in sorted(sent)]


def _alert(event: str, agent: str, name: str, severity: int, message: str, now: int) -> Alert:
    return Alert(event=event, key=name, agent=agent, name=name, severity=severity, message=message, time=now)


def failure(agent: str, alerter: str, message: str) -> FaultDict:
    """The fault that reports the failure of an alerter."""
    return {**make_fault(fault_name(agent, ALERTERS, alerter), CRITICAL, message), ALERTER: alerter}


def marked(fault: FaultDict, sent: Mapping[str, Sent], pending: Mapping[str, Collection[str]]) -> FaultDict:
    """The fault with what each alerter sent about it.

    ``pending`` has, for each alerter, the faults about which an alert is due or being sent.
    """
    name, marks = fault["name"], {}
    for alerter, known in sent.items():
        if name in pending[alerter]:
            marks[alerter] = ""
        elif name in known:
            marks[alerter] = known[name] if fault["severity"] >= CRITICAL else ""
    return {**fault, TRIGGERED_KEY: marks} if marks else {k: v for k, v in fault.items() if k != TRIGGERED_KEY}


def pending_resolutions(
    names: Iterable[str], sent: Mapping[str, Sent], pending: Mapping[str, Collection[str]]
) -> list[FaultDict]:
    """A fault for each one that is over (not among ``names``) and that not every alerter has resolved."""
    over = {name for known in sent.values() for name in known} - set(names)
    text = "it is over; not every alerter has resolved it yet"
    return [marked(make_fault(name, INFO, text), sent, pending) for name in sorted(over)]


def remembered(alerters: Iterable[str], stored: Iterable[FaultDict]) -> dict[str, dict[str, str]]:
    """What each of the alerters sent, according to the faults in the store."""
    sent: dict[str, dict[str, str]] = {alerter: {} for alerter in alerters}
    for fault in stored:
        marks = fault.get(TRIGGERED_KEY)
        for alerter, mark in marks.items() if isinstance(marks, dict) else ():
            if alerter in sent:
                sent[alerter][fault["name"]] = str(mark)
    return sent
