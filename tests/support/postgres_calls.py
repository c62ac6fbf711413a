"""Each call of a store, as tests make it on a store with a fault, a squelch and a lease."""

import signal
from collections.abc import Callable, Iterator

import pytest

from zc.cimaa.postgres import DB
from zc.cimaa.testing import fault

CALLS: dict[str, Callable[[DB], object]] = {
    "an unchanged report": lambda db: db.set_faults("web1", [fault("disk", used=1)]),
    "a changed report": lambda db: db.set_faults("web1", [fault("load", used=1)]),
    "a report that asks": lambda db: db.report("web1", [fault("disk", used=1)]),
    "wake": lambda db: db.wake(["web1"]),
    "a first report": lambda db: db.set_faults("new", [fault("load")]),
    "get_faults": lambda db: db.get_faults("web1"),
    "find_faults": lambda db: db.find_faults(),
    "find_faults with a pattern": lambda db: db.find_faults(pattern="d"),
    "get_agents": lambda db: db.get_agents(),
    "old_agents": lambda db: db.old_agents(0),
    "offline_agents": lambda db: db.offline_agents(),
    "double_agents": lambda db: db.double_agents(),
    "remove_agent": lambda db: db.remove_agent("other"),
    "squelch": lambda db: db.squelch("net", "why", "ops"),
    "unsquelch": lambda db: db.unsquelch("net"),
    "get_squelches": lambda db: db.get_squelches(),
    "get_squelch_details": lambda db: db.get_squelch_details(),
    "lease": lambda db: db.lease("job", "web1", 60),
    "release": lambda db: db.release("taken", "web1"),
    "get_leases": lambda db: db.get_leases(),
    "forget_lease": lambda db: db.forget_lease("taken"),
    "late_agents": lambda db: db.late_agents(),
    "get_history": lambda db: db.get_history(),
    "faults_at": lambda db: db.faults_at(2**40),
    "squelches_at": lambda db: db.squelches_at(2**40),
    "prune_history": lambda db: db.prune_history(),
    "dump": lambda db: db.dump(),
}


def fill(db: DB) -> None:
    """Report for web1 (after any earlier report), squelch, and take a lease."""
    for report in ([], [fault("disk", used=1)]):
        db.set_faults("web1", report)
    db.squelch("disk", "why", "ops")
    db.lease("taken", "web1", 86400)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, though the tests may have been started by something that ignores it, such as nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
