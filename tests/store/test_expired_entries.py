"""Stores that do not delete expired entries by themselves delete them with old history."""

import pytest

from zc.cimaa import db as contract
from zc.cimaa.testing import Opener
from zc.cimaa.testing.tools import Clock, entry


@pytest.mark.parametrize("store", ["memory", "lmdb", "postgres"])
def test_expired_entries_are_deleted_with_old_history(
    store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several parts, and no others: those that are written again, or have no end."""
    monkeypatch.setattr(contract, "_ENTRIES", 2)
    opener: Opener = request.getfixturevalue(f"{store}_opener")
    clock = Clock()
    end = int(clock()) + 60
    expired = [entry(key=f"expired{number}", expires=end) for number in range(5)]
    others = [entry(key="later", expires=end + 1), entry(key="endless"), entry(key="again", expires=end)]
    with opener(clock=clock) as db:
        assert db._add([*expired, *others]) == 8
        clock.now = end
        others[-1] = entry(key="again", expires=end + 9)
        assert db._swap("test", "", "again", None, others[-1])
        assert db.lease("job", "web1", 60).token == 1
        assert db.prune_history() == 0
        clock.now = end - 10  # what was not deleted would be shown again
        assert sorted(one.key for one in db._entries("test")) == sorted(one.key for one in others)
        assert [one.name for one in db.get_leases()] == ["job"]
