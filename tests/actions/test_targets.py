"""Whom an action is for."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa import tags
from zc.cimaa.actions import targets
from zc.cimaa.actions.targets import facts, of_agents, of_terms
from zc.cimaa.errors import InvalidAction

WEB1 = facts("web1.example.com", "web1", "Linux 6.1", "0.10.0", ["db", "eu"])


@pytest.mark.parametrize(
    ("terms", "included"),
    [
        ("agent=~.", True),
        ("agent=web1.example.com", True),
        ("agent=web1", False),
        ("agent=~^web os=~Linux version>=0.2 tag=db host!=old1", True),
        ("agent=~^web os=~Linux version>=0.2 tag=db host!=web1", False),
        ("version<0.2", False),
        ("version>0.9 version<=0.10", True),
        ("tag=db tag=eu", True),
        ("tag=us", False),
        ("tag!=us", True),
        ("tag!=db", False),
        ("tag=~^d", True),
        ("tag!~^d", False),
        ("host>=web1 host<web2", True),
        ('agent="web1.example.com"', True),
    ],
)
def test_all_terms_must_hold_for_what_the_agent_knows_of_itself(terms: str, included: bool) -> None:
    assert of_terms(terms).includes(WEB1) is included


def test_an_agent_without_tags_has_none() -> None:
    bare = facts("web1", "web1", "Linux", "0.1.0")
    assert not of_terms("tag=~.").includes(bare)
    assert of_terms("tag!=db").includes(bare)


def test_a_list_of_agents_is_compared_with_whole_names() -> None:
    target = of_agents(["web2", "web1.example.com"])
    assert target.includes(WEB1)
    assert not target.includes(facts("web1", "web1", "Linux", "0.1.0"))
    assert target.agents == ("web1.example.com", "web2")


@given(st.text())
def test_any_text_is_a_target_or_has_a_named_fault(text: str) -> None:
    with suppress(InvalidAction):
        of_terms(text).includes(WEB1)


def test_the_agents_that_are_reached_are_those_with_an_instance_in_the_target() -> None:
    new = {"host": "web1", "pid": 1, "os": "Linux", "version": "0.2.0", "first": 1, "last": 2}
    agents = [
        {"name": "db1", "updated": 2, "instances": []},
        {"name": "web1", "updated": 2, "instances": [{**new, "version": "0.1.0"}, new]},
        {"name": "web2", "updated": 2, "instances": [{**new, "tags": ["db"]}]},
        {"name": "web3", "updated": 2, "instances": [{**new, "version": "0.1.0"}]},
    ]
    assert targets.reached(of_terms("version>=0.2"), agents) == ["web1", "web2"]
    assert targets.reached(of_terms("tag=db"), agents) == ["web2"]
    assert targets.reached(of_agents(["db1", "web3", "gone"]), agents) == ["db1", "web3"]
    assert targets.reached(of_terms("agent=~."), agents) == ["db1", "web1", "web2", "web3"]


def test_tags_are_sorted_words() -> None:
    assert tags.parse("") == ()
    assert tags.parse("  eu db\n rack:7 ") == ("db", "eu", "rack:7")
    assert tags.parse(" ".join(f"t{number}" for number in range(16)))
    assert tags.parse("x" * 64 + " " + "y" * 64)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("db d=b", "'d=b'"),
        ("db eu db", "'db' is there twice"),
        ("db, eu", "'db,'"),
        ("dé", "'dé'"),
        (" ".join(f"t{number}" for number in range(17)), "17 tags; at most 16"),
        ("x" * 64 + " " + "y" * 65, "129 bytes together; at most 128"),
    ],
)
def test_an_invalid_tag_is_named(text: str, culprit: str) -> None:
    with pytest.raises(ValueError, match=culprit):
        tags.parse(text)
