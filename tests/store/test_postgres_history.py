"""History on PostgreSQL: what it costs, how it is read and pruned, and what older programs do to it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import postgres_version_2
from tests.support.postgres_servers import Server
from tests.support.postgres_stores import Execute
from zc.cimaa import errors
from zc.cimaa.agents import Instance
from zc.cimaa.history import Event
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import versions
from zc.cimaa.testing import Clock, fault

#: How often a reporting process is killed.
KILLS = int(os.environ.get("CIMAA_TEST_KILLS", "6"))
#: How many events a large history has here; "python -m benchmarks.history_postgres" takes ten million.
EVENTS = 20_000


def kinds(db: DB, agent: str | None = None) -> list[str]:
    return [event["kind"] for event in db.get_history(agent)]


# What a report costs


def test_a_report_that_says_when_the_next_is_due_is_one_statement_if_nothing_changed(
    postgres_server: Server, opened: Callable[..., DB]
) -> None:
    db = opened("-c log_statement=all -c log_min_duration_statement=-1")
    for _ in range(3):
        db.set_faults("web1", [fault("disk")], within=300)
    before = postgres_server.log_size()
    for _ in range(5):
        db.set_faults("web1", [fault("disk")], within=300)
    statements = [line for line in postgres_server.log_since(before) if "statement: " in line or "execute " in line]
    assert len(statements) == 5
    assert all("UPDATE" in statement for statement in statements)


@pytest.mark.parametrize("within", [None, 300])
def test_heartbeats_are_hot_updates_and_record_nothing(
    opened: Callable[..., DB], execute: Execute, within: int | None
) -> None:
    db = opened()
    for n in range(50):
        db.set_faults(f"web{n}", [fault("disk")], within)
    recorded = execute("SELECT count(*) FROM history")
    execute("VACUUM agents")
    execute("SELECT pg_stat_reset_single_table_counters('agents'::regclass)")
    for _ in range(20):
        for n in range(50):
            db.set_faults(f"web{n}", [fault("disk")], within)
    db.close()  # its session sends its statistics then
    assert execute("SELECT count(*) FROM history") == recorded
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'agents'::regclass"
    for _ in range(500):
        [(updates, hot)] = execute(query)
        if updates == 1000:
            break
        threading.Event().wait(0.02)
    assert updates == 1000
    assert hot >= 0.99 * updates


def test_an_event_of_ordinary_size_takes_at_most_400_bytes_with_its_index_entries(
    execute: Execute,
) -> None:
    fill(execute, EVENTS)
    [(size,)] = execute("SELECT pg_total_relation_size('history')")
    assert size / EVENTS <= 400


def fill(execute: Execute, number: int, step: int = 1) -> None:
    """Events of many agents, in turn, each ``step`` microseconds after the last one, up to ``number * step``."""
    execute(
        """
        INSERT INTO history (at, number, agent, kind, fault, before, since, message)
        SELECT n * %s, 1, 'host-' || n %% 100 || '.example.com', 'ended', '//host/check-' || n %% 7, 40, 1,
            'the disk is full: 97 %% of 120 GB are used'
        FROM generate_series(1, %s) AS n
        """,
        step,
        number,
    )


# Reading


def test_events_are_read_in_pages_the_latest_first(opened: Callable[..., DB], execute: Execute) -> None:
    fill(execute, EVENTS)
    # Many of one write, and many agents at one time: a page may end between them.
    execute(
        "INSERT INTO history (at, number, agent, kind) SELECT 5000, n, 'big', 'x' FROM generate_series(1, 9000) AS n"
    )
    execute(
        "INSERT INTO history (at, number, agent, kind) SELECT 6000, 1, 'a' || n, 'x' FROM generate_series(1, 9000) AS n"
    )
    query = "SELECT at, agent, number FROM history {} ORDER BY at DESC, agent DESC, number DESC"
    db = opened()
    for agent, where in (
        (None, ""),
        ("big", "WHERE agent = 'big'"),
        ("host-3.example.com", "WHERE agent ~ '^host-3[.]'"),
    ):
        expected = [(at, name) for at, name, _ in execute(query.format(where))]
        assert [(event.time, event.agent) for event in db._events(agent, 0, 2**62)] == expected
        some = [place for place in expected if 100 <= place[0] < 7000]
        assert [(event.time, event.agent) for event in db._events(agent, 100, 7000)] == some


def test_the_latest_events_cost_one_page_and_hold_no_connection(
    postgres_server: Server, opened: Callable[..., DB], execute: Execute
) -> None:
    fill(execute, EVENTS)
    db = opened("-c log_statement=all -c log_min_duration_statement=-1", pool_size="1", connect_timeout="1s")
    db.get_agents()
    before = postgres_server.log_size()
    found: Iterable[Event] = db._events(None, 0, 2**62)
    assert [event.time for event in islice(found, 3)] == [EVENTS, EVENTS - 1, EVENTS - 2]
    assert db.get_agents() == []  # with the only connection, while the events are not read to the end
    log = [line for line in postgres_server.log_since(before) if ".history" in line]
    assert len(log) == 1, log


def test_faults_at_a_moment_do_not_depend_on_how_much_happened_since(opened: Callable[..., DB]) -> None:
    clock = Clock(1_700_000_000.0)
    db = opened(clock=clock)
    db.set_faults("web1", [fault("disk", 40, "full"), fault("load", 30)])
    db.set_faults("web2", [fault("net", 50)])
    then, moment = db.find_faults(), int(clock.now)
    for n in range(20):
        clock.advance(60)
        db.set_faults("web1", [fault("disk", 10 * (n % 3), f"{n}")] if n % 4 else [])
        db.set_faults("new", [fault("disk")] * (n % 2))
    db.remove_agent("web2")
    assert db.faults_at(moment) == then
    for agent in ("web1", "web2", "new", "unknown"):
        assert db.faults_at(moment, agent) == [one for one in then if one["agent"] == agent]
    [everything] = [events for name, kept in db._kept("web1", moment * 10**6) for events in [kept.events]]
    assert len(everything) <= 2


def test_agents_are_late_by_what_they_said(opened: Callable[..., DB]) -> None:
    clock = Clock(1_700_000_000.0)
    db = opened(clock=clock)
    for agent, within in (("soon", 60), ("later", 3600), ("silent", None), ("back", 60)):
        db.set_faults(agent, [], within)
    clock.advance(61)
    db.set_faults("back", [], 60)
    assert [(late["name"], late["late"]) for late in db.late_agents()] == [("soon", 1)]
    assert kinds(db, "back") == ["appeared", "returned"]


# Squelches


def test_squelches_of_several_operators_have_an_order(opened: Callable[..., DB], execute: Execute) -> None:
    handles = [opened() for _ in range(4)]

    def change(number: int) -> None:
        for n in range(10):
            handles[number].squelch(f"s{number}-{n % 3}", "", "ops")
            handles[number].unsquelch(f"s{number}-{n % 3}", "ops")

    with ThreadPoolExecutor() as executor:
        list(executor.map(change, range(4)))
    times = [event["time"] for event in handles[0].get_history("_")]
    assert len(times) == len(set(times)) == 80
    assert times == sorted(times)


# Pruning


def test_old_events_are_deleted_in_parts_also_by_two_at_once(opened: Callable[..., DB], execute: Execute) -> None:
    fill(execute, EVENTS)
    handles = [opened() for _ in range(2)]

    def prune(db: DB) -> int:
        found, misses = 0, 0
        while misses < 3:  # another one may have deleted the same part
            part = db._forget(EVENTS // 2, 700)
            found, misses = found + part, 0 if part else misses + 1
        return found

    with ThreadPoolExecutor() as executor:
        found = list(executor.map(prune, handles))
    assert sum(found) == EVENTS // 2 - 1
    assert execute("SELECT min(at), count(*) FROM history") == [(EVENTS // 2, EVENTS // 2 + 1)]


def test_an_event_that_is_older_than_those_already_deleted_is_deleted_too(
    opened: Callable[..., DB], execute: Execute
) -> None:
    fill(execute, 1000)
    db = opened()
    assert [db._forget(500, 300) for _ in range(3)] == [300, 199, 0]
    execute("INSERT INTO history (at, number, agent, kind) VALUES (1, 1, 'slow', 'x'), (500, 1, 'slow', 'x')")
    assert [db._forget(600, 300) for _ in range(2)] == [102, 0]
    assert execute("SELECT min(at) FROM history") == [(600,)]


def test_a_year_of_reports_takes_the_space_of_one_period(opened: Callable[..., DB], execute: Execute) -> None:
    """With VACUUM whenever autovacuum would run it."""
    clock = Clock(1_700_000_000.0)
    db = opened(history="90d", clock=clock)
    sizes = []
    deleted = 0
    for day in range(365):
        clock.advance(86400)
        for agent in range(4):
            db.set_faults(f"web{agent}", [fault("disk", 40 + day % 2), *[fault(f"f{n}") for n in range(day % 2 * 9)]])
        deleted += db.prune_history()
        [(stored,)] = execute("SELECT count(*) FROM history")
        if deleted > 50 + 0.05 * stored:
            execute("VACUUM history")
            deleted = 0
        sizes.append(execute("SELECT pg_total_relation_size('history')")[0][0])
    assert max(sizes) <= 1.3 * sizes[90]
    assert not db.expired_history()


# Programs that keep no history


@pytest.fixture
def older(postgres_dsn: str, schema: str) -> Iterator[postgres_version_2.Reporter]:
    reporter = postgres_version_2.Reporter(postgres_dsn, schema, Instance("old", 1, "0.0", "os"))
    yield reporter
    reporter.close()


def test_an_older_program_breaks_the_history_of_its_agent_alone(
    opened: Callable[..., DB], older: postgres_version_2.Reporter
) -> None:
    db = opened()
    for agent in ("web1", "web2"):
        db.set_faults(agent, [fault("disk")], within=60)
    older.report("web1", [fault("disk", 50)])
    now = int(time.time()) + 1
    assert [one["agent"] for one in db.faults_at(now, "web2")] == ["web2"]
    for agent in ("web1", None):
        with pytest.raises(errors.HistoryIncomplete, match="web1"):
            db.faults_at(now, agent)
    assert [row.within for name, row in db._rows() if name == "web1"] == [None]
    for _ in range(3):
        older.report("web1", [fault("disk", 50)])  # its heartbeats count
    db.set_faults("web1", [fault("disk", 40)])
    assert kinds(db, "web1") == ["appeared", "began", "started", "better"]
    assert [one["severity"] for one in db.faults_at(int(time.time()) + 1, "web1")] == [40]


def test_the_heartbeats_of_an_older_program_break_nothing(
    opened: Callable[..., DB], older: postgres_version_2.Reporter
) -> None:
    db = opened(instance=Instance("old", 1, "0.0", "os"))
    db.set_faults("web1", [fault("disk")])
    before = dict(db._rows())["web1"]
    older.report("web1", [fault("disk")])
    after = dict(db._rows())["web1"]
    assert after == before._replace(updated=after.updated)
    assert after.updated > before.updated


def test_a_removal_by_an_older_program_is_a_break_as_well(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened()
    db.set_faults("web1", [fault("disk")])
    execute("UPDATE history SET at = at - 7200000000")
    execute("UPDATE agents SET written = written - 7200000000")
    an_hour_ago = int(time.time()) - 3600
    assert len(db.faults_at(an_hour_ago)) == 1
    execute("DELETE FROM agents")
    for agent in ("web1", None):
        with pytest.raises(errors.HistoryIncomplete, match="web1"):
            db.faults_at(an_hour_ago, agent)
    assert db.faults_at(int(time.time()) + 1) == []
    assert kinds(db) == ["appeared", "began", "started", "removed"]


def test_an_agent_that_an_older_program_removed_and_reported_again_goes_on_in_order(
    opened: Callable[..., DB], older: postgres_version_2.Reporter, execute: Execute
) -> None:
    db = opened()
    db.set_faults("web1", [fault("disk")])
    execute("UPDATE history SET at = at + 3600000000")  # the clock was set back
    execute("UPDATE agents SET recorded = NULL")
    execute("DELETE FROM agents")
    older.report("web1", [fault("disk")])
    db.set_faults("web1", [fault("load")])
    assert kinds(db, "web1") == ["appeared", "began", "started", "ended", "began"]


def test_without_history_nothing_is_recorded(opened: Callable[..., DB], execute: Execute) -> None:
    db = opened(history="0s")
    for severity in (40, 50):
        db.set_faults("web1", [fault("disk", severity)])
    db.squelch("x", "", "ops")
    db.unsquelch("x")
    db.remove_agent("web1")
    assert execute("SELECT count(*) FROM history") == [(0,)]


# Tables of the version before


@pytest.fixture
def old_tables(execute: Execute, schema: str) -> None:
    """Tables of the version before the history, which setup-postgres made then."""
    execute(f"SET client_min_messages TO error; DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
    for version in range(1, versions.HISTORY):
        execute(versions.migration(version))


@pytest.mark.usefixtures("old_tables")
def test_on_older_tables_reports_go_on_and_one_line_names_the_command(
    opened: Callable[..., DB], caplog: pytest.LogCaptureFixture
) -> None:
    db = opened()
    for severity in (40, 40, 50, 50, 30):
        db.set_faults("web1", [fault("disk", severity)], within=300)
    db.squelch("disk", "", "ops")
    db.unsquelch("disk")
    assert [one["severity"] for one in db.find_faults()] == [30]
    command = f"have version {versions.HISTORY - 1}, and this needs {versions.VERSION}: run setup-postgres CONFIG"
    [record] = caplog.records
    assert command in record.message
    for call in (db.get_history, db.late_agents, lambda: db.faults_at(int(time.time())), db.prune_history):
        with pytest.raises(errors.StoreNotSetUp, match=command):
            call()
    db.remove_agent("web1")
    assert db.dump() == {"faults": [], "squelches": []}


@pytest.mark.usefixtures("old_tables")
def test_an_upgrade_loses_nothing_and_the_history_begins_with_the_next_change(
    opened: Callable[..., DB], execute: Execute
) -> None:
    db = opened()
    db.set_faults("web1", [fault("disk", used=1.5), fault("load")])
    db.squelch("disk", "", "ops")
    before = (db.dump(), db.find_faults(), db.get_agents())
    db.close()
    for version in range(versions.HISTORY, versions.VERSION + 1):
        execute(versions.migration(version))
    db = opened()
    assert (db.dump(), db.find_faults(), db.get_agents()) == before
    db.set_faults("web1", [fault("disk", used=1.5), fault("load")])  # a mere heartbeat
    with pytest.raises(errors.HistoryIncomplete):
        db.faults_at(int(time.time()))
    db.set_faults("web1", [fault("disk", used=1.5)])
    assert kinds(db) == ["started", "ended"]
    assert [one["name"] for one in db.faults_at(int(time.time()) + 1)] == ["disk"]


# A process that is killed

REPORTER = """
import random, sys
from zc.cimaa.postgres import DB
from zc.cimaa.testing import Clock, fault
seed = int(sys.argv[3])
random.seed(seed)
with DB({"dsn": sys.argv[1], "schema": sys.argv[2]}) as db:
    for _ in range(10_000):
        agent = f"web{random.randrange(3)}"
        if random.random() < 0.05:
            db.remove_agent(agent, "ops")
        names = random.sample(["disk", "load", "net", "swap"], random.randrange(5))
        db.set_faults(agent, [fault(name, random.choice([30, 40, 50])) for name in names], within=3600)
        print("reported", flush=True)
"""


def replayed(events: Iterable[Any]) -> dict[tuple[str, str], int]:
    """The severities of the faults that events from the first to the last lead to."""
    severities: dict[tuple[str, str], int] = {}
    for event in events:
        place = (event["agent"], event.get("fault", ""))
        if event["kind"] == "began":
            assert place not in severities
            severities[place] = event["after"]
        elif event["kind"] in ("worse", "better", "ended"):
            assert severities.pop(place) == event["before"]
            if event["kind"] != "ended":
                severities[place] = event["after"]
    return severities


def test_after_each_kill_the_history_leads_to_what_is_stored(
    postgres_dsn: str, schema: str, opened: Callable[..., DB], execute: Execute, tmp_path: Path
) -> None:
    dsn = psycopg.conninfo.make_conninfo(postgres_dsn, application_name="killed")
    program = tmp_path / "reporter.py"
    program.write_text(REPORTER)
    db = opened()
    for kill in range(KILLS):
        command = [sys.executable, str(program), dsn, schema, str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reporter:
            assert reporter.stdout is not None
            for _ in range(5 + kill % 7):
                assert reporter.stdout.readline() == b"reported\n"
            threading.Event().wait(kill % 13 / 3000)
            reporter.send_signal(signal.SIGKILL)
        while execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'killed'"):
            threading.Event().wait(0.01)  # the server may still commit what it got
        current = db.find_faults()
        assert replayed(db.get_history()) == {(one["agent"], one["name"]): one["severity"] for one in current}
        assert db.faults_at(int(time.time()) + 1) == current
