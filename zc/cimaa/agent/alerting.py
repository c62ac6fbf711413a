"""Which alerts are due, and how a report remembers those that were passed on.  Pure.

What an alerter was told is kept with the fault: ``triggered`` has, for each alerter
that was told of it, a digest of the message.  A fault that is over stays in the
report, as mere information, until every alerter that was told of it knows.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from ..alerters import RESOLVED, TRIGGERED, Alert
from ..faults import SEVERITIES, Fault
from .naming import fault_name
from .results import fault as make_fault

CRITICAL, INFO = SEVERITIES["critical"], SEVERITIES["info"]

#: The extra key of a fault that people were alerted of.
KEY = "triggered"
#: What stands for the file in the names of the alerters' own faults.
ALERTERS = "alerters"

#: Of each fault that an alerter was told of, by name, the digest of the message.
Told = Mapping[str, str]


def digest(message: str) -> str:
    """16 hexadecimal digits, the same for the same message."""
    return blake2b(message.encode(), digest_size=8).hexdigest()


def due(
    agent: str, alerter: str, told: Told, faults: Mapping[str, Fault], silenced: Callable[[str], object], now: int
) -> list[Alert]:
    """The alerts that the alerter should pass on: first what is new, then what is over.

    A squelch keeps a fault from being triggered, not from being resolved.  No alerter
    is told that it fails itself.
    """
    own = own_name(agent, alerter)
    critical = {name: f for name, f in faults.items() if f["severity"] >= CRITICAL and name != own}
    alerts = [
        Alert(TRIGGERED, name, agent, name, f["severity"], f["message"], now)
        for name, f in sorted(critical.items())
        if told.get(name) != digest(f["message"]) and not silenced(name)
    ]
    for name in sorted(told.keys() - critical.keys()):
        left = faults.get(name)
        severity, message = (INFO, "it is over") if left is None else (left["severity"], left["message"])
        alerts.append(Alert(RESOLVED, name, agent, name, severity, message, now))
    return alerts


def own_name(agent: str, alerter: str) -> str:
    """The name of the fault that this alerter fails."""
    return fault_name(agent, ALERTERS, alerter)


def marked(fault: Fault, told: Mapping[str, Told]) -> Fault:
    """The fault with what each alerter was told of it."""
    name = fault["name"]
    marks = {alerter: names[name] for alerter, names in told.items() if name in names}
    return {**fault, KEY: marks} if marks else {key: value for key, value in fault.items() if key != KEY}


def lingering(names: Iterable[str], told: Mapping[str, Told]) -> list[Fault]:
    """What stands for the faults that are over (not among ``names``) while some alerter must still learn of it."""
    over = {name for known in told.values() for name in known} - set(names)
    return [marked(make_fault(name, INFO, "it is over; the alerters are being told"), told) for name in sorted(over)]


def remembered(alerters: Iterable[str], stored: Iterable[Fault]) -> dict[str, dict[str, str]]:
    """What each of the alerters was told, by the faults that the store has."""
    told: dict[str, dict[str, str]] = {alerter: {} for alerter in alerters}
    for fault in stored:
        marks = fault.get(KEY)
        for alerter, mark in marks.items() if isinstance(marks, dict) else ():
            if alerter in told:
                told[alerter][fault["name"]] = str(mark)
    return told
