"""Ranges and output of the Monitoring Plugins' guidelines."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa.checks import plugin_output
from zc.cimaa.checks.items import Item, Measurement
from zc.cimaa.checks.ranges import Range, Thresholds, number, parse, thresholds
from zc.cimaa.checks.states import State, worst

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("10", [0, 5, 10], [-0.1, 10.1]),
        ("10:", [10, 11], [9.9, -1]),
        ("~:10", [-99, 10], [10.1]),
        ("10:20", [10, 20], [9.9, 20.1]),
        ("@10:20", [9.9, 20.1], [10, 15, 20]),
        ("-5:-1", [-5, -1], [0]),
        (".5", [0.5], [0.6]),
    ],
)
def test_the_guidelines_ranges(text: str, good: list[float], bad: list[float]) -> None:
    assert [parse(text).is_bad(value) for value in good + bad] == [False] * len(good) + [True] * len(bad)


@pytest.mark.parametrize("text", ["", ":", "@", "x", "10%", "20:10", "1:2:3", "1e3", "nan", "10:~", "9" * 400])
def test_an_invalid_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a range"):
        parse(text)


@given(st.tuples(FINITE | st.just(-math.inf), FINITE | st.just(math.inf)).map(sorted), st.booleans())
def test_a_range_is_read_as_it_is_written(ends: list[float], inside: bool) -> None:
    made = Range(ends[0], ends[1], inside)
    assert parse(str(made)) == made


@given(FINITE)
def test_a_number_is_written_exactly_and_without_an_exponent(value: float) -> None:
    assert float(number(value)) == value
    assert set(number(value)) <= set("-.0123456789")


def test_there_is_no_negative_zero() -> None:
    assert [number(value) for value in (-0.0, 0, 0.0, -0.5, 1e21, 100.0)] == [
        "0",
        "0",
        "0",
        "-0.5",
        f"1{'0' * 21}",
        "100",
    ]


def test_critical_comes_before_warning() -> None:
    limits = thresholds("10", "20")
    assert [limits.state(value) for value in (10, 11, 21)] == [State.OK, State.WARNING, State.CRITICAL]
    assert Thresholds().state(1e9) is State.OK


def test_what_is_bad_for_sure_is_worse_than_what_is_not_known() -> None:
    assert worst([]) is State.OK
    assert worst([State.OK, State.UNKNOWN]) is State.UNKNOWN
    assert worst([State.UNKNOWN, State.WARNING]) is State.WARNING
    assert worst([State.UNKNOWN, State.CRITICAL, State.WARNING]) is State.CRITICAL


def test_the_worst_comes_first_and_data_follow() -> None:
    items = [
        Item("a", State.OK, "a is good", (Measurement("a", 1, "%", thresholds("90", "95"), 0, 100),)),
        Item("b", State.WARNING, "b is bad"),
        Item("c", State.CRITICAL, "c is worse", (Measurement("c d", 0.5, "s"),)),
    ]
    state, text = plugin_output.output("disk", items, "fine", verbose=1)
    first, *rest = text.split("\n")
    assert state is State.CRITICAL
    assert first == "DISK CRITICAL - c is worse; b is bad | a=1%;90;95;0;100 'c d'=0.5s"
    assert rest == ["OK: a is good", "WARNING: b is bad", "CRITICAL: c is worse"]
    assert plugin_output.output("disk", [], "fine") == (State.OK, "DISK OK - fine")


@pytest.mark.parametrize(
    ("label", "written"),
    [("", "''"), ("a b", "'a b'"), ("a=b", "a_b"), ("it's", "it_s"), ("a|b", "a\\x7cb"), ("/", "/")],
)
def test_a_label_is_quoted_where_it_must_be(label: str, written: str) -> None:
    assert plugin_output.performance_data([Measurement(label, 1), Measurement("z", 2)]) == f"{written}=1 z=2"


def test_control_characters_are_escaped() -> None:
    assert plugin_output.line("x", State.OK, "\x1b[2J a\n|é\u202e") == "X OK - \\x1b[2J a\\n\\x7cé\\u202e"


def test_of_many_things_that_are_wrong_five_are_named() -> None:
    items = [Item(str(n), State.WARNING, f"{n} is bad") for n in range(7)]
    named = "0 is bad; 1 is bad; 2 is bad; 3 is bad; 4 is bad"
    assert plugin_output.output("x", items[:5], "") == (State.WARNING, f"X WARNING - {named}")
    assert plugin_output.output("x", items, "") == (State.WARNING, f"X WARNING - {named}; and 2 more")


def test_a_single_thing_that_is_good_is_described() -> None:
    good = [Item(name, State.OK, f"{name} is good") for name in "ab"]
    assert plugin_output.output("x", good[:1], "fine") == (State.OK, "X OK - a is good")
    assert plugin_output.output("x", good, "fine") == (State.OK, "X OK - fine")


@given(st.text(), st.text())
def test_no_text_breaks_the_line_or_the_data(message: str, label: str) -> None:
    _, text = plugin_output.output("x", [Item("", State.WARNING, message, (Measurement(label, 1),))], "")
    assert len(text.splitlines()) == 1
    assert text.count("|") == 1
    assert text.endswith(("=1", "'=1"))
    assert text.count("=") == message.count("=") + 1
