"""The daemon's loop: an hour and a day of it, in simulated time, and what it makes of checks that fail and recover."""

import asyncio
import functools
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.simulation import START, Away, FastClock, SimulatedClock, Simulation
from zc.cimaa import memory
from zc.cimaa.agent.clock import SystemClock
from zc.cimaa.agent.rules import schedule
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.agent.tasks import Coalesced
from zc.cimaa.agents import Touch
from zc.cimaa.db import DB
from zc.cimaa.errors import StoreUnavailable
from zc.cimaa.outcomes import Finished, Outcome, TimedOut

OK = Finished(0, b"fine", b"")
BAD = Finished(2, b"bad", b"")
TIMEOUT = TimedOut(60)


def wrote(value: int) -> Finished:
    return Finished(0, f"fine | n={value}".encode(), b"")


async def fine(clock: SimulatedClock, check: Check) -> Finished:
    return OK


def after(changes: Mapping[float, Outcome]) -> Callable[[SimulatedClock, Check], Any]:
    """Checks that end so from those times (seconds after the start) on."""

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        return changes[max(since for since in changes if since <= clock.time() - START)]

    return work


def shown(db: DB) -> dict[str, tuple[int, str]]:
    return {f["name"].removeprefix("//web1/f/"): (f["severity"], f["message"]) for f in db.get_faults("web1")}


# The schedule


def test_agents_have_phases_of_their_own_that_stay() -> None:
    phases = [schedule.phase(f"web{n}", 60) for n in range(1000)]
    assert all(0 <= phase < 60 for phase in phases)
    assert phases == [schedule.phase(f"web{n}", 60) for n in range(1000)]
    assert all(60 < sum(s <= phase < s + 10 for phase in phases) < 280 for s in range(0, 60, 10))


@pytest.mark.parametrize("now", [0.0, START, START + 0.3, 1.7e9 + 1 / 3])
def test_the_next_tick_is_after_now_and_no_more_than_an_interval(now: float) -> None:
    for base in (1, 7, 60):
        tick = schedule.next_tick("web1", base, now)
        assert now < schedule.time_of("web1", base, tick) <= now + base
        at = schedule.time_of("web1", base, tick)
        assert schedule.next_tick("web1", base, at) == tick + 1


@given(st.text("abc", min_size=1), st.integers(1, 10**6), st.floats(0, 1e12))
def test_the_next_tick_is_the_first_one_after_now(agent: str, base: int, now: float) -> None:
    tick = schedule.next_tick(agent, base, now)
    assert schedule.time_of(agent, base, tick - 1) <= now < schedule.time_of(agent, base, tick)


# Rounding errors of the division: one too low, in 2038 when times need one more bit, and one too high.
@example("web7", 60, 2**31 // 60)
@example("w868047550", 482169, 11)
@given(st.text("abc", min_size=1), st.integers(1, 10**6), st.integers(1, 10**7))
def test_the_next_tick_is_exact_to_the_last_bit_of_the_time(agent: str, base: int, tick: int) -> None:
    at = schedule.time_of(agent, base, tick)
    assert schedule.next_tick(agent, base, math.nextafter(at, 0)) == tick
    assert schedule.next_tick(agent, base, at) == tick + 1


@pytest.mark.parametrize(
    ("base", "interval", "every"), [(60, 60, 1), (60, 90, 2), (60, 120, 2), (60, 121, 3), (60, 1, 1)]
)
def test_the_interval_of_a_check_is_rounded_up_to_whole_ticks(base: int, interval: int, every: int) -> None:
    assert [tick for tick in range(7) if schedule.is_due(tick, base, interval)] == list(range(0, 7, every))


def test_an_hour(tmp_path: Path) -> None:
    checks = "[m]\ncommand = x\n[q]\ncommand = x\ninterval = 15m\n[odd]\ncommand = x\ninterval = 90s\n"
    simulation = Simulation(memory.DB(), checks, fine, tmp_path)
    simulation.run(60)
    assert simulation.times("m") == [60.0 * n for n in range(60)]
    quarters = simulation.times("q")
    assert len(quarters) in (4, 5)
    aligned = [(time - START) % 900 for time, name in simulation.runs if name == "q"][1:]
    assert max(aligned) - min(aligned) < 0.001
    assert aligned[0] == pytest.approx(schedule.phase("web1", 60))
    assert len(simulation.times("odd")) in (30, 31)
    assert simulation.daemon.missed == 0


def test_a_day_of_fifty_checks(tmp_path: Path) -> None:
    checks = "".join(f"[c{n}]\ncommand = x\ninterval = {n % 5 * 30 + 10}m\n" for n in range(48))
    checks += "[minute]\ncommand = x\n[daily]\ncommand = x\ninterval = 1d\n"
    simulation = Simulation(
        db := memory.DB(clock=lambda: simulation.clock.time()), checks, fine, tmp_path, start=START + 3600
    )
    simulation.run(1440)
    assert len(simulation.times("minute")) == 1440
    assert len(simulation.times("daily")) == 2  # at first, and when the day begins
    assert len(simulation.times("c0")) in (144, 145)
    assert simulation.daemon.missed == 0
    (agent,) = db.get_agents()
    assert simulation.clock.time() - agent["updated"] < 61
    phase = schedule.phase("web1", 60)
    for section, interval in (("daily", 86400), ("c0", 600), ("c4", 7800)):
        multiples = [(at - phase) / interval for at, name in simulation.runs if name == section][1:]
        assert multiples == pytest.approx([round(multiple) for multiple in multiples], abs=1e-6)


def test_two_hundred_checks_at_once_miss_no_tick_and_no_more_run_than_may(tmp_path: Path) -> None:
    running = most = 0

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await clock.sleep_until(clock.time() + 2)
        running -= 1
        return OK

    checks = "".join(f"[c{n}]\ncommand = x\n" for n in range(200))
    simulation = Simulation(db := memory.DB(), checks, work, tmp_path)
    simulation.run(10)
    assert most == 10
    assert all(len(simulation.times(f"c{n}")) == 10 for n in range(200))
    assert (simulation.daemon.missed, shown(db)) == (0, {})


def test_a_slow_check_delays_no_other_and_is_a_fault_until_it_ends(tmp_path: Path) -> None:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        if check.section == "slow" and clock.time() < START + 61:
            await clock.sleep_until(clock.time() + 150)
        return OK

    simulation = Simulation(db := memory.DB(), "[good]\ncommand = x\n[slow]\ncommand = x\n", work, tmp_path)
    seen: list[list[str]] = []
    simulation.on_tick = lambda _: seen.append(sorted(shown(db)))
    simulation.run(6)
    assert simulation.times("good") == [60.0 * n for n in range(6)]
    assert simulation.times("slow") == [0, 180, 240, 300]
    # What is seen at a tick was reported after the one before.
    assert seen == [[], [], ["slow#monitor-slow"], [], [], []]


def test_a_report_does_not_wait_for_a_check_that_takes_long(tmp_path: Path) -> None:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        if check.section == "long":
            await clock.sleep_until(clock.time() + 200)
        return BAD

    checks = "[bad]\ncommand = x\n[long]\ncommand = x\ninterval = 10m\n"
    simulation = Simulation(db := memory.DB(), checks, work, tmp_path)
    seen: list[set[str]] = []
    simulation.on_tick = lambda _: seen.append(set(shown(db)))
    simulation.run(3)
    assert seen[2] == {"bad"}


def test_a_machine_that_slept_goes_on_and_counts_what_it_missed(tmp_path: Path) -> None:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        if clock.time() < START + 61:
            clock._now += 600
        return OK

    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", work, tmp_path)
    simulation.run(3)
    assert simulation.times("a") == [0, 600, 660]
    assert simulation.daemon.missed == 9


class SetBack(FastClock):
    """A fast clock that is set back by an hour."""

    back = 0.0

    def time(self) -> float:
        return super().time() - self.back

    async def sleep_until(self, when: float) -> None:
        before = self.back
        while self.back == before and self.time() < when:
            await asyncio.sleep(0.01)


def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path) -> None:
    clock = SetBack(300)  # a tick lasts 0.2 seconds
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", fine, tmp_path, clock=clock)
    simulation.on_tick = lambda _: asyncio.get_running_loop().call_later(0.02, setattr, clock, "back", 3600.0)
    simulation.run(3)
    assert simulation.times("a") == pytest.approx([0, -3540, -3480], abs=30)
    assert simulation.daemon.missed == 0


def test_who_sleeps_by_the_system_s_clock_wakes_when_it_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 99.0])
    monkeypatch.setattr(time, "time", lambda: next(times) - 3600 * (len(gone) > 0))
    gone: list[None] = []

    async def sleep() -> None:
        asyncio.get_running_loop().call_later(0.01, gone.append, None)
        await SystemClock().sleep_until(100.05)

    asyncio.run(asyncio.wait_for(sleep(), 5))
    assert gone


# Escalation


def test_an_error_becomes_critical_after_its_retries_and_tells_on_the_way(tmp_path: Path) -> None:
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", after({0: BAD, 60 * 8: OK}), tmp_path)
    seen: list[Any] = []
    simulation.on_tick = lambda _: seen.append(shown(db).get("a"))
    simulation.run(10)
    assert seen[1:] == [
        (40, "bad (1 of 4)"),
        (40, "bad (2 of 4)"),
        (40, "bad (3 of 4)"),
        *[(50, "bad")] * 5,
        None,
    ]


def test_errors_count_on_although_some_runs_fail_in_between(tmp_path: Path) -> None:
    changes = {60.0 * n: TIMEOUT if n % 2 else BAD for n in range(7)}
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\nretry = 2\n", after(changes), tmp_path)
    seen: list[Any] = []
    simulation.on_tick = lambda _: seen.append(shown(db).get("a"))
    simulation.run(7)
    assert seen[1:] == [*[(40, "bad (1 of 3)")] * 2, *[(40, "bad (2 of 3)")] * 2, *[(50, "bad")] * 2]
    assert list(shown(db)) == ["a"]


def test_a_failed_run_ends_nothing_and_leaves_no_trace_of_the_one_before(tmp_path: Path) -> None:
    warning = Finished(1, b"hm", b"")
    changes = {0.0: warning, 60.0: TIMEOUT, 120.0: Finished(99, b"", b""), 180.0: OK}
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", after(changes), tmp_path)
    seen: list[Any] = []
    simulation.on_tick = lambda _: seen.append(sorted(shown(db)))
    simulation.run(5)
    assert seen[1:] == [["a"], ["a", "a#monitor-timeout"], ["a", "a#monitor-status"], []]


@pytest.mark.parametrize("restart", [False, True])
def test_a_threshold_holds_although_a_run_fails_in_between(tmp_path: Path, restart: bool) -> None:
    db = memory.DB()
    checks = "[a]\ncommand = x\nretry = 9\nthresholds = n error > 50 clear < 20\n"
    changes = {0.0: wrote(60), 60.0: TIMEOUT, 120.0: wrote(30)}
    if restart:
        for change in changes.values():
            Simulation(db, checks, after({0: change}), tmp_path).run(1)
    else:
        Simulation(db, checks, after(changes), tmp_path).run(3)
    assert shown(db) == {"a#n": (40, "n is 60: error > 50 (2 of 10)")}
    Simulation(db, checks, after({0: wrote(10)}), tmp_path).run(1)
    assert shown(db) == {}


def test_a_check_that_cannot_be_read_for_a_while_loses_no_count(tmp_path: Path) -> None:
    good = "[a]\ncommand = x\nretry = 9\n"
    simulation = Simulation(db := memory.DB(), good, after({0: BAD}), tmp_path)

    def write(text: str) -> None:
        (tmp_path / "f.cfg").write_text(text)
        simulation.daemon.reload(simulation.settings)

    seen: list[Any] = []
    simulation.at_ticks(
        at3=lambda: write("[a]\ncommand = x\nretry = many\n"),
        at5=lambda: (seen.append(shown(db)["a"]), write(good)),
    )
    simulation.run(6)
    assert seen == [(40, "bad (2 of 10)")]
    assert shown(db) == {"a": (40, "bad (3 of 10)")}


@pytest.mark.parametrize("section", ["a", "monitor-eth0"])
def test_what_a_check_calls_its_faults_is_not_what_the_agent_takes_them_for(tmp_path: Path, section: str) -> None:
    finished = Finished(0, b'{"faults": [{"name": "monitor-eth0", "message": "down", "check_failure": "x"}]}', b"")
    fine = Finished(0, b'{"faults": []}', b"")
    db = memory.DB()
    checks = f"[{section}]\ncommand = x\nretry = 2\n"
    Simulation(db, checks, after({0: finished}), tmp_path).run(4)
    assert shown(db) == {f"{section}#monitor-eth0": (50, "down")}
    Simulation(db, checks, after({0: TIMEOUT, 60: fine}), tmp_path).run(1)
    assert set(shown(db)) == {f"{section}#monitor-eth0", f"{section}#monitor-timeout"}
    Simulation(db, checks, after({0: fine}), tmp_path).run(1)
    assert shown(db) == {}


def test_a_check_owns_what_it_found_whatever_the_name(tmp_path: Path) -> None:
    finished = Finished(0, b'{"faults": [{"name": "//web1/f/a#x", "severity": 50, "message": "m"}]}', b"")

    async def work(clock: SimulatedClock, check: Check) -> Finished:
        return (finished if clock.time() < START + 200 else TIMEOUT) if check.section == "b" else OK

    db = memory.DB()
    checks = "[a]\ncommand = x\n[b]\ncommand = x\n"
    for _ in range(2):  # after a restart too
        Simulation(db, checks, work, tmp_path).run(2)
    Simulation(db, checks, work, tmp_path, start=START + 300).run(2)
    assert {name: severity for name, (severity, _) in shown(db).items()} == {"a#x": 50, "b#monitor-timeout": 40}


@pytest.mark.parametrize("key", ["failures", "check_failure", "alerter", "triggered", "crossed", "metric", "check"])
def test_a_check_cannot_set_what_the_agent_keeps_with_its_faults(tmp_path: Path, key: str) -> None:
    fault = {"name": "n", "message": "m", "severity": 30, key: 99, "mine": 1}
    work = after({0: Finished(0, json.dumps({"faults": [fault]}).encode(), b""), 60: BAD})
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", work, tmp_path)
    simulation.run(1)
    (stored,) = db.get_faults("web1")
    assert stored == {"agent": "web1", "name": "//web1/f/a#n", "severity": 30, "message": "m", "mine": 1}


def test_a_failing_check_is_tried_again_at_its_retry_interval(tmp_path: Path) -> None:
    checks = "[a]\ncommand = x\ninterval = 10m\nretry_interval = 2m\nretry = 1\n"
    start = START + 600 - 30
    simulation = Simulation(db := memory.DB(), checks, after({0: OK, 1100: BAD, 1500: OK}), tmp_path, start=start)
    simulation.run(45)
    minutes = [int(time - START) // 60 for time, _ in simulation.runs]
    assert minutes == [9, 10, 20, 22, 24, 26, 30, 40, 50]  # at first, then at its times
    assert shown(db) == {}


@pytest.mark.parametrize("option", ["escalates = false", "retry = 100"])
def test_an_error_may_stay_an_error(tmp_path: Path, option: str) -> None:
    simulation = Simulation(db := memory.DB(), f"[a]\ncommand = x\n{option}\n", after({0: BAD}), tmp_path)
    simulation.run(10)
    assert shown(db)["a"][0] == 40


def test_a_monitoring_fault_never_escalates_and_clears_nothing_that_is_critical(tmp_path: Path) -> None:
    broken = Finished(99, b"", b"")
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", after({0: BAD, 300: broken, 1200: OK}), tmp_path)
    seen: list[Any] = []
    simulation.on_tick = lambda _: seen.append({k: v[0] for k, v in shown(db).items()})
    simulation.run(25)
    assert seen[15] == {"a": 50, "a#monitor-status": 40}
    assert seen[-1] == {}


def test_what_is_critical_stays_when_the_check_says_error(tmp_path: Path) -> None:
    worst = Finished(0, b'{"faults": [{"severity": 50, "message": "m"}]}', b"")
    error = Finished(0, b'{"faults": [{"severity": 40, "message": "m"}]}', b"")
    warning = Finished(0, b'{"faults": [{"severity": 30, "message": "m"}]}', b"")
    work = after({0: worst, 120: error, 300: warning})
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", work, tmp_path)
    seen: list[Any] = []
    simulation.on_tick = lambda _: seen.append({k: v[0] for k, v in shown(db).items()}.get("a"))
    simulation.run(7)
    assert seen[1:] == [50, 50, 50, 50, 50, 30]


def test_an_agent_that_starts_again_goes_on_where_it_was(tmp_path: Path) -> None:
    db = memory.DB()
    Simulation(db, "[a]\ncommand = x\n", after({0: BAD}), tmp_path).run(2)
    assert shown(db) == {"a": (40, "bad (2 of 4)")}
    Simulation(db, "[a]\ncommand = x\n", after({0: BAD}), tmp_path).run(2)
    assert shown(db) == {"a": (50, "bad")}
    Simulation(db, "[a]\ncommand = x\n", after({0: BAD}), tmp_path).run(1)
    assert shown(db) == {"a": (50, "bad")}


def test_a_threshold_holds_until_it_clears_through_a_restart_too(tmp_path: Path) -> None:
    checks = "[a]\ncommand = x\nthresholds = n error > 50 clear < 20\n"
    db = memory.DB()
    Simulation(db, checks, after({0: wrote(60)}), tmp_path).run(5)
    assert shown(db) == {"a#n": (50, "n is 60: error > 50")}
    Simulation(db, checks, after({0: wrote(30)}), tmp_path).run(2)
    assert shown(db) == {"a#n": (50, "n is 60: error > 50")}
    Simulation(db, checks, after({0: wrote(10)}), tmp_path).run(1)
    assert shown(db) == {}


def test_a_global_fault_has_the_same_name_on_every_agent(tmp_path: Path) -> None:
    finished = Finished(0, b'{"faults": [{"name": "//shop/queue", "severity": 50, "message": "m"}]}', b"")
    db = memory.DB()
    simulation = Simulation(db, "[//shop/web]\ncommand = x\n[j]\ncommand = x\n", after({0: BAD}), tmp_path)
    simulation.run(1)
    assert set(shown(db)) == {"//shop/web", "j"}
    Simulation(db, "[j]\ncommand = x\n", after({0: finished}), tmp_path).run(1)
    assert shown(db) == {"//shop/queue": (50, "m")}
    Simulation(db, "[j]\ncommand = x\n", after({0: OK}), tmp_path).run(1)
    assert shown(db) == {}


# Reading the checks again


def test_checks_read_anew_stand_as_they_stood(tmp_path: Path) -> None:
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n[b]\ncommand = x\n", after({0: BAD}), tmp_path)
    ticks = 0

    def tick(_: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            (tmp_path / "f.cfg").write_text("[a]\ncommand = x\nretry = 5\n[c]\ncommand = x\n")
            simulation.daemon.reload(simulation.settings)

    simulation.on_tick = tick
    simulation.run(4)
    assert shown(db) == {"a": (40, "bad (4 of 6)"), "c": (40, "bad (1 of 4)")}


# The store


def test_while_the_store_is_away_checks_go_on_and_the_last_report_comes_later(tmp_path: Path) -> None:
    db = Away(clock=lambda: simulation.clock.time())
    simulation = Simulation(db, "[a]\ncommand = x\n", after({0: OK, 200: BAD}), tmp_path)
    ticks: list[float] = []
    back: list[float] = []

    def tick(_: int) -> None:
        ticks.append(simulation.clock.time())
        db.away = 3 <= len(ticks) < 6
        if len(ticks) == 6:
            back.append(simulation.clock.time())
        if len(ticks) == 7:
            assert shown(db)["a"][1] == "bad (3 of 4)"
            (agent,) = db.get_agents()
            assert agent["updated"] <= back[0] + 60

    simulation.on_tick = tick
    simulation.run(7)
    assert simulation.times("a") == [60.0 * n for n in range(7)]
    (severity, message) = shown(db)["//web1/agent/store"]
    assert severity == 20
    assert message.startswith("the store was unavailable for 3m")
    assert simulation.store.figures.errors > 3


def test_the_note_of_an_absence_goes_after_an_hour(tmp_path: Path) -> None:
    db = Away()
    simulation = Simulation(db, "[a]\ncommand = x\n", fine, tmp_path)
    count = 0

    def tick(_: int) -> None:
        nonlocal count
        count += 1
        db.away = count == 2

    simulation.on_tick = tick
    simulation.run(65)
    assert shown(db) == {}


def test_a_store_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    db = Away()
    simulation = Simulation(db, "[a]\ncommand = x\n", fine, tmp_path, patience=0.05)
    count = 0

    def tick(_: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            db.hanging = threading.Event()
        if count == 5:
            assert db.hanging is not None
            db.hanging.set()

    simulation.on_tick = tick
    simulation.run(6)
    assert simulation.times("a") == [60.0 * n for n in range(6)]
    assert shown(db)["//web1/agent/store"][0] == 20


def test_a_store_that_is_away_at_the_start_is_asked_later(tmp_path: Path) -> None:
    db = Away()
    checks = "[a]\ncommand = x\n"
    Simulation(db, checks, after({0: BAD}), tmp_path).run(5)
    db.away = True
    simulation = Simulation(db, checks, after({0: BAD}), tmp_path)
    count = 0

    def tick(_: int) -> None:
        nonlocal count
        count += 1
        db.away = count < 3

    simulation.on_tick = tick
    simulation.run(3)
    assert shown(db)["a"] == (50, "bad")


@pytest.mark.parametrize(
    "error", [TimeoutError("theirs"), asyncio.CancelledError(), StopIteration(), SystemExit(1)], ids=repr
)
def test_whatever_a_backend_raises_the_store_is_away_and_is_asked_again(tmp_path: Path, error: BaseException) -> None:
    class Odd(memory.DB):
        raises: BaseException | None = None

        def _touch(self, agent: str, touch: Touch) -> bool:
            if self.raises is not None:
                raise self.raises
            return super()._touch(agent, touch)

    db = Odd()
    simulation = Simulation(db, "[a]\ncommand = x\n", after({0: OK, 200: BAD}), tmp_path)
    simulation.at_ticks(at3=lambda: setattr(db, "raises", error), at6=lambda: setattr(db, "raises", None))
    simulation.run(8)
    assert simulation.times("a") == [60.0 * n for n in range(8)]
    assert simulation.store.figures.errors > 3
    assert shown(db)["a"][0] == 50
    assert shown(db)["//web1/agent/store"][1].startswith("the store was unavailable for 3m")


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        pytest.param([BAD], [TIMEOUT, TIMEOUT], {"a": 40, "a#monitor-timeout": 40}, id="runs-that-fail-end-nothing"),
        pytest.param([BAD] * 4, [TIMEOUT, TIMEOUT], {"a": 50, "a#monitor-timeout": 40}, id="nor-what-is-critical"),
        pytest.param([BAD] * 2, [BAD, BAD], {"a": 50}, id="errors-count-on"),
        pytest.param([BAD], [BAD, OK], {}, id="what-is-over-is-over"),
        pytest.param([BAD], [OK, TIMEOUT], {"a#monitor-timeout": 40}, id="although-the-last-run-fails"),
        pytest.param([wrote(60)], [wrote(30), wrote(30)], {"a#n": 40}, id="thresholds-hold"),
        pytest.param([wrote(60)], [wrote(30), wrote(10)], {}, id="until-they-are-clear"),
    ],
)
def test_an_agent_that_starts_without_its_store_goes_on_where_it_was(
    tmp_path: Path, earlier: list[Outcome], later: list[Outcome], expected: dict[str, int]
) -> None:
    db = Away()
    checks = "[a]\ncommand = x\nthresholds = n optional error > 50 clear < 20\n"
    for outcome in earlier:
        Simulation(db, checks, after({0: outcome}), tmp_path).run(1)
    db.away = True
    simulation = Simulation(db, checks, after({0: later[0], 61: later[1]}), tmp_path)
    simulation.at_ticks(at2=db.recover)
    simulation.run(2)
    found = {name: severity for name, (severity, _) in shown(db).items() if severity > 20}
    assert found == expected


def test_the_last_report_is_not_waited_for_when_the_store_is_away(tmp_path: Path) -> None:
    db = Away()
    db.away = True
    with pytest.raises(StoreUnavailable, match="the last report is not stored"):
        Simulation(db, "[a]\ncommand = x\n", fine, tmp_path).run(2)


def test_a_check_with_an_unusable_result_ends_neither_itself_nor_the_agent(tmp_path: Path) -> None:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        if check.section == "odd":
            raise RuntimeError("never seen")
        return BAD

    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n[odd]\ncommand = x\n", work, tmp_path)
    simulation.run(6)
    assert len(simulation.times("odd")) == 6
    assert shown(db)["odd#monitor-command"][0] == 40
    assert shown(db)["a"][0] == 50


@pytest.mark.parametrize("extra", ["failures", "crossed", "metric", "check", "triggered", "escalates"])
def test_whatever_a_check_s_json_calls_its_extras_nothing_breaks(tmp_path: Path, extra: str) -> None:
    fault = {"name": "n", "message": "m", "metric": "n", "crossed": 7, extra: "wrong"}
    work = after({0: Finished(0, json.dumps({"faults": [fault]}).encode(), b"")})
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\nthresholds = n error > 5\n", work, tmp_path)
    simulation.run(6)
    assert "a#n" in shown(db)


@pytest.mark.parametrize("away", [False, True])
def test_the_end_is_bounded_and_removes_the_agent_if_the_store_is_there(tmp_path: Path, away: bool) -> None:
    db = Away()
    simulation = Simulation(db, "[a]\ncommand = x\n", after({0: BAD}), tmp_path)

    async def ended() -> None:
        await simulation.daemon.run(1)
        db.hanging = threading.Event() if away else None
        await asyncio.wait_for(simulation.daemon.end(keep=False, patience=0.2), 10)

    asyncio.run(ended())
    if db.hanging:
        db.hanging.set()
        db.hanging = None
    else:
        assert db.get_agents() == []


def test_an_agent_may_stay_in_the_store(tmp_path: Path) -> None:
    simulation = Simulation(db := memory.DB(), "[a]\ncommand = x\n", after({0: BAD}), tmp_path)

    async def ended() -> None:
        await simulation.daemon.run(1)
        await simulation.daemon.end(keep=True)

    asyncio.run(ended())
    assert "a" in shown(db)


def test_a_second_instance_is_told_as_a_double(tmp_path: Path) -> None:
    from zc.cimaa.agents import Instance

    now = START
    opener = functools.partial(memory.DB, {"name": str(tmp_path)}, clock=lambda: now)
    with opener(instance=Instance("a", 1, "1", "x")) as one, opener(instance=Instance("b", 2, "1", "x")) as other:
        for _ in range(2):
            for db in (one, other):
                now += 30
                Simulation(db, "[a]\ncommand = x\n", fine, tmp_path).run(1)
        (double,) = one.double_agents()
    assert [instance["host"] for instance in double["instances"]] == ["a", "b"]


def test_an_errand_that_fails_is_logged_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(len(done))
        if len(done) == 1:
            errand.request()
            raise RuntimeError("a bug")

    errand = Coalesced(work)

    async def go() -> None:
        errand.request()
        await asyncio.wait(errand.tasks())

    asyncio.run(go())
    assert done == [0, 1]
    assert "RuntimeError: a bug" in caplog.text
