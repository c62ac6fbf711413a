"""The agent's pure rooms: names, documents, results, and one report of them all."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import faults, limits, naming
from zc.cimaa.agent.rules import check_json, report, results
from zc.cimaa.agent.rules.check import Broken, Check
from zc.cimaa.agent.rules.results import Result
from zc.cimaa.errors import InvalidFault
from zc.cimaa.outcomes import Finished, Flooded, NotStarted, Outcome, TimedOut

CHECK = Check("disks", "var", ("check_disk",), 60, Path("/"))
# What a file system or a process may come up with: halves of surrogate pairs included.
ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=700)


def of(status: int, output: str | bytes = "", errors: bytes = b"") -> dict[str, dict[str, Any]]:
    """The faults that follow from a check's end, by name."""
    encoded = output.encode() if isinstance(output, str) else output
    return by_name(Finished(status, encoded, errors))


def by_name(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {fault["name"]: fault for fault in results.of_outcome("web1", CHECK, outcome).faults}


# Names


def test_a_fault_s_name_says_who_found_it_where() -> None:
    assert naming.fault_name("web1", "disks") == "//web1/disks"
    assert naming.fault_name("web1", "disks", "var") == "//web1/disks/var"
    assert naming.fault_name("web1", "disks", "var", "inodes") == "//web1/disks/var#inodes"


@given(st.text("ab", min_size=1, max_size=200), ANYTHING, ANYTHING, ANYTHING)
def test_whatever_the_parts_every_store_takes_the_name(agent: str, file: str, section: str, part: str) -> None:
    name = naming.fault_name(agent, file, section, part)
    assert faults.report(agent, [{"name": name, "severity": 40, "message": naming.message(part)}])


def test_names_too_long_stay_apart() -> None:
    one, other = (naming.fault_name("web1", "disks", "é" * 900, part) for part in "ab")
    assert one != other
    assert len(one.encode()) <= limits.FAULT_NAME


def test_a_message_too_long_is_cut_at_a_character() -> None:
    cut = naming.message("é" * limits.MESSAGE)
    assert len(cut.encode()) <= limits.MESSAGE
    assert cut.endswith("é...")


# Documents


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ('{"faults": [}', "line 1, column 13: expecting value"),
        ('{"faults":\n []]}', "line 2, column 4"),
        ("{'faults': []}", "line 1, column 2"),
        ('{"faults": [], "faults": []}', "has the key 'faults' twice"),
        ("{" + ", ".join(f'"{n}": 0' for n in range(50_000)) + ', "49999": 1}', "has the key '49999' twice"),
        ('{"faults": NaN}', "NaN is not valid in JSON"),
        ('{"faults": [' + "9" * 5000 + "]}", "it has an invalid number"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_json_is_refused_and_the_place_named(text: str, wrong: str) -> None:
    with pytest.raises(InvalidFault, match=wrong):
        check_json.load(text)


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ([], "not a list"),
        ("text", "not text"),
        (None, "not null"),
        (7, "not a number"),
        (True, "not true or false"),
        ({}, "no 'faults'; its keys are: none"),
        ({"fault": []}, "its keys are: 'fault'"),
        ({"faults": {}}, "must be a list, not an object"),
        ({"faults": [{"name": "x", "severity": "bad"}]}, "fault 'x': invalid severity 'bad'"),
    ],
)
def test_a_document_without_faults_is_refused(document: Any, wrong: str) -> None:
    with pytest.raises(InvalidFault, match=wrong):
        check_json.faults(document)


def test_a_severity_may_be_a_name() -> None:
    given = [{"severity": "Critical"}, {"severity": "warning"}, {"severity": 33}, {}, "no fault"]
    assert check_json.faults({"faults": given}) == [
        {"severity": 50},
        {"severity": 30},
        {"severity": 33},
        {},
        "no fault",
    ]


# Results


def test_status_0_is_no_fault() -> None:
    assert of(0, "DISK OK") == of(0, "DISK OK | /=2643MB;5948") == of(0, "| a=1") == {}


@pytest.mark.parametrize(("status", "severity"), [(1, 30), (2, 40), (3, 40)])
def test_a_plugin_s_status_is_the_severity_its_first_line_the_message(status: int, severity: int) -> None:
    output = "DISK BAD - free: / 3326 MB | /=2643MB;5948;5958\n/ 15272 MB (77%);\n| /boot=68MB"
    expected = {"name": "//web1/disks/var", "severity": severity, "message": "DISK BAD - free: / 3326 MB"}
    assert of(status, output) == {"//web1/disks/var": expected}


@pytest.mark.parametrize("output", ["", "\n\n", "| a=1", b"\x20\x09"])
def test_a_failing_status_without_a_message_is_the_check_s_own_fault(output: str) -> None:
    (fault,) = of(2, output, b"Traceback:\nmore").values()
    assert fault["name"] == "//web1/disks/var#monitor-output"
    assert fault["message"] == "exit status 2, and no output; on standard error: Traceback:"


def test_a_check_that_writes_nothing_is_a_fault_although_all_is_well() -> None:
    (fault,) = of(0, "\n", b"").values()
    assert (fault["name"], fault["severity"]) == ("//web1/disks/var#monitor-output", 40)
    assert fault["message"] == "exit status 0, and no output"


@pytest.mark.parametrize(("status", "output"), [(0, "fine"), (2, "bad"), (0, '{"faults": []}')])
def test_what_is_written_on_standard_error_is_a_warning_and_the_result_counts(status: int, output: str) -> None:
    outcome = Finished(status, output.encode(), b"oops\nmore")
    fault = by_name(outcome)["//web1/disks/var#monitor-stderr"]
    assert (fault["severity"], fault["message"]) == (30, "it wrote on standard error: oops")
    assert results.of_outcome("web1", CHECK, outcome).complete
    assert len(by_name(outcome)) == (2 if status else 1)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (4, "exit status 4, expected 0 to 3; output: hm"),
        (127, "exit status 127, expected 0 to 3; output: hm"),
        (-1, "it was killed by SIGHUP; output: hm"),
        (-9, "it was killed by SIGKILL; output: hm"),
        (-63, "it was killed by signal 63; output: hm"),
    ],
)
def test_a_status_that_means_nothing_is_the_check_s_own_fault(status: int, message: str) -> None:
    assert of(status, "hm\nhm")["//web1/disks/var#monitor-status"]["message"] == message


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (TimedOut(90), "timeout", "it was killed after 1m 30s"),
        (NotStarted("x does not exist"), "command", "x does not exist"),
        (Flooded(1024**2), "output", "it was killed because it wrote more than 1MiB"),
    ],
)
def test_a_check_that_did_not_end_by_itself_is_a_fault(outcome: Outcome, kind: str, message: str) -> None:
    name = f"//web1/disks/var#monitor-{kind}"
    assert by_name(outcome) == {name: {"name": name, "severity": 40, "message": message, "check_failure": kind}}


def test_a_check_may_tell_faults_in_json() -> None:
    given = [
        {"name": "a", "severity": "critical", "message": "bad", "extra": [1]},
        {"severity": 30, "message": "the check's own"},
        {"name": "b", "message": "an error, as nothing else is said"},
    ]
    assert of(0, " " + json.dumps({"faults": given}) + "\n") == {
        "//web1/disks/var#a": {"name": "//web1/disks/var#a", "severity": 50, "message": "bad", "extra": [1]},
        "//web1/disks/var": {"name": "//web1/disks/var", "severity": 30, "message": "the check's own"},
        "//web1/disks/var#b": {
            "name": "//web1/disks/var#b",
            "severity": 40,
            "message": "an error, as nothing else is said",
        },
    }


@pytest.mark.parametrize("output", ['{"faults": []}', "[]", " [ ]", "[OK] fine"])
def test_json_may_say_that_all_is_well(output: str) -> None:
    assert of(0, output) == {}


def test_a_bare_list_of_faults_is_json_too() -> None:
    assert list(of(0, '[\n {"name": "a", "message": "m"}]')) == ["//web1/disks/var#a"]
    assert list(of(2, "[CRITICAL] disk")) == ["//web1/disks/var"]
    assert list(of(0, '[{"name": "a"')) == ["//web1/disks/var#monitor-json"]


@pytest.mark.parametrize("status", [1, 2, 3])
def test_a_status_that_contradicts_the_json_is_told(status: int) -> None:
    assert list(of(status, '{"faults": []}')) == ["//web1/disks/var#monitor-status"]
    assert list(of(status, '{"faults": [{"message": "m"}]}')) == ["//web1/disks/var"]


def test_a_check_that_dies_after_its_json_loses_none_of_it() -> None:
    assert list(of(-11, '{"faults": [{"message": "m"}]}')) == ["//web1/disks/var", "//web1/disks/var#monitor-status"]


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ("{", "line 1, column 2"),
        ('{"metrics": {}}', "no 'faults'"),
        ('{"faults": ["x"]}', "must be a dict"),
        ('{"faults": [{"name": 7, "message": ""}]}', "name must be text"),
        ('{"faults": [{"name": "x"}]}', "has no message"),
        ('{"faults": [{"message": 7}]}', "must be text, not int"),
        ('{"faults": [{"message": "", "severity": true}]}', "severity must be an integer"),
        ('{"faults": [{"message": "", "severity": "awful"}]}', "invalid severity 'awful'"),
        ('{"faults": [{"message": ""}, {"message": ""}]}', "two faults named '//web1/disks/var'"),
        ('{"faults": [{"message": "", "agent": "other"}]}', "is of agent 'other'"),
        ('{"faults": [{"message": "", "x": 1e300}]}', "float"),
        ('{"faults": [{"message": "", "x": 18446744073709551616}]}', "64 bits"),
        ('{"faults": [{"message": "", "x": "\\u0000"}]}', "NUL"),
        ('{"faults": [{"message": "", "x": "\\ud800"}]}', "surrogate"),
    ],
)
def test_json_that_breaks_a_rule_is_the_check_s_own_fault(output: str, wrong: str) -> None:
    (fault,) = of(0, output).values()
    assert fault["name"] == "//web1/disks/var#monitor-json"
    assert wrong in fault["message"]


@given(st.integers(-70, 255), st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"{" + tail))
def test_whatever_a_check_does_a_store_takes_its_faults(status: int, output: bytes) -> None:
    result = results.of_outcome("web1", CHECK, Finished(status, output, output))
    assert faults.report("web1", result.faults)
    assert status == 0 or result.faults


@given(ANYTHING, ANYTHING)
def test_whatever_json_tells_a_store_takes_the_faults(name: str, message: str) -> None:
    output = json.dumps({"faults": [{"name": name, "message": message, "extra": message}]})
    assert faults.report("web1", list(of(0, output).values()))


def test_a_broken_file_or_check_is_a_fault() -> None:
    whole, one = Broken("disks", "", "cannot read it"), Broken("disks", "var", "no command")
    assert results.of_broken("web1", whole).faults[0]["name"] == "//web1/disks#monitor-file"
    assert results.of_broken("web1", one).faults[0]["name"] == "//web1/disks/var#monitor-options"


# One report of them all


def result(section: str, count: int, message: str) -> Result:
    return Result("f", section, [results.make_fault(f"//web1/f/{section}#{n}", 40, message) for n in range(count)])


def test_a_report_has_the_faults_of_all_checks() -> None:
    assert len(report.faults("web1", [result("a", 3, "x"), result("b", 0, "x"), result("c", 2, "x")])) == 5


def test_two_faults_of_one_name_do_not_spoil_the_report() -> None:
    assert len(report.faults("web1", [result("a", 2, "x"), result("a", 1, "y")])) == 2


@pytest.mark.parametrize(("count", "message"), [(9999, "x"), (200, "m" * 30_000)])
def test_a_check_that_leaves_no_room_loses_its_faults_and_no_other_s(count: int, message: str) -> None:
    together = report.faults(
        "web1", [result("small", 3, "x"), result("big", count, message), result("too", 90, "x" * 9)]
    )
    names = {fault["name"] for fault in together}
    assert faults.report("web1", together)
    assert names == {"//web1/f/big#monitor-size"} | {
        f["name"] for r in (result("small", 3, ""), result("too", 90, "")) for f in r.faults
    }


def test_many_checks_of_a_middling_size_lose_no_more_than_they_must() -> None:
    together = report.faults("web1", [result(f"s{n}", 1, "m" * 32_000) for n in range(200)])
    assert faults.report("web1", together)
    assert 120 < sum("#monitor-size" not in fault["name"] for fault in together) < 200
    assert len(together) == 200
