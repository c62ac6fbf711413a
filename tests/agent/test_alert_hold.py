"""Whether alerts are held back: each state with each event."""

import itertools

import pytest

from zc.cimaa.agent.alert_hold import TRANSITIONS, AlertHold, Event, HoldState

READY, HOLDING, RELEASED, ENDED = HoldState

#: HoldState, event, state after it, and what the event answers: whether alerts may be sent, or were held back.
TABLE = [
    (READY, Event.RESULTS, HOLDING, False),
    (READY, Event.RELEASE, RELEASED, False),
    (READY, Event.END, ENDED, None),
    (HOLDING, Event.RESULTS, HOLDING, False),
    (HOLDING, Event.RELEASE, RELEASED, True),
    (HOLDING, Event.END, ENDED, None),
    (RELEASED, Event.RESULTS, RELEASED, True),
    (RELEASED, Event.RELEASE, RELEASED, False),
    (RELEASED, Event.END, ENDED, None),
    (ENDED, Event.RESULTS, ENDED, False),
    (ENDED, Event.RELEASE, ENDED, False),
    (ENDED, Event.END, ENDED, None),
]


@pytest.mark.parametrize(("before", "event", "after", "answer"), TABLE)
def test_each_event_leads_to_its_state(before: HoldState, event: Event, after: HoldState, answer: bool | None) -> None:
    hold = AlertHold(before)
    calls = {Event.RESULTS: hold.may_send, Event.RELEASE: hold.release, Event.END: hold.end}
    assert (calls[event](), hold.state) == (answer, after)  # type: ignore[func-returns-value]  # end returns None


def test_the_table_is_complete() -> None:
    assert [(state, event) for state, event, _, _ in TABLE] == list(itertools.product(HoldState, Event))
    changes = {(before, event): after for before, event, after, _ in TABLE if after is not before}
    assert changes == TRANSITIONS


def test_a_new_daemon_holds_alerts_back() -> None:
    assert AlertHold().state is READY
