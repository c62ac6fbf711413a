"""From what a check did to the faults that follow.  Pure.

A check tells its result by the exit status and the first line of its output, as
Nagios' plugins do, or by JSON on its output.  Whatever else it does is a fault
of its own, whose name ends in ``#monitor-`` and the kind of misbehaviour.
"""

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ... import faults
from ...checks import Problem
from ...errors import InvalidFault
from ...faults import SEVERITIES, Fault
from ...naming import check_fault_name, fault_name, message
from ...text import quoted
from ...units import format_duration, format_size
from ..check_files import Broken, Check
from . import check_json, perfdata, thresholds
from .perfdata import Metric
from .perfdata import message as first_line
from .thresholds import Crossing

ERROR, WARNING = SEVERITIES["error"], SEVERITIES["warning"]

#: The exit statuses of Nagios' plugins (OK, WARNING, CRITICAL, UNKNOWN), and the severities they stand for.
#: A status alone makes nothing critical; JSON may.
STATUSES = {0: None, 1: SEVERITIES["warning"], 2: ERROR, 3: ERROR}

# How JSON begins that has faults: an object, or a list of them.  (Nagios' "[OK] fine" is none.)
_JSON = re.compile(r"\{|\[\s*[]{]")


#: Extra keys of faults, which the agent itself reads when it starts again: how often in a row it failed so far, and
#: the metric that crossed a threshold, and the severity of that.
FAILURES = "failures"
METRIC = "metric"
CROSSED = "crossed"
#: Others: which check found it, what each alerter sent about it, in which way the check failed to do its work (the
#: fault's part without ``monitor-``), and which alerter fails.
CHECK = "check"
TRIGGERED_KEY = "triggered"
CHECK_FAILURE = "check_failure"
ALERTER = "alerter"

# What a check's JSON cannot set, as the agent would take it for its own.
_RESERVED = frozenset({FAILURES, METRIC, CROSSED, CHECK, TRIGGERED_KEY, CHECK_FAILURE, ALERTER})

_COUNT = re.compile(r" \([0-9]+ of [0-9]+\)$")


class Finished(NamedTuple):
    """The check came to its end."""

    #: The exit status; negative: the number of the signal that killed it.
    status: int
    output: bytes
    #: The start of what it wrote on standard error.
    errors: bytes
    #: The names of processes that the check left behind, and that could not be ended.
    left: tuple[str, ...] = ()


class TimedOut(NamedTuple):
    """The check was killed, because it took longer than this (seconds)."""

    timeout: float
    #: The names of processes that the check left behind, and that could not be ended.
    left: tuple[str, ...] = ()


class Flooded(NamedTuple):
    """The check was killed, because it wrote more than so many bytes."""

    limit: int
    #: The names of processes that the check left behind, and that could not be ended.
    left: tuple[str, ...] = ()


class NotStarted(NamedTuple):
    """The check could not be run."""

    reason: str


Outcome: TypeAlias = Finished | TimedOut | Flooded | NotStarted


class Result(NamedTuple):
    """The faults that one check found, or that were found with it."""

    file: str
    section: str
    faults: list[Fault]
    #: What it measured.
    metrics: Sequence[Metric] = ()
    #: False if the check misbehaved: then what it does not tell of may still stand.
    told: bool = True


def of_outcome(agent: str, check: Check, outcome: Outcome, before: Iterable[Fault] = ()) -> Result:
    """What follows from what a check did, after the faults that it had ``before``."""
    found = list(_faults(agent, check, outcome))
    measured = _metrics(check, outcome)
    told = not any(is_monitor(fault) and fault["severity"] >= ERROR for fault in found)
    if told or measured:
        found += _judged(agent, check, measured, before)
    # Of a fault in the JSON and a threshold that is as bad the threshold counts, as it may hold.
    by_name = {fault["name"]: fault for fault in sorted(found, key=lambda fault: fault["severity"])}
    return Result(check.file, check.section, list(by_name.values()), measured, told)


def of_broken(agent: str, broken: Broken) -> Result:
    """What follows from a check that cannot be understood."""
    kind = "options" if broken.section else "file"
    return Result(broken.file, broken.section, [monitor(agent, broken.file, broken.section, kind, broken.reason)])


def of_findings(agent: str, file: str, section: str, findings: Iterable[Problem]) -> Result:
    """What follows from what a check of zc.cimaa's own found."""
    found = [fault(fault_name(agent, file, section, f.name), f.severity, f.message) for f in findings]
    return Result(file, section, found)


def worst(found: Iterable[Fault]) -> dict[str, Fault]:
    """The faults by name; of several with one name the most severe, of equally severe ones the first."""
    by_name: dict[str, Fault] = {}
    for each in found:
        if each["name"] not in by_name or by_name[each["name"]]["severity"] < each["severity"]:
            by_name[each["name"]] = each
    return by_name


def is_monitor(fault: Fault) -> bool:
    """True if the fault is that a check misbehaves."""
    return CHECK_FAILURE in fault


def monitor(agent: str, file: str, section: str, kind: str, text: str) -> Fault:
    """The fault that a check misbehaves."""
    return {**fault(fault_name(agent, file, section, f"monitor-{kind}"), ERROR, text), CHECK_FAILURE: kind}


def fault(name: str, severity: int, text: str) -> Fault:
    """A fault, with as much of the message as a store takes."""
    return {"name": name, "severity": severity, "message": message(text)}


def _faults(agent: str, check: Check, outcome: Outcome) -> Iterable[Fault]:
    if isinstance(outcome, Finished):
        yield from _finished(agent, check, outcome)
    else:
        yield monitor(agent, check.file, check.section, *_misbehaviour(outcome))
    if not isinstance(outcome, NotStarted) and outcome.left:
        # No more than a warning, as what the check found counts.
        text = f"it left processes behind that could not be ended: {', '.join(outcome.left)}"
        yield {**monitor(agent, check.file, check.section, "left", text), "severity": WARNING}


def _misbehaviour(outcome: TimedOut | Flooded | NotStarted) -> tuple[str, str]:
    match outcome:
        case TimedOut(timeout):
            return "timeout", f"it was killed after {format_duration(timeout)}"
        case Flooded(limit):
            return "output", f"it was killed when it had written more than {format_size(limit)}"
        case NotStarted(reason):
            return "command", reason


def _finished(agent: str, check: Check, outcome: Finished) -> Iterable[Fault]:
    output = outcome.output.decode(errors="replace").strip()
    if _JSON.match(output):
        yield from _json(agent, check, outcome.status, output)
    elif (severity := STATUSES.get(outcome.status)) and (text := first_line(output)):
        yield fault(check_fault_name(agent, check.file, check.section), severity, text)
    if outcome.status in STATUSES:
        yield from _unclean(agent, check, outcome, output)
    else:
        yield monitor(agent, check.file, check.section, "status", f"{_ending(outcome.status)}{_said(output, outcome)}")


def _unclean(agent: str, check: Check, outcome: Finished, output: str) -> Iterable[Fault]:
    """The fault that a check wrote nothing, or wrote on standard error too."""
    if not (first_line(output) if outcome.status else output):
        text = f"exit status {outcome.status}, and no output{_on_stderr(outcome)}"
        yield monitor(agent, check.file, check.section, "output", text)
    elif line := _first_error(outcome):
        # No more than a warning, for what it found is told all the same.
        text = f"it wrote on standard error: {line}"
        yield {**monitor(agent, check.file, check.section, "stderr", text), "severity": WARNING}


def _metrics(check: Check, outcome: Outcome) -> list[Metric]:
    if not isinstance(outcome, Finished):
        return []
    output = outcome.output.decode(errors="replace").strip()
    if not _JSON.match(output):
        return perfdata.metrics(output) if check.nagios_performance else []
    try:
        return check_json.metrics(check_json.load(output))
    except InvalidFault:  # told as a fault already
        return []


def _judged(agent: str, check: Check, measured: Sequence[Metric], before: Iterable[Fault]) -> Iterable[Fault]:
    for crossing in thresholds.crossings(check.thresholds, measured, crossed(before)):
        name = check_fault_name(agent, check.file, check.section, crossing.name)
        yield {**fault(name, crossing.severity, crossing.message), METRIC: crossing.name, CROSSED: crossing.severity}
    if missed := thresholds.missing(check.thresholds, measured):
        text = f"it has thresholds for what it did not measure: {', '.join(missed)}"
        yield monitor(agent, check.file, check.section, "metric", text)


def crossed(before: Iterable[Fault]) -> Mapping[str, Crossing]:
    """The crossings, by the metric's name, that these faults came from."""
    return {
        fault[METRIC]: Crossing(fault[METRIC], fault[CROSSED], uncounted(fault))
        for fault in before
        if isinstance(fault.get(METRIC), str) and isinstance(fault.get(CROSSED), int)  # a user may report anything
    }


def uncounted(fault: Fault) -> str:
    """The fault's message, without the count of its failures."""
    text: str = fault["message"]
    return _COUNT.sub("", text) if FAILURES in fault else text


def _json(agent: str, check: Check, status: int, output: str) -> Iterable[Fault]:
    try:
        document = check_json.load(output)
        found = [_named(agent, check, told) for told in check_json.listed(document)]
        check_json.metrics(document)
        yield from faults.report(agent, found).faults()
    except InvalidFault as error:
        yield monitor(agent, check.file, check.section, "json", f"the JSON that it wrote cannot be used: {error}")
        return
    if STATUSES.get(status) and not found:
        text = f"exit status {status}, but the JSON that it wrote has no fault"
        yield monitor(agent, check.file, check.section, "status", text)


def _named(agent: str, check: Check, told: Any) -> Any:
    """A fault as the check told it, under its full name, with what it left out."""
    if not isinstance(told, dict):
        return told
    name, text = told.get("name", ""), told.get("message")
    if not isinstance(name, str):
        raise InvalidFault(f"a fault's name must be text, not {quoted(repr(name))}")
    own = {key: value for key, value in told.items() if key not in _RESERVED}
    full = {"severity": ERROR, **own, "name": check_fault_name(agent, check.file, check.section, name)}
    return {**full, "message": message(text)} if isinstance(text, str) else full


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}, which is none of 0 to 3"
    try:
        return f"it was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was killed by signal {-status}"


def _said(output: str, outcome: Finished) -> str:
    line = first_line(output)
    return f"; it wrote: {line}" if line else _on_stderr(outcome)


def _on_stderr(outcome: Finished) -> str:
    line = _first_error(outcome)
    return f"; on standard error: {line}" if line else ""


def _first_error(outcome: Finished) -> str:
    return next(iter(outcome.errors.decode(errors="replace").strip().splitlines()), "")
