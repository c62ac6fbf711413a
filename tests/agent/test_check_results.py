"""From what a check did, run after run, to what its agent reports: escalation, thresholds and misbehaviour together."""

import json
from pathlib import Path

import pytest

from zc.cimaa import faults
from zc.cimaa.agent import check_files
from zc.cimaa.agent.rules import escalation, report, results
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.rules.results import Result
from zc.cimaa.checks import Problem
from zc.cimaa.faults import FaultDict
from zc.cimaa.outcomes import Finished, Outcome, TimedOut

OK = Finished(0, b"fine", b"")
BAD = Finished(2, b"bad", b"")
KILLED = TimedOut(60)


def check(**options: str) -> Check:
    made = check_files.check("f", "a", {"command": "x", **options}, Path("/"), 60)
    assert isinstance(made, Check)
    return made


def wrote(*found: dict[str, object]) -> Finished:
    return Finished(0, json.dumps({"faults": list(found)}).encode(), b"")


def measured(value: float, status: int = 0) -> Finished:
    return Finished(status, f"text | n={value}".encode(), b"")


def reported(before: list[FaultDict], result: Result) -> dict[str, int]:
    """The severities in a report that every store takes, by the last part of each fault's name."""
    stored = faults.report("web1", report.faults("web1", [result._replace(faults=before)]))
    return {fault["name"].removeprefix("//web1/f/"): fault["severity"] for fault in stored.faults()}


def runs(check: Check, *outcomes: Outcome) -> list[dict[str, int]]:
    """What is reported after each of several runs of the check, which end with these outcomes."""
    seen: list[dict[str, int]] = []
    standing: list[FaultDict] = []
    for outcome in outcomes:
        result = results.of_outcome("web1", check, outcome, standing)
        standing = escalation.advance("web1", check, standing, result)
        seen.append(reported(standing, result))
    return seen


# Escalation


def test_escalates_false_in_json_keeps_that_fault_an_error_and_no_other() -> None:
    both = wrote({"name": "stays", "message": "m", "escalates": False}, {"name": "grows", "message": "m"})
    assert runs(check(retry="1"), *[both] * 4) == [
        {"a#stays": 40, "a#grows": 40},
        *[{"a#stays": 40, "a#grows": 50}] * 3,
    ]


def test_escalates_true_in_json_changes_nothing() -> None:
    assert runs(check(retry="1"), *[wrote({"message": "m", "escalates": True})] * 2) == [{"a": 40}, {"a": 50}]


def test_an_error_that_ended_is_counted_from_1_again() -> None:
    assert runs(check(retry="1"), BAD, OK, BAD, BAD) == [{"a": 40}, {}, {"a": 40}, {"a": 50}]


def test_without_retries_the_first_error_is_critical() -> None:
    assert runs(check(retry="0"), BAD, OK) == [{"a": 50}, {}]


def test_a_warning_does_not_count_as_a_failure() -> None:
    warning = Finished(1, b"hm", b"")
    assert runs(check(retry="1"), *[warning] * 4, BAD, BAD) == [*[{"a": 30}] * 4, {"a": 40}, {"a": 50}]


def test_a_critical_fault_of_a_built_in_check_ends_when_the_check_finds_nothing() -> None:
    disk = check(retry="1")
    full = results.of_findings("web1", disk, [Problem("/", 40, "/ is 99 % full")])
    empty = results.of_findings("web1", disk, [])
    standing: list[FaultDict] = []
    seen = []
    for result in (full, full, empty):
        standing = escalation.advance("web1", disk, standing, result)
        seen.append(reported(standing, result))
    assert seen == [{"a#/": 40}, {"a#/": 50}, {}]


# Misbehaviour


def test_only_the_last_misbehaviour_of_a_check_is_reported() -> None:
    assert runs(check(), Finished(99, b"", b""), KILLED, OK) == [
        {"a#monitor-status": 40},
        {"a#monitor-timeout": 40},
        {},
    ]


def test_nothing_is_left_of_a_warning_after_its_check_misbehaved_and_is_fine() -> None:
    assert runs(check(), Finished(1, b"hm", b""), KILLED, OK)[-1] == {}


def test_a_critical_fault_stays_while_its_check_misbehaves_and_ends_when_the_check_is_fine() -> None:
    assert runs(check(retry="0"), BAD, KILLED, KILLED, OK) == [
        {"a": 50},
        *[{"a": 50, "a#monitor-timeout": 40}] * 2,
        {},
    ]


def test_output_on_standard_error_does_not_keep_a_critical_fault() -> None:
    assert runs(check(retry="0"), BAD, Finished(0, b"fine", b"oops")) == [{"a": 50}, {"a#monitor-stderr": 30}]


# Thresholds


def test_thresholds_without_any_performance_data_are_a_fault_of_the_check() -> None:
    assert runs(check(thresholds="n error > 5"), OK) == [{"a#monitor-metric": 40}]


def test_metrics_count_although_the_check_misbehaves() -> None:
    died = measured(7, status=99)
    assert runs(check(thresholds="n error > 5"), died) == [{"a#monitor-status": 40, "a#n": 40}]


@pytest.mark.parametrize("outcome", [KILLED, Finished(99, b"", b"")])
def test_missing_metrics_of_a_check_that_failed_to_run_are_not_reported_as_well(outcome: Outcome) -> None:
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


def test_a_held_error_becomes_critical_at_its_critical_limit() -> None:
    crossed = check(thresholds="n error > 5 critical > 9 clear < 2")
    assert runs(crossed, *map(measured, [6, 10, 6])) == [{"a#n": 40}, {"a#n": 50}, {"a#n": 50}]


def test_a_fault_and_a_crossed_threshold_of_one_name_are_reported_as_the_worse() -> None:
    output = '{{"faults": [{{"name": "n", "message": "m", "severity": {}}}], "metrics": [{{"name": "n", "value": 7}}]}}'
    severities = [
        runs(check(thresholds="n error > 5"), Finished(0, output.format(severity).encode(), b""))[0]["a#n"]
        for severity in (30, 50)
    ]
    assert severities == [40, 50]
