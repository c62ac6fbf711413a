"""The promises about entries, by number."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from .. import limits
from ..db import DB
from ..leases import Lease
from .entries_history import EntriesHistory
from .histories import run_histories
from .tools import FIRST, Clock, Opener, entry, exact, process_pool
from .values import HOSTILE_TEXTS, VALUES

# How many try to do the same at once, and how often each.
_CONTENDERS, _INCREMENTS = 16, 3


class EntriesConformance:
    """The promises about entries; part of :class:`~zc.cimaa.testing.Conformance`."""

    processes: ClassVar[bool]
    examples: ClassVar[int]

    def test_41_an_entry_is_written_on_condition_of_its_revision(self, db: DB, other: DB) -> None:
        """And removed; the calls return whether they did."""
        first, second = entry(value=1), entry(value=2)
        assert not db._swap(*_WHERE, first.revision, second)
        assert db._swap(*_WHERE, None, first)
        assert not other._swap(*_WHERE, None, second)
        assert list(other._entries(*_WHERE)) == [first]
        assert other._swap(*_WHERE, first.revision, second)
        assert not db._swap(*_WHERE, first.revision, entry(value=3))
        assert not db._swap(*_WHERE, first.revision, None)
        assert list(db._entries(*_WHERE)) == [second]
        assert db._swap(*_WHERE, second.revision, None)
        assert not db._swap(*_WHERE, second.revision, None)
        assert list(other._entries(*_WHERE)) == []
        assert other._swap(*_WHERE, None, first)
        assert list(db._entries(*_WHERE)) == [first]

    def test_42_a_write_that_is_repeated_is_recognized(self, db: DB, other: DB) -> None:
        """By its revision, as its first answer may have been lost; but not after another write."""
        first, second, third = entry(value=1), entry(value=2), entry(value=3)
        for was, becomes in ((None, first), (first.revision, second)):
            assert db._swap(*_WHERE, was, becomes)
            assert db._swap(*_WHERE, was, becomes)
            assert list(other._entries(*_WHERE)) == [becomes]
        assert other._swap(*_WHERE, second.revision, third)
        assert not db._swap(*_WHERE, first.revision, second)
        assert list(db._entries(*_WHERE)) == [third]

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_43_the_value_of_an_entry_is_returned_as_it_was_set(self, db: DB, other: DB, value: Any) -> None:
        """Any JSON value, up to 256 KiB; the store and the caller share no objects."""
        whole = entry(value={"value": value, "list": [value, {"value": value}]})
        assert db._swap(*_WHERE, None, whole)
        [found] = other._entries(*_WHERE)
        assert exact(found.value) == exact(whole.value)
        found.value["list"].clear()
        assert exact(next(iter(db._entries(*_WHERE))).value) == exact(whole.value)

    def test_43_an_entry_at_its_limits_is_accepted(self, db: DB, other: DB) -> None:
        """Its key and owner have up to 255 bytes, and its value 256 KiB, encoded."""
        for character in ("k", "\U0001f4a5"):
            key = character * (limits.ENTRY_KEY // len(character.encode()))
            whole = entry(key=key, owner=key, value="x" * (limits.ENTRY_VALUE - 2), expires=2**40)
            assert db._swap("test", key, key, None, whole)
            assert list(other._entries("test", key, key)) == [whole]

    def test_44_entries_are_found_by_kind_owner_and_key(self, db: DB, other: DB) -> None:
        """Even if they are similar, or hold hostile texts."""
        texts = ["a", "a ", "a b", "A", "aa", *HOSTILE_TEXTS.values()]
        stored = [entry(owner=owner, key=key) for owner in ("", "a", "a b") for key in texts]
        stored += [entry(owner=owner, key="a") for owner in texts[4:]]
        stored += [entry(kind="tests", owner="a", key="a"), entry(kind="tes", key="a")]
        for one in stored:
            assert db._swap(one.kind, one.owner, one.key, None, one)
        for kind in ("test", "tests", "tes", "other"):
            of_kind = [one for one in stored if one.kind == kind]
            assert sorted(other._entries(kind)) == sorted(of_kind)
            for owner in ("", "a", "a b", " a", "b"):
                of_owner = [one for one in of_kind if one.owner == owner]
                assert sorted(other._entries(kind, owner)) == sorted(of_owner)
        for one in stored:
            assert list(other._entries(one.kind, one.owner, one.key)) == [one]
        assert list(other._entries("test", "a", "b")) == []

    def test_45_an_entry_that_has_expired_counts_as_absent(self, db: DB, other: DB, clock: Clock) -> None:
        """From this second on, whether the store has removed it or not."""
        end = int(clock()) + 60
        first, second = entry(expires=end), entry()
        assert db._swap(*_WHERE, None, first)
        clock.now = end - 0.5
        assert list(other._entries(*_WHERE)) == list(other._entries("test")) == [first]
        assert not db._swap(*_WHERE, None, second)
        clock.now = end
        for found in (other._entries(*_WHERE), other._entries("test", ""), other._entries("test")):
            assert list(found) == []
        assert not db._swap(*_WHERE, first.revision, second)
        assert not db._swap(*_WHERE, first.revision, None)
        assert db._swap(*_WHERE, None, second)
        expired = entry(key="expired", expires=end)
        assert db._add([expired]) == 1
        clock.advance(10**9)
        assert db.prune_history() == 0  # deletes what has expired, where the store does not
        assert list(other._entries("test")) == [second]
        assert db._swap("test", "", "expired", None, expired._replace(expires=None))

    def test_46_entries_are_added_if_they_are_not_there(self, db: DB, other: DB, clock: Clock) -> None:
        """The call returns how many were added."""
        stored = [entry(key=f"k{number:03}") for number in range(120)]
        assert db._add(stored[:2]) == 2
        clock.advance(10)
        expired = entry(key="k119", expires=int(clock()) - 5)
        assert db._swap("test", "", "k119", None, expired)
        others = [one._replace(revision=uuid4().hex, value="other") for one in stored[:2]]
        assert other._add([*others, *stored[2:]]) == 118
        assert sorted(db._entries("test")) == sorted(stored)
        assert other._add([]) == 0

    def test_47_of_several_writers_one_wins(self, opener: Opener) -> None:
        """Sixteen processes (threads, if others cannot see the store) increment one number: no increment is lost.

        Then they ask for one lease: one gets it.
        """
        with opener() as db:
            db._swap(*_WHERE, None, entry(value=0))
            with _several_at_once(self.processes) as pool:
                answers = list(pool.map(_contend, [opener] * _CONTENDERS, range(_CONTENDERS)))
            [found] = db._entries(*_WHERE)
            [lease] = db.get_leases()
        replaced = [revision for revisions, _ in answers for revision in revisions]
        assert found.value == _CONTENDERS * _INCREMENTS
        assert len(set(replaced)) == len(replaced) == found.value
        assert {(one.holder, one.token) for _, one in answers} == {(lease.holder, 1)}

    def test_55_after_a_random_history_entries_and_leases_equal_the_models(self, opener: Opener) -> None:
        """With clocks that jump; all results of both are compared after every step."""
        run_histories(lambda: EntriesHistory(opener), self.examples, 20)


_WHERE = ("test", "", "key")


def _several_at_once(processes: bool) -> Executor:
    return process_pool(_CONTENDERS) if processes else ThreadPoolExecutor(_CONTENDERS)


def _contend(opener: Opener, number: int) -> tuple[list[str], Lease]:
    """Increment the number several times, and ask for the lease: the revisions that were replaced, and the lease."""
    with opener(instance=FIRST) as db:
        return list(islice(_increments(db), _INCREMENTS)), db.lease("job", f"holder{number}", 3600)


def _increments(db: DB) -> Iterator[str]:
    while True:
        [found] = db._entries(*_WHERE)
        if db._swap(*_WHERE, found.revision, entry(value=found.value + 1)):
            yield found.revision
