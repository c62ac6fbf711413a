"""Alerts: once for each fault and message, resolved when it is over, remembered, and never at the cost of the rest."""

import asyncio
import contextlib
import functools
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ended as process_ended
from tests.support.simulation import START, Away, SimulatedClock, Simulation
from zc.cimaa import lmdb, memory
from zc.cimaa.agent import plugins
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.alerters.command import Alerter as Command
from zc.cimaa.alerters.log import Alerter as Log
from zc.cimaa.config import Config
from zc.cimaa.db import DB
from zc.cimaa.errors import AlertError, ConfigurationError, StoreUnavailable
from zc.cimaa.outcomes import Finished

ALERT = Alert("triggered", "//web1/f/a", "web1", "//web1/f/a", 50, "bad", 1_700_000_000)
OK = Finished(0, b"fine", b"")
CHECK = "[a]\ncommand = x\n"


def critical(message: str = "bad") -> Finished:
    return Finished(0, json.dumps({"faults": [{"severity": 50, "message": message}]}).encode(), b"")


def after(changes: dict[float, Finished]) -> Callable[[SimulatedClock, Check], Any]:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        return changes[max(since for since in changes if since <= clock.time() - START)]

    return work


class Remembering(Alerter):
    """An alerter like other people's."""

    def __init__(self) -> None:
        super().__init__({"timeout": 0})
        self.alerts: list[Alert] = []
        self.broken: BaseException | None = None
        self.stuck: threading.Event | None = None

    def send(self, alert: Alert) -> None:
        if self.stuck is not None:
            self.stuck.wait(30)
        if self.broken is not None:
            raise self.broken
        self.alerts.append(alert)

    def events(self) -> list[tuple[str, str, str]]:
        return [(a.event, a.name.removeprefix("//web1/f/"), a.message) for a in self.alerts]


@pytest.fixture
def pager() -> Remembering:
    return Remembering()


@pytest.fixture
def watch(tmp_path: Path, pager: Remembering) -> Callable[..., Simulation]:
    """Makes a daemon with that alerter."""

    def make(work: Any, db: DB | None = None, **alerters: Alerter) -> Simulation:
        given = alerters or {"pager": pager}
        return Simulation(db or memory.DB(), CHECK, work, tmp_path, given)

    return make


def test_once_for_each_fault_and_message_and_resolved_when_it_clears(watch: Any, pager: Remembering) -> None:
    watch(after({0: OK, 100: critical(), 400: critical("worse"), 700: OK})).run(20)
    assert pager.events() == [("triggered", "a", "bad"), ("triggered", "a", "worse"), ("resolved", "a", "it is over")]
    assert {alert.key for alert in pager.alerts} == {"//web1/f/a"}


def test_a_fault_that_is_not_critical_causes_no_alert(watch: Any, pager: Remembering) -> None:
    watch(after({0: Finished(2, b"bad", b"")})).run(3)
    assert pager.events() == []


def test_an_error_alerts_when_it_escalates(watch: Any, pager: Remembering) -> None:
    watch(after({0: Finished(2, b"bad", b"")})).run(10)
    assert pager.events() == [("triggered", "a", "bad")]


def test_a_fault_that_is_a_warning_now_is_resolved_with_the_warning_s_message(watch: Any, pager: Remembering) -> None:
    watch(after({0: critical(), 100: Finished(1, b"hm", b"")})).run(5)
    assert [(alert.event, alert.severity, alert.message) for alert in pager.alerts] == [
        ("triggered", 50, "bad"),
        ("resolved", 30, "hm"),
    ]


def test_a_restart_repeats_no_alert_and_still_resolves(watch: Any, pager: Remembering) -> None:
    db = memory.DB()
    for _ in range(3):
        watch(after({0: critical()}), db).run(2)
    assert pager.events() == [("triggered", "a", "bad")]
    assert list(db.get_faults("web1")[0]["triggered"]) == ["pager"]
    watch(after({0: OK}), db).run(1)
    assert pager.events()[1:] == [("resolved", "a", "it is over")]
    assert db.get_faults("web1") == []


def test_a_check_that_is_gone_is_resolved(watch: Any, pager: Remembering, tmp_path: Path) -> None:
    db = memory.DB()
    watch(after({0: critical()}), db).run(1)
    Simulation(db, "[other]\ncommand = x\n", after({0: OK}), tmp_path, {"pager": pager}).run(1)
    assert [event for event, _, _ in pager.events()] == ["triggered", "resolved"]


def test_a_squelch_keeps_an_alert_back_until_it_ends(watch: Any, pager: Remembering) -> None:
    db = memory.DB()
    db.squelch("/f/a$", "known", "jane")
    simulation = watch(after({0: critical()}), db)
    seen: list[int] = []
    simulation.at_ticks(at4=lambda: (seen.append(len(pager.alerts)), db.unsquelch("/f/a$")))
    simulation.run(6)
    assert seen == [0]
    assert pager.events() == [("triggered", "a", "bad")]


def test_a_fault_that_is_squelched_after_its_alert_is_resolved_when_it_clears(watch: Any, pager: Remembering) -> None:
    db = memory.DB()
    simulation = watch(after({0: critical(), 200: critical("worse"), 400: OK}), db)
    simulation.at_ticks(at2=lambda: db.squelch("a", "known", "jane"))
    simulation.run(8)
    assert pager.events() == [("triggered", "a", "bad"), ("resolved", "a", "it is over")]


def test_while_the_store_is_away_alerts_go_out_by_the_squelches_last_known(
    watch: Any, pager: Remembering, tmp_path: Path
) -> None:
    db = Away()
    db.squelch("/quiet$", "known", "jane")
    checks = "[a]\ncommand = x\n[quiet]\ncommand = x\n"
    work = after({0: OK, 130: critical()})
    simulation = Simulation(db, checks, work, tmp_path, {"pager": pager})
    simulation.at_ticks(at2=lambda: setattr(db, "away", True), at6=lambda: setattr(db, "away", False))
    simulation.run(8)
    assert pager.events() == [("triggered", "a", "bad")]
    # It went out with the tick at which the fault was found, long before the store was back.
    (found,) = [time for time, section in simulation.runs if section == "a" and 130 < time - START < 200]
    assert pager.alerts[0].time == int(found)
    assert next(f for f in db.get_faults("web1") if f["name"] == "//web1/f/a")["triggered"]


def test_a_failing_alerter_is_a_critical_fault_which_the_others_tell_and_is_tried_again(
    watch: Any, pager: Remembering
) -> None:
    mail = Remembering()
    mail.broken = AlertError("no route to the server")
    db = memory.DB()
    simulation = watch(after({0: critical()}), db, pager=pager, mail=mail)
    seen: list[Any] = []

    def look() -> None:
        seen.extend(f for f in db.get_faults("web1") if "alerters" in f["name"])
        mail.broken = None

    simulation.at_ticks(at3=look)
    simulation.run(6)
    (fault,) = seen
    assert (fault["name"], fault["severity"]) == ("//web1/alerters/mail", 50)
    assert fault["message"] == "the alerter mail fails: no route to the server"
    assert mail.events() == [("triggered", "a", "bad")]
    assert [(event, name) for event, name, _ in pager.events()] == [
        ("triggered", "a"),
        ("triggered", "//web1/alerters/mail"),
        ("resolved", "//web1/alerters/mail"),
    ]
    assert [f["name"] for f in db.get_faults("web1")] == ["//web1/f/a"]


def test_an_alerter_that_fails_each_time_in_other_words_is_told_of_once(watch: Any, pager: Remembering) -> None:
    mail = Remembering()
    simulation = watch(after({0: critical()}), pager=pager, mail=mail)
    simulation.on_tick = lambda tick: setattr(mail, "broken", AlertError(f"at {tick}: no route"))
    simulation.run(6)
    assert [event for event, name, _ in pager.events() if "mail" in name] == ["triggered"]


def test_an_alerter_that_still_fails_after_a_restart_is_told_of_once(watch: Any, pager: Remembering) -> None:
    mail = Remembering()
    mail.broken = AlertError("no route")
    db = memory.DB()
    for _ in range(3):
        watch(after({0: critical()}), db, pager=pager, mail=mail).run(3)
    assert [event for event, name, _ in pager.events() if "mail" in name] == ["triggered"]


def test_an_alerter_fails_no_longer_when_there_is_nothing_left_to_pass_on(watch: Any, pager: Remembering) -> None:
    mail = Remembering()
    mail.broken = AlertError("no route")
    db = memory.DB()
    watch(after({0: critical(), 130: OK}), db, pager=pager, mail=mail).run(6)
    assert [event for event, name, _ in pager.events() if "mail" in name] == ["triggered", "resolved"]
    assert db.get_faults("web1") == []


def test_a_resolution_that_could_not_be_told_is_remembered_through_a_restart(watch: Any, pager: Remembering) -> None:
    db = memory.DB()
    simulation = watch(after({0: critical(), 130: OK}), db)
    simulation.at_ticks(at3=lambda: setattr(pager, "broken", RuntimeError("a bug")))
    simulation.run(5)
    left = {f["name"]: (f["severity"], list(f.get("triggered", ()))) for f in db.get_faults("web1")}
    assert left == {"//web1/f/a": (20, ["pager"]), "//web1/alerters/pager": (50, [])}
    pager.broken = None
    watch(after({0: OK}), db).run(1)
    assert [event for event, _, _ in pager.events()] == ["triggered", "resolved"]
    assert db.get_faults("web1") == []


def test_a_slow_alerter_is_a_critical_fault_holds_up_nothing_and_alerts_only_once(
    watch: Any, pager: Remembering
) -> None:
    slow = Remembering()
    slow.stuck = threading.Event()
    db = memory.DB()
    simulation = watch(after({0: critical()}), db, pager=pager, slow=slow)
    seen: list[Any] = []

    def look() -> None:
        seen.extend(f["message"] for f in db.get_faults("web1") if "alerters" in f["name"])
        assert slow.stuck is not None
        slow.stuck.set()

    simulation.at_ticks(at4=look)
    simulation.notifier.shared.grace = 0.05
    simulation.run(7)
    assert simulation.times("a") == [60.0 * n for n in range(7)]
    assert seen == ["the alerter slow fails: it takes longer than 0s"]
    assert slow.events()[0] == ("triggered", "a", "bad")
    assert len([event for event in slow.events() if event[1] == "a"]) == 1
    assert [f["name"] for f in db.get_faults("web1")] == ["//web1/f/a"]


# Exceptions of the alerter itself: from a socket, from an event loop, from a plugin that exits.
OWN = [TimeoutError("timed out"), asyncio.CancelledError(), StopIteration(), SystemExit(1), KeyboardInterrupt()]


@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
def test_an_alerter_that_raises_whatever_it_may_has_failed_and_is_tried_again(
    watch: Any, pager: Remembering, error: BaseException
) -> None:
    mail = Remembering()
    mail.broken = error
    simulation = watch(after({0: critical()}), pager=pager, mail=mail)
    failed: list[int] = []
    simulation.at_ticks(
        at5=lambda: (failed.append(simulation.notifier.shared.failed), setattr(mail, "broken", None)),
    )
    simulation.run(7)
    assert failed == [4]
    assert mail.events() == [("triggered", "a", "bad")]
    assert [(event, name) for event, name, _ in pager.events()] == [
        ("triggered", "a"),
        ("triggered", "//web1/alerters/mail"),
        ("resolved", "//web1/alerters/mail"),
    ]


def test_an_alert_that_an_alerter_never_takes_holds_up_no_other(tmp_path: Path) -> None:
    class Picky(Remembering):
        def send(self, alert: Alert) -> None:
            if alert.name.endswith("/a"):
                raise AlertError("400 Bad Request")
            super().send(alert)

    pager = Picky()
    checks = "".join(f"[{name}]\ncommand = x\n" for name in "abcd")
    simulation = Simulation(memory.DB(), checks, after({0: critical(), 300: OK}), tmp_path, {"pager": pager})
    messages: list[list[str]] = []
    simulation.at_ticks(at4=lambda: messages.append([fault["message"] for fault in simulation.notifier.faults()]))
    simulation.run(9)
    assert sorted(name for event, name, _ in pager.events() if event == "triggered") == ["b", "c", "d"]
    assert sorted(name for event, name, _ in pager.events() if event == "resolved") == ["b", "c", "d"]
    assert messages == [["the alerter pager fails: 400 Bad Request"]]
    assert simulation.notifier.faults() == []


def test_a_call_of_an_alerter_that_never_ends_is_given_up_in_the_end(watch: Any, pager: Remembering) -> None:
    pager.stuck = threading.Event()
    stuck = pager.stuck
    simulation = watch(after({0: critical()}))
    simulation.notifier.shared.grace = 0.01
    simulation.at_ticks(at5=lambda: setattr(pager, "stuck", None))
    simulation.clock.HANGING = 0.02
    simulation.run(14)
    assert pager.events() == [("triggered", "a", "bad")]
    assert not stuck.is_set()
    stuck.set()


def test_an_alerter_that_replaces_one_whose_call_hangs_sends_the_alert(watch: Any, pager: Remembering) -> None:
    pager.stuck = stuck = threading.Event()
    other = Remembering()
    simulation = watch(after({0: critical()}))
    simulation.notifier.shared.grace = 0.01
    simulation.clock.HANGING = 0.05
    simulation.at_ticks(at3=lambda: simulation.notifier.replace({"pager": other}))
    simulation.run(6)
    stuck.set()
    assert other.events() == [("triggered", "a", "bad")]
    assert simulation.notifier.faults() == []


def test_a_check_s_fault_that_is_named_like_an_alerter_s_alerts(tmp_path: Path, pager: Remembering) -> None:
    (tmp_path / "alerters.cfg").write_text("[pager]\ncommand = x\n")
    db = memory.DB()
    for _ in range(2):
        Simulation(db, CHECK, after({0: critical()}), tmp_path, {"pager": pager}).run(2)
    assert sorted(name for _, name, _ in pager.events()) == ["//web1/alerters/pager", "a"]


def test_an_alert_that_may_have_been_sent_is_resolved(watch: Any, pager: Remembering) -> None:
    class Lossy(Remembering):
        def send(self, alert: Alert) -> None:
            super().send(alert)
            if alert.event == "triggered":
                raise TimeoutError("no answer")

    lossy = Lossy()
    watch(after({0: critical(), 100: OK}), lossy=lossy).run(3)
    assert lossy.events() == [("triggered", "a", "bad"), ("resolved", "a", "it is over")]


def test_a_resolution_waits_until_the_store_has_that_one_is_due(watch: Any, pager: Remembering) -> None:
    db = Away()
    simulation = watch(after({0: critical(), 130: OK}), db)
    seen: list[int] = []
    simulation.at_ticks(
        at2=lambda: setattr(db, "away", True),
        at7=lambda: (seen.append(len(pager.alerts)), setattr(db, "away", False)),
    )
    simulation.run(8)
    assert seen == [1]
    assert pager.events() == [("triggered", "a", "bad"), ("resolved", "a", "it is over")]


def test_a_fault_that_is_back_after_a_kill_is_triggered_again_if_it_may_have_been_resolved(
    watch: Any, pager: Remembering
) -> None:
    db = Away()
    simulation = watch(after({0: critical(), 130: OK}), db)
    # The store goes away at the moment at which the alert is sent: it never has that it was.
    send = pager.send

    def resolved(alert: Alert) -> None:
        send(alert)
        db.away = alert.event == "resolved"

    pager.send = resolved  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        simulation.run(4)
    assert [event for event, _, _ in pager.events()] == ["triggered", "resolved"]
    db.away = False
    watch(after({0: critical()}), db).run(2)
    assert [event for event, _, _ in pager.events()] == ["triggered", "resolved", "triggered"]


# The end of an agent


def ended(simulation: Simulation, ticks: int, *, keep: bool, patience: float = 5) -> None:
    async def run() -> None:
        await simulation.daemon.run(ticks)
        await simulation.daemon.end(keep=keep, patience=patience)

    asyncio.run(run())


def test_an_agent_that_is_removed_resolves_what_it_triggered(watch: Any, pager: Remembering) -> None:
    ended(watch(after({0: critical()}), db := memory.DB()), 2, keep=False)
    text = "the agent web1 was stopped and removed: the fault is no longer monitored"
    assert pager.events() == [("triggered", "a", "bad"), ("resolved", "a", text)]
    assert db.get_agents() == []


def test_an_agent_that_is_kept_resolves_nothing_and_triggers_nothing_again(watch: Any, pager: Remembering) -> None:
    db = memory.DB()
    for _ in range(2):
        ended(watch(after({0: critical()}), db), 2, keep=True)
    assert pager.events() == [("triggered", "a", "bad")]


def test_an_agent_whose_alerter_fails_stays_in_the_store_when_it_ends(
    watch: Any, pager: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = watch(after({0: critical()}), db := memory.DB())
    simulation.at_ticks(at2=lambda: setattr(pager, "broken", AlertError("no route")))
    ended(simulation, 2, keep=False)
    assert "the agent stays in the store, as not everything is resolved by: pager" in caplog.text
    (fault,) = (fault for fault in db.get_faults("web1") if "alerters" not in fault["name"])
    assert (fault["name"], fault["severity"]) == ("//web1/f/a", 50)
    pager.broken = None
    watch(after({0: OK}), db).run(2)
    assert pager.events()[-1] == ("resolved", "a", "it is over")


def test_an_alert_that_is_on_its_way_arrives_before_the_agent_ends(watch: Any, pager: Remembering) -> None:
    pager.stuck = threading.Event()
    db = memory.DB()
    simulation = watch(after({0: critical()}), db)

    async def run() -> None:
        running = asyncio.create_task(simulation.daemon.run())
        while not simulation.notifier.tasks():
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert pager.stuck is not None
        asyncio.get_running_loop().call_later(0.05, pager.stuck.set)
        await simulation.daemon.end(keep=True)

    asyncio.run(run())
    assert [mark != "" for mark in db.get_faults("web1")[0]["triggered"].values()] == [True]
    watch(after({0: critical()}), db).run(2)
    assert pager.events() == [("triggered", "a", "bad")]


def test_two_checks_that_find_one_global_fault_alert_of_the_worst(tmp_path: Path, pager: Remembering) -> None:
    def reported(severity: str, message: str) -> Finished:
        fault = {"name": "//shop/queue", "severity": severity, "message": message}
        return Finished(0, json.dumps({"faults": [fault]}).encode(), b"")

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        over = clock.time() - START > 200
        return OK if over and check.section != "d" else found[check.section]

    found = {
        "a": reported("warning", "w"),
        "b": reported("critical", "first"),
        "c": reported("critical", "second"),
        "d": reported("warning", "late"),
    }
    db = memory.DB()
    checks = "".join(f"[{name}]\ncommand = x\n" for name in found)
    simulation = Simulation(db, checks, work, tmp_path, {"pager": pager})
    stored: list[Any] = []
    simulation.on_tick = lambda _: stored.append([(f["severity"], f["message"]) for f in db.get_faults("web1")])
    simulation.run(7)
    assert pager.events() == [("triggered", "//shop/queue", "first"), ("resolved", "//shop/queue", "late")]
    assert stored[1:4] == [[(50, "first")]] * 3
    assert stored[-1] == [(30, "late")]


def test_two_agents_give_one_key_to_a_global_fault(pager: Remembering, tmp_path: Path) -> None:
    shared = Finished(0, b'{"faults": [{"name": "//shop/queue", "severity": 50, "message": "m"}]}', b"")
    for _ in range(2):
        Simulation(memory.DB(), CHECK, after({0: shared}), tmp_path, {"pager": pager}).run(1)
    assert [alert.key for alert in pager.alerts] == ["//shop/queue"] * 2


# The alerters that come with zc.cimaa


def test_credentials_in_a_url_of_an_alerter_s_error_are_masked_in_its_fault(
    watch: Callable[..., Simulation], caplog: pytest.LogCaptureFixture
) -> None:
    mail = Remembering()
    mail.broken = AlertError("cannot reach https://user:pass@example.com/hook?token=hidden")
    simulation = watch(after({0: critical()}), mail=mail)
    simulation.run(2)
    (fault,) = simulation.notifier.faults()
    assert "cannot reach https://********@example.com/hook?********" in fault["message"]
    assert "hidden" not in caplog.text


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Command]:
    def make(script: str, timeout: float = 20) -> Command:
        (tmp_path / "pager").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pager").chmod(0o755)
        return Command({"command": [str(tmp_path / "pager")], "timeout": timeout})

    return make


def test_a_command_reads_the_alert_as_a_line_of_json(command: Any, tmp_path: Path) -> None:
    command(f"cat >> {tmp_path}/alerts").send(ALERT)
    (line,) = (tmp_path / "alerts").read_text().splitlines()
    assert json.loads(line) == ALERT._asdict()


def test_a_command_that_does_not_read_is_no_failure(command: Any) -> None:
    command("exit 0").send(ALERT._replace(message="x" * 200_000))


def test_a_command_that_fails_says_why(command: Any) -> None:
    with pytest.raises(AlertError, match="status 3: no route"):
        command("echo no route >&2; exit 3").send(ALERT)


def test_after_a_command_was_killed_it_is_unknown_whether_the_alert_was_sent(command: Any) -> None:
    with pytest.raises(TimeoutError, match=r"took longer than 0\.2 s and was killed: it may"):
        command("sleep 100", 0.2).send(ALERT)


def test_an_alert_whose_command_was_killed_is_resolved_when_the_fault_is_over(command: Any, tmp_path: Path) -> None:
    """The command passed the alert on before it hung."""
    alerter = command(f"cat >> {tmp_path}/alerts; test -e {tmp_path}/works || sleep 100", 0.3)
    simulation = Simulation(memory.DB(), CHECK, after({0: critical(), 60: OK}), tmp_path, {"pager": alerter})
    simulation.at_ticks(at2=(tmp_path / "works").touch)
    simulation.run(3)
    alerts = [json.loads(line) for line in (tmp_path / "alerts").read_text().splitlines()]
    assert [alert["event"] for alert in alerts if alert["name"] == "//web1/f/a"] == ["triggered", "resolved"]


def test_a_command_whose_child_holds_standard_error_open_has_passed_the_alert_on(command: Any, tmp_path: Path) -> None:
    alerter = command(f"cat >> {tmp_path}/alerts; sleep 1000 & echo $! > {tmp_path}/child; exit 0", 5)
    alerter.send(ALERT)
    child = int((tmp_path / "child").read_text())
    assert not process_ended(child, 0)  # what is in the background may still deliver it
    assert process_ended(child, 20)
    assert len((tmp_path / "alerts").read_text().splitlines()) == 1


def test_a_command_whose_child_holds_standard_error_open_fails_by_its_own_status(command: Any, tmp_path: Path) -> None:
    with pytest.raises(AlertError, match="status 3: no route"):
        command(f"sleep 1000 & echo $! > {tmp_path}/child; echo no route >&2; exit 3", 3).send(ALERT)
    assert process_ended(int((tmp_path / "child").read_text()), 20)


def test_a_command_that_is_killed_takes_along_what_left_its_session(command: Any, tmp_path: Path) -> None:
    script = f"setsid sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/child; wait"
    with pytest.raises(TimeoutError, match="took longer than 2 s"):
        command(script, 2).send(ALERT)
    assert process_ended(int((tmp_path / "child").read_text()), 0)


def test_a_command_that_writes_on_standard_error_without_end_is_killed(command: Any) -> None:
    with pytest.raises(TimeoutError, match="took longer than 1 s"):
        command("exec yes >&2", 1).send(ALERT)


def test_a_command_that_is_not_there_says_so() -> None:
    with pytest.raises(AlertError, match="cannot run /none/such: No such file"):
        Command({"command": ["/none/such"], "timeout": 5}).send(ALERT)


def test_the_log_has_triggered_and_resolved(caplog: pytest.LogCaptureFixture) -> None:
    log = Log({"timeout": 5})
    with caplog.at_level(logging.INFO):
        log.send(ALERT)
        log.send(ALERT._replace(event="resolved"))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("CRITICAL", "triggered //web1/f/a: bad"),
        ("INFO", "resolved //web1/f/a: bad"),
    ]


def test_the_commands_alerts_survive_on_lmdb(command: Any, tmp_path: Path) -> None:
    alerter = command(f"cat >> {tmp_path}/alerts")
    opener = functools.partial(lmdb.DB, {"path": str(tmp_path / "store")})
    (tmp_path / "checks").mkdir()
    for _ in range(2):
        with opener() as db:
            Simulation(db, CHECK, after({0: critical()}), tmp_path / "checks", {"pager": alerter}).run(2)
    assert len((tmp_path / "alerts").read_text().splitlines()) == 1


# Their configuration


def configured(tmp_path: Path, text: str) -> dict[str, Alerter]:
    (tmp_path / "x.cfg").write_text(text)
    return plugins.alerters(Config.read(tmp_path / "x.cfg"))


def test_sections_name_alerters_and_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("json://localhost:1/secret\njson://localhost:2/\n")
    found = configured(
        tmp_path,
        f"[alerter:chat]\nclass = apprise\nurls_file = {tmp_path}/urls\n"
        "[alerter:own]\nclass = command\ncommand = pager --now\ntimeout = 5s\n[alerter:log]\nclass = log\n",
    )
    assert list(found) == ["chat", "own", "log"]
    assert [alerter.timeout for alerter in found.values()] == [30, 5, 30]


def test_a_command_s_cimaa_uses_the_agent_s_configuration(tmp_path: Path) -> None:
    command = f"command = sh -c 'echo $CIMAA_CONFIG > {tmp_path}/config'"
    configured(tmp_path, f"[alerter:a]\nclass = command\n{command}\n")["a"].send(ALERT)
    (path,) = tmp_path.glob("*.cfg")
    assert (tmp_path / "config").read_text().strip() == str(path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[alerter:a]\n", r"\[alerter:a\] class: not given; choose one of: apprise, command, log"),
        ("[alerter:a]\nclass = aprise\n", r"\[alerter:a\] class: there is no alerter 'aprise'; did you mean apprise"),
        ("[alerter:a]\nclass = command\n", r"\[alerter:a\] command: the command is missing"),
        ("[alerter:a]\nclass = command\ncomand = x\n", "has no option 'comand'; did you mean command"),
        ("[alerter:a]\nclass = command\ncommand = 'x\n", r"\[alerter:a\] command .*No closing quotation"),
        ("[alerter:a]\nclass = command\ncommand =\n", r"\[alerter:a\] command .*the command is missing"),
        ("[alerter:a]\nclass = log\ntimeout = 0s\n", "is too short"),
        ("[alerter:]\nclass = log\n", "unknown section"),
        ("[alerters]\nclass = log\n", "did you mean alerter:NAME"),
        ("[alerter:a]\nclass = apprise\nurls = nonsense\n", r"\[alerter:a\] urls: Apprise cannot read URL 1$"),
        (
            "[alerter:a]\nclass = apprise\nurls_file = /none/such\n",
            r"\[alerter:a\] urls_file .* cannot read",
        ),
        ("[alerter:a]\nclass = apprise\n", r"\[alerter:a\] urls: not given"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        configured(tmp_path, text)


class Service:
    """An HTTP service for Apprise: the requests that it received, and the status of its responses by path."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.status: dict[str, int] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.url = ""

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@pytest.fixture
def service() -> Iterator[Service]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.requests.append((self.path.partition("?")[0], body))
            service.answers.wait(20)
            with contextlib.suppress(OSError):  # the client may have gone
                self.send_response(service.status.get(self.path, 200))
                self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        service.url = f"json://127.0.0.1:{server.server_address[1]}"
        yield service
        service.answers.set()
        server.shutdown()


def apprise_alerter(tmp_path: Path, *urls: str) -> Alerter:
    lines = "\n  ".join(urls)
    return configured(tmp_path, f"[alerter:a]\nclass = apprise\nurls = {lines}\n")["a"]


def test_apprise_sends_to_every_url_and_a_retry_only_to_those_that_failed(tmp_path: Path, service: Service) -> None:
    alerter = apprise_alerter(tmp_path, f"{service.url}/one", f"{service.url}/two")
    service.status["/two"] = 500
    with pytest.raises(AlertError, match=r"not sent by URL 2 \(JSON\)$"):
        alerter.send(ALERT)
    service.status["/two"] = 200
    alerter.send(ALERT)
    assert service.paths() == ["/one", "/two", "/two"]
    body = service.requests[0][1]
    assert (body["title"], body["message"], body["type"]) == ("critical: //web1/f/a", "bad", "failure")


def test_after_a_timeout_of_a_service_it_is_unknown_whether_the_alert_was_sent(
    tmp_path: Path, service: Service
) -> None:
    alerter = apprise_alerter(tmp_path, f"{service.url}/one?rto=0.2", f"{service.url}/two")
    service.answers.clear()
    threading.Timer(1, service.answers.set).start()
    with pytest.raises(TimeoutError, match=r"may have been sent: URL 1 \(JSON\)$"):
        alerter.send(ALERT)
    alerter.send(ALERT)
    assert service.paths() == ["/one", "/two", "/one"]


def test_markup_in_a_message_is_escaped_for_services_that_show_html(tmp_path: Path, service: Service) -> None:
    alerter = apprise_alerter(tmp_path, f"{service.url}/?format=html", f"{service.url}/?format=text")
    alerter.send(ALERT._replace(message="<script>x</script>"))
    html, text = (body["message"] for _, body in service.requests)
    assert html == "&lt;script&gt;x&lt;/script&gt;"
    assert text == "<script>x</script>"


def test_urls_may_have_what_alerts_about_one_fault_have_in_common(tmp_path: Path, service: Service) -> None:
    alerter = apprise_alerter(tmp_path, f"{service.url}/{{key}}")
    alerter.send(ALERT)
    alerter.send(ALERT._replace(event="resolved", message="it is over"))
    alerter.send(ALERT._replace(key="//web1/f/b"))
    paths = service.paths()
    assert all(re.fullmatch("/[0-9a-f]{32}/?", path) for path in paths)
    assert paths[0] == paths[1] != paths[2]
    # Another key after an upgrade would leave what is open at a service open for good.
    assert paths[0].strip("/") == "2fd92101cf1770893080a59a9fdc3696"


def test_the_page_s_url_makes_one_incident_of_pagerduty_s_for_one_fault() -> None:
    import apprise

    (url,) = re.findall(r"pagerduty://[^`]+", Path("doctests/alerts.rst").read_text())
    service: Any = apprise.Apprise.instantiate(url.replace("INTEGRATION", "i" * 32).replace("API", "a" * 20))
    assert (service.action, service.dedup) == ("map", "{key}")


def test_alerters_need_no_library_that_they_do_not_use() -> None:
    import subprocess

    code = "import sys, zc.cimaa.agent.service; print('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_what_a_program_put_into_the_background_ends_with_the_agent(tmp_path: Path) -> None:
    program = (
        "from zc.cimaa.alerters import Alert, command\n"
        "alerter = command.Alerter({'timeout': 60, 'command': ['sh', '-c', 'sleep 600 & echo $! > pid; exit 0']})\n"
        "alerter.send(Alert('triggered', '//a/b', 'a', '//a/b', 50, 'm', 1))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=30)
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
