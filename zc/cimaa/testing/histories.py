"""Random histories: a store and the memory backend get the same calls, and return the same after every step."""

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .. import errors, limits, memory
from ..db import DB
from ..faults import FaultDict
from .replay import Recorder
from .tools import FIRST, ONE_SHOT, SECOND, Clock, Opener, empty, exact, fault
from .values import REFUSED

# The strategies for random histories: few names, so that they repeat; many values.

_texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
_numbers = st.one_of(
    st.integers(limits.INTEGER_MIN, limits.INTEGER_MAX),
    st.floats(limits.FLOAT_MIN, limits.FLOAT_MAX),
    st.floats(-limits.FLOAT_MAX, -limits.FLOAT_MIN),
    st.just(0.0),
)
_scalars = st.one_of(st.none(), st.booleans(), _numbers, _texts)
_keys = _texts.filter(lambda key: key not in ("", "agent", "since", "name", "severity", "message"))
#: What an extra value of a fault, or the value of an entry may be.
json_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=6
)
_names = st.sampled_from(["f", "g", "F", "//a/b#c", "\U0001f4a5"]) | _texts.filter(bool)
_severities = st.sampled_from([10, 20, 30, 40, 50]) | st.integers(limits.INTEGER_MIN, limits.INTEGER_MAX)


@st.composite
def faults_of_a_report(draw: st.DrawFn) -> FaultDict:
    """A fault that keeps every rule."""
    extras = draw(st.dictionaries(_keys, json_values, max_size=3))
    return {**extras, **fault(draw(_names), draw(_severities), draw(_texts))}


#: Reports that keep every rule.
reports = st.lists(faults_of_a_report(), max_size=5, unique_by=lambda one: str(one["name"]))

# Each example begins ten years after the one before (seconds).
_LONG = 5 * 365 * 24 * 60 * 60
_BEGINNINGS = count(step=2 * _LONG)

_AGENTS = ["a", "b", "Ab", "a%"]
_agents = st.sampled_from(_AGENTS)
_regexes = st.sampled_from([".", "f", "^g$", "a|b", r"\d+", "it's"])


def run_histories(history: Callable[[], RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run random histories, each with at most this number of steps."""
    machine = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(history, settings=machine)  # type: ignore[arg-type]


class History(RuleBasedStateMachine):
    """A store and the model get the same calls; after every step they return the same."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(next(_BEGINNINGS))
        self.handles = [opener(instance=instance, clock=self.clock) for instance in (FIRST, SECOND, ONE_SHOT)]
        model = {"name": str(uuid4())}
        self.models = [memory.DB(model, instance=handle.instance, clock=self.clock) for handle in self.handles]
        self.last: dict[str, list[FaultDict]] = {}
        empty(self.handles[0])
        self.clock.advance(_LONG)  # so that none of the history is kept
        self.recorder = Recorder(self.handles[0])

    def teardown(self) -> None:
        """Compare what the history says with what was, and close all handles."""
        self.recorder.check()
        for handle in self.handles:
            handle.close()

    def both(self, who: int, call: Callable[[DB], Any]) -> None:
        """Call both; they return the same, or raise the same error."""
        answers = []
        for db in (self.handles[who], self.models[who]):
            try:
                answers.append(exact(call(db)))
            except errors.InvalidInput as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]

    @rule(who=st.integers(0, 2), agent=_agents, faults=reports, within=st.sampled_from([None, 60, 300]))
    def report(self, who: int, agent: str, faults: list[FaultDict], within: int | None) -> None:
        """An instance reports."""
        self.last[agent] = faults
        self.both(who, lambda db: db.set_faults(agent, faults, within))

    @precondition(lambda self: self.last)
    @rule(who=st.integers(0, 2), data=st.data())
    def report_again(self, who: int, data: st.DataObject) -> None:
        """An instance reports the previous faults, in another order."""
        agent = data.draw(st.sampled_from(sorted(self.last)))
        faults = data.draw(st.permutations(self.last[agent]))
        self.both(who, lambda db: db.set_faults(agent, faults))

    @rule(who=st.integers(0, 2), agent=_agents, faults=reports | st.none(), within=st.sampled_from([None, 60]))
    def report_and_ask(self, who: int, agent: str, faults: list[FaultDict] | None, within: int | None) -> None:
        """An instance reports other faults, or the previous ones, and asks whether the agent was woken."""
        faults = self.last.get(agent, []) if faults is None else faults
        self.last[agent] = faults
        self.both(who, lambda db: db.report(agent, faults, within))

    @rule(who=st.integers(0, 2), woken=st.sets(_agents))
    def wake(self, who: int, woken: set[str]) -> None:
        """Some agents are woken."""
        self.both(who, lambda db: db.wake(woken))

    @precondition(lambda self: self.last)
    @rule(who=st.integers(0, 2), data=st.data())
    def report_a_change(self, who: int, data: st.DataObject) -> None:
        """Some of the faults end, and others change."""
        agent = data.draw(st.sampled_from(sorted(self.last)))
        kept = [one for one in self.last[agent] if data.draw(st.booleans())]
        self.last[agent] = [{**one, "severity": 50} if data.draw(st.booleans()) else one for one in kept]
        self.both(who, lambda db: db.set_faults(agent, self.last[agent]))

    @rule(who=st.integers(0, 2), agent=_agents, faults=reports, bad=st.sampled_from(sorted(REFUSED)))
    def report_what_is_refused(self, who: int, agent: str, faults: list[FaultDict], bad: str) -> None:
        """A report with an invalid fault after valid ones."""
        wrong = REFUSED[bad]
        mixed = [*faults, *wrong] if isinstance(wrong, list) else wrong
        self.both(who, lambda db: db.set_faults(agent, mixed))

    @rule(who=st.integers(0, 2), agent=_agents)
    def remove(self, who: int, agent: str) -> None:
        """An agent is removed."""
        self.both(who, lambda db: db.remove_agent(agent))

    @rule(
        who=st.integers(0, 2),
        regex=_regexes,
        reason=_texts,
        permanent=st.booleans(),
        end=st.none() | st.integers(1, 500),
    )
    def squelch(self, who: int, regex: str, reason: str, permanent: bool, end: int | None) -> None:
        """A squelch is set, or rejected if it is permanent and expires."""
        expires = None if end is None else int(self.clock()) + end
        self.both(who, lambda db: db.squelch(regex, reason, "user", permanent, expires))

    @rule(who=st.integers(0, 2), regex=_regexes)
    def unsquelch(self, who: int, regex: str) -> None:
        """A squelch is removed."""
        self.both(who, lambda db: db.unsquelch(regex))

    @rule(seconds=st.sampled_from([0.001, 0.3, 1, 60, 299, 301, 700, 86400, 40 * 86400, -100]))
    def time_passes(self, seconds: float) -> None:
        """The clock advances, or is set back."""
        self.clock.advance(seconds)

    @invariant()
    def the_present_is_recorded(self) -> None:
        """For the comparison in the end."""
        self.recorder.record(_AGENTS)

    @invariant()
    def answers_are_the_models(self) -> None:
        """Every handle reads the same: all share one store."""
        for call in (
            lambda db: db.dump(),
            lambda db: db.find_faults(),
            lambda db: db.find_faults(agent="a", severity=30, limit=3),
            lambda db: db.find_faults(pattern="[fg]"),
            lambda db: db.get_faults("a"),
            lambda db: db.get_agents(),
            lambda db: db.old_agents(60),
            lambda db: db.offline_agents(),
            lambda db: db.double_agents(),
            lambda db: db.late_agents(),
            lambda db: db.get_history(),
            lambda db: db.get_squelches(),
            lambda db: db.get_squelch_details(),
        ):
            self.both(2, call)
