"""From what a check did, run after run, to what its agent reports: escalation, thresholds and misbehaviour together."""

import json
from pathlib import Path

import pytest

from zc.cimaa import faults
from zc.cimaa.agent import files, reports, results, states
from zc.cimaa.agent.files import Check
from zc.cimaa.agent.results import Finished, Outcome, Result, TimedOut
from zc.cimaa.checks import Finding
from zc.cimaa.faults import Fault

OK = Finished(0, b"fine", b"")
BAD = Finished(2, b"bad", b"")
KILLED = TimedOut(60)


def check(**options: str) -> Check:
    made = files.check("f", "a", {"command": "x", **options}, Path("/"), 60)
    assert isinstance(made, Check)
    return made


def told(*found: dict[str, object]) -> Finished:
    return Finished(0, json.dumps({"faults": list(found)}).encode(), b"")


def measured(value: float, status: int = 0) -> Finished:
    return Finished(status, f"text | n={value}".encode(), b"")


def reported(before: list[Fault], result: Result) -> dict[str, int]:
    """The severities in a report that every store takes, by the last part of each fault's name."""
    report = faults.report("web1", reports.faults("web1", [result._replace(faults=before)]))
    return {fault["name"].removeprefix("//web1/f/"): fault["severity"] for fault in report.faults()}


def runs(check: Check, *outcomes: Outcome) -> list[dict[str, int]]:
    """What is reported after each run of the check, of those that end like this one after the other."""
    seen: list[dict[str, int]] = []
    standing: list[Fault] = []
    for outcome in outcomes:
        result = results.of_outcome("web1", check, outcome, standing)
        standing = states.advance("web1", check, standing, result)
        seen.append(reported(standing, result))
    return seen


# Escalation


def test_a_fault_in_json_may_say_that_it_does_not_escalate() -> None:
    """It speaks for itself only."""
    both = told({"name": "stays", "message": "m", "escalates": False}, {"name": "grows", "message": "m"})
    assert runs(check(retry="1"), *[both] * 4) == [
        {"a#stays": 40, "a#grows": 40},
        *[{"a#stays": 40, "a#grows": 50}] * 3,
    ]


def test_a_fault_in_json_that_says_it_escalates_does() -> None:
    assert runs(check(retry="1"), *[told({"message": "m", "escalates": True})] * 2) == [{"a": 40}, {"a": 50}]


def test_an_error_that_went_for_one_run_is_counted_from_the_start() -> None:
    assert runs(check(retry="1"), BAD, OK, BAD, BAD) == [{"a": 40}, {}, {"a": 40}, {"a": 50}]


def test_without_retries_the_first_error_is_critical() -> None:
    assert runs(check(retry="0"), BAD, OK) == [{"a": 50}, {}]


def test_a_warning_counts_for_nothing() -> None:
    warning = Finished(1, b"hm", b"")
    assert runs(check(retry="1"), *[warning] * 4, BAD, BAD) == [*[{"a": 30}] * 4, {"a": 40}, {"a": 50}]


def test_what_a_built_in_check_found_critical_is_over_when_it_finds_nothing() -> None:
    disk = check(retry="1")
    full = results.of_findings("web1", "f", "a", [Finding("/", 40, "/ is 99 % full")])
    empty = results.of_findings("web1", "f", "a", [])
    standing: list[Fault] = []
    seen = []
    for result in (full, full, empty):
        standing = states.advance("web1", disk, standing, result)
        seen.append(reported(standing, result))
    assert seen == [{"a#/": 40}, {"a#/": 50}, {}]


# Misbehaviour


def test_a_warning_is_over_when_its_check_does_not_tell_it_any_more_for_whatever_reason() -> None:
    assert runs(check(), Finished(1, b"hm", b""), KILLED) == [{"a": 30}, {"a#monitor-timeout": 40}]


def test_what_is_critical_stays_while_its_check_misbehaves_and_goes_when_it_is_well() -> None:
    assert runs(check(retry="0"), BAD, KILLED, KILLED, OK) == [
        {"a": 50},
        *[{"a": 50, "a#monitor-timeout": 40}] * 2,
        {},
    ]


def test_what_is_written_on_standard_error_is_no_reason_to_keep_what_is_over() -> None:
    assert runs(check(retry="0"), BAD, Finished(0, b"fine", b"oops")) == [{"a": 50}, {"a#monitor-stderr": 30}]


# Thresholds


def test_a_check_with_thresholds_that_measures_nothing_at_all_is_at_fault() -> None:
    assert runs(check(thresholds="n error > 5"), OK) == [{"a#monitor-metric": 40}]


def test_what_a_check_measured_counts_although_it_misbehaves() -> None:
    died = measured(7, status=99)
    assert runs(check(thresholds="n error > 5"), died) == [{"a#monitor-status": 40, "a#n": 40}]


@pytest.mark.parametrize("outcome", [KILLED, Finished(99, b"", b"")])
def test_that_a_check_which_did_not_come_to_its_end_measured_nothing_is_no_fault_besides(outcome: Outcome) -> None:
    ((one, severity),) = runs(check(thresholds="n error > 5"), outcome)[0].items()
    assert (one.startswith("a#monitor-"), one != "a#monitor-metric", severity) == (True, True, 40)


def test_a_threshold_that_is_crossed_escalates_and_clears() -> None:
    crossed = check(thresholds="n warning > 3 error > 5 clear < 2", retry="1")
    assert runs(crossed, *map(measured, [4, 6, 4, 4, 2, 1])) == [
        {"a#n": 30},
        {"a#n": 40},
        *[{"a#n": 50}] * 3,
        {},
    ]


def test_one_that_is_critical_by_its_own_limit_is_so_at_once() -> None:
    crossed = check(thresholds="n error > 5 critical > 9 clear < 2")
    assert runs(crossed, *map(measured, [6, 10, 6])) == [{"a#n": 40}, {"a#n": 50}, {"a#n": 50}]


def test_the_worse_of_a_check_s_own_fault_and_a_threshold_s_of_the_same_name_is_reported() -> None:
    output = '{{"faults": [{{"name": "n", "message": "m", "severity": {}}}], "metrics": [{{"name": "n", "value": 7}}]}}'
    severities = [
        runs(check(thresholds="n error > 5"), Finished(0, output.format(severity).encode(), b""))[0]["a#n"]
        for severity in (30, 50)
    ]
    assert severities == [40, 50]
