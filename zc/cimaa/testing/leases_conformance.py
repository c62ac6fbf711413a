"""The promises about leases, by number."""

from collections.abc import Callable
from typing import Any

import pytest

from .. import errors, limits
from ..db import DB
from ..leases import Lease
from .tools import Clock, Opener
from .values import HOSTILE_TEXTS


class LeasesConformance:
    """The promises about leases; part of :class:`~zc.cimaa.testing.Conformance`."""

    def test_48_a_lease_is_taken_renewed_and_over(self, db: DB, other: DB, clock: Clock) -> None:
        """Others cannot take it before its end, and the store's margin, are over."""
        clock.now = start = 1_700_000_000
        margin = db.clock_margin
        mine = Lease("job", "a", 1, start, start + 60, 60 + margin)
        assert db.lease("job", "a", 60) == mine
        assert other.lease("job", "b", 60) == mine
        clock.advance(40)
        mine = Lease("job", "a", 1, start, start + 70, 30 + margin)
        assert db.lease("job", "a", 30) == mine
        clock.advance(29 + margin)
        assert other.lease("job", "b", 60) == mine._replace(remaining=1)
        clock.advance(1)
        assert other.get_leases() == [mine._replace(remaining=0)]
        taken = Lease("job", "b", 2, int(clock()), int(clock()) + 1, 1 + margin)
        assert other.lease("job", "b", 1) == taken
        assert db.lease("job", "a", 60) == taken
        assert db.get_leases() == [taken]

    def test_48_a_lease_lasts_at_least_as_long_as_its_holder_counts(self, db: DB, other: DB, clock: Clock) -> None:
        """Also if the time is not a whole second."""
        clock.now = 1_700_000_000.75
        db.lease("job", "a", 1.5)
        clock.advance(1.4 + db.clock_margin)
        assert other.lease("job", "b", 60).holder == "a"

    def test_49_the_token_grows_each_time_a_lease_is_taken(self, db: DB, other: DB, clock: Clock) -> None:
        """It stays the same when the lease is renewed, and is never given twice."""
        tokens = []
        for handle, holder in ((db, "a"), (other, "b"), (db, "a"), (db, "a")):
            taken = handle.lease("job", holder, 60)
            clock.advance(30)
            assert handle.lease("job", holder, 60) == taken._replace(until=taken.until + 30)
            assert db.lease("job", "another", 60).token == taken.token
            tokens.append(taken.token)
            clock.advance(61 + db.clock_margin)
        assert tokens == [1, 2, 3, 4]

    def test_50_a_lease_can_be_released(self, db: DB, other: DB) -> None:
        """By its holder; others take it at once, with the next token."""
        db.lease("job", "a", 60)
        assert not other.release("job", "b")
        assert not other.release("other", "a")
        assert other.lease("job", "b", 60).holder == "a"
        assert other.release("job", "a")
        assert not db.release("job", "a")
        [released] = db.get_leases()
        assert (released.holder, released.token, released.remaining) == ("a", 1, 0)
        assert db.lease("job", "a", 60).token == 2
        assert db.release("job", "a")
        assert (other.lease("job", "b", 60).token, db.lease("job", "a", 60).holder) == (3, "b")

    def test_51_the_state_of_a_lease_is_handed_over(self, db: DB, other: DB) -> None:
        """The next holder gets what the last one left, and does not replace it by an outdated one."""
        assert db.lease("job", "a", 60).state is None
        assert db.lease("job", "a", 60, state={"tries": [1, ""]}).state == {"tries": [1, ""]}
        assert db.lease("job", "a", 60).state == {"tries": [1, ""]}
        assert other.lease("job", "b", 60, state="mine").state == {"tries": [1, ""]}
        db.release("job", "a")
        assert other.lease("job", "b", 60, state="mine").state == {"tries": [1, ""]}
        assert other.lease("job", "b", 60, state="mine").state == "mine"
        other.release("job", "b")
        assert db.lease("job", "a", 60, state="outdated").state == "mine"
        assert db.lease("job", "a", 60, state=None).state is None

    @pytest.mark.parametrize(
        "bad",
        [
            *({name: text} for name in ("name", "holder") for text in ("", "\0", "\ud800", "x" * 256, b"x", None)),
            *({"seconds": bad} for bad in (0, 0.9, 86401, -1, True, None, "60", float("nan"), float("inf"))),
            *({"state": bad} for bad in ((1,), {1: 2}, b"x", float("nan"), ["\0"], {"\0": 1}, "\ud800", 2**64)),
            {"state": "x" * limits.ENTRY_VALUE},
            {"state": "x" * (limits.LEASE_STATE - 1)},
        ],
        ids=lambda bad: repr(bad)[:30],
    )
    def test_52_a_lease_that_breaks_a_rule_changes_nothing(self, db: DB, bad: dict[str, Any]) -> None:
        """It raises InvalidLease."""
        db.lease("job", "a", 60, state="before")
        before = db.get_leases()
        arguments = {"name": "job", "holder": "a", "seconds": 60, "state": "after", **bad}
        with pytest.raises(errors.InvalidLease):
            db.lease(**arguments)
        calls: list[Callable[[], object]] = []
        if {"name", "holder"} & bad.keys():
            calls.append(lambda: db.release(arguments["name"], arguments["holder"]))
        if "name" in bad:
            calls.append(lambda: db.forget_lease(arguments["name"]))
        for call in calls:
            with pytest.raises(errors.InvalidLease):
                call()
        assert db.get_leases() == before

    def test_52_a_lease_at_its_limits_is_accepted(self, db: DB, other: DB) -> None:
        """Names and holders of 1 to 255 bytes, 1 second to a day, a state of 254 KiB, for any next holder."""
        for name in ("x", "\u20ac" * 85, *HOSTILE_TEXTS.values()):
            state = "x" * (limits.LEASE_STATE - 2)
            for seconds in (1, 86400):
                taken = db.lease(name, name, seconds, state=state)
                assert (taken.holder, taken.state) == (name, state)
            assert other.lease(name, "b", 60) == taken
            assert db.release(name, name)
            assert other.lease(name, "\1" * 255, 60).state == state
        assert [one.name for one in other.get_leases()] == sorted(["x", "\u20ac" * 85, *HOSTILE_TEXTS.values()])

    def test_53_a_lease_can_be_forgotten(self, db: DB, other: DB) -> None:
        """Its token begins again; the call returns whether there was one."""
        assert not db.forget_lease("job")
        db.lease("job", "a", 60, state=1)
        db.lease("other", "a", 60)
        assert other.forget_lease("job")
        assert [one.name for one in db.get_leases()] == ["other"]
        assert not db.release("job", "a")
        taken = other.lease("job", "b", 60)
        assert (taken.token, taken.state) == (1, None)
        assert db.lease("job", "a", 60).holder == "b"

    def test_54_leases_of_a_closed_store(self, opener: Opener) -> None:
        """Every call is an error."""
        db = opener()
        db.close()
        for call in (
            lambda: db.lease("job", "a", 60),
            lambda: db.release("job", "a"),
            lambda: db.forget_lease("job"),
            db.get_leases,
        ):
            with pytest.raises(errors.StoreClosed):
                call()
