"""Texts as names of files."""

import os

import pytest

from zc.cimaa.text import file_name

NAMES = [
    "web1",
    "a/b",
    "a%2Fb",
    "..",
    ".x",
    "%2Ex",
    "x" * 255,
    "x" * 254 + "y",
    "x" * 254,
    "é" * 100,
    "latest",
    "é\udcff",
]


@pytest.mark.parametrize("text", NAMES)
def test_a_text_has_a_name_that_every_file_system_takes(text: str) -> None:
    name = file_name(text)
    assert "/" not in name
    assert name[0] != "."
    assert len(os.fsencode(name)) <= 217


def test_different_texts_have_different_names() -> None:
    assert len({file_name(text) for text in NAMES}) == len(NAMES)
    assert file_name("web1.example.com") == "web1.example.com"
