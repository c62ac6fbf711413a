"""What the meta check reads from a store."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..db import DB
from ..types import Agent, FoundFault, Heartbeat, Squelch
from .rules import Rules


class FleetState(NamedTuple):
    """The agents, squelches and faults of a fleet, as its store has them."""

    #: As :meth:`~zc.cimaa.db.DB.get_agents` returns them.
    agents: Sequence[Agent] = ()
    #: The names of the agents that are silent: for a warning, for an error, and long enough to be forgotten.
    late: Collection[str] = ()
    lost: Collection[str] = ()
    forgotten: Collection[str] = ()
    #: As :meth:`~zc.cimaa.db.DB.double_agents` returns them.
    doubles: Sequence[Agent] = ()
    #: The squelches in force, as :meth:`~zc.cimaa.db.DB.get_squelch_details` returns them.
    squelches: Sequence[Squelch] = ()
    #: The current faults; empty if no squelch is in force.
    faults: Sequence[FoundFault] = ()
    #: True if the store has events that should have been deleted days ago.
    overdue: bool = False


# How long (seconds) after their time events may remain.
_GRACE = 2 * 24 * 60 * 60


def read(db: DB, rules: Rules) -> FleetState:
    """Read the store; how long an agent has been silent is measured by the store's clock.

    :raises InvalidInput: if the rules contradict each other.
    """
    rules.check()
    agents = db.get_agents()
    # Each set is part of the one before, and usually the first is empty.
    late = _names(db.late_agents(rules.seconds(rules.warning)))
    lost = _names(db.late_agents(rules.seconds(rules.error))) if late else late
    forgotten = lost & _names(db.old_agents(rules.forget)) if lost else lost
    doubles = db.double_agents(rules.warning * rules.interval)
    overdue = not db.deletes_history and db.expired_history(_GRACE)
    in_force = set(db.get_squelches())
    squelches = [squelch for squelch in db.get_squelch_details() if squelch["regex"] in in_force] if in_force else []
    return FleetState(agents, late, lost, forgotten, doubles, squelches, db.find_faults() if squelches else [], overdue)


def _names(rows: Iterable[Heartbeat]) -> frozenset[str]:
    return frozenset(row["name"] for row in rows)
