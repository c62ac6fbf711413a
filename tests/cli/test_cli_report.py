"""``cimaa report`` and ``dump``: documents in and out."""

import json
from pathlib import Path

import pytest

from tests.support.command import Cimaa

FAULT = {"name": "//web1/raid", "severity": 40, "message": "degraded", "disks": ["sda", 1.5, None]}


def faults(cimaa: Cimaa) -> list[dict[str, object]]:
    with cimaa.store() as db:
        return db.get_faults("web1")


@pytest.mark.parametrize("document", [[FAULT], {"faults": [FAULT]}, [{**FAULT, "severity": "ERROR", "agent": "web1"}]])
def test_a_report_comes_from_standard_input_or_a_file(cimaa: Cimaa, tmp_path: Path, document: object) -> None:
    result = cimaa("report", "web1", input=json.dumps(document))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "web1 reported 1 fault.\n")
    assert faults(cimaa) == [{**FAULT, "agent": "web1"}]
    (tmp_path / "report.json").write_text("\ufeff[]")
    assert cimaa("report", "web1", "report.json").stderr == "web1 reported 0 faults.\n"
    assert faults(cimaa) == []


def test_one_report_after_the_other_counts_as_the_same_reporter(cimaa: Cimaa) -> None:
    cimaa("report", "web1", input="[]")
    cimaa("report", "web1", input="[]")
    (agent,) = json.loads(cimaa("agents", "--json").stdout)
    assert [instance["pid"] for instance in agent["instances"]] == [None]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "standard input cannot be used: it is empty"),
        (b'[{"name": "x"\n "severity"', "line 2, column 2: expecting ',' delimiter"),
        (b"null", "not null"),
        (b'"text"', "not text"),
        (b'{"fault": []}', "it has no 'faults'; its keys are: 'fault'"),
        (b"[7]", "a fault must be a dict, not int"),
        (b'[{"severity": 40, "message": ""}]', "a fault has no name"),
        (b'[{"name": "x", "message": ""}]', "fault 'x' has no severity"),
        (b'[{"name": "x", "severity": "awful", "message": ""}]', "fault 'x': invalid severity 'awful'"),
        (b'[{"name": "x", "severity": 4.5, "message": ""}]', "severity must be an integer"),
        (b'[{"name": "x", "severity": 18446744073709551616, "message": ""}]', "64 bits"),
        (b'[{"name": "x", "severity": 40, "message": "", "y": Infinity}]', "Infinity is not valid in JSON"),
        (b'[{"name": "x", "severity": 40, "message": "", "y": 1e999}]', "float"),
        (b'[{"name": "x", "name": "x", "severity": 40, "message": ""}]', "the key 'name' twice"),
        (b'[{"name": "x", "severity": 40, "message": "\\u0000"}]', "NUL"),
        (b'[{"name": "x", "severity": 40, "message": "\\udc00"}]', "surrogate"),
        (b'[{"name": "x", "severity": 40, "message": "", "agent": "web2"}]', "in a report of 'web1'"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe[]", "byte 0 is not UTF-8"),
        (b" " * (32 * 1024**2 + 1), "more than 32MiB"),
        (json.dumps([{**FAULT, "name": "x" * 1025}]).encode(), "at most 1024 are allowed"),
        (json.dumps([{**FAULT, "message": "x" * 32769}]).encode(), "at most 32768 are allowed"),
        (json.dumps([FAULT, FAULT]).encode(), "two faults named '//web1/raid'"),
        (json.dumps([{**FAULT, "name": f"{n}"} for n in range(10_001)]).encode(), "at most 10000 are allowed"),
    ],
)
def test_a_bad_report_is_refused_in_one_line_and_loses_nothing(cimaa: Cimaa, text: bytes, wrong: str) -> None:
    cimaa("report", "web1", input=json.dumps([FAULT]))
    result = cimaa("report", "web1", input=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cimaa: error: ")
    assert result.stderr.count("\n") == 1
    assert wrong in result.stderr
    assert faults(cimaa) == [{**FAULT, "agent": "web1"}]


@pytest.mark.parametrize("agent", ["", "_", "x" * 256, "a\udcff"])
def test_a_bad_agent_s_name_is_refused(cimaa: Cimaa, agent: str) -> None:
    result = cimaa("report", agent, input="[]")
    assert result.exit_code == 1
    assert result.stderr.startswith("cimaa: error: ")
    assert cimaa("agents", "--json").stdout == "[]\n"


def test_a_file_that_is_not_there_is_wrong_usage(cimaa: Cimaa) -> None:
    result = cimaa("report", "web1", "none.json")
    assert result.exit_code == 2
    assert "none.json" in result.stderr


def test_a_dump_is_the_whole_store(cimaa: Cimaa) -> None:
    cimaa("report", "web1", input=json.dumps([FAULT]))
    cimaa("squelch", "x", "why")
    with cimaa.store() as db:
        assert json.loads(cimaa("dump").stdout) == db.dump()


def test_what_a_dump_gives_can_be_reported_again(cimaa: Cimaa) -> None:
    cimaa("report", "web1", input=json.dumps([FAULT]))
    dumped = [fault for fault in json.loads(cimaa("dump").stdout)["faults"] if fault["agent"] == "web1"]
    assert cimaa("report", "web1", input=json.dumps(dumped)).exit_code == 0
    assert faults(cimaa) == [{**FAULT, "agent": "web1"}]
