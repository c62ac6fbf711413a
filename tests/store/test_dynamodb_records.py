"""How agents, faults and squelches are encoded as DynamoDB items (pinned), and how items of other tools are read."""

from typing import Any

import pytest

from zc.cimaa import errors
from zc.cimaa.agents import Instance, Row, SeenInstance
from zc.cimaa.dynamodb import records
from zc.cimaa.dynamodb.records import Stored
from zc.cimaa.squelches import StoredSquelch

FAULT = {
    "name": "//web1/disk",
    "severity": 40,
    "message": "",
    "since": 1_764_000_000,
    "empty": "",
    "whole": 1.0,
    "part": 7.5,
    "yes": True,
    "nothing": None,
    "list": [1, 1.0, "x"],
    "nested": {"b": [], "a": None},
}
FAULT_ITEM = {
    "agent": {"S": "web1"},
    "name": {"S": "//web1/disk"},
    "severity": {"N": "40"},
    "message": {"S": ""},
    "since": {"N": "1764000000"},
    "empty": {"S": ""},
    "whole": {"SS": ["1.0"]},  # as a number, AWS would give it back as 1
    "part": {"N": "7.5"},
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "list": {"SS": ['[1,1.0,"x"]']},
    "nested": {"SS": ['{"a":null,"b":[]}']},
}


def test_a_fault_as_an_item() -> None:
    assert records.encode_fault("web1", FAULT) == FAULT_ITEM
    agent, fault = records.decode_fault(FAULT_ITEM)
    assert (agent, fault) == ("web1", FAULT)
    assert list(fault) == sorted(FAULT)
    assert {key: type(value) for key, value in fault.items()} == {key: type(value) for key, value in FAULT.items()}


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -3.0, 1e16, 1e100, 2.0**63, 1e-130])
def test_a_float_is_returned_as_a_float(value: float) -> None:
    """AWS trims trailing zeros: 1.0 is returned as 1."""
    item = records.encode_fault("a", {"x": value})["x"]
    if "N" in item:
        assert "." in item["N"] or "e-" in item["N"]
    [back] = [records.decode_fault({**FAULT_ITEM, "x": item})[1]["x"]]
    assert (back, type(back), str(back)) == (value, float, str(value))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"N": "1"}, 1),
        ({"N": "1E+2"}, 100.0),
        ({"N": "9223372036854775807"}, 2**63 - 1),
        ({"N": "9223372036854775808"}, 2.0**63),
        ({"SS": ["one", "two"]}, ["one", "two"]),
        ({"SS": ["one", "2", "[3]"]}, ["one", "2", "[3]"]),
        ({"SS": ["not JSON"]}, ["not JSON"]),
        ({"NS": ["1", "2.5"]}, [1, 2.5]),
        ({"NS": ["7"]}, [7]),
        ({"BS": ["eA==", "eQ=="]}, ["eA==", "eQ=="]),
        ({"B": "eA=="}, "eA=="),
        ({"L": [{"N": "1"}, {"L": []}, {"NULL": True}]}, [1, [], None]),
        ({"M": {"a": {"S": "x"}, "b": {"NS": ["1", "2"]}}}, {"a": "x", "b": [1, 2]}),
    ],
)
def test_values_of_other_tools_are_read(value: dict[str, Any], read: Any) -> None:
    _, fault = records.decode_fault({**FAULT_ITEM, "x": value})
    assert fault["x"] == read
    assert type(fault["x"]) is type(read)


def test_a_fault_without_required_keys() -> None:
    assert records.decode_fault({"agent": {"S": "a"}, "name": {"S": "f"}}) == (
        "a",
        {"message": "", "name": "f", "severity": 40, "since": 0},
    )


SQUELCH_ITEM = {
    "regex": {"S": "^//web1/"},
    "reason": {"S": ""},
    "user": {"S": "ann"},
    "time": {"N": "1764000000"},
    "permanent": {"BOOL": False},
    "expires": {"N": "1764003600"},
    "revision": {"S": "r" * 32},
}


def test_a_squelch_as_an_item() -> None:
    squelch = StoredSquelch("^//web1/", "", "ann", 1_764_000_000, False, 1_764_003_600)
    assert records.encode_squelch(squelch, "r" * 32) == SQUELCH_ITEM
    assert records.decode_squelch(SQUELCH_ITEM) == squelch
    lasting = squelch._replace(permanent=True, expires=None)
    item = {key: value for key, value in SQUELCH_ITEM.items() if key != "expires"} | {"permanent": {"BOOL": True}}
    assert records.encode_squelch(lasting, "r" * 32) == item
    assert records.decode_squelch(item) == lasting


@pytest.mark.parametrize(
    ("missing", "default"),
    [("permanent", False), ("reason", ""), ("user", ""), ("time", 0), ("expires", None)],
)
def test_a_squelch_without_one_attribute(missing: str, default: object) -> None:
    item = {key: value for key, value in SQUELCH_ITEM.items() if key != missing}
    squelch = records.decode_squelch(item)
    assert getattr(squelch, missing) == default
    assert type(getattr(squelch, missing)) is type(default)
    assert squelch._replace(**{missing: None}) == records.decode_squelch(SQUELCH_ITEM)._replace(**{missing: None})


ROW = Row(
    1_764_000_010_000_000,
    "d" * 32,
    "i" * 32,
    (
        SeenInstance(Instance("web1", 7, "1.0", "Linux"), 1_764_000_000_000_000, 1_764_000_009_000_000),
        SeenInstance(Instance("web1", 8, "1.0", "Linux"), 1_764_000_005_000_000, 1_764_000_010_000_000),
        SeenInstance(Instance("web1b", None, "1.1", "Linux"), 1_764_000_006_000_000, 1_764_000_006_000_000),
    ),
)
ROW_ITEM = {
    "name": {"S": "web1"},
    "updated": {"N": "1764000010000000"},
    "digest": {"S": "d" * 32},
    "instance": {"S": "i" * 32},
    "instances": {
        "S": '[[["web1","1.0","Linux"],["web1b","1.1","Linux"]],1764000000000000,'
        "[[0,7,0,9000000],[0,8,5000000,10000000],[1,null,6000000,6000000]]]"
    },
    "revision": {"S": "r" * 32},
}


def test_a_row_as_an_item() -> None:
    assert records.encode_row("web1", ROW, "r" * 32) == ROW_ITEM
    assert records.decode_row(ROW_ITEM) == Stored("r" * 32, ROW)
    assert records.heartbeat(ROW_ITEM) == ("web1", ROW.updated)
    unsettled = ROW_ITEM | {"doubt": {"N": "1764000910000000"}}
    assert records.encode_row("web1", ROW, "r" * 32, 1_764_000_910_000_000) == unsettled
    assert records.decode_row(unsettled) == Stored("r" * 32, ROW, 1_764_000_910_000_000)
    assert records.encode_row("web1", ROW._replace(marked=True), "r" * 32) == {**ROW_ITEM, "woken": {"BOOL": True}}
    assert records.decode_row({**ROW_ITEM, "woken": {"BOOL": True}}) == Stored("r" * 32, ROW._replace(marked=True))
    recorded = ROW._replace(within=300, written=ROW.updated + 1, recorded=0)
    times = {"within": {"N": "300"}, "written": {"N": "1764000010000001"}, "recorded": {"N": "0"}}
    assert records.encode_row("web1", recorded, "r" * 32) == {**ROW_ITEM, **times}
    assert records.decode_row({**ROW_ITEM, **times}) == Stored("r" * 32, recorded, written=recorded.written)


def test_the_item_of_a_removed_agent() -> None:
    item = records.encode_removed("web1", 5_000_000, 95, "r" * 32)
    assert item == {
        "name": {"S": "web1"},
        "written": {"N": "5000000"},
        "expires": {"N": "95"},
        "revision": {"S": "r" * 32},
        "removed": {"S": "r" * 32},
    }
    stored = records.decode_row(item)
    assert stored == Stored("r" * 32, None, None, 5_000_000, True)
    assert not stored.unfinished
    assert records.heartbeat(item) == ("web1", None)
    # An older version has begun a large report: it changed the revision.
    assert records.decode_row({**item, "revision": {"S": "m" * 32}}).unfinished


@pytest.mark.parametrize(
    ("present", "unfinished", "has_row"),
    [
        (("revision",), True, False),
        (("revision", "updated", "instance", "instances"), True, True),
        (("revision", "updated", "instance", "instances", "digest"), False, True),
        ((), False, False),
    ],
)
def test_a_row_without_a_digest_is_unfinished(present: tuple[str, ...], unfinished: bool, has_row: bool) -> None:
    item = {key: value for key, value in ROW_ITEM.items() if key in ("name", *present)}
    stored = records.decode_row(item)
    assert (stored.unfinished, stored.row is not None) == (unfinished, has_row)


@pytest.mark.parametrize("item", [{}, {"agent": "a"}, {"agent": {}}, {"agent": {"S": "a"}, "x": {}}, []])
def test_an_invalid_item_is_an_error(item: Any) -> None:
    with pytest.raises(errors.StoreUnavailable, match="an invalid item"):
        records.decode_fault(item)


@pytest.mark.parametrize(
    ("prefix", "good"),
    [("cimaa", True), ("a.b-c_9", True), ("x" * 200, True), ("", False), ("a b", False), ("ä", False)],
)
def test_a_prefix_must_be_valid_in_a_table_name(prefix: str, good: bool) -> None:
    if good:
        assert records.full_name(records.check_prefix(prefix), "agents") == f"{prefix}.agents"
    else:
        with pytest.raises(errors.ConfigurationError, match="prefix"):
            records.check_prefix(prefix)
