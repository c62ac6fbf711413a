"""The pure rules of squelches: validity, whether they are in force, and which match a name."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zc.cimaa import errors, squelches
from zc.cimaa.squelches import Matcher


def test_a_squelch_without_an_end_is_in_force() -> None:
    squelch = squelches.squelch("x", "reason", "user", False, None, 100)
    assert squelches.in_force(squelch, 100)
    assert squelches.in_force(squelch, 1e12)


def test_a_squelch_is_in_force_until_its_end() -> None:
    squelch = squelches.squelch("x", "reason", "user", False, 200, 100)
    assert squelches.in_force(squelch, 199.999)
    assert not squelches.in_force(squelch, 200)


@pytest.mark.parametrize(
    ("permanent", "expires", "message"),
    [
        (False, 100, "the squelch would end at 100, which is past: it is 100"),
        (False, 2**63, "expires does not fit in 64 bits"),
        (False, True, "expires must be whole seconds since the epoch, not bool"),
        (False, 200.0, "expires must be whole seconds since the epoch, not float"),
        (True, 200, "a squelch is either permanent or expires, not both"),
        (1, None, "permanent must be true or false, not 1"),
    ],
)
def test_an_end_that_makes_no_sense_is_refused(permanent: bool, expires: int, message: str) -> None:
    with pytest.raises(errors.InvalidSquelch, match=f"^{message}$"):
        squelches.squelch("x", "", "", permanent, expires, 100)


def test_details_have_an_end_only_where_there_is_one() -> None:
    details = {"regex": "x", "reason": "", "user": "", "time": 100, "permanent": False}
    assert squelches.squelch("x", "", "", False, None, 100).details() == details
    assert squelches.squelch("x", "", "", False, 101, 100).details() == {**details, "expires": 101}
    assert squelches.squelch("x", "", "", False, 2**63 - 1, 100).details() == {**details, "expires": 2**63 - 1}


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(", "'(' is not a valid RE2 regular expression: missing ): ("),
        ("[z-a]", "invalid character class range"),
        ("(?=x)", "RE2 does not support look-around and back-references"),
        (r"(a)\1", "RE2 does not support look-around and back-references"),
        ("a{1001}", "invalid repetition size: {1001}"),
        (r"\pL{100}", "pattern too large"),
        ("*", "no argument for repetition operator: *"),
    ],
)
def test_an_expression_that_does_not_compile_is_named(
    regex: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.InvalidSquelch) as refused:
        squelches.squelch(regex, "reason", "user", False, None, 100)
    assert message in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_matcher_names_the_expression_that_does_not_compile(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errors.InvalidSquelch, match=r"'\(\?=x\)' is not a valid RE2 regular expression"):
        Matcher(["good", "(?=x)"])
    assert capfd.readouterr() == ("", "")


patterns = st.sampled_from(
    [
        "a",
        "b+",
        "^a",
        "b$",
        "^$",
        ".",
        "[^a]",
        "a|b",
        "(?i)A",
        r"\d",
        r"\bab\b",
        "é",
        "\U0001f4a5",
        "a.c",
        "(ab)*",
        r"\.",
    ]
)


@given(st.lists(patterns, max_size=8), st.text("abc.1é\U0001f4a5 A", max_size=6))
@example([r"\bab\b"], "abé")
def test_a_matcher_finds_what_a_search_with_each_finds(regexes: list[str], name: str) -> None:
    """In RE2, word boundaries and digits are those of ASCII."""
    expected = [regex for regex in dict.fromkeys(regexes) if re.search(regex, name, re.ASCII)]
    assert Matcher(regexes).matching(name) == expected


def test_a_matcher_of_nothing_matches_nothing() -> None:
    assert Matcher([]).matching("name") == []


def test_expressions_too_big_for_one_automaton_match_all_the_same() -> None:
    big = [rf"x{number}\pL{{3}}y" for number in range(40)]
    matcher = Matcher([*big, "^z"], memory=2_000_000)
    assert matcher.matching("x7éaby") == [big[7]]
    assert matcher.matching("x39aaay x12\u05d0bcy") == [big[12], big[39]]
    assert matcher.matching("zx0aaay") == [big[0], "^z"]
    assert matcher.matching("x0aa1y") == []


def test_an_expression_that_is_slow_elsewhere_is_quick() -> None:
    """Python's re would practically never return for this one."""
    assert Matcher(["(a+)+$"]).matching("a" * 5000 + "b") == []
