"""The pure rules of faults: reports, digests, and changes."""

import copy
from types import MappingProxyType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import errors, faults, memory
from zc.cimaa.faults import Changes, FaultDict
from zc.cimaa.testing import fault
from zc.cimaa.testing.histories import reports
from zc.cimaa.testing.tools import exact
from zc.cimaa.testing.values import REFUSED


def stored(report: list[FaultDict], since: int) -> list[FaultDict]:
    return [{**one, "since": since} for one in report]


def applied(old: list[FaultDict], changes: Changes) -> list[FaultDict]:
    """The contents of a store after the changes."""
    kept = {one["name"]: one for one in old}
    for name in changes.removed:
        del kept[name]
    kept |= {one["name"]: one for one in changes.put}
    return sorted(kept.values(), key=faults.by_name)


@given(reports)
def test_a_report_decodes_to_what_was_reported(report: list[FaultDict]) -> None:
    before = copy.deepcopy(report)
    assert exact(faults.report("a", report).faults()) == exact(sorted(report, key=faults.by_name))
    assert exact(report) == exact(before)


def test_a_fault_may_be_any_mapping() -> None:
    with memory.DB() as db:
        db.set_faults("a", [MappingProxyType(fault("f", x=1))])
        assert db.get_faults("a") == [fault("f", agent="a", x=1)]


@given(reports, st.randoms())
def test_the_digest_is_that_of_the_faults_in_any_order(report: list[FaultDict], dice: object) -> None:
    shuffled = [dict(sorted(one.items(), key=lambda _: dice.random())) for one in report]  # type: ignore[attr-defined]
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert faults.report("a", shuffled).digest == faults.report("a", report).digest


@given(reports, reports)
def test_two_reports_have_one_digest_only_if_they_are_the_same(one: list[FaultDict], other: list[FaultDict]) -> None:
    first, second = faults.report("a", one), faults.report("a", other)
    assert (first.digest == second.digest) == (first.encoded == second.encoded)
    assert (first.digest == second.digest) <= (exact(first.faults()) == exact(second.faults()))


@pytest.mark.parametrize("pair", [(True, 1), (1, 1.0), (False, 0), ("", None), ([], {}), ("1", 1)], ids=repr)
def test_the_digest_tells_kinds_apart(pair: tuple[object, object]) -> None:
    one, other = (faults.report("a", [fault("f", x=value)]).digest for value in pair)
    assert one != other


@given(reports)
def test_the_report_made_without_a_check_is_the_same(report: list[FaultDict]) -> None:
    assert faults.encode_unvalidated(report) in (faults.report("a", report), None)


def test_the_report_made_without_a_check_is_found_for_plain_faults() -> None:
    report = [fault("g"), fault("f", x={"y": [1, 2.5, None, True, ""]})]
    assert faults.encode_unvalidated(report) == faults.report("a", report)
    assert faults.encode_unvalidated([]) == faults.report("a", [])


@given(reports, reports)
def test_a_report_that_repeats_the_last_one_is_recognized(last: list[FaultDict], report: list[FaultDict]) -> None:
    valid = faults.report("a", last)
    for new in (last, report):
        assert faults.encode_unvalidated(new, valid) == faults.encode_unvalidated(new)


@pytest.mark.parametrize("value", [("x",), [("x",)]], ids=repr)
def test_a_value_that_is_only_encoded_like_the_last_one_is_not_taken_for_it(value: object) -> None:
    [alike] = orjson.loads(orjson.dumps([value]))
    last = faults.report("a", [fault("f", x=alike)])
    assert faults.encode_unvalidated([fault("f", x=alike)], last) == last
    assert faults.encode_unvalidated([fault("f", x=value)], last) is None


@given(reports.filter(bool), st.sampled_from(sorted(REFUSED)))
def test_the_digest_of_what_is_refused_is_never_that_of_a_report(report: list[FaultDict], bad: str) -> None:
    wrong = REFUSED[bad]
    if not isinstance(wrong, list):
        return
    mixed = [*report, *wrong]
    with pytest.raises(errors.InvalidFault) as refused:
        faults.report("a", mixed)
    assert str(refused.value)
    valid = faults.report("a", report)
    unvalidated = faults.encode_unvalidated(mixed, valid)
    assert unvalidated is None or unvalidated.digest != valid.digest
    with pytest.raises(errors.InvalidFault):
        faults.report("a", mixed, unvalidated)


@given(reports, reports, reports)
def test_changes_lead_from_one_report_to_the_next(
    first: list[FaultDict], second: list[FaultDict], third: list[FaultDict]
) -> None:
    now = applied([], faults.changes([], faults.report("a", first), 1))
    assert exact(now) == exact(stored(sorted(first, key=faults.by_name), 1))
    for time, report in ((2, second), (3, second), (4, third)):
        before = {one["name"]: one["since"] for one in now}
        in_one_way = faults.changes(now, report, time)
        for same in (faults.report("a", report), faults.encode_unvalidated(report)):
            assert same is None or exact(faults.changes(now, same, time)) == exact(in_one_way)
        now = applied(now, in_one_way)
        expected = [{**one, "since": before.get(one["name"], time)} for one in sorted(report, key=faults.by_name)]
        assert exact(now) == exact(expected)


@given(reports)
def test_no_change_is_no_write(report: list[FaultDict]) -> None:
    assert faults.changes(stored(report, 1), report, 2) == Changes([], [])
    assert faults.changes(stored(report, 1), faults.report("a", report), 2) == Changes([], [])


@given(
    st.lists(st.tuples(st.sampled_from([20, 50]), st.sampled_from("ab")), min_size=10, max_size=12),
    st.lists(st.tuples(st.sampled_from([20, 50]), st.sampled_from("ab")), min_size=9, max_size=12),
)
def test_many_faults_are_compared_by_the_same_rules(old: list[tuple[int, str]], new: list[tuple[int, str]]) -> None:
    """With reports they are compared as a whole, with lists one by one."""
    before, after = (
        [{"name": f"f{at:02}", "severity": severity, "message": message} for at, (severity, message) in enumerate(each)]
        for each in (old, new)
    )
    report = faults.encode_unvalidated(after)
    assert report is not None
    assert faults.changes(stored(before, 1), report, 2) == faults.changes(stored(before, 1), after, 2)


def test_changes_are_only_what_differs() -> None:
    old = stored([fault("same"), fault("worse", 30), fault("over"), fault("kind", x=True)], 1)
    new = [fault("worse", 40), fault("new"), fault("same"), fault("kind", x=1)]
    assert exact(faults.changes(old, new, 9)) == exact(
        Changes(
            [{**fault("kind", x=1), "since": 1}, {**fault("new"), "since": 9}, {**fault("worse", 40), "since": 1}],
            ["over"],
        )
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([fault("disk", severity="high")], "fault 'disk': severity must be an integer (50 is critical), not str"),  # type: ignore[arg-type]
        ([fault("disk"), fault("disk")], "the report has two faults named 'disk'"),
        ([{"name": "disk", "severity": 1}], "fault 'disk' has no message"),
        ([{"severity": 1, "message": ""}], "a fault has no name; its keys are 'severity, message'"),
        ([fault("disk", a={"b": [1, float("nan")]})], "fault 'disk': a: b: 1 is nan; a float must be 0 or from"),
        ([fault("disk", a=[{"b": 2**63}])], "fault 'disk': a: 0: b does not fit in 64 bits"),
        ([fault("disk", a=(1,))], "fault 'disk': a is a tuple, which JSON does not have"),
        ([fault("disk", message="x\0")], "fault 'disk': message 'x\\x00' holds a NUL character"),
        ([fault("d" * 2000)], f"the fault's name '{'d' * 57}...' has 2000 bytes; at most 1024 are allowed"),
        (7, "a report must be a list of faults, not int"),
        ({"faults": []}, "a report must be a list of faults, not dict"),
    ],
)
def test_an_error_names_the_culprit(wrong: list[FaultDict], message: str) -> None:
    unvalidated = faults.encode_unvalidated(wrong) if isinstance(wrong, list) else None
    for encoded in (None, unvalidated):
        with pytest.raises(errors.InvalidFault) as refused:
            faults.report("a", wrong, encoded)
        assert message in str(refused.value)


@pytest.mark.parametrize(
    "one",
    [
        fault(""),
        fault("f\0"),
        fault("f", message="\0"),
        fault("d" * 1025),
        fault("\u20ac" * 342),
        fault("f", message="m" * (32 * 1024 + 1)),
        fault("f", message="\u20ac" * 11_000),
        fault("f", 2**63),
        fault("f", -(2**63) - 1),
        fault("f", True),
        fault("f", 1.0),  # type: ignore[arg-type]
        fault("\ud800"),
        fault("f", message="\udfff"),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_every_rule_holds_among_plain_faults(one: FaultDict) -> None:
    """These are checked together, without a look at each."""
    report = [fault(f"fault{number}") for number in range(20)] + [one]
    with pytest.raises(errors.InvalidFault):
        faults.report("a", report, faults.encode_unvalidated(report))


@pytest.mark.parametrize(
    "one",
    [
        fault("d" * 1024),
        fault("\u20ac" * 341),
        fault("f", message=""),
        fault("f", message="\\u0000"),
        fault("f", message="m" * (32 * 1024)),
        fault("f", 2**63 - 1),
        fault("f", -(2**63)),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_what_keeps_the_rules_barely_is_stored_as_it_is(one: FaultDict) -> None:
    report = [fault(f"fault{number}") for number in range(20)] + [one]
    checked = faults.report("a", report, faults.encode_unvalidated(report))
    assert checked.faults() == sorted(report, key=faults.by_name)
    assert faults.digest(stored(report, 1)) == checked.digest


def test_a_copy_of_the_faults_is_not_the_callers() -> None:
    report = [fault("f"), fault("g")]
    checked = faults.encode_unvalidated(report)
    assert checked is not None
    report[0]["message"] = "changed"
    assert checked.faults() == [fault("f"), fault("g")]


def test_severities_have_names() -> None:
    assert [faults.severity_name(number) for number in (50, 40, 30, 20, 10, 45)] == [
        "critical",
        "error",
        "warning",
        "info",
        "debug",
        "45",
    ]
    assert [faults.parse_severity(text) for text in ("CRITICAL", "warning", "45", "-1")] == [50, 30, 45, -1]
    with pytest.raises(ValueError, match="invalid severity 'bad': give a number or one of critical, error"):
        faults.parse_severity("bad")
