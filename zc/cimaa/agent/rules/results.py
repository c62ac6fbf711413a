"""From what a check did to the faults that follow.  Pure.

A check reports its result by the exit status and the first line of its output, as
Nagios plugins do, or as JSON on its output.  Anything else is a failure of the check: a
fault of its own, whose name ends in ``#monitor-`` and the kind of failure.
"""

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ... import faults
from ...checks import Problem
from ...errors import InvalidFault
from ...faults import SEVERITIES, FaultDict
from ...history import TRIGGERED_KEY
from ...naming import fault_name, message
from ...outcomes import Finished, Flooded, NotStarted, Outcome, TimedOut
from ...text import quoted
from ...units import format_duration, format_size
from . import check_json, perfdata, thresholds
from .check import Broken, Check, Named, name_of
from .perfdata import Metric, first_line
from .thresholds import Crossing

ERROR, WARNING, INFO = SEVERITIES["error"], SEVERITIES["warning"], SEVERITIES["info"]

#: The severity for each exit status of a Nagios plugin (OK, WARNING, CRITICAL, UNKNOWN).
#: An exit status alone never makes a fault critical; JSON can.
STATUSES = {0: None, 1: SEVERITIES["warning"], 2: ERROR, 3: ERROR}

# The start of JSON with faults: an object, or a list of objects.  (A plugin's "[OK] fine" is plain text.)
_JSON = re.compile(r"\{|\[\s*[]{]")

#: Extra keys of faults, which the agent reads when it restarts: the number of failures in a row, the metric that
#: crossed a threshold, and the severity of that threshold.
FAILURES = "failures"
METRIC = "metric"
CROSSED = "crossed"
#: More of them: the check that found the fault, how the check failed (the last part of the fault's name without
#: ``monitor-``), and which alerter fails.
CHECK = "check"
CHECK_FAILURE = "check_failure"
ALERTER = "alerter"

# Keys that a check's JSON cannot set.
_RESERVED = frozenset({FAILURES, METRIC, CROSSED, CHECK, TRIGGERED_KEY, CHECK_FAILURE, ALERTER})

_COUNT = re.compile(r" \([0-9]+ of [0-9]+\)$")


class Result(NamedTuple):
    """The faults of one check, its failures included."""

    file: str
    section: str
    faults: list[FaultDict]
    metrics: Sequence[Metric] = ()
    #: False if the check failed to run: earlier faults that are not in the result persist.
    complete: bool = True


def of_outcome(agent: str, check: Check, outcome: Outcome, before: Iterable[FaultDict] = ()) -> Result:
    """The result of a run with this outcome; ``before`` are the check's faults before the run."""
    found = list(_faults(agent, check, outcome))
    measured = _metrics(check, outcome)
    complete = not any(is_check_failure(fault) and fault["severity"] >= ERROR for fault in found)
    if complete or measured:
        found += _judged(agent, check, measured, before)
    # If JSON and a threshold yield the same fault with the same severity, the threshold wins: it may have a "clear".
    by_name = {fault["name"]: fault for fault in sorted(found, key=lambda fault: fault["severity"])}
    return Result(check.file, check.section, list(by_name.values()), measured, complete)


def of_broken(agent: str, broken: Broken) -> Result:
    """The result for a check that cannot be read."""
    return failed(agent, broken, "options" if broken.section else "file", broken.reason)


def failed(agent: str, check: Named, kind: str, text: str) -> Result:
    """The result of a check that failed to run."""
    return Result(check.file, check.section, [check_failure(agent, check, kind, text)], complete=False)


def of_findings(agent: str, check: Named, findings: Sequence[Problem]) -> Result:
    """The result of a built-in check with these findings."""
    names = [fault_name(agent, check.file, check.section, finding.name) for finding in findings]
    found = [make_fault(name, f.severity, f.message) for name, f in zip(names, findings, strict=True)]
    return Result(check.file, check.section, found)


def worst(found: Iterable[FaultDict]) -> dict[str, FaultDict]:
    """The faults by name; of several with the same name the first of the most severe."""
    by_name: dict[str, FaultDict] = {}
    for each in found:
        if each["name"] not in by_name or by_name[each["name"]]["severity"] < each["severity"]:
            by_name[each["name"]] = each
    return by_name


def is_check_failure(fault: FaultDict) -> bool:
    """True if the fault reports that a check failed."""
    return CHECK_FAILURE in fault


def check_failure(agent: str, check: Named, kind: str, text: str) -> FaultDict:
    """The fault that reports a failure of the check itself."""
    name = fault_name(agent, check.file, check.section, f"monitor-{kind}")
    return {**make_fault(name, ERROR, text), CHECK_FAILURE: kind}


def unleased(agent: str, check: Named, reason: str) -> Result:
    """The result of a check of which it is unknown which agent runs it: mere information, no error of the check."""
    text = f"it is unknown which agent runs it, if any: {reason}"
    return Result(check.file, check.section, [{**check_failure(agent, check, "lease", text), "severity": INFO}])


def make_fault(name: str, severity: int, text: str) -> FaultDict:
    """A fault; the message is cut to the length that a store accepts."""
    return {"name": name, "severity": severity, "message": message(text)}


def _faults(agent: str, check: Check, outcome: Outcome) -> Iterable[FaultDict]:
    if isinstance(outcome, Finished):
        yield from _finished(agent, check, outcome)
    else:
        yield check_failure(agent, check, *_failure(outcome))
    if not isinstance(outcome, NotStarted) and outcome.left:
        # Only a warning: the check's result is valid.
        text = f"it left processes behind that could not be killed: {', '.join(outcome.left)}"
        yield {**check_failure(agent, check, "left", text), "severity": WARNING}


def _failure(outcome: TimedOut | Flooded | NotStarted) -> tuple[str, str]:
    match outcome:
        case TimedOut(timeout):
            return "timeout", f"it was killed after {format_duration(timeout)}"
        case Flooded(limit):
            return "output", f"it was killed because it wrote more than {format_size(limit)}"
        case NotStarted(reason):
            return "command", reason


def _finished(agent: str, check: Check, outcome: Finished) -> Iterable[FaultDict]:
    output = outcome.output.decode(errors="replace").strip()
    if _JSON.match(output):
        yield from _json(agent, check, outcome.status, output)
    elif (severity := STATUSES.get(outcome.status)) and (text := first_line(output)):
        yield make_fault(name_of(agent, check), severity, text)
    if outcome.status in STATUSES:
        yield from _unclean(agent, check, outcome, output)
    else:
        yield check_failure(agent, check, "status", f"{_ending(outcome.status)}{_said(output, outcome)}")


def _unclean(agent: str, check: Check, outcome: Finished, output: str) -> Iterable[FaultDict]:
    """The fault that a check wrote no output, or wrote on standard error."""
    if not (first_line(output) if outcome.status else output):
        text = f"exit status {outcome.status}, and no output{_on_stderr(outcome)}"
        yield check_failure(agent, check, "output", text)
    elif line := _first_error(outcome):
        # Only a warning: the check's result is valid.
        text = f"it wrote on standard error: {line}"
        yield {**check_failure(agent, check, "stderr", text), "severity": WARNING}


def _metrics(check: Check, outcome: Outcome) -> list[Metric]:
    if not isinstance(outcome, Finished):
        return []
    output = outcome.output.decode(errors="replace").strip()
    if not _JSON.match(output):
        return perfdata.metrics(output) if check.nagios_performance else []
    try:
        return check_json.metrics(check_json.load(output))
    except InvalidFault:  # reported by _json
        return []


def _judged(agent: str, check: Check, measured: Sequence[Metric], before: Iterable[FaultDict]) -> Iterable[FaultDict]:
    for crossing in thresholds.crossings(check.thresholds, measured, crossed(before)):
        name = name_of(agent, check, crossing.name)
        yield {
            **make_fault(name, crossing.severity, crossing.message),
            METRIC: crossing.name,
            CROSSED: crossing.severity,
        }
    if missing := thresholds.missing(check.thresholds, measured):
        text = f"it has thresholds for metrics that it did not report: {', '.join(missing)}"
        yield check_failure(agent, check, "metric", text)


def crossed(before: Iterable[FaultDict]) -> Mapping[str, Crossing]:
    """The threshold crossings that these faults report, by metric."""
    return {
        fault[METRIC]: Crossing(fault[METRIC], fault[CROSSED], uncounted(fault))
        for fault in before
        if isinstance(fault.get(METRIC), str) and isinstance(fault.get(CROSSED), int)  # a user may report anything
    }


def uncounted(fault: FaultDict) -> str:
    """The fault's message without the number of its failures."""
    text: str = fault["message"]
    return _COUNT.sub("", text) if FAILURES in fault else text


def _json(agent: str, check: Check, status: int, output: str) -> Iterable[FaultDict]:
    try:
        document = check_json.load(output)
        found = [_complete(agent, check, item) for item in check_json.listed(document)]
        check_json.metrics(document)
        yield from faults.report(agent, found).faults()
    except InvalidFault as error:
        yield check_failure(agent, check, "json", f"its JSON cannot be used: {error}")
        return
    if STATUSES.get(status) and not found:
        text = f"exit status {status}, but its JSON has no fault"
        yield check_failure(agent, check, "status", text)


def _complete(agent: str, check: Check, item: Any) -> Any:
    """A fault of a check's JSON, with its full name and the defaults for what it leaves out."""
    if not isinstance(item, dict):
        return item
    name, text = item.get("name", ""), item.get("message")
    if not isinstance(name, str):
        raise InvalidFault(f"a fault's name must be text, not {quoted(repr(name))}")
    own = {key: value for key, value in item.items() if key not in _RESERVED}
    full = {"severity": ERROR, **own, "name": name_of(agent, check, name)}
    return {**full, "message": message(text)} if isinstance(text, str) else full


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}, expected 0 to 3"
    try:
        return f"it was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was killed by signal {-status}"


def _said(output: str, outcome: Finished) -> str:
    line = first_line(output)
    return f"; output: {line}" if line else _on_stderr(outcome)


def _on_stderr(outcome: Finished) -> str:
    line = _first_error(outcome)
    return f"; on standard error: {line}" if line else ""


def _first_error(outcome: Finished) -> str:
    return next(iter(outcome.errors.decode(errors="replace").strip().splitlines()), "")
