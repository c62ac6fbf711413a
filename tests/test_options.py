"""The settings of a section: the types of their values, and the errors for invalid values and keys."""

import pytest

from zc.cimaa import options
from zc.cimaa.errors import ConfigurationError
from zc.cimaa.options import FLAG, INTEGER, NUMBER, PATH, Option


def parsed(option: Option, **given: str) -> object:
    return options.parse("section", [option], given)[option.name]


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "True", "YES"])
def test_a_flag_may_be_written_in_several_ways(text: str) -> None:
    assert parsed(Option("flag", "", FLAG), flag=text) is True


@pytest.mark.parametrize("text", ["0", "false", "no", "off", "False", "NO"])
def test_a_flag_may_be_off_in_several_ways(text: str) -> None:
    assert parsed(Option("flag", "", FLAG, "true"), flag=text) is False


@pytest.mark.parametrize("text", ["", "2", "y", "-1", "enabled"])
def test_any_other_text_is_not_a_flag(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[section\] flag: "):
        parsed(Option("flag", "", FLAG), flag=text)


def test_a_default_is_read_as_a_value_is_and_without_one_there_is_none() -> None:
    assert parsed(Option("number", "", INTEGER, "7")) == 7
    assert parsed(Option("number", "", INTEGER, lambda: "8")) == 8
    assert parsed(Option("number", "", INTEGER, "7"), number="-3") == -3
    assert parsed(Option("number", "", INTEGER)) is None


@pytest.mark.parametrize(("text", "path"), [("a/b", "a/b"), ("/a", "/a"), ("~/a", "/home/me/a"), ("a/~", "a/~")])
def test_a_path_is_read_with_the_home_directory(monkeypatch: pytest.MonkeyPatch, text: str, path: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parsed(Option("path", "", PATH), path=text) == path


@pytest.mark.parametrize("text", ["", "a\0b", "~nobody-of-that-name/a"])
def test_a_path_that_no_file_can_have_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[section\] path: "):
        parsed(Option("path", "", PATH), path=text)


def test_a_message_has_the_text_that_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match=r"\[section\] number: 'many' "):
        parsed(Option("number", "", INTEGER), number="many")


def test_the_text_of_a_secret_is_in_no_message() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parsed(Option("number", "", INTEGER, secret=True), number="hunter2")
    assert "hunter2" not in str(refused.value)
    assert "[section] number" in str(refused.value)


def test_an_unknown_key_is_named_with_the_nearest_one_or_all_there_are() -> None:
    known = ["host", "port"]
    with pytest.raises(ConfigurationError, match=r"\[s\] has no option 'prot'; did you mean port\?"):
        options.check_keys("[s]", ["host", "prot"], known)
    with pytest.raises(ConfigurationError, match=r"\[s\] has no option 'po'; did you mean port\?"):
        options.check_keys("[s]", ["po"], known)
    with pytest.raises(ConfigurationError, match="has no option 'zzz'; available: host, port"):
        options.check_keys("[s]", ["zzz"], known)
    with pytest.raises(ConfigurationError, match="has no option 'zzz'; available: none"):
        options.check_keys("[s]", ["zzz"], [])


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0.01", 0.01), ("5", 5), ("1e3", 1000)])
def test_a_number_may_have_a_fraction(text: str, number: float) -> None:
    assert parsed(Option("number", "", NUMBER), number=text) == number


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "many", "1_0_"])
def test_a_number_is_finite_and_not_negative(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a number of at least 0"):
        parsed(Option("number", "", NUMBER), number=text)
