"""The daemon as a process: signals, restarts after ``kill -9``, systemd, and its log."""

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.agent_process import CRITICAL, Start, alerts, remembered, stored
from tests.support.command import Cimaa
from tests.support.processes import until
from zc.cimaa.db import DB
from zc.cimaa.errors import Error


def reports(db: DB) -> int:
    return max((agent["updated"] for agent in db.get_agents()), default=0)


def test_after_kill_9_and_a_restart_no_alert_is_sent_twice(host: Cimaa, start: Start) -> None:
    for _ in range(3):
        process = start()
        assert until(lambda: remembered(host))
        # It lives on for a report more, so that a second alert had its time.
        with host.store() as db:
            last = reports(db)
            assert until(lambda: reports(db) >= last + 2)  # noqa: B023  # called before the next turn
        process.kill()
        process.wait()
    assert [alert["event"] for alert in alerts(host)] == ["triggered"]
    (host.directory / "checks" / "f.cfg").write_text("[a]\ncommand = echo fine\n")
    start()
    assert until(lambda: len(alerts(host)) == 2)
    assert [alert["event"] for alert in alerts(host)] == ["triggered", "resolved"]
    assert until(lambda: not stored(host))


def test_killed_after_an_alert_left_and_before_it_is_stored_it_sends_it_again_with_the_same_key(
    host: Cimaa, start: Start
) -> None:
    directory = host.directory
    (directory / "pager").write_text(
        f"#!/bin/sh\ncat >> {directory}/alerts\nmkdir {directory}/once 2>/dev/null && kill -9 $PPID; exit 0\n"
    )
    assert start().wait(timeout=20) == -signal.SIGKILL
    assert stored(host)["//web1/f/a"]["triggered"] == {"pager": ""}  # it is unknown whether it was sent
    start()
    assert until(lambda: remembered(host))
    first, again = alerts(host)
    assert {**first, "time": 0} == {**again, "time": 0}
    assert again["key"] == "//web1/f/a"


def test_sigterm_removes_the_agent_and_its_checks(host: Cimaa, start: Start) -> None:
    directory = host.directory
    (directory / "checks" / "f.cfg").write_text(
        f"[a]\ncommand = sh -c 'echo $$ > {directory}/new; mv {directory}/new {directory}/pid; sleep 1000'\n"
        f"[b]\ncommand = echo '{CRITICAL}'\n"
    )
    process = start()
    assert until(lambda: stored(host))
    check = until(lambda: (host.directory / "pid").exists() and int((host.directory / "pid").read_text()))
    process.terminate()
    assert process.wait(timeout=20) == 0
    with host.store() as db:
        assert db.get_agents() == []
    assert until(lambda: not Path(f"/proc/{check}").exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_that_ends_it_resolves_what_it_triggered(host: Cimaa, start: Start, number: int) -> None:
    process = start()
    assert until(lambda: remembered(host))
    process.send_signal(number)
    process.wait(timeout=20)
    triggered, resolved = alerts(host)
    assert (triggered["event"], resolved["event"]) == ("triggered", "resolved")
    assert triggered["key"] == resolved["key"]
    with host.store() as db:
        assert db.get_agents() == []


def test_with_keep_sigterm_leaves_the_agent(host: Cimaa, start: Start) -> None:
    process = start("--keep")
    assert until(lambda: stored(host))
    process.terminate()
    assert process.wait(timeout=20) == 0
    assert stored(host)


def test_sigterm_ends_it_in_a_bounded_time_although_the_store_is_away(host: Cimaa, start: Start) -> None:
    process = start()
    assert until(lambda: stored(host))
    (host.directory / "store").rename(host.directory / "elsewhere")
    (host.directory / "store").write_text("no directory")
    process.terminate()
    assert process.wait(timeout=20) == 0


def test_sighup_reloads_the_checks(host: Cimaa, start: Start) -> None:
    process = start()
    assert until(lambda: stored(host))
    (host.directory / "checks" / "f.cfg").write_text("[other]\ncommand = sh -c 'echo bad; exit 1'\n")
    process.send_signal(signal.SIGHUP)
    assert until(lambda: list(stored(host)) == ["//web1/f/other"])
    assert process.poll() is None


def test_sighup_reads_alerters_anew_and_tells_of_what_cannot_be_read(host: Cimaa, start: Start) -> None:
    process = start()
    assert until(lambda: remembered(host))
    configuration = host.directory / "cimaa.cfg"
    good = configuration.read_text()
    configuration.write_text(f"{good}[alerter:other]\nclass = comand\n")
    process.send_signal(signal.SIGHUP)
    assert until(lambda: "//web1/agent/configuration" in stored(host))
    configuration.write_text(f"{good}[alerter:other]\nclass = command\ncommand = {host.directory}/pager\n")
    process.send_signal(signal.SIGHUP)
    assert until(lambda: len(alerts(host)) == 2)
    assert until(lambda: "//web1/agent/configuration" not in stored(host))
    assert process.poll() is None


def test_count_ends_by_itself_and_leaves_the_agent(host: Cimaa, start: Start) -> None:
    process = start("--count", "2")
    assert process.wait(timeout=20) == 0
    assert list(stored(host)) == ["//web1/f/a"]
    assert len(alerts(host)) == 1


def test_a_store_that_cannot_be_used_ends_no_agent(host: Cimaa, start: Start) -> None:
    (host.directory / "store").write_text("no directory")
    start()
    # Alerts go out all the same, and the report comes when the store is there.
    assert until(lambda: alerts(host))
    (host.directory / "store").unlink()

    def remembers() -> bool:
        try:
            return remembered(host)
        except Error:
            return False

    assert until(remembers)
    assert len(alerts(host)) == 1
    assert stored(host)["//web1/agent/store"]["message"].startswith("the store was unavailable for ")


def test_two_at_once_are_told_as_a_double(host: Cimaa, start: Start) -> None:
    start()
    start()
    with host.store() as db:
        (double,) = until(db.double_agents)
    assert len(double["instances"]) == 2


def test_systemd_is_told_that_it_is_ready_and_alive(host: Cimaa, start: Start) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(host.directory / "notify"))
        systemd.settimeout(20)
        process = start(NOTIFY_SOCKET=str(host.directory / "notify"))
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        process.terminate()
        assert until(lambda: systemd.recv(100) == b"STOPPING=1")


@pytest.mark.parametrize(("given", "sent"), [("1000000", [b"WATCHDOG_USEC=5000000"]), ("5000000", []), ("", [])])
def test_a_watchdog_that_would_not_wait_for_a_few_ticks_is_told_to(
    host: Cimaa, start: Start, given: str, sent: list[bytes]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(host.directory / "notify"))
        systemd.settimeout(20)
        start(NOTIFY_SOCKET=str(host.directory / "notify"), WATCHDOG_USEC=given)
        wanted = [b"READY=1", *sent, b"WATCHDOG=1"]
        assert [systemd.recv(100) for _ in wanted] == wanted


def test_checks_do_not_inherit_what_is_between_systemd_and_the_agent(host: Cimaa, start: Start) -> None:
    command = """sh -c 'echo "variables: $NOTIFY_SOCKET$WATCHDOG_USEC$WATCHDOG_PID"; exit 1'"""
    (host.directory / "checks" / "f.cfg").write_text(f"[a]\ncommand = {command}\n")
    start(NOTIFY_SOCKET=str(host.directory / "notify"), WATCHDOG_USEC="60000000", WATCHDOG_PID="1")
    assert until(lambda: stored(host))["//web1/f/a"]["message"] == "variables:"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_it_logs_in_lines_or_in_json(host: Cimaa, start: Start, options: list[str]) -> None:
    start("--count", "1", *options).wait(timeout=20)
    first, *_ = (host.directory / "log").read_text().splitlines()
    text = json.loads(first)["message"] if options else first.removeprefix("INFO zc.cimaa.agent: ")
    assert text == "web1 runs 1 check every 1s"


def test_wrong_settings_end_it_at_once(host: Cimaa) -> None:
    with (host.directory / "cimaa.cfg").open("a") as file:
        file.write("[alerter:x]\nclass = comand\n")
    result = host("agent")
    assert (result.exit_code, result.stderr) == (
        1,
        "cimaa: error: [alerter:x] class: there is no alerter 'comand'; did you mean command?\n",
    )
