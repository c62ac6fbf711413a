"""An hour of an agent in simulated time: many things fail, and each is alerted once, and in time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.simulation import START, Simulation
from zc.cimaa import memory
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agents import Touch
from zc.cimaa.alerters import Alert, Alerter
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.outcomes import Finished

OK = Finished(0, b"fine", b"")
BAD = Finished(2, b"bad", b"")
CRITICAL = Finished(0, json.dumps({"faults": [{"severity": 50, "message": "bad"}]}).encode(), b"")

CHECKS = """
[web]
command = x
[backup]
command = x
interval = 15m
retry_interval = 2m
[queue]
command = x
thresholds = n error > 50 clear < 20
[disk]
command = x
[late]
command = x
[slow]
command = x
[nightly]
command = x
interval = 1d
"""


def queue(minute: float) -> Finished:
    waiting = 60 if 5 <= minute < 8 else 30 if minute < 25 else 10
    return Finished(0, f"fine | n={waiting}".encode(), b"")


#: What each check finds, by the minute.
FOUND: dict[str, Callable[[float], Finished]] = {
    "web": lambda minute: BAD if 10 <= minute < 20 else OK,
    "backup": lambda minute: BAD if 15 <= minute < 40 else OK,
    "queue": queue,
    "disk": lambda minute: CRITICAL if 28 <= minute < 45 else OK,
    "late": lambda minute: CRITICAL if minute >= 51 else OK,
    "slow": lambda minute: OK,
    "nightly": lambda minute: OK,
}


class Store(memory.DB):
    away = False

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is down")

    def _touch(self, agent: str, touch: Touch) -> bool:
        self._answer()
        return super()._touch(agent, touch)

    def _squelches(self) -> Any:
        self._answer()
        return super()._squelches()


class Pager(Alerter):
    def __init__(self) -> None:
        super().__init__({"timeout": 10})
        self.alerts: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self.alerts.append(alert)


def test_an_hour_in_which_much_goes_wrong(tmp_path: Path) -> None:
    db = Store(clock=lambda: simulation.clock.time())
    pager = Pager()
    first: list[float] = []  # the first tick, which is minute 0 here, and a whole day's begin but for the agent's phase

    def minute() -> float:
        return (simulation.clock.time() - first[0]) / 60

    async def work(clock: Any, check: Check) -> Finished:
        now = minute()
        if check.section == "slow" and 33 <= now < 34:
            await clock.sleep_until(clock.time() + 150)
        return FOUND[check.section](now)

    slow: list[int] = []

    def tick(_: int) -> None:
        first.append(simulation.clock.time())
        now = round(minute())
        if now == 26:
            db.squelch("f/disk$", "a new disk", "jane", expires=int(simulation.clock.time()) + 14 * 60)
        db.away = 50 <= now < 53
        if now and not 51 <= now < 54:
            (agent,) = memory.DB.get_agents(db)
            assert simulation.clock.time() - agent["updated"] < 62
        if any("monitor-slow" in fault["name"] for fault in db.get_faults("web1")):
            slow.append(now)

    simulation = Simulation(db, CHECKS, work, tmp_path, {"pager": pager}, start=START - 1)
    simulation.on_tick = tick
    simulation.run(60)

    assert [(round((a.time - first[0]) / 60), a.event, a.name.removeprefix("//web1/f/")) for a in pager.alerts] == [
        (8, "triggered", "queue#n"),  # the fourth error in a row, or what is not clear yet
        (13, "triggered", "web"),
        (20, "triggered", "backup"),  # at minutes 15, 16, 18 and 20
        (20, "resolved", "web"),
        (25, "resolved", "queue#n"),
        (40, "triggered", "disk"),  # when the squelch ends
        (40, "resolved", "backup"),
        (45, "resolved", "disk"),
        (51, "triggered", "late"),  # while the store is away
    ]
    minutes = {name: [round(at / 60) for at in simulation.times(name)] for name in FOUND}
    assert minutes["web"] == list(range(60))
    assert minutes["backup"] == [0, 15, *range(16, 42, 2), 45]
    assert minutes["slow"] == [*range(34), *range(36, 60)]
    assert minutes["nightly"] == [0]
    assert slow == [35]
    assert {fault["name"]: fault["severity"] for fault in db.get_faults("web1")} == {
        "//web1/f/late": 50,
        "//web1/agent/store": 20,
    }
    assert simulation.daemon.missed == 0
