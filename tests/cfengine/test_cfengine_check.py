"""``cimaa check cfengine``: what it judges, by the clock, and as a plugin and an agent's check."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cfengine import samples
from tests.support.command import Cimaa
from zc.cimaa.cfengine import locks, records
from zc.cimaa.cfengine.locks import LockProcess
from zc.cimaa.cfengine.state_files import Unreadable
from zc.cimaa.checks import cfengine_agent as checked
from zc.cimaa.checks.cfengine_agent import File, Found, Limits, Mark
from zc.cimaa.checks.file_age import parse_range
from zc.cimaa.checks.items import Item
from zc.cimaa.checks.ranges import Thresholds
from zc.cimaa.checks.states import State
from zc.cimaa.faults import SEVERITIES

MINUTE, HOUR, DAY = 60, 3600, 86400
WARNING, ERROR, INFO = SEVERITIES["warning"], SEVERITIES["error"], SEVERITIES["info"]
AGE = Thresholds(*map(parse_range, checked.THRESHOLDS))
LIMITS = Limits(AGE, checked.parse_full(checked.FULL), 2 * HOUR)
BOOTED, START = 1_000_000, 1_800_000_000


class Host:
    """A host with CFEngine in simulated time: what its agent does, and its processes."""

    def __init__(self) -> None:
        self.now = START
        self.entries: dict[bytes, bytes] = {}
        self.processes: dict[int, LockProcess] = {}
        self.used = {"cf_lock.lmdb": 3.0, "cf_lastseen.lmdb": 1.0}
        self.marks: list[Mark] = []
        self._next = 100
        server = self.start("cf-serverd")
        self.hold("server_cfengine_bundle", server)
        self.done("server_cfengine_bundle", server)

    def start(self, name: str) -> int:
        self._next += 1
        self.processes[self._next] = LockProcess(name, self.now - BOOTED)
        return self._next

    def hold(self, bundle: str, pid: int) -> None:
        self.entries[samples.lock_key("lock", bundle)] = samples.lock(pid, self.now, self.processes[pid].start or 0)

    def done(self, bundle: str, pid: int) -> None:
        self.entries.pop(samples.lock_key("lock", bundle), None)
        self.entries[samples.lock_key("last", bundle)] = samples.lock(pid, self.now, self.processes[pid].start or 0)

    def run_agent(self, *bundles: str) -> None:
        pid = self.start("cf-agent")
        for bundle in bundles or ("main", "inventory"):
            self.hold(bundle, pid)
            self.done(bundle, pid)
        del self.processes[pid]

    def items(self) -> list[Item]:
        found = locks.locks(records.decode("cf_lock.lmdb", self.entries.items()))
        seen = Found([File(name, used) for name, used in self.used.items()], found, self.marks)
        return checked.judge(seen, LIMITS, self.now, self.processes.get, BOOTED)

    def faults(self) -> dict[str, int]:
        return {fault.name: fault.severity for fault in checked.faults(self.items())}


def test_a_day_in_which_each_thing_goes_wrong_once() -> None:
    """What is reported, from when to when, in minutes after midnight."""
    host, hangs = Host(), 0
    reported: list[tuple[str, int, int, int]] = []
    current: dict[str, tuple[int, int]] = {}
    for minute in range(0, 24 * 60, 5):
        host.now = START + minute * MINUTE
        if not 2 * 60 < minute < 5 * 60:  # then it does not run
            host.run_agent()
        if minute == 6 * 60:
            hangs = host.start("cf-agent")
            host.hold("slow", hangs)
        if minute == 10 * 60:
            del host.processes[hangs]  # killed
        if minute == 11 * 60:
            host.processes[hangs] = LockProcess("bash", host.now - BOOTED)  # another has its number
        if minute == 12 * 60:
            host.run_agent("slow")  # the lock has expired, and the next run takes it
        host.used["cf_lock.lmdb"] = {15: 76.0, 16: 91.0}.get(minute // 60, 3.0)
        faults = host.faults()
        for name, (severity, since) in list(current.items()):
            if faults.get(name) != severity:
                reported.append((name, severity, since, minute))
                del current[name]
        for name, severity in faults.items():
            current.setdefault(name, (severity, minute))
    assert current == {}
    assert sorted(reported, key=lambda one: one[2]) == [
        ("agent", WARNING, 140, 185),
        ("agent", ERROR, 185, 300),
        ("lock:slow", ERROR, 485, 600),
        ("lock:slow", WARNING, 600, 720),
        ("file:cf_lock.lmdb", WARNING, 900, 960),
        ("file:cf_lock.lmdb", ERROR, 960, 1020),
    ]


def test_none_of_it_on_a_healthy_host_in_a_week() -> None:
    host = Host()
    daemon = host.start("cf-monitord")
    host.hold("monitor_cfengine_bundle", daemon)
    for minute in range(0, 7 * 24 * 60, 5):
        host.now = START + minute * MINUTE
        host.run_agent()
        running = host.start("cf-agent")  # one run is in the middle
        host.hold("main", running)
        assert host.faults() == {}
        del host.processes[running]


def item(host: Host, name: str) -> Item:
    (found,) = (item for item in host.items() if item.name == name)
    return found


def test_messages_are_the_same_for_as_long_as_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    host = Host()
    host.run_agent("main")
    pid = host.start("cf-agent")
    host.hold("slow", pid)
    host.hold("slow", pid)
    host.now += 3 * HOUR
    first = [item.message for item in host.items()]
    host.now += MINUTE
    assert [item.message for item in host.items()] == first
    assert first == [
        "the agent got nothing done since 2027-01-15 08:00:00 (main commands)",
        f"slow (commands) is locked since 2027-01-15 08:00:00 by process {pid}, which hangs",
        "cf_lock.lmdb is 3 % full",
        "cf_lastseen.lmdb is 1 % full",
    ]
    monkeypatch.undo()
    time.tzset()


def test_a_holder_that_is_gone_and_one_whose_number_was_given_to_another() -> None:
    host = Host()
    pid = host.start("cf-agent")
    host.hold("slow", pid)
    host.now += 3 * HOUR
    host.run_agent()
    del host.processes[pid]
    assert item(host, "lock:slow").state is State.WARNING
    assert item(host, "lock:slow").message.endswith("which is gone: it is left over after a crash")
    host.processes[pid] = LockProcess("bash", 1)
    assert item(host, "lock:slow").message.endswith("and another has its number: it is left over after a crash")


def test_locks_of_one_bundle_are_one_fault() -> None:
    host = Host()
    pid = host.start("cf-agent")
    for what in "abc":
        host.entries[samples.lock_key("lock", "slow", what=what)] = samples.lock(pid, host.now, START - BOOTED)
    host.now += 3 * HOUR
    assert item(host, "lock:slow").message.endswith("which hangs; 3 locks of it in all")


def test_a_clock_that_jumped_back_is_no_age() -> None:
    host = Host()
    host.run_agent()
    host.now -= HOUR
    assert item(host, "agent").state is State.CRITICAL
    assert item(host, "agent").message.startswith("what the agent did last is dated ahead: ")


def test_never_anything_done_is_critical() -> None:
    host = Host()
    assert item(host, "agent").message == "the agent never got anything done, going by cf_lock.lmdb"
    assert item(host, "agent").state is State.CRITICAL
    assert checked.judge(Found([], None), LIMITS, START, host.processes.get, BOOTED)[0].state is State.CRITICAL


def test_a_repair_after_the_last_run_is_information_until_the_next() -> None:
    host = Host()
    host.run_agent()
    host.marks = [Mark("cf_lock.lmdb.repaired", host.now + 1), Mark("cf_state.lmdb.rotated.123", host.now + 2)]
    assert host.faults() == {"repaired:cf_lock.lmdb": INFO, "repaired:cf_state.lmdb": INFO}
    host.now += 5 * MINUTE
    host.run_agent()
    assert host.faults() == {}


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("damaged", State.CRITICAL),
        ("cut", State.CRITICAL),
        ("other", State.CRITICAL),
        ("newer", State.CRITICAL),
        ("busy", State.UNKNOWN),
        ("time", State.UNKNOWN),
        ("denied", State.UNKNOWN),
    ],
)
def test_a_file_that_cannot_be_read(kind: str, state: State) -> None:
    files = [File("cf_state.lmdb", None, Unreadable("/x/cf_state.lmdb", kind))]
    host = Host()
    host.run_agent()
    found = Found(files, locks.locks(records.decode("cf_lock.lmdb", host.entries.items())))
    bad = [item for item in checked.judge(found, LIMITS, START, host.processes.get, BOOTED) if item.state]
    assert [item.state for item in bad] == [state]
    assert "cf_state.lmdb" in bad[0].message


def test_a_file_that_is_not_there_any_longer_is_no_fault() -> None:
    found = Found([File("cf_state.lmdb", None, Unreadable("/x/cf_state.lmdb", "missing"))], None)
    assert len(checked.judge(found, LIMITS, START, Host().processes.get, BOOTED)) == 1  # about the agent


def test_a_lock_file_that_only_root_may_read_says_how_to_read_it() -> None:
    error = Unreadable("/x/cf_lock.lmdb", "denied", "it belongs to root")
    (only,) = checked.judge(Found([File("cf_lock.lmdb", None, error)], None), LIMITS, START, Host().processes.get, 0)
    assert only.state is State.UNKNOWN
    for way in ("it belongs to root", "a group", "setfacl", "cimaa report"):
        assert way in only.message


@pytest.mark.parametrize("text", ["75", "75,", "x,90", "90,1e999", "75,90,95"])
def test_percentages_that_are_not_two(cimaa: Cimaa, text: str) -> None:
    result = cimaa("check", "cfengine", "--full", text)
    assert (result.exit_code, result.stderr) == (3, "")
    assert "CFENGINE UNKNOWN - Invalid value for '--full'" in result.stdout


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    state.mkdir()
    now, own = int(time.time()), os.getpid()
    entries = {samples.lock_key("last", "main"): samples.lock(own, now - 20 * MINUTE, 1)}
    entries[samples.lock_key("lock", "left")] = samples.lock(own, now - 3 * HOUR, 1)
    samples.write(state / "cf_lock.lmdb", entries)
    samples.write(state / "cf_lastseen.lmdb", samples.hosts(5, now))
    return state


def test_the_plugin(cimaa: Cimaa, state: Path) -> None:
    result = cimaa("check", "cfengine", "--state", str(state), "-v")
    assert result.exit_code == 1
    first, *rest = result.stdout.splitlines()
    assert first.startswith("CFENGINE WARNING - the agent got nothing done since ")
    assert "; left (commands) is locked since " in first
    assert " | agent=12" in first
    assert first.endswith("s;900;3600 cf_lastseen.lmdb=0.01%;75;90;0;100 cf_lock.lmdb=0.01%;75;90;0;100")
    assert len(rest) == 4
    result = cimaa("check", "cfengine", "--state", str(state), "-w", "1h", "--locks", "1d")
    assert (result.exit_code, result.stdout[:57]) == (0, "CFENGINE OK - the agent works, and its files are whole | ")


def test_the_check_of_an_agent_has_a_fault_for_each_thing(cimaa: Cimaa, state: Path) -> None:
    (state / "cf_state.lmdb").write_bytes((state / "cf_lock.lmdb").read_bytes()[:-4096])
    result = cimaa("check", "cfengine", "--state", str(state), "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert {fault["name"]: fault["severity"] for fault in document["faults"]} == {
        "agent": WARNING,
        "lock:left": WARNING,
        "file:cf_state.lmdb": ERROR,
    }
    assert {metric["name"] for metric in document["metrics"]} == {"agent", "cf_lock.lmdb", "cf_lastseen.lmdb"}


def test_an_agent_runs_it_as_a_check(cimaa: Cimaa, state: Path) -> None:
    program = Path(sys.executable).with_name("cimaa")
    (cimaa.directory / "checks").mkdir()
    (cimaa.directory / "checks" / "host.cfg").write_text(
        f"[cfengine]\ncommand = {program} check cfengine --json --state {state}\n"
    )
    with (cimaa.directory / "cimaa.cfg").open("a") as configuration:
        configuration.write("[agent]\nname = web1\ndirectory = checks\n")
    result = cimaa("run", "cfengine", "--json")
    assert result.exit_code == 0, result.stderr
    assert [fault["name"] for fault in json.loads(result.stdout)["faults"]] == [
        "//web1/host/cfengine#agent",
        "//web1/host/cfengine#lock:left",
    ]


def test_without_cfengine_it_is_not_known_that_all_is_well(cimaa: Cimaa, tmp_path: Path) -> None:
    result = cimaa("check", "cfengine", "--state", str(tmp_path / "nowhere"))
    assert result.exit_code == 3
    assert result.stdout == f"CFENGINE UNKNOWN - {tmp_path}/nowhere cannot be listed: No such file or directory\n"
    document = json.loads(cimaa("check", "cfengine", "--state", str(tmp_path / "nowhere"), "--json").stdout)
    assert [fault["severity"] for fault in document["faults"]] == [ERROR]


def test_a_map_that_is_91_percent_full_is_critical(cimaa: Cimaa, state: Path) -> None:
    large = {b"%06d\0" % number: bytes(1_000_000) for number in range(96)}
    samples.write(state / "cf_observations.lmdb", large)
    result = cimaa("check", "cfengine", "--state", str(state), "-w", "1h", "--locks", "1d")
    assert result.exit_code == 2
    assert "cf_observations.lmdb is 91 % full" in result.stdout
