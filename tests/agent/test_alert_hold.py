"""Whether alerts are held back: each state with each event."""

import itertools

import pytest

from zc.cimaa.agent.alert_hold import TRANSITIONS, AlertHold, HoldEvent, HoldState

READY, HOLDING, RELEASED, ENDED = HoldState

#: HoldState, event, state after it, and what the event answers: whether alerts may be sent, or were held back.
TABLE = [
    (READY, HoldEvent.RESULTS, HOLDING, False),
    (READY, HoldEvent.RELEASE, RELEASED, False),
    (READY, HoldEvent.END, ENDED, None),
    (HOLDING, HoldEvent.RESULTS, HOLDING, False),
    (HOLDING, HoldEvent.RELEASE, RELEASED, True),
    (HOLDING, HoldEvent.END, ENDED, None),
    (RELEASED, HoldEvent.RESULTS, RELEASED, True),
    (RELEASED, HoldEvent.RELEASE, RELEASED, False),
    (RELEASED, HoldEvent.END, ENDED, None),
    (ENDED, HoldEvent.RESULTS, ENDED, False),
    (ENDED, HoldEvent.RELEASE, ENDED, False),
    (ENDED, HoldEvent.END, ENDED, None),
]


@pytest.mark.parametrize(("before", "event", "after", "answer"), TABLE)
def test_each_event_leads_to_its_state(
    before: HoldState, event: HoldEvent, after: HoldState, answer: bool | None
) -> None:
    hold = AlertHold(before)
    calls = {HoldEvent.RESULTS: hold.may_send, HoldEvent.RELEASE: hold.release, HoldEvent.END: hold.end}
    assert (calls[event](), hold.state) == (answer, after)  # type: ignore[func-returns-value]  # end returns None


def test_the_table_is_complete() -> None:
    assert [(state, event) for state, event, _, _ in TABLE] == list(itertools.product(HoldState, HoldEvent))
    changes = {(before, event): after for before, event, after, _ in TABLE if after is not before}
    assert changes == TRANSITIONS


def test_a_new_daemon_holds_alerts_back() -> None:
    assert AlertHold().state is READY
