"""The page on the contract holds on every backend, and names every promise that the conformance suite tests."""

import doctest
import re
from pathlib import Path
from pprint import pprint

from zc.cimaa.testing import Clock, Conformance, Opener

PAGE = Path(__file__).parents[2] / "doctests" / "contract.rst"


def test_the_page_holds(any_opener: Opener) -> None:
    clock = Clock(1_700_000_000)
    with any_opener(clock=clock) as db:
        results = doctest.testfile(
            str(PAGE),
            module_relative=False,
            globs={"db": db, "clock": clock, "opener": any_opener, "pprint": pprint},
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST,
        )
    assert (results.failed, results.attempted > 30) == (0, True)


def test_the_page_numbers_the_promises_as_the_suite_does() -> None:
    on_page = {int(number) for number in re.findall(r"\s\((\d\d?)\)", PAGE.read_text())}
    in_suite = {int(name.split("_")[1]) for name in dir(Conformance) if name.startswith("test_")}
    assert on_page == in_suite
