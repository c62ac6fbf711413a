"""Thresholds on metrics: what is written, and what follows from it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa.agent.check_files import check
from zc.cimaa.agent.rules import results, thresholds
from zc.cimaa.agent.rules.check import Broken, Check
from zc.cimaa.agent.rules.perfdata import Metric
from zc.cimaa.agent.rules.thresholds import Crossing
from zc.cimaa.outcomes import Finished

FULL = "queue warning > 50 error >= 99 critical > 200 clear < 80"


def run(text: str, *values: float) -> list[tuple[int, str] | None]:
    """What a metric that takes these values in turn is, each time."""
    parsed = thresholds.parse(text)
    (name,) = [threshold.name for threshold in parsed]
    before: dict[str, Crossing] = {}
    seen: list[tuple[int, str] | None] = []
    for value in values:
        found = thresholds.crossings(parsed, [Metric(name, value)], before)
        before = {crossing.name: crossing for crossing in found}
        seen.append((found[0].severity, found[0].message) if found else None)
    return seen


def severities(text: str, *values: float) -> list[int]:
    return [0 if each is None else each[0] for each in run(text, *values)]


def test_each_severity_has_its_limit() -> None:
    assert severities(FULL, 50, 51, 98) == [0, 30, 30]
    assert severities(FULL, 99) == [40]
    assert severities(FULL, 200) == [40]
    assert severities(FULL, 201) == [50]


def test_an_error_holds_until_it_clears_and_a_warning_does_not() -> None:
    assert severities(FULL, 99, 90, 80, 79) == [40, 40, 40, 30]
    assert severities(FULL, 201, 100, 80, 79, 10) == [50, 50, 50, 30, 0]
    assert severities(FULL, 60, 40) == [30, 0]
    assert severities("n warning > 50 error > 90 clear < 20", 60, 40) == [30, 0]


def test_without_clear_nothing_holds() -> None:
    assert severities("n error > 50", 51, 50) == [40, 0]


def test_an_error_that_holds_becomes_critical_and_stays_so() -> None:
    assert severities(FULL, 99, 201) == [40, 50]
    assert run(FULL, 99, 201, 90)[1:] == [(50, "queue is 201: critical > 200")] * 2


def test_a_limit_may_be_one_below() -> None:
    assert severities("free warning < 20 error <= 10 clear > 30", 25, 19, 10, 25, 31) == [0, 30, 40, 40, 0]


def test_a_message_stays_while_the_severity_does() -> None:
    text = "queue is 60: warning > 50"
    assert run(FULL, 60, 61, 99, 90) == [(30, text), (30, text), *[(40, "queue is 99: error >= 99")] * 2]


def test_names_with_spaces_and_several_lines() -> None:
    parsed = thresholds.parse("\n 'my disk' optional error>90\n'it''s' warning>=1e3\n\n")
    assert [(t.name, t.optional) for t in parsed] == [("my disk", True), ("it's", False)]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("> 50", "does not start with a metric's name"),
        ("n", "has no limit for n"),
        ("n clear < 5", "has no limit for n"),
        ("n optional", "has no limit for n"),
        ("n waring > 5", "invalid 'waring > 5', expected warning"),
        ("n warning = 5", "invalid"),
        ("n warning 5", "invalid"),
        ("n warning > five", "invalid number 'five'"),
        ("n warning > nan", "invalid number 'nan'"),
        ("n warning > inf", "invalid number 'inf'"),
        ("n warning > 1 warning > 2", "has warning twice"),
        ("n warning > 1\nn error > 2", "the metric 'n' has two thresholds"),
        ("n warning > 1 optional", "invalid 'optional'"),
    ],
)
def test_what_cannot_be_read_is_refused_and_named(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        thresholds.parse(text)


def made(text: str) -> Check:
    found = check("f", "a", {"command": "x", "thresholds": text}, Path("/"), 60)
    assert isinstance(found, Check)
    return found


def test_a_wrong_threshold_is_a_fault_of_the_check_s_options(tmp_path: object) -> None:
    found = check("f", "a", {"command": "x", "thresholds": "n > 5"}, Path("/"), 60)
    assert isinstance(found, Broken)
    assert "thresholds" in found.reason


def test_a_metric_that_is_missing_is_a_fault_unless_it_is_optional() -> None:
    done = Finished(0, b"fine | other=1", b"")
    (fault,) = results.of_outcome("web1", made("n error > 5\nm optional error > 5"), done).faults
    assert fault["name"] == "//web1/f/a#monitor-metric"
    assert fault["message"].endswith("did not report: n")


def test_a_metric_that_is_missed_clears_no_error() -> None:
    parsed = thresholds.parse("n error > 5\nm optional error > 5")
    before = {name: Crossing(name, 40, "x") for name in "nm"}
    assert thresholds.crossings(parsed, [], before) == [before["n"]]


def test_metrics_come_from_json_too() -> None:
    output = b'{"faults": [], "metrics": [{"name": "n", "value": 7, "unit": "s"}]}'
    result = results.of_outcome("web1", made("n error > 5"), Finished(0, output, b""))
    assert result.metrics == [Metric("n", 7, "s")]
    assert [(f["name"], f["severity"], f["message"]) for f in result.faults] == [
        ("//web1/f/a#n", 40, "n is 7s: error > 5")
    ]


def test_what_no_sink_could_encode_is_escaped_in_a_metric() -> None:
    output = b'{"faults": [], "metrics": [{"name": "n\\ud800", "value": 7, "unit": "\\ud800"}]}'
    assert results.of_outcome("web1", made(""), Finished(0, output, b"")).metrics == [Metric("n\\ud800", 7, "\\ud800")]


_HUGE = f'[{{"name": "n", "value": 1{"0" * 400}}}]'


@pytest.mark.parametrize(
    ("metrics", "wrong"),
    [
        ("7", "its 'metrics' must be a list, not a number"),
        ("null", "its 'metrics' must be a list, not null"),
        ("[7]", "each of its 'metrics' must be an object with a 'name' and a 'value'"),
        ('[{"value": 1}]', "each of its 'metrics' must be"),
        ('[{"name": "", "value": 1}]', "each of its 'metrics' must be"),
        ('[{"name": 7, "value": 1}]', "each of its 'metrics' must be"),
        ('[{"name": "n"}]', "metric 'n': its value must be a number"),
        ('[{"name": "n", "value": "7"}]', "metric 'n': its value must be a number"),
        ('[{"name": "n", "value": true}]', "metric 'n': its value must be a number"),
        ('[{"name": "n", "value": 1e999}]', "metric 'n': its value must be a number"),
        (_HUGE, "metric 'n': its value must be a number"),
        ('[{"name": "n", "value": 1, "unit": 7}]', "metric 'n': its unit must be text"),
        ('[{"name": "n", "value": 1}, {"name": "n", "value": 2}]', "two of its 'metrics' have the same name"),
    ],
)
def test_metrics_that_are_none_are_the_check_s_own_fault(metrics: str, wrong: str) -> None:
    output = f'{{"faults": [], "metrics": {metrics}}}'.encode()
    result = results.of_outcome("web1", made(""), Finished(0, output, b""))
    (fault,) = result.faults
    assert fault["name"] == "//web1/f/a#monitor-json"
    assert wrong in fault["message"]
    assert result.metrics == []


NUMBERS = st.integers(-1000, 1000)


@given(NUMBERS, st.integers(1, 100), st.integers(1, 100), st.lists(NUMBERS, max_size=30))
def test_an_error_begins_and_ends_where_it_should(limit: int, above: int, below: int, values: list[int]) -> None:
    text = f"n error > {limit} critical > {limit + above} clear < {limit - below}"
    now = 0
    for value, seen in zip(values, severities(text, *values), strict=True):
        level = 50 if value > limit + above else 40 if value > limit else 0
        now = level if value < limit - below else max(now, level)
        assert seen == now


@given(st.text(max_size=60))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        parsed = thresholds.parse(text)
    except ValueError:
        return
    assert all(threshold.levels for threshold in parsed)
