"""Mistakes that mypy must find.  Each line with one ends with the code of its error."""

from collections.abc import Sequence

from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.config import open_database
from zc.cimaa.db import DB
from zc.cimaa.metrics import Sample, Sink
from zc.cimaa.types import FoundFault, NewFault

with open_database() as db:
    for fault in db.get_faults("web1"):
        print(fault["nmae"])  # E: typeddict-item
        print(fault["since"])  # E: typeddict-item
        print(fault["name"] + 1)  # E: operator
        print(fault.get("runbook") + "")  # E: operator
    for found in db.find_faults():
        print(found["since"].lower())  # E: attr-defined
    for agent in db.get_agents():
        print(agent["instance"])  # E: typeddict-item
        print([one["pid"] + 1 for one in agent["instances"]])  # E: operator
    for silent in db.old_agents(900):
        print(silent["instances"])  # E: typeddict-item
    for squelch in db.get_squelch_details():
        print(squelch["regexp"])  # E: typeddict-item
        print(squelch["expires"].lower())  # E: attr-defined
    for dumped in db.dump()["faults"]:
        print(dumped["severity"])  # E: typeddict-item
    print(db.dump()["squelch"])  # E: typeddict-item
    db.set_faults("web1", {"name": "disk"})  # E: dict-item
    db.set_faults("web1", ["disk"])  # E: list-item
    db.set_faults("web1")  # E: call-arg
    db.find_faults(severity="critical")  # E: arg-type
    db.squelch("disk", "full", "jane", expires="8:00")  # E: arg-type

misspelled: NewFault = {"nmae": "disk", "severity": 40, "message": ""}  # E: typeddict-item typeddict-unknown-key
textual: NewFault = {"name": "disk", "severity": "error", "message": ""}  # E: typeddict-item
incomplete: FoundFault = {"name": "disk", "severity": 40, "message": "", "agent": "web1"}  # E: typeddict-item


class Backend(DB):
    def _touch(self, agent: str) -> bool:  # E: override
        return True


class Pager(Alerter):
    def send(self, alert: Alert) -> None:
        print(alert.text)  # E: attr-defined


class Nowhere(Sink):
    def write(self, samples: Sequence[Sample]) -> int:  # E: override
        return len(samples)


Backend({})  # E: abstract
