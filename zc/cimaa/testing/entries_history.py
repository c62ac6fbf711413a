"""Random histories of entries and leases: a store and the memory backend get the same calls, and return the same."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from .. import memory
from ..db import DB
from ..entries import Entry
from .histories import json_values
from .tools import Clock, Opener, empty, entry, exact

_kinds = st.sampled_from(["x", "y"])
_owners = st.sampled_from(["", "a", "a b"])
_keys = st.sampled_from(["k", "l", "K"])
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_places = st.tuples(_kinds, _owners, _keys)
_ends = st.none() | st.sampled_from([-100, 0, 1, 60, 500])
_leases = st.sampled_from(["job", "job2"])
_holders = st.sampled_from(["a", "b", "A"])


class EntriesHistory(RuleBasedStateMachine):
    """Handles of a store, and as many of the model; after every step they return the same."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self.clock = Clock()
        self.handles = [opener(clock=self.clock) for _ in range(3)]
        model = str(uuid4())
        self.models = [_model(model, self.clock, self.handles[0].clock_margin) for _ in range(3)]
        self.expiring = False
        empty(self.handles[0])
        # Entries of earlier histories that have expired may be there again if the clock is set back.
        self.prefix = uuid4().hex[:31].translate(_LETTERS)

    def teardown(self) -> None:
        """Close all handles."""
        for handle in (*self.handles, *self.models):
            handle.close()

    def both(self, who: int, call: Callable[[DB], Any]) -> None:
        """Call both; they return the same."""
        stored, modelled = (exact(call(handles[who])) for handles in (self.handles, self.models))
        assert stored == modelled

    def expires(self, end: int | None) -> int | None:
        """The time this number of seconds from now."""
        self.expiring = self.expiring or end is not None
        return None if end is None else int(self.clock()) + end

    @rule(
        who=st.integers(0, 2),
        place=_places,
        value=json_values,
        expects=st.sampled_from(["stored", "nothing", "another"]),
        end=_ends,
    )
    def swap(self, who: int, place: tuple[str, str, str], value: Any, expects: str, end: int | None) -> None:
        """An entry is written, if its revision is the one that is expected."""
        kind, owner, key = self.prefix + place[0], *place[1:]
        was = {"stored": self.revision(kind, owner, key), "nothing": None, "another": uuid4().hex}[expects]
        becomes = Entry(kind, owner, key, value, uuid4().hex, self.expires(end))
        self.both(who, lambda db: db._swap(kind, owner, key, was, becomes))

    @rule(who=st.integers(0, 2), place=_places, another=st.booleans())
    def remove(self, who: int, place: tuple[str, str, str], another: bool) -> None:
        """An entry is removed, if its revision is the one that is expected."""
        kind, owner, key = self.prefix + place[0], *place[1:]
        was = self.revision(kind, owner, key)
        if was is not None:
            was = uuid4().hex if another else was
            self.both(who, lambda db: db._swap(kind, owner, key, was, None))

    def revision(self, kind: str, owner: str, key: str) -> str | None:
        """The revision of an entry."""
        return next((one.revision for one in self.models[0]._entries(kind, owner, key)), None)

    @rule(who=st.integers(0, 2), kind=_kinds, owner=_owners, keys=st.sets(_keys), end=_ends)
    def add(self, who: int, kind: str, owner: str, keys: Iterable[str], end: int | None) -> None:
        """Some entries are added."""
        kind, expires = self.prefix + kind, self.expires(end)
        added = [entry(kind=kind, owner=owner, key=key, expires=expires) for key in sorted(keys)]
        self.both(who, lambda db: db._add(added))

    @rule(who=st.integers(0, 2), name=_leases, holder=_holders, seconds=st.sampled_from([1, 1.5, 60, 300]))
    def lease(self, who: int, name: str, holder: str, seconds: float) -> None:
        """A lease is taken, renewed, or had by another."""
        self.both(who, lambda db: db.lease(name, holder, seconds))

    @rule(who=st.integers(0, 2), name=_leases, holder=_holders, state=json_values)
    def lease_with_state(self, who: int, name: str, holder: str, state: Any) -> None:
        """The same, with a state."""
        self.both(who, lambda db: db.lease(name, holder, 60, state=state))

    @rule(who=st.integers(0, 2), name=_leases, holder=_holders)
    def release(self, who: int, name: str, holder: str) -> None:
        """A lease is released, if it is this holder's."""
        self.both(who, lambda db: db.release(name, holder))

    @rule(who=st.integers(0, 2), name=_leases)
    def forget(self, who: int, name: str) -> None:
        """A lease is forgotten."""
        self.both(who, lambda db: db.forget_lease(name))

    @rule(seconds=st.sampled_from([0.001, 0.3, 1, 10, 59, 61, 300, 86400]))
    def time_passes(self, seconds: float) -> None:
        """The clock advances."""
        self.clock.advance(seconds)

    @precondition(lambda self: not self.expiring)  # what had expired may be there again, or not
    @rule(seconds=st.sampled_from([0.4, 10, 3600]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        """It is."""
        self.clock.advance(-seconds)

    @invariant()
    def answers_are_the_models(self) -> None:
        """Every handle reads the same: all share one store."""
        first, second = self.prefix + "x", self.prefix + "y"
        for call in (
            lambda db: db.get_leases(),
            lambda db: _sorted(db._entries(first)),
            lambda db: _sorted(db._entries(first, "a")),
            lambda db: _sorted(db._entries(second, "a", "k")),
            lambda db: _sorted(db._entries(second, None, "k")),
        ):
            self.both(2, call)


def _model(name: str, clock: Clock, margin: int) -> memory.DB:
    model = type("Model", (memory.DB,), {"clock_margin": margin})
    handle: memory.DB = model({"name": name}, clock=clock)
    return handle


def _sorted(entries: Iterable[Entry]) -> list[list[Any]]:
    return sorted((list(one) for one in entries), key=lambda one: one[:3])
