"""The document of an action: what is accepted, and that each fault is named."""

import hashlib
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import faulty_documents
from tests.support.faulty_documents import EXPIRES, GOOD, MODULES, VALID_FROM, Faulty, encoded
from zc.cimaa.actions import documents
from zc.cimaa.actions.targets import facts
from zc.cimaa.errors import InvalidAction

FAULTY = faulty_documents.faulty()
NOW = 1_800_000_000


def parsed(document: Any) -> documents.Document:
    return documents.parse(encoded(document), MODULES)


def test_a_good_document_is_read_in_every_part() -> None:
    document = parsed(GOOD)
    assert (document.name, document.valid_from, document.expires) == ("who has it", VALID_FROM, EXPIRES)
    assert document.operations == (documents.Operation("look", {"path": "/etc"}),)
    assert document.target.text == GOOD["target"]
    assert (document.description, document.threat) == (GOOD["description"], GOOD["threat"])
    documents.check_window(document, EXPIRES - 1)


def test_its_id_is_the_sha256_of_its_bytes() -> None:
    data = encoded(GOOD)
    assert documents.parse(data, MODULES).id == hashlib.sha256(data).hexdigest()
    assert documents.parse(data + b"\n", MODULES).id != documents.parse(data, MODULES).id


def test_what_is_only_for_people_may_be_left_out() -> None:
    document = parsed({key: value for key, value in GOOD.items() if key not in ("description", "threat")})
    assert (document.description, document.threat) == ({}, {})


@pytest.mark.parametrize("time", ["2100-01-01T00:00:00.5Z", "2100-01-01T00:00:00.500000+00:00"])
def test_times_may_have_fractions_and_a_written_offset_of_zero(time: str) -> None:
    assert parsed(GOOD | {"validfrom": time}).valid_from == VALID_FROM + 0.5


@pytest.mark.parametrize("count", [1, 32])
def test_an_action_has_1_to_32_operations(count: int) -> None:
    assert len(parsed(GOOD | {"operations": GOOD["operations"] * count}).operations) == count


def test_a_document_of_64_kib_is_accepted() -> None:
    data = encoded(GOOD)
    assert documents.parse(data + b" " * (documents.SIZE - len(data)), MODULES).name == GOOD["name"]
    with pytest.raises(InvalidAction, match="is too large: at most 65536 bytes"):
        documents.parse(data + b" " * (documents.SIZE + 1 - len(data)), MODULES)


def test_there_are_more_than_200_faulty_documents() -> None:
    assert len({faulty.data for faulty in FAULTY}) > 200


@pytest.mark.parametrize("faulty", FAULTY, ids=[faulty.how for faulty in FAULTY])
def test_each_fault_is_named(faulty: Faulty) -> None:
    with pytest.raises(InvalidAction) as raised:
        documents.check_window(documents.parse(faulty.data, MODULES), NOW)
    assert faulty.culprit in str(raised.value)
    assert len(str(raised.value)) < 500


def test_the_window_is_over_when_it_ends() -> None:
    document = parsed(GOOD)
    with pytest.raises(InvalidAction, match="ended at 2100-01-01T01:00:00Z; it is 2100-01-01T01:00:00Z now"):
        documents.check_window(document, EXPIRES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_it_holds_a_file_is_a_document_or_has_a_named_fault(data: bytes) -> None:
    with pytest.raises(InvalidAction, match=r"."):
        documents.parse(data, MODULES)


@given(st.sampled_from(list(GOOD)), JSON)
def test_any_value_in_any_place_is_accepted_or_has_a_named_fault(key: str, value: Any) -> None:
    with suppress(InvalidAction):
        parsed(GOOD | {key: value}).target.includes(facts("web1", "web1", "Linux", "0.1.0"))
