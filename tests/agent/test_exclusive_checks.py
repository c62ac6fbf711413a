"""Checks with ``once = yes``: of several agents one runs it, and handing it over triggers no alert."""

import asyncio
import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.group import CHECKS, SECTION, Group, Store, critical
from tests.support.simulation import START
from zc.cimaa import memory
from zc.cimaa.agent import check_files, once
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.rules import tenure
from zc.cimaa.agent.rules.check import Broken, Check
from zc.cimaa.errors import StoreDenied, StoreNotSetUp
from zc.cimaa.outcomes import Finished

BAD = Finished(2, b"bad", b"")
FINE = Finished(0, b"fine", b"")


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


def test_of_three_agents_one_runs_the_check_at_each_tick(group: Group) -> None:
    async def story() -> None:
        for name in ("web1", "web2", "web3"):
            group.start(name)
        await group.wait(30 * 60)

    group.play(story)
    assert len(group.runs) in (29, 30, 31)
    assert len({agent for _, agent in group.runs}) == 1


def test_after_a_kill_another_takes_over_within_the_lease_and_a_tick(group: Group) -> None:
    async def story() -> None:
        for name in ("web1", "web2", "web3"):
            group.start(name)
        await group.wait(10 * 60)
        for _ in range(2):
            group.holder.kill()
            await group.wait(4 * 60)
            assert len(group.holders) == 1

    group.play(story)
    times = [time for time, _ in group.runs]
    assert max(after - before for before, after in pairwise(times)) <= 4 * 60 + 60
    assert len({agent for _, agent in group.runs}) == 3


@pytest.mark.parametrize("keep", [True, False])
def test_an_agent_that_ends_gives_the_lease_up(group: Group, keep: bool) -> None:
    taken: list[float] = []

    async def story() -> None:
        for name in ("web1", "web2", "web3", "web4", "web5"):
            group.start(name)
        await group.wait(10 * 60)
        for _ in range(4):
            await group.holder.end(keep=keep)
            ended = group.clock.time()
            (lease,) = group.store.get_leases()
            assert lease.remaining == 0
            while not group.holders:
                await group.wait(1)
            taken.append(group.clock.time() - ended)
            await group.wait(5 * 60)

    group.play(story)
    assert max(taken) <= 3 * 60 + 30  # each that waits asks once in the time of a lease
    assert group.alerts == []


def test_the_next_agent_continues_to_count_failures(group: Group) -> None:
    group.finds = lambda _: BAD
    found = []

    async def story() -> None:
        for name in ("web1", "web2"):
            group.start(name, CHECKS + "retry = 5\n")
        await group.wait(150)  # two or three runs
        runs = len(group.runs)
        group.holder.kill()
        await group.wait(5)
        while len(group.runs) == runs:
            await group.wait(1)
        await group.wait(5)
        found.append((group.holder.faults()[SECTION]["message"], f"bad ({runs + 1} of 6)"))

    group.play(story)
    ((message, expected),) = found
    assert message == expected
    assert len({agent for _, agent in group.runs}) == 2


def test_one_incident_is_one_alert_whatever_happens_to_the_agents(group: Group) -> None:
    """Three kills, an orderly end, an upgrade of all agents, and a store that is away for five minutes."""
    names = ("web1", "web2", "web3", "web4")
    group.finds = lambda seconds: BAD if 300 < seconds < 100 * 60 else FINE

    async def story() -> None:
        for name in names:
            group.start(name)
        await group.wait(12 * 60)
        assert group.events() == ["triggered"]
        for _ in range(3):
            name = group.holder.name
            group.holder.kill()
            await group.wait(6 * 60)
            group.start(name)
            await group.wait(2 * 60)
        name = group.holder.name
        await group.holder.end()
        await group.wait(6 * 60)
        for member in [*group.members]:
            await member.end(keep=True)
            await group.wait(30)
            group.start(member.name)
            await group.wait(5 * 60)
        for member in group.members:
            member.db.away = True
        await group.wait(5 * 60)
        for member in group.members:
            member.db.away = False
        await group.wait(6 * 60)
        assert group.events() == ["triggered"]
        assert group.clock.time() - START < 100 * 60
        assert SECTION in group.holder.faults()
        await group.wait(100 * 60 - (group.clock.time() - START) + 5 * 60)
        assert group.events() == ["triggered", "resolved"]
        assert SECTION not in group.holder.faults()

    group.play(story)
    assert [alert for alert in group.alerts if alert.key != SECTION] == []


def test_an_agent_that_was_killed_does_not_report_the_fault_when_it_is_back(group: Group) -> None:
    group.finds = lambda seconds: critical()

    async def story() -> None:
        group.start("web1")
        group.start("web2")
        await group.wait(5 * 60)
        killed = group.holder
        killed.kill()
        assert SECTION in {fault["name"] for fault in group.store.get_faults(killed.name)}
        await group.wait(5 * 60)
        again = group.start(killed.name)
        await group.wait(3 * 60)
        assert not again.holds
        assert again.faults() == {}
        assert group.store.get_faults(killed.name) == []

    group.play(story)
    assert group.events() == ["triggered"]


def test_an_alert_that_the_last_agent_could_not_send_is_sent_by_the_next(group: Group) -> None:
    group.finds = lambda seconds: critical() if 300 < seconds < 30 * 60 else FINE

    async def story() -> None:
        for name in ("web1", "web2"):
            group.start(name)
        await group.wait(4 * 60)
        first = group.holder
        first.pager.works = False
        await group.wait(4 * 60)
        assert group.events() == []
        first.kill()
        await group.wait(5 * 60)
        assert group.events() == ["triggered"]
        second = group.holder
        group.start(first.name)
        await group.wait(30 * 60 - (group.clock.time() - START) - 30)
        second.pager.works = False
        await group.wait(3 * 60)
        assert group.events() == ["triggered"]
        second.kill()
        await group.wait(5 * 60)
        assert group.events() == ["triggered", "resolved"]

    group.play(story)


def test_while_the_store_is_away_the_holder_runs_on_until_its_lease_is_over_and_then_nobody_does(group: Group) -> None:
    group.finds = lambda seconds: critical()
    began: list[float] = []

    async def story() -> None:
        for name in ("web1", "web2", "web3"):
            group.start(name)
        await group.wait(10 * 60)
        for member in group.members:
            member.db.away = True
        began.append(group.clock.time() - START)
        await group.wait(10 * 60)
        assert group.holders == []
        for member in group.members:
            (fault,) = member.faults().values()
            assert fault["name"] == f"//{member.name}/f/shop/orders#monitor-lease"
            assert (fault["severity"], fault["check_failure"]) == (20, "lease")
            assert "unknown which agent runs it, if any: the store is down" in fault["message"]
        for member in group.members:
            member.db.away = False
        began.append(group.clock.time() - START)
        await group.wait(3 * 60)
        assert not [name for member in group.members for name in member.faults() if name.endswith("#monitor-lease")]
        assert SECTION in group.holder.faults()

    group.play(story)
    away, back = began
    late = [time for time, _ in group.runs if away <= time < back]
    assert len(late) in (2, 3)
    assert max(late) <= away + 3 * 60
    assert group.events() == ["triggered"]


def test_a_store_without_the_table_of_leases_takes_reports_and_the_fault_says_what_to_do(group: Group) -> None:
    async def story() -> None:
        member = group.start("web1", CHECKS + "[other]\ncommand = x\n")
        member.db.refusal = StoreNotSetUp("there is no table of entries: run setup-dynamodb")
        await group.wait(5 * 60)
        (fault,) = group.store.get_faults("web1")
        assert fault["name"] == "//web1/f/shop/orders#monitor-lease"
        assert "run setup-dynamodb" in fault["message"]
        assert member.daemon.reporter.store.away_since is None
        member.db.refusal = None
        await group.wait(2 * 60)
        assert member.holds
        assert group.store.get_faults("web1") == []

    group.play(story)


def test_the_state_of_the_lease_is_kept_when_an_operator_releases_it(group: Group) -> None:
    group.finds = lambda seconds: critical()

    async def story() -> None:
        group.start("web1")
        group.start("web2")
        await group.wait(5 * 60)
        group.store.release(SECTION, group.holder.name)
        await group.wait(10 * 60)
        assert len(group.holders) == 1

    group.play(story)
    assert group.events() == ["triggered"]
    (lease,) = group.store.get_leases()
    assert lease.token == 2


def test_a_reload_that_removes_the_check_gives_the_lease_up(group: Group) -> None:
    group.finds = lambda seconds: critical()

    async def story() -> None:
        group.start("web1")
        group.start("web2")
        await group.wait(5 * 60)
        first = group.holder
        (first.settings.directory / "f.cfg").write_text("[other]\ncommand = x\n")
        first.daemon.reload(first.settings)
        assert not first.holds
        await group.wait(5 * 60)
        assert group.holder is not first
        assert "other" in {section for _, section in first.sections}
        # And back: it waits for the other one.
        (first.settings.directory / "f.cfg").write_text(CHECKS)
        first.daemon.reload(first.settings)
        await group.wait(5 * 60)
        assert group.holder is not first

    group.play(story)
    assert group.events() == ["triggered"]


def test_a_section_that_moves_to_another_file_keeps_the_lease(group: Group) -> None:
    """Also if it has to be written first, and meanwhile the check in the other file asks."""
    asked = threading.Event()

    async def story() -> None:
        member = group.start("web1")
        await group.wait(5 * 60)
        assert isinstance(member.db, Store)
        member.db.away = True
        group.finds = lambda seconds: critical()
        await group.wait(70)
        assert SECTION in member.faults()
        member.db.away = False
        directory = member.settings.directory
        (directory / "f.cfg").rename(directory / "g.cfg")
        member.daemon.reload(member.settings)
        grant = member.db.lease

        def slow(*given: Any, **more: Any) -> Any:
            asked.wait(10)
            member.db.lease = grant
            return grant(*given, **more)

        member.db.lease = slow
        for step in (lambda: None, member.daemon.reporter.exclusive.tick, asked.set):
            step()
            for _ in range(10):
                await asyncio.sleep(0)
        await group.wait(20)
        (lease,) = group.store.get_leases()
        assert member.holds
        assert lease.remaining > 0
        await group.wait(10 * 60)
        assert group.store.get_leases()[0].token == 1

    group.play(story)
    assert group.events() == ["triggered"]


def test_once_can_be_switched_on_and_off_while_a_fault_is_reported(group: Group) -> None:
    group.finds = lambda seconds: critical()
    alone = CHECKS.replace("once = yes", "")

    async def story() -> None:
        member = group.start("web1", alone)
        await group.wait(5 * 60)
        assert group.events() == ["triggered"]
        (member.settings.directory / "f.cfg").write_text(CHECKS)
        member.daemon.reload(member.settings)
        assert member.faults() == {}
        await group.wait(2 * 60)
        assert SECTION in group.holder.faults()
        member.kill()
        member = group.start("web1", CHECKS)
        await group.wait(5 * 60)
        assert member.holds

    group.play(story)
    assert group.events() == ["triggered"]


def test_a_restart_with_once_switched_on_continues_with_what_the_agent_reported(group: Group) -> None:
    group.finds = lambda seconds: critical()

    async def story() -> None:
        member = group.start("web1", CHECKS.replace("once = yes", ""))
        await group.wait(5 * 60)
        await member.end(keep=True)
        group.start("web1")
        await group.wait(5 * 60)
        assert group.holder.faults()[SECTION]["triggered"]["pager"]

    group.play(story)
    assert group.events() == ["triggered"]


def test_a_group_of_five_writes_once_a_minute_and_reads_at_most_1_4_times(group: Group) -> None:
    counted = []

    async def story() -> None:
        for name in ("web1", "web2", "web3", "web4", "web5"):
            group.start(name)
        await group.wait(10 * 60)
        dbs = [member.db for member in group.members]
        before = sum(db.reads for db in dbs), sum(db.writes for db in dbs)
        await group.wait(8 * 3600)
        counted.append((sum(db.reads for db in dbs) - before[0], sum(db.writes for db in dbs) - before[1]))

    group.play(story)
    ((reads, writes),) = counted
    assert writes in (8 * 60 - 1, 8 * 60, 8 * 60 + 1)
    assert reads <= 1.4 * 8 * 60


def test_an_alert_sent_while_the_store_was_away_is_not_repeated_if_the_same_agent_goes_on(group: Group) -> None:
    group.finds = lambda seconds: critical() if seconds > 630 else FINE

    async def story() -> None:
        member = group.start("web1")
        await group.wait(10 * 60)
        member.db.away = True
        await group.wait(10 * 60)
        assert group.events() == ["triggered"]
        assert not member.holds
        member.db.away = False
        await group.wait(5 * 60)
        assert member.holds
        assert member.faults()[SECTION]["triggered"]["pager"]

    group.play(story)
    assert group.events() == ["triggered"]


def test_an_alert_that_is_being_sent_when_the_lease_is_lost_is_left_to_the_next_agent(group: Group) -> None:
    group.finds = lambda seconds: critical() if seconds > 310 else FINE

    async def story() -> None:
        member = group.start("web1")
        await group.wait(4 * 60)
        member.pager.hangs = threading.Event()
        await group.wait(115)
        group.store.release(SECTION, "web1")
        assert group.store.lease(SECTION, "other", 3600).holder == "other"
        await group.wait(62)
        assert not member.holds
        member.pager.hangs.set()
        await group.wait(5 * 60)
        assert member.faults() == {}

    group.play(story)
    assert group.events() == ["triggered"]


def test_resolved_waits_until_the_lease_records_that_the_fault_is_over(group: Group) -> None:
    group.finds = lambda seconds: critical() if seconds < 310 else FINE

    async def story() -> None:
        member = group.start("web1")
        await group.wait(5 * 60)
        member.db.refusal = StoreDenied("not today")
        await group.wait(110)
        assert member.holds
        assert group.store.get_faults("web1")[0]["message"].startswith("it is over")
        assert group.events() == ["triggered"]
        member.db.refusal = None
        await group.wait(2 * 60)
        assert group.events() == ["triggered", "resolved"]

    group.play(story)


def test_an_answer_that_comes_when_the_lease_is_over_starts_nothing(group: Group) -> None:
    async def story() -> None:
        member = group.start("web1")
        grant = member.db.lease

        def late(*given: Any, **more: Any) -> Any:
            lease = grant(*given, **more)
            group.clock.skip(200)  # the process is suspended
            member.db.lease = grant
            return lease

        member.db.lease = late
        await group.wait(10)
        while not group.clock.skipped:
            await group.wait(1)
        assert len(group.runs) <= 1  # with the lease that it asked for again
        await group.wait(5 * 60)
        assert member.holds

    group.play(story)


# cimaa agent --once


def test_of_two_agents_that_run_once_one_runs_the_check(tmp_path: Path) -> None:
    (tmp_path / "f.cfg").write_text(
        f"[{SECTION}]\ncommand = sh -c 'echo bad; exit 2'\nonce = yes\n[own]\ncommand = echo\n"
    )
    store, now = {"name": str(tmp_path)}, [1_700_000_000.0]

    def ran(name: str) -> tuple[list[str], int, int]:
        with memory.DB(store, clock=lambda: now[0]) as db:
            done = once.run(Settings(name, tmp_path, 60, 10), db=db)
        return [fault["name"] for fault in done.faults if "#" not in fault["name"]], done.checks, done.elsewhere

    with memory.DB(store, clock=lambda: now[0]) as db:
        assert ran("web1") == ([SECTION], 2, 0)
        assert ran("web2") == ([], 1, 1)
        now[0] += 120
        assert ran("web1") == ([SECTION], 2, 0)  # it keeps the lease
        now[0] += 120
        assert ran("web2") == ([], 1, 1)
        now[0] += 120
        assert ran("web2") == ([SECTION], 2, 0)
        assert [(lease.holder, lease.token) for lease in db.get_leases()] == [("web2", 2)]


def test_a_run_by_hand_does_not_outlast_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the agent's own clock, if the store answers late."""
    (tmp_path / "f.cfg").write_text(f"[{SECTION}]\ncommand = sleep 1000\nonce = yes\n")
    now = [1000.0]
    monkeypatch.setattr(once, "monotonic", lambda: now[0])

    class Late(memory.DB):
        seconds = 179.9

        def lease(self, *given: Any, **more: Any) -> Any:
            lease = super().lease(*given, **more)
            now[0] += self.seconds
            return lease

    with Late() as db:
        for seconds, reason in ((179.9, "#monitor-timeout"), (180.0, "#monitor-lease")):
            db.seconds = seconds
            (found,) = once.run(Settings("web1", tmp_path, 60, 10), db=db).faults
            assert found["name"].endswith(reason)


def test_a_run_by_hand_leaves_what_the_daemon_keeps_with_the_lease(group: Group) -> None:
    group.finds = lambda seconds: critical()

    async def story() -> None:
        member = group.start("web1")
        await group.wait(5 * 60)
        (before,) = group.store.get_leases()
        group.store.lease(SECTION, "web1", 180)  # as cimaa agent --once does
        await group.wait(5 * 60)
        (after,) = group.store.get_leases()
        assert member.holds
        assert (after.token, after.state) == (before.token, before.state)
        assert after.state["faults"][0]["triggered"]["pager"]

    group.play(story)
    assert group.events() == ["triggered"]


def test_without_the_store_a_run_by_hand_does_not_run_it_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "f.cfg").write_text(f"[{SECTION}]\ncommand = touch {tmp_path}/ran\nonce = yes\n")
    with Store() as db:
        db.away = True
        done = once.run(Settings("web1", tmp_path, 60, 10), db=db)
    (fault,) = done.faults
    assert fault["name"] == "//web1/f/shop/orders#monitor-lease"
    assert fault["severity"] == 20
    assert not (tmp_path / "ran").exists()


# What can be configured


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("orders", "[orders] once: only for global checks: "),
        ("//" + "x" * 254, "has 256 bytes; at most 255 are allowed"),
    ],
)
def test_once_where_it_cannot_be_is_an_error_that_says_why(section: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "f.cfg").write_text(f"[{section}]\ncommand = x\nonce = yes\n")
    (broken,) = check_files.load(tmp_path, 60)
    assert isinstance(broken, Broken)
    assert reason in broken.reason
    assert "once: " in broken.reason


def test_two_files_cannot_share_a_lease(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.cfg").write_text(CHECKS)
    (tmp_path / "c.cfg").write_text(CHECKS.replace("yes", "no"))
    _, broken, other = check_files.load(tmp_path, 60)
    assert isinstance(broken, Broken)
    assert broken.reason == f"[{SECTION}] once: a.cfg has a section of this name, and a lease is for one"
    assert isinstance(other, Check)


def test_a_check_with_too_many_faults_to_hand_over_fails(group: Group) -> None:
    many = {"faults": [{"name": str(number), "message": "x" * 1000} for number in range(200)]}
    group.finds = lambda seconds: Finished(0, json.dumps(many).encode(), b"") if seconds > 300 else critical()

    async def story() -> None:
        member = group.start("web1")
        await group.wait(10 * 60)
        assert set(member.faults()) == {SECTION, "//web1/f/shop/orders#monitor-size"}
        assert "its 200 faults are too large to be handed over" in str(member.faults().values())

    group.play(story)
    assert group.events() == ["triggered"]


@pytest.mark.parametrize("state", [None, 1, [], {}, {"faults": 1, "over": []}, {"faults": [{"name": ""}], "over": []}])
def test_a_state_that_is_no_handover_counts_as_none(state: Any) -> None:
    assert tenure.read("web1", state) is None


def test_the_state_of_the_lease_which_the_next_release_must_be_able_to_read(group: Group) -> None:
    """If this changes, retries are counted from the start, and alerts repeated, while agents are upgraded."""
    group.finds = lambda seconds: Finished(2, b"bad", b"")

    async def story() -> None:
        group.start("web1")
        await group.wait(90)

    group.play(story)
    (lease,) = group.store.get_leases()
    fault = {"name": SECTION, "severity": 40, "message": "bad (1 of 4)", "failures": 1, "check": "f///shop/orders"}
    assert lease.state in ({"faults": [fault | {"message": m, "failures": n}], "over": []} for m, n in COUNTS)


COUNTS = [("bad (1 of 4)", 1), ("bad (2 of 4)", 2)]
