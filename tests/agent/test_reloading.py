"""Reloading the configuration of a running daemon: it is applied completely or not at all, and no alert is lost."""

import asyncio
import json
import logging
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.simulation import SimulatedClock, Simulation
from zc.cimaa import memory
from zc.cimaa.agent import reload
from zc.cimaa.agent.publisher import Publisher
from zc.cimaa.agent.reload import Reloader
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.config import Config
from zc.cimaa.db import DB
from zc.cimaa.outcomes import Finished

BAD = Finished(0, json.dumps({"faults": [{"severity": 50, "message": "bad"}]}).encode(), b"")
CONFIGURATION = "//web1/agent/configuration"


async def bad(clock: SimulatedClock, check: Check) -> Finished:
    return BAD


class Host:
    """A daemon in simulated time, with a configuration file that a test changes at the ticks whose numbers it names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "cimaa.cfg"
        self.db: DB = memory.DB()
        (directory / "checks").mkdir()

    def alerter(self, name: str, file: str) -> str:
        """A section of an alerter that appends to a file."""
        return f"[alerter:{name}]\nclass = command\ncommand = sh -c 'cat >> {self.directory}/{file}'\n"

    def alerts(self, file: str) -> list[str]:
        path = self.directory / file
        return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []

    def write(self, *sections: str, agent: str = "", database: str = "") -> None:
        head = f"[database]\n{database}[agent]\nname = web1\ndirectory = checks\n{agent}"
        self.path.write_text(head + "".join(sections))

    def run(self, count: int, at_end: Callable[[], Any] = lambda: None, **changes: Callable[[], Any]) -> Simulation:
        """Run ``count`` ticks; ``at3=...`` changes the configuration, and reloads it, at the third."""
        current = reload.load(Config.read(self.path))
        simulation = Simulation(self.db, "[a]\ncommand = x\n", bad, self.directory / "checks", current.alerters)
        publisher = Publisher(current.sinks, simulation.clock)
        publisher.start()
        simulation.on_report = lambda: publisher.publish(simulation.daemon)
        reloader = Reloader(simulation.daemon, publisher, current)
        simulation.at_ticks(**{at: partial(self._change, change, reloader) for at, change in changes.items()})

        async def go() -> None:
            await simulation.daemon.run(count)
            await publisher.finish()
            at_end()
            await publisher.replace({})

        asyncio.run(go())
        return simulation

    @staticmethod
    def _change(change: Callable[[], Any], reloader: Reloader) -> None:
        change()
        reloader.request()

    def faults(self) -> dict[str, str]:
        return {fault["name"]: fault["message"] for fault in self.db.get_faults("web1")}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


BROKEN = ["[a]\ncomand = x\n", "[a\n", "comand = x\n"]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_critical_stays_while_its_check_cannot_be_understood(host: Host, broken: str) -> None:
    file = host.directory / "checks" / "f.cfg"
    seen: list[set[str]] = []
    changes = {
        "at3": lambda: file.write_text(broken),
        "at5": lambda: seen.append(set(host.faults())),
        "at6": lambda: file.write_text("[a]\ncommand = x\n"),
    }
    host.write(host.alerter("pager", "sent"))
    host.run(8, **changes)
    assert "//web1/f/a" in seen[0]
    assert len(seen[0]) == 2
    assert set(host.faults()) == {"//web1/f/a"}
    assert host.alerts("sent") == ["triggered"]


@pytest.mark.parametrize("section", ["a", "//shop/a"])
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_critical_stays_when_the_agent_starts_with_a_check_that_cannot_be_understood(
    host: Host, section: str, broken: str
) -> None:
    host.write(host.alerter("pager", "sent"))
    alerters = reload.load(Config.read(host.path)).alerters
    for text in ("[a]\ncommand = x\n", broken, broken, "[a]\ncommand = x\n"):
        checks = text.replace("[a", f"[{section}")
        asyncio.run(Simulation(host.db, checks, bad, host.directory / "checks", alerters).daemon.run(3))
    assert host.alerts("sent") == ["triggered"]
    asyncio.run(Simulation(host.db, "[b]\ncommand = x\n", bad, host.directory / "checks", alerters).daemon.run(3))
    assert sorted(host.alerts("sent")) == ["resolved", "triggered", "triggered"]


def test_a_new_alerter_is_told_what_stands_and_the_old_one_nothing_twice(host: Host) -> None:
    host.write(host.alerter("old", "old"))
    host.run(6, at3=lambda: host.write(host.alerter("old", "old"), host.alerter("new", "new")))
    assert (host.alerts("old"), host.alerts("new")) == (["triggered"], ["triggered"])


def test_an_alerter_with_new_settings_remembers_what_was_told(host: Host) -> None:
    host.write(host.alerter("pager", "old"))
    host.run(6, at3=lambda: host.write(host.alerter("pager", "new")))
    assert (host.alerts("old"), host.alerts("new")) == (["triggered"], [])


def test_the_new_settings_count_from_the_next_alert_on(host: Host) -> None:
    def change() -> None:
        host.write(host.alerter("pager", "new"))
        (host.directory / "checks" / "f.cfg").write_text("[b]\ncommand = x\n")

    host.write(host.alerter("pager", "old"))
    host.run(6, at3=change)
    assert host.alerts("old") == ["triggered"]
    assert sorted(host.alerts("new")) == ["resolved", "triggered"]


def test_an_alerter_that_fails_is_forgotten_with_its_section(host: Host) -> None:
    host.write("[alerter:pager]\nclass = command\ncommand = false\n")
    host.run(3)
    assert "//web1/alerters/pager" in host.faults()
    host.run(6, at3=host.write)
    assert set(host.faults()) == {"//web1/f/a"}


def test_a_mended_alerter_is_tried_at_once(host: Host) -> None:
    host.write("[alerter:pager]\nclass = command\ncommand = false\n")
    host.run(6, at3=lambda: host.write(host.alerter("pager", "new")))
    assert host.alerts("new") == ["triggered"]
    assert set(host.faults()) == {"//web1/f/a"}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda host: host.path.write_text("[agent\n"), "cannot read "),
        (lambda host: host.path.unlink(), "there is no readable configuration file "),
        (lambda host: host.write(agent="directory2 = x\n"), "has no option 'directory2'; did you mean directory?"),
        (lambda host: host.write("[alerter:x]\nclass = comand\n"), "there is no alerter 'comand'"),
        (lambda host: host.write("[metrics:x]\nclass = statsd\nport = x\n"), "'x' is not a whole number"),
        (lambda host: host.write(database="clas = x\n"), "has no option 'clas'; did you mean class?"),
        (lambda host: (host.directory / "checks" / "f.cfg").unlink(), "there is no check in "),
    ],
)
def test_what_cannot_be_read_changes_nothing_and_is_a_fault(
    host: Host, broken: Callable[[Host], Any], reason: str
) -> None:
    host.write(host.alerter("pager", "alerts"))
    simulation = host.run(5, at3=lambda: broken(host))
    assert set(host.faults()) == {"//web1/f/a", CONFIGURATION}
    assert reason in host.faults()[CONFIGURATION]
    assert len(simulation.times("a")) == 5
    assert host.alerts("alerts") == ["triggered"]


def test_the_fault_is_over_when_it_can_be_read_again(host: Host) -> None:
    host.write()
    host.run(5, at2=host.path.unlink, at4=host.write)
    assert CONFIGURATION not in host.faults()


def test_what_needs_a_restart_is_told_and_stays(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    host.write()
    change = {"agent": "base_interval = 10s\nparallel = 3\n", "database": "path = elsewhere\n"}
    simulation = host.run(4, at2=lambda: host.write(**change))
    assert simulation.times("a") == [0, 60, 120, 180]
    assert (
        "restart the agent to apply the changes of: [agent] parallel, [agent] base_interval, [database]" in caplog.text
    )
    assert "the configuration was read: 1 check\n" in caplog.text


def test_without_a_change_no_restart_is_needed(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.write()
    host.run(3, at2=lambda: None)
    assert "restart" not in caplog.text


def test_the_same_file_found_and_named_needs_no_restart(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon found ./cimaa.cfg; its checks get the absolute path in $CIMAA_CONFIG."""
    monkeypatch.chdir(host.directory)
    monkeypatch.delenv("CIMAA_CONFIG", raising=False)
    host.write(database="path = store\n")
    found = Config.read()
    monkeypatch.setenv("CIMAA_CONFIG", str(host.path))
    caplog.set_level(logging.INFO)
    simulation = Simulation(host.db, "[a]\ncommand = x\n", bad, host.directory / "checks")
    reloader = Reloader(simulation.daemon, Publisher({}, simulation.clock), reload.load(found))
    simulation.at_ticks(at2=reloader.request)
    simulation.run(3)
    assert "the configuration was read: 1 check" in caplog.text
    assert "restart" not in caplog.text


def test_a_store_that_is_spelled_otherwise_needs_no_restart(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.write(database="map_size = 1MiB\n")
    host.run(3, at2=lambda: host.write(database="map_size = 1048576\n"))
    assert "restart" not in caplog.text


def test_the_directory_of_the_checks_may_change(host: Host) -> None:
    def change() -> None:
        (host.directory / "checks").rename(host.directory / "others")
        (host.directory / "others" / "f.cfg").write_text("[b]\ncommand = x\n")
        host.path.write_text("[agent]\nname = web1\ndirectory = others\n")

    host.write()
    simulation = host.run(5, at3=change)
    assert set(host.faults()) == {"//web1/f/b"}
    assert [section for _, section in simulation.runs] == ["a", "a", "a", "b", "b"]


def test_a_port_passes_from_one_sink_to_the_next(host: Host) -> None:
    """The one that leaves lets go of it before the other takes it; and one that stays keeps it."""
    port = free_port()
    answers: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            answers.append(answer.read())

    section = f"class = prometheus\nport = {port}\n"
    host.write(f"[metrics:a]\n{section}")
    host.run(
        6,
        ask,
        at2=lambda: host.write(f"[metrics:a]\n{section}"),
        at3=lambda: host.write(f"[metrics:b]\n{section}path = {host.directory}/cimaa.prom\n"),
    )
    assert b"cimaa_agent_checks" in answers[0]
    assert (host.directory / "cimaa.prom").exists()
