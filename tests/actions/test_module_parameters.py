"""The parameters of modules: what is accepted, and what is refused by name, without running anything."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.long_form import times
from zc.cimaa.actions import answers, modules, running
from zc.cimaa.actions.modules import Bounds, Inspector, Module
from zc.cimaa.actions.parameters import ParameterValues, from_words
from zc.cimaa.errors import ConfigurationError, InvalidParameters

GOOD: dict[str, dict[str, Any]] = {
    "check": {"names": ["disk", "host/load"]},
    "command": {"name": "restart", "arguments": ["nginx"]},
    "file": {
        "path": "/etc",
        "name": ["*.conf", "shadow"],
        "type": "any",
        "size": [">1KiB", "<=4MiB"],
        "mtime": "<7d",
        "sha256": "0" * 64,
        "content": "^root:",
        "hash": True,
        "depth": 3,
        "matches": 5,
    },
    "package": {"name": "open*", "version": r"^3\."},
    "port": {"listening": [80, 443], "connected": ["192.0.2.0/24", "::1"], "protocol": "any"},
    "process": {"name": "ssh?", "executable": "/usr/*", "command": "-D", "user": "root"},
}


def test_there_are_the_modules_of_the_page() -> None:
    assert modules.names() == sorted(GOOD)
    assert sorted(modules.checks()) == sorted(GOOD)
    for name in modules.names():
        assert modules.load(name).name == name
        assert "\n" not in modules.load(name).summary


def test_an_unknown_module_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="there is no module 'files'; did you mean file"):
        modules.load("files")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_parameters_are_accepted_alone_and_together(name: str) -> None:
    module = modules.load(name)
    required = {parameter.name for parameter in module.parameters if parameter.required} or set(list(GOOD[name])[:1])
    given = {key: GOOD[name][key] for key in required}
    module.check(GOOD[name])
    for key, value in GOOD[name].items():
        module.check({**given, key: value})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_unknown_parameter_is_named(name: str) -> None:
    with pytest.raises(InvalidParameters, match=f"module {name} has no parameter 'nonsense'"):
        modules.load(name).check({**GOOD[name], "nonsense": 1})


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, given in GOOD.items() for key in given])
@pytest.mark.parametrize("wrong", [{}, [], 1.5, None, [[]], "", "\0", "\ud800", ["x"] * 65, "x" * 5000, [{}]])
def test_a_value_of_the_wrong_type_is_named(name: str, key: str, wrong: object) -> None:
    with pytest.raises(InvalidParameters, match=f"module {name}: parameter '{key}': "):
        modules.load(name).check({**GOOD[name], key: wrong})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("file", {}, "parameter 'path' is missing"),
        ("file", {"path": "etc"}, "'etc' is not an absolute path"),
        ("file", {"path": "/", "name": "*a" * 300}, "has 600 bytes; at most 512 are allowed"),
        ("file", {"path": "/", "size": "1MiB"}, "'1MiB' is not a comparison: write it like '>1MiB'"),
        ("file", {"path": "/", "size": ">1MB"}, "invalid size '1MB'"),
        ("file", {"path": "/", "mtime": "<1y"}, "invalid duration '1y'"),
        ("file", {"path": "/", "sha256": "abc"}, "'abc' is not a SHA-256"),
        ("file", {"path": "/", "content": "(?=x)"}, "not a valid RE2 regular expression"),
        ("file", {"path": "/", "content": "(x{900}){900}"}, "regular expression"),
        ("file", {"path": "/", "depth": True}, "it must be an integer, not true or false"),
        ("file", {"path": "/", "depth": 201}, "it must be from 0 to 200"),
        ("file", {"path": "/", "hash": 1}, "it must be true or false, not a number"),
        ("file", {"path": "/", "type": "pipe"}, "'pipe' is not one of file, directory, link, any"),
        ("port", {}, "give 'listening', a port, or 'connected'"),
        ("port", {"listening": 65536}, "it must be from 1 to 65535"),
        ("port", {"connected": "192.0.2.1/24"}, "is not an address or a network"),
        ("command", {"arguments": "x"}, "parameter 'name' is missing"),
        ("package", [], "the parameters must be a JSON object, not a list"),
        ("package", {1: 2}, "has no parameter a number"),
    ],
)
def test_the_message_says_what_is_wrong(name: str, given: Any, message: str) -> None:
    with pytest.raises(InvalidParameters) as raised:
        modules.load(name).check(given)
    assert message in str(raised.value)
    assert name in str(raised.value)


def test_words_are_read_by_the_types_of_the_parameters() -> None:
    parameters = modules.load("file").parameters
    words = ["path=/etc", "path=/usr", "name=a=b", "depth=3", "hash=true"]
    assert from_words("file", parameters, words) == {
        "path": ["/etc", "/usr"],
        "name": "a=b",
        "depth": 3,
        "hash": True,
    }
    assert from_words("port", modules.load("port").parameters, ["listening=80"]) == {"listening": 80}


@pytest.mark.parametrize("word", ["path", "depth=x", "depth=", "hash=yes", "depth=1e3", "depth=٣"])
def test_a_word_that_cannot_be_read_is_named(word: str) -> None:
    with pytest.raises(InvalidParameters, match=word.partition("=")[0]):
        from_words("file", modules.load("file").parameters, [word])


# Parameters of an enemy

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from([*"/[]*?(){}^$\\", "/proc", "/dev", "/dev/zero", "/../..", "(a*)*b", "[[:alpha:]]", "x" * 5000]),
    st.sampled_from([">0", "<1w", "=99999999999999999999B", "0" * 64, "::/0", "0.0.0.0/0", "127.0.0.1", "any", "udp"]),
    st.from_regex(r"[(\[]?[a-z*?+|.]{0,9}[)\]]?", fullmatch=True),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3))


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, Any]:
    """A module, and parameters that may be nearly right."""
    name = draw(st.sampled_from(sorted(GOOD)))
    if draw(st.integers(0, 9)) == 0:
        return name, draw(VALUES)
    keys = st.one_of(st.sampled_from([parameter.name for parameter in modules.load(name).parameters]), TEXTS)
    changed = draw(st.dictionaries(keys, VALUES, max_size=3))
    kept = draw(st.sets(st.sampled_from(sorted(GOOD[name]))))
    return name, {**{key: GOOD[name][key] for key in kept}, **changed}


@pytest.fixture(scope="module")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to which ``file`` is confined here: what is asked for elsewhere is refused."""
    directory = tmp_path_factory.mktemp("tree")
    (directory / "file").write_text("root:x\n")
    return directory


def checked(module: type[Module], parameters: Any) -> tuple[str, ParameterValues | None]:
    """Why the parameters are refused, or their values."""
    try:
        return "", module.check(parameters)
    except InvalidParameters as error:
        return str(error), None


@settings(max_examples=times(400, 10_000))
@given(case=hostile())
def test_hostile_parameters_are_refused_by_name_or_answered_in_time(case: tuple[str, Any], small_tree: Path) -> None:
    name, parameters = case
    module = modules.load(name)
    message, values = checked(module, parameters)
    if values is None:
        assert f"module {name}" in message
        assert len(message) < 1000
        return
    json.dumps(parameters)  # what is accepted is JSON, and is the same after it was read again
    if issubclass(module, Inspector) and name != "process":
        started = time.monotonic()
        answer = module.inspect(values, Bounds(started + 1, [str(small_tree)]))
        assert time.monotonic() - started < 20
        encoded = answers.encode(answer)
        assert len(encoded) <= answers.ANSWER
        assert answers.decode(encoded).found == answer.found


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_the_time_left_is_never_negative(limit: float) -> None:
    assert running.seconds_left(limit, 100, 50) == 0


def test_the_time_left_ends_with_the_window() -> None:
    assert running.seconds_left(300, window_end=1060, now=1000) == 60
    assert running.seconds_left(300, window_end=2000, now=1000) == 300
    assert running.seconds_left(300, window_end=999, now=1000) == 0
