"""The form of what agents keep in the store, which the next release must be able to read.

If a digest or a key changes, every daemon of a fleet repeats its alerts when it is upgraded, or loses the count of
failures.  Change a value here only together with code that reads the old form.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulation import SimulatedClock, Simulation
from zc.cimaa import faults, memory, naming
from zc.cimaa.agent.rules import alerting, schedule
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.db import DB
from zc.cimaa.metacheck.findings import digest
from zc.cimaa.outcomes import Finished

# Digests


@pytest.mark.parametrize(
    ("message", "digest"),
    [("bad", "a7e04811f6f31c53"), ("é is full", "d4ff356069d15a02"), ("", "e4a6a0577479b2b4")],
)
def test_the_digest_of_an_alert_s_message(message: str, digest: str) -> None:
    assert alerting.digest(message) == digest


REPORT: list[faults.FaultDict] = [
    {"name": "//web1/f/a", "severity": 40, "message": "é (1 of 4)", "failures": 1},
    {
        "name": "//shop/queue",
        "severity": 50,
        "message": "",
        "check": "f/a",
        "triggered": {"pager": "a7e04811f6f31c53"},
        "x": [1, 2.5, None, True, {}],
    },
]


def test_the_encoding_and_the_digest_of_a_report() -> None:
    """The digest is in the agent's row: if it changes, every agent's next report is a full write."""
    report = faults.report("web1", REPORT)
    assert report.encoded.decode() == (
        '[{"check":"f/a","message":"","name":"//shop/queue","severity":50,"triggered":{"pager":"a7e04811f6f31c53"},'
        '"x":[1,2.5,null,true,{}]},{"failures":1,"message":"é (1 of 4)","name":"//web1/f/a","severity":40}]'
    )
    assert report.digest == "2660505850c7cd897624439c6db4b2e3"
    assert faults.digest({**fault, "since": 1_700_000_000} for fault in REPORT) == report.digest
    assert faults.report("web1", []).digest == faults.digest([]) == "7ebb3c7c2a87b1a2f8a7ed729ecb040d"


def test_the_digests_in_names() -> None:
    """A fault whose name changes is resolved under the old name and triggered under the new one."""
    assert digest("disk") == "fa82e3e7b65a260f"
    assert digest("^web", "", "1") == "c8582ed799dd4ad9"
    assert naming.fault_name("web1", "disks", "é" * 900, "a").endswith("é...15b97be91ecb3b4e")


def test_the_phase_of_an_agent_s_ticks() -> None:
    """A daemon that is restarted keeps the times of its ticks."""
    assert schedule.phase("web1", 60) == pytest.approx(49.479049611241855)


# Extra keys of faults


class Pager(Alerter):
    """Records the alerts that it was given."""

    def __init__(self) -> None:
        super().__init__({"timeout": 0})
        self.alerts: list[tuple[str, str]] = []

    def send(self, alert: Alert) -> None:
        self.alerts.append((alert.event, alert.name))


def wrote(**fault: Any) -> Finished:
    return Finished(0, json.dumps({"faults": [{"message": "bad", **fault}]}).encode(), b"")


CHECKS = """
[error]
command = x
[threshold]
command = x
thresholds = n error > 50 clear < 20
[everybody]
command = x
[critical]
command = x
"""


def ends(**outcomes: Finished) -> Any:
    """Checks with these outcomes, by their names."""

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        return outcomes[check.section]

    return work


def daemon(db: DB, tmp_path: Path, pager: Pager, **outcomes: Finished) -> None:
    """Run a daemon for one tick, with these outcomes of its checks."""
    Simulation(db, CHECKS, ends(**outcomes), tmp_path, {"pager": pager}).run(1)


#: What a daemon stores after its first tick.
KEPT: list[faults.FaultDict] = [
    {"name": "//shop/queue", "severity": 40, "message": "bad (1 of 4)", "failures": 1, "check": "f/everybody"},
    {"name": "//web1/f/critical", "severity": 50, "message": "bad", "triggered": {"pager": "a7e04811f6f31c53"}},
    {"name": "//web1/f/error", "severity": 40, "message": "bad (1 of 4)", "failures": 1},
    {
        "name": "//web1/f/threshold#n",
        "severity": 40,
        "message": "n is 60: error > 50 (1 of 4)",
        "failures": 1,
        "metric": "n",
        "crossed": 40,
    },
]


def test_counts_crossings_owners_and_alerts_are_stored_with_the_faults(tmp_path: Path) -> None:
    db, pager = memory.DB(), Pager()
    daemon(
        db,
        tmp_path,
        pager,
        error=Finished(2, b"bad", b""),
        threshold=Finished(0, b"fine | n=60", b""),
        everybody=wrote(name="//shop/queue"),
        critical=wrote(severity=50),
    )
    assert db.get_faults("web1") == [{"agent": "web1", **fault} for fault in KEPT]


def test_a_daemon_continues_from_the_faults_that_another_stored(tmp_path: Path) -> None:
    db, pager = memory.DB(), Pager()
    db.set_faults("web1", [{**fault, "severity": 50} if "check" in fault else fault for fault in KEPT])
    daemon(
        db,
        tmp_path,
        pager,
        error=Finished(2, b"bad", b""),
        threshold=Finished(0, b"fine | n=30", b""),
        everybody=Finished(99, b"", b""),
        critical=wrote(severity=50),
    )
    found = {fault["name"]: fault["message"] for fault in db.get_faults("web1") if "monitor" not in fault["name"]}
    assert found == {
        "//shop/queue": "bad (1 of 4)",
        "//web1/f/critical": "bad",
        "//web1/f/error": "bad (2 of 4)",
        "//web1/f/threshold#n": "n is 60: error > 50 (2 of 4)",
    }
    assert pager.alerts == [("triggered", "//shop/queue")]


# Marks that are not the daemon's own


def triggered(db: DB) -> dict[str, Any]:
    return {fault["name"]: fault["triggered"] for fault in db.get_faults("web1") if "triggered" in fault}


QUIET = {name: Finished(0, b"fine | n=1", b"") for name in ("error", "threshold", "everybody")}


def test_a_forged_mark_in_a_check_s_json_does_not_suppress_the_alert(tmp_path: Path) -> None:
    db, pager = memory.DB(), Pager()
    forged = wrote(severity=50, triggered={"pager": "a7e04811f6f31c53", "other": "a7e04811f6f31c53"})
    daemon(db, tmp_path, pager, **QUIET, critical=forged)
    assert pager.alerts == [("triggered", "//web1/f/critical")]
    assert triggered(db) == {"//web1/f/critical": {"pager": "a7e04811f6f31c53"}}


def test_a_forged_mark_of_a_squelched_fault_is_not_stored(tmp_path: Path) -> None:
    db, pager = memory.DB(), Pager()
    db.squelch("critical", "", "")
    daemon(db, tmp_path, pager, **QUIET, critical=wrote(severity=50, triggered={"pager": "a7e04811f6f31c53"}))
    assert (pager.alerts, triggered(db)) == ([], {})
    db.unsquelch("critical")
    daemon(db, tmp_path, pager, **QUIET, critical=wrote(severity=50))
    assert pager.alerts == [("triggered", "//web1/f/critical")]


def test_the_marks_of_an_alerter_that_was_removed_are_dropped(tmp_path: Path) -> None:
    db = memory.DB()
    db.set_faults("web1", [{**KEPT[1], "triggered": {"pager": "a7e04811f6f31c53", "gone": "a7e04811f6f31c53"}}])
    misbehaving = Finished(99, b"", b"")  # so that the fault stays as the store has it
    daemon(db, tmp_path, Pager(), **QUIET, critical=misbehaving)
    assert triggered(db) == {"//web1/f/critical": {"pager": "a7e04811f6f31c53"}}
    Simulation(db, CHECKS, ends(**QUIET, critical=misbehaving), tmp_path).run(1)
    assert [fault["severity"] for fault in db.get_faults("web1")] == [50, 40]
    assert triggered(db) == {}
