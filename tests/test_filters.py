"""Filters: what they find, against a naive evaluation, and which error a wrong one gives."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.long_form import times
from zc.cimaa.errors import InvalidFilter
from zc.cimaa.faults import SEVERITIES
from zc.cimaa.filters import (
    AGENTS,
    FAULTS,
    AgentItem,
    FaultItem,
    Key,
    Keys,
    Narrowed,
    finds_agent,
    kinds,
    narrowed,
    parse,
    quote,
    split,
)
from zc.cimaa.filters.language import MISSING
from zc.cimaa.text import quoted

NOW = 1_700_000_000.7
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# The naive evaluation: a term is a tuple, and each rule is written as the page has it.


class Naive(NamedTuple):
    key: str
    #: True if the key is in quotes, and so a key of the fault's own.
    own: bool
    op: str
    value: str


def naively(term: Naive, item: FaultItem) -> bool:
    if not term.op:
        return any(term.key.lower() in item.fault[key].lower() for key in ("name", "message"))
    if term.op in ("!=", "!~"):
        return not naively(term._replace(op="=" if term.op == "!=" else "=~"), item)
    if term.own or term.key not in {key.name for key in FAULTS.keys}:
        return term.key in item.fault and any(extra(term, value) for value in flat(item.fault[term.key]))
    if term.key == "severity":
        number = item.fault["severity"]
        names = {level: name for name, level in SEVERITIES.items()}
        if term.op == "=~":
            return bool(re.search(term.value, names.get(number, str(number))))
        return compared(number, term.op, SEVERITIES.get(term.value) or int(term.value))
    if term.key == "age":
        return compared(max(0, int(NOW - item.fault["since"])), term.op, int(term.value[:-1]) * SECONDS[term.value[-1]])
    if term.key == "squelched":
        return item.squelched is (term.value == "yes")
    return on_text(item.fault[term.key], term)


def on_text(text: str, term: Naive) -> bool:
    return bool(re.search(term.value, text)) if term.op == "=~" else compared(text, term.op, term.value)


def extra(term: Naive, value: Any) -> bool:
    as_text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if term.op == "=~":
        return bool(re.search(term.value, as_text))
    if term.op == "=":
        both = [number(value), number(term.value)]
        return both[0] == both[1] if not isinstance(value, str) and None not in both else as_text == term.value
    bound = number(term.value)
    if bound is None:
        return isinstance(value, str) and compared(value, term.op, term.value)
    return number(value) is not None and compared(number(value), term.op, bound)


def number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9.]+(e[0-9]+)?", value):
        return float(value)
    return value if type(value) in (int, float) else None


def flat(value: Any) -> list[Any]:
    return [one for each in value for one in flat(each)] if isinstance(value, list) else [value]


def compared(one: Any, op: str, other: Any) -> bool:
    return {"=": one == other, "<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[op]


# Random filters and faults, of few values, so that they meet often.

NAMES = ["//web1/disk#/var", "//web1/load", "//db1/RAID", "x", 'say "it\'s"', "a b  c", "ÄRGER"]
OPS = ["=", "!=", "=~", "!~", "<", "<=", ">", ">="]
REGEXES = ["web", "^//", "disk#/var$", "1", ".", "^$", "a|b", "[0-9]+", "shop", "o ", "u"]
SCALARS = [
    "shop",
    "web",
    "",
    "10",
    "9.5",
    "a b",
    'q"q',
    "true",
    0,
    9,
    10,
    10.0,
    2.5,
    -3,
    1e3,
    True,
    False,
    None,
    {"a": 1},
]
EXTRAS = ["team", "used", "age", "severty", "odd key", 'q"q', "squelched", "=", "x.y-z"]

values = st.sampled_from(SCALARS) | st.lists(st.sampled_from([*SCALARS, ["shop", [10]]]), max_size=3)
faults = st.builds(
    lambda known, extras: {**extras, **known},
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(NAMES),
            "agent": st.sampled_from(["web1", "web10", "db1", "backup"]),
            "message": st.sampled_from(["", "disk is full", "97 % used", "it's", *NAMES]),
            "severity": st.sampled_from([10, 20, 30, 35, 40, 50]),
            "since": st.sampled_from([int(NOW) - age for age in (-5, 0, 59, 60, 3599, 3600, 3601, 90_000)]),
        }
    ),
    st.dictionaries(st.sampled_from(EXTRAS), values, max_size=4),
)
items = st.builds(FaultItem, faults, st.just(NOW), st.booleans())


def texts_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def terms_on(key: str, values: list[str], ops: list[str], *, own: bool = False) -> st.SearchStrategy[Naive]:
    plain = [op for op in ops if "~" not in op]
    made = st.builds(Naive, st.just(key), st.just(own), st.sampled_from(plain), st.sampled_from(values))
    if len(plain) == len(ops):
        return made
    return made | st.builds(Naive, st.just(key), st.just(own), st.sampled_from(["=~", "!~"]), st.sampled_from(REGEXES))


NO_REGEX = [op for op in OPS if "~" not in op]
terms = st.one_of(
    terms_on("severity", [*SEVERITIES, "35", "0"], OPS),
    terms_on("age", ["0s", "59s", "1m", "1h", "2d"], NO_REGEX),
    terms_on("squelched", ["yes", "no"], ["=", "!="]),
    terms_on("agent", ["web1", "db1", "we", "nope"], OPS),
    terms_on("name", NAMES, OPS),
    terms_on("message", ["disk is full", "", "it's"], OPS),
    *(
        terms_on(key, [*map(texts_of, SCALARS), "1e1", "9", "zz"], OPS, own=own)
        for key in EXTRAS
        for own in (True, False)
        if own or key in ("team", "used", "x.y-z")
    ),
    st.builds(
        Naive,
        st.sampled_from(["web", "DISK", "it's", "a b", "ärger", "nope", "RAID"]),
        st.just(True),
        st.just(""),
        st.just(""),
    ),
)


def in_quotes(text: str, mark: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark


@st.composite
def written(draw: st.DrawFn, term: Naive) -> str:
    mark = draw(st.sampled_from("\"'"))
    key = in_quotes(term.key, mark) if term.own else term.key
    if not term.op:
        return key
    plain = term.value and not re.search(r"\s", term.value) and term.value[0] not in "\"'=<>!~"
    value = term.value if plain and draw(st.booleans()) else in_quotes(term.value, draw(st.sampled_from("\"'")))
    return f"{key}{term.op}{value}"


@st.composite
def filters(draw: st.DrawFn) -> tuple[list[Naive], str]:
    parts = draw(st.lists(terms, max_size=4))
    blank = draw(st.sampled_from([" ", "  ", "\t", "\n "]))
    return parts, blank.join([*(draw(written(term)) for term in parts), ""])


# Each example has ten filters and ten faults.
@settings(max_examples=times(200, 1000))
@given(st.lists(st.tuples(filters(), items), min_size=10, max_size=10))
def test_filters_agree_with_a_naive_evaluation(cases: list[tuple[tuple[list[Naive], str], FaultItem]]) -> None:
    for (parts, text), item in cases:
        assert parse(text, FAULTS)(item) is all(naively(term, item) for term in parts), (text, item)


@settings(max_examples=times(100, 300))
@given(st.lists(st.tuples(filters(), items), min_size=5, max_size=5), st.sampled_from([None, "web1"]))
def test_what_a_store_leaves_out_and_the_rest_are_the_whole_filter(
    cases: list[tuple[tuple[list[Naive], str], FaultItem]], agent: str | None
) -> None:
    for (_, text), item in cases:
        wanted = parse(text, FAULTS)
        arguments, rest = narrowed(wanted, Narrowed(agent=agent))
        by_store = (
            arguments.agent in (None, item.fault["agent"])
            and (arguments.severity is None or item.fault["severity"] >= arguments.severity)
            and (arguments.pattern is None or bool(re.search(arguments.pattern, item.fault["name"])))
        )
        assert (by_store and rest(item)) is (wanted(item) and agent in (None, item.fault["agent"]))


def test_the_store_gets_what_it_can_find_by_itself() -> None:
    wanted = parse("severity>=error agent=web1 name=~disk team=shop agent=web2", FAULTS)
    arguments, rest = narrowed(wanted, Narrowed())
    assert arguments == Narrowed("web1", 40, "disk")
    assert [condition.term.text for condition in rest.conditions] == ["team=shop", "agent=web2"]
    assert narrowed(parse("severity=error", FAULTS), Narrowed())[0].severity == 40
    assert narrowed(parse(f"severity>={10**30}", FAULTS), Narrowed())[0].severity is None
    assert narrowed(wanted, Narrowed("db1", 10, "x"))[0] == Narrowed("db1", 10, "x")


# Errors

#: Wrong terms; ``{}`` is replaced by letters.
WRONG = [
    "sevrity>={}",
    "Severity=error",
    "sev>={}",
    "messgae=~{}",
    "severity>=zz{}",
    "age<{}q",
    "age<5",
    "age=~{}",
    "squelched=z{}",
    "squelched>yes",
    "name=~({}",
    "message!~[{}",
    "{}=~(?={})",
    '{}=~""',
    "={}",
    ">{}",
    "z{}=",
    "z{}==x",
    "z{}=>x",
    "z{}!==x",
    "<>",
    "!{}",
    "!",
    "~{}",
    "AND",
    "age",
    '""',
    "or",
    "&&",
    "({}=x",
    "a,{}=x",
    '"{}"x',
    "z{}='a'b",
    "\"{}\"'x'",
    "z{}\0=x",
    "\ud800{}",
    "z{}=\udfff",
]
UNCLOSED = ['"{}', "'{}", 'z{}="', "z{}='a''", 'z{}="a b']


@settings(max_examples=times(200, 1000))
@given(
    st.lists(
        st.tuples(
            st.lists(terms.flatmap(written), max_size=3),
            st.sampled_from([*WRONG, *UNCLOSED]),
            st.text("abcé", min_size=1),
        ),
        min_size=10,
        max_size=10,
    )
)
def test_hostile_filters_get_an_error_that_names_the_term(cases: list[tuple[list[str], str, str]]) -> None:
    for before, template, letters in cases:
        wrong = template.replace("{}", letters)
        after = [] if template in UNCLOSED else ["severity>=error"]
        text = " ".join([*before, wrong, *after])
        position = len(text) - len(" ".join([wrong, *after])) + 1
        shown = wrong.split(" ")[0]
        with pytest.raises(InvalidFilter) as raised:
            parse(text, FAULTS)
        start = f"filter term {len(before) + 1}, {quoted(shown)} at character {position}: "
        assert str(raised.value).startswith(start), text


def error_of(text: str, keys: Keys[Any]) -> str:
    try:
        parse(text, keys)
    except InvalidFilter as error:
        return str(error)
    return ""


@settings(max_examples=2000)
@given(st.text(st.sampled_from("ab \t\"'=<>!~()[]*\\0\0\x1f\u00a0\ud800é&|-."), max_size=40))
def test_any_text_is_a_filter_or_an_error_that_names_a_term(text: str) -> None:
    for keys in (FAULTS, AGENTS):
        error = error_of(text, keys)
        assert re.fullmatch(r"|filter term \d+, .* at character \d+: .+", error, re.DOTALL)


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "'",
        '""',
        "a=x ",
        "severity>=error ",
        '"x',
        'a="b" ',
        "(",
        "9",
        "9s",
        "=~",
        "!",
        " ",
        "a",
        "a(",
        "\\",
        "a|",
        "(a*)*",
        "é",
    ],
)
@pytest.mark.parametrize("start", ["", "a=", 'a="', "severity>=", "team<", "name=~", "age<", "'"])
def test_no_filter_takes_longer_than_its_length_explains(start: str, piece: str) -> None:
    def seconds(length: int) -> float:
        text, took = start + piece * (length // len(piece)), []
        for _ in range(3):
            begin = time.process_time()
            error_of(text, FAULTS)
            took.append(time.process_time() - begin)
        return min(took)

    assert seconds(16_000) < 8 * 4 * seconds(2000) + 0.01


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "team=shop sevrity>=error",
            "filter term 2, 'sevrity>=error' at character 11: unknown key 'sevrity'; did you mean severity?",
        ),
        ("sevrity>=error", 'an extra key with this name is written in quotes: "sevrity"'),
        ("severity>=eror", "severity: invalid severity 'eror': give a number or one of critical, error"),
        ("severity >= error", "term 2, '>=' at character 10: there is no key; write KEY OPERATOR VALUE without blanks"),
        ("team=", 'there is no value; write KEY OPERATOR VALUE without blanks, and team="" for an empty text'),
        ("severity==error", "invalid operator '=='"),
        ("disk or load", "term 2, 'or' at character 6: terms must all hold"),
        ("!backup", "a word cannot be negated; exclude it by KEY!~backup"),
        (
            "disk age",
            "term 2, 'age' at character 6: the key age has no operator and no value; in a shell, put the whole",
        ),
        ("severity~error", "invalid operator '~' after the key severity; use =, !=, =~, !~, <, <=, > or >="),
        ("disk severity:error", "term 2, 'severity:error' at character 6: invalid operator ':' after the key severity"),
        ("age≥1d", "invalid operator '≥' after the key age"),
        ('""', "there is no text to search for"),
        ('message="disk full', 'the quote " is not closed'),
        ("name=~(?=x)", "RE2 does not support look-around"),
        ("name=~" + "x" * 1025, "has 1025 bytes; at most 1024 are allowed"),
        ("age=~1h", "age: it is a duration: use =, !=, <, <=, > or >="),
    ],
)
def test_a_mistake_is_explained(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(message)):
        parse(text, FAULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("os:Linux", "invalid operator ':' after the key os"),
        ("hots=old1", "unknown key 'hots'; did you mean host?"),
        ('"hots"=old1', "unknown key 'hots'; did you mean host?"),
        ("team=shop", "unknown key 'team'; the keys are agent, silent, host, pid, os, version"),
        ("version<new", "version: invalid version 'new'"),
        ("pid=x", "pid: invalid number 'x'"),
        ("pid=~1", "pid: it is a number"),
    ],
)
def test_agents_have_no_further_keys(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(message)):
        parse(text, AGENTS)


# What the random filters do not reach


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_quoted_value_stands_for_itself(text: str) -> None:
    (term,) = split(f"key={quote(text)}")
    assert (term.key, term.op, term.value) == ("key", "=", text)


def test_a_key_in_quotes_is_the_faults_own() -> None:
    fault = {
        "name": "n",
        "agent": "a",
        "message": "m",
        "severity": 40,
        "since": int(NOW) - 60,
        "age": 7,
        "sevrity": "x",
    }
    for text, holds in [('"age"=7', True), ("age=1m", True), ('"age"=1m', False), ("'sevrity'=x", True)]:
        assert parse(text, FAULTS)(FaultItem(fault, NOW)) is holds


def test_columns_are_keys_too() -> None:
    fault = {"name": "n", "agent": "a", "message": "m", "severity": 40, "since": int(NOW) - 60}
    assert parse("fault=n for>=1m", FAULTS)(FaultItem(fault, NOW))
    assert parse("last-report>1m", AGENTS)(AgentItem("a", 61))


@pytest.mark.parametrize("op", ["=", "!="])
def test_squelched_is_like_a_missing_key_where_it_is_unknown(op: str) -> None:
    fault = {"name": "n", "agent": "a", "message": "m", "severity": 40, "since": 0}
    assert parse(f"squelched{op}yes", FAULTS)(FaultItem(fault, NOW)) is (op == "!=")


def instance(host: str, pid: int | None, version: str, system: str) -> dict[str, Any]:
    return {"host": host, "pid": pid, "version": version, "os": system, "first": 0, "last": 0}


MOVED = {
    "name": "web1",
    "updated": int(NOW) - 900,
    "instances": [instance("old1", None, "0.9", "Linux 5.1"), instance("new1", 77, "0.10", "FreeBSD 14")],
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("agent=web1", True),
        ("name=~^web", True),
        ("silent>=15m", True),
        ("silent>15m", False),
        ("silent<15m", False),
        ("os=~Linux", True),
        ("version>=0.10", True),
        ("version>0.10", False),
        ("version<0.9.1", True),
        ("version=0.10.0", True),
        ("version<0.9rc1", False),
        ("version=~^0[.]9$", True),
        ("pid=77", True),
        ("pid>76 pid<78", True),
        ("host!=old1", True),
        ("NEW1", True),
        ("web", True),
        ("new2", False),
        # of the same instance
        ("os=~Linux version>=0.10", False),
        ("os=~Linux host!=old1", False),
        ("os=~Linux pid=77", False),
        ("os=~Linux pid!=77", True),
    ],
)
def test_an_agent_is_found_if_one_of_its_instances_satisfies_all_terms(text: str, holds: bool) -> None:
    assert finds_agent(parse(text, AGENTS), MOVED, NOW) is holds


def test_an_agent_whose_instances_are_unknown_has_no_host() -> None:
    agent = {"name": "web1", "updated": int(NOW)}
    assert finds_agent(parse("agent=web1 host!=x", AGENTS), agent, NOW)
    assert not finds_agent(parse("host=~.", AGENTS), agent, NOW)


def test_versions_that_are_none_are_neither_before_nor_after() -> None:
    item = AgentItem("a", 0, instance("h", 1, "unknown", "Linux"))
    assert not any(parse(f"version{op}1", AGENTS)(item) for op in ("=", "<", "<=", ">", ">="))
    assert parse("version!=1", AGENTS)(item)


def test_a_filter_tells_which_agents_it_admits() -> None:
    wanted = parse("agent=~^web agent!=web2 severity>=error", FAULTS)
    assert [name for name in ("web1", "web2", "db1") if wanted.admits("agent", name)] == ["web1"]


def test_any_subject_may_have_keys() -> None:
    """As a room with other things declares them: here, plain mappings."""
    keys: Keys[Mapping[str, Any]] = Keys(
        (Key("size", kinds.integer, lambda item: item.get("size", MISSING), "its size"),),
        words=lambda item: (item["title"],),
    )
    wanted = parse("size>3 report", keys)
    assert [wanted({"title": "a report", "size": size}) for size in (3, 4)] == [False, True]
    assert not wanted({"title": "a report"})
