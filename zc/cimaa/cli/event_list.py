"""The list of events: what each kind of event says."""

from collections.abc import Callable, Iterable, Mapping

from .. import history
from ..agents import MICROSECONDS
from ..types import PastEvent
from ..units import format_duration, format_local
from .cells import Cell, Styled
from .fault_list import severity_cell
from .output import View, write_json_list, write_table

#: The columns of a list of events.
TITLES = ("time", "agent", "fault", "event", "message")


def show(events: Iterable[PastEvent], view: View) -> None:
    """Write the events, one after the other."""
    if view.as_json:
        write_json_list(events)
    else:
        write_table(TITLES, map(_row, events), view)


def said(event: PastEvent) -> str:
    """What happened, without the fault and its message; an event of another version's kind is only named."""
    say = _SAID.get(event["kind"])
    return say(event) if say else event["kind"]


def _row(event: PastEvent) -> tuple[Cell, ...]:
    severity = event.get("after")
    style = "" if severity is None else severity_cell(severity).style
    return (
        Styled(format_local(event["time"] // MICROSECONDS), order=event["time"]),
        "" if event["agent"] == history.SQUELCHES else event["agent"],
        event.get("fault", ""),
        Styled(said(event), style),
        event.get("message", event.get("why", "")),
    )


def _began(event: PastEvent) -> str:
    return f"began: {_severity(event.get('after'))}"


def _changed(event: PastEvent) -> str:
    return f"{event['kind']}: {_severity(event.get('before'))} to {_severity(event.get('after'))}"


def _ended(event: PastEvent) -> str:
    return f"ended after {_since(event)}"


def _returned(event: PastEvent) -> str:
    return f"returned after {_since(event)} of silence{_by(event, 'on')}"


def _removed(event: PastEvent) -> str:
    silent = f", after {_since(event)} of silence" if "since" in event else ""
    return f"removed{_by(event)}{silent}"


def _squelched(event: PastEvent) -> str:
    until = format_local(event["until"]) if "until" in event else "it is removed"
    return f"squelched{_by(event)} until {until}"


def _done(event: PastEvent) -> str:
    return f"{event['kind']}{_by(event)}"


def _by(event: PastEvent, word: str = "by") -> str:
    return f" {word} {event['who']}" if event.get("who") else ""


def _since(event: PastEvent) -> str:
    now = event["time"] // MICROSECONDS
    return format_duration(now - event.get("since", now))


def _severity(severity: int | None) -> str:
    return "" if severity is None else severity_cell(severity).text


_SAID: Mapping[str, Callable[[PastEvent], str]] = {
    history.BEGAN: _began,
    history.WORSE: _changed,
    history.BETTER: _changed,
    history.ENDED: _ended,
    history.ALERTED: _done,
    history.RESOLVED: _done,
    history.APPEARED: lambda event: f"appeared{_by(event, 'on')}",
    history.RETURNED: _returned,
    history.REMOVED: _removed,
    history.STARTED: lambda _: "history is complete from now on",
    history.SQUELCHED: _squelched,
    history.UNSQUELCHED: _done,
}
