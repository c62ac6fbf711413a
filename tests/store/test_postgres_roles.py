"""The table of roles is what a real server permits, call by call and command by command."""

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.errors import InsufficientPrivilege

from tests.support.postgres_fleet import Fleet, fleet  # noqa: F401  # a fixture
from tests.support.signed_actions import action_data
from tests.support.ssh_keys import Keys
from zc.cimaa import errors
from zc.cimaa.actions import documents
from zc.cimaa.actions.fleet_actions import FleetActions
from zc.cimaa.agents import Instance
from zc.cimaa.cli import cimaa
from zc.cimaa.postgres import DB
from zc.cimaa.postgres.setup import roles, versions
from zc.cimaa.testing import fault
from zc.cimaa.testing.tools import entry

DATA = action_data()


def send(actions: FleetActions, data: bytes, *agents: str) -> None:
    """As an investigator does, who may do it twice."""
    for _ in range(2):
        list(actions.deliver(actions.add(data, b"", "jane").document(), agents))


def answer(actions: FleetActions, agent: str) -> None:
    """As the agent's daemon does with each action that was sent."""
    for command in actions.commands_of(agent):
        assert actions.action(command.id)
        claimed = actions.claim(command)
        if claimed is None:  # a row that may not be changed is not found
            raise errors.StoreDenied("the command was not changed")
        actions.answer(claimed, "{}")
        actions.answer(claimed, "{}")
        assert actions.finish(claimed, "success")


def read(db: DB) -> None:
    actions = FleetActions(db)
    for action in actions.actions():
        actions.counters(action)
        list(actions.answers(action))
        actions.commands(action)


def query_views(db: DB) -> None:
    for view in ("actions", "commands", "signatures"):
        db._read(f"SELECT * FROM {db.settings['schema']}.{view}".encode(), (), tuple)


ASKED = """\
[actions]
investigators = keys/investigators
journal = journal
longest = 2h
[permission:file]
minimum = 1
weights = jane 1
"""

#: Each call, for the agent of this name.
CALLS: dict[str, Callable[[DB, str], object]] = {
    "set_faults": lambda db, agent: [
        db.set_faults(agent, faults) for faults in ([], [fault("a")], [fault("a")], [fault("b", 50)], [])
    ],
    "report": lambda db, agent: [db.report(agent, faults) for faults in ([], [fault("a")], [fault("a")], [])],
    "wake": lambda db, agent: db.wake([agent]),
    "get_faults": lambda db, agent: db.get_faults(agent),
    "find_faults": lambda db, agent: [db.find_faults(agent), db.find_faults(pattern="d", limit=1)],
    "get_agents": lambda db, agent: db.get_agents(),
    "old_agents": lambda db, agent: db.old_agents(0),
    "offline_agents": lambda db, agent: db.offline_agents(),
    "double_agents": lambda db, agent: db.double_agents(),
    "remove_agent": lambda db, agent: db.remove_agent(agent),
    "squelch": lambda db, agent: [db.squelch("x", "", "ops") for _ in range(2)],
    "unsquelch": lambda db, agent: db.unsquelch("net"),
    "get_squelches": lambda db, agent: db.get_squelches(),
    "get_squelch_details": lambda db, agent: db.get_squelch_details(),
    "lease": lambda db, agent: [db.lease("job", agent, seconds) for seconds in (1, 60)],
    "release": lambda db, agent: db.release("taken", "web1"),
    "get_leases": lambda db, agent: db.get_leases(),
    "forget_lease": lambda db, agent: db.forget_lease("taken"),
    "late_agents": lambda db, agent: db.late_agents(),
    "get_history": lambda db, agent: [db.get_history(agent), db.get_history("_"), db.get_history()],
    "faults_at": lambda db, agent: [db.faults_at(int(time.time()) + 1, agent), db.faults_at(int(time.time()) + 1)],
    "squelches_at": lambda db, agent: db.squelches_at(int(time.time()) + 1),
    "history_start": lambda db, agent: db.history_start(),
    "expired_history": lambda db, agent: db.expired_history(),
    "count_expired_history": lambda db, agent: db.count_expired_history(),
    "prune_history": lambda db, agent: db.prune_history(),
    "dump": lambda db, agent: db.dump(),
    "answer actions": lambda db, agent: answer(FleetActions(db), agent),
    "read actions": lambda db, agent: read(db),
    "query the views of actions": lambda db, agent: query_views(db),
    "send actions": lambda db, agent: send(FleetActions(db), action_data(str(time.time_ns())), agent),
    "cancel actions": lambda db, agent: FleetActions(db).cancel(documents.document_id(DATA), "ops"),
}
#: The commands of the table, as they are run for web1.
COMMANDS = {
    "agent": ["agent", "--once"],
    "report": ["report", "web1"],
    "faults": ["faults"],
    "faults --at": ["faults", "--at", "1h"],
    "history": ["history"],
    "uptime": ["uptime"],
    "squelches": ["squelches"],
    "squelch": ["squelch", "disk", "why"],
    "unsquelch": ["unsquelch", "net"],
    "agents": ["agents"],
    "agents --double": ["agents", "--double"],
    "remove-agent": ["remove-agent", "web1"],
    "meta-check": ["meta-check"],
    "leases": ["leases"],
    "leases --release": ["leases", "--release", "taken"],
    "leases --forget": ["leases", "--forget", "taken"],
    "once": ["once", "job", "--for", "1m", "--release", "--", "true"],
    "tend": ["tend"],
    "action check": ["action", "check", "q.json"],
    "action send": ["action", "send", "q.json", "--yes"],
    "action list": ["action", "list"],
    "action status": ["action", "status", documents.document_id(DATA)],
    "action results": ["action", "results", documents.document_id(DATA)],
    "action cancel": ["action", "cancel", documents.document_id(DATA)],
    "action run": [
        *("action", "run", "agent=~.", "file", "path=/etc", "name=shadow", "--for", "3s"),
        "--key",
        "keys/jane",
        "--yes",
    ],
    "dump": ["dump"],
}


@pytest.fixture
def whole(fleet: Fleet) -> Fleet:  # noqa: F811
    """A fleet with all roles, in which web1, which is confined, and web2 have reported."""
    fleet.setup("--agent", "web1")
    with fleet.db(instance=Instance("host", 1, "1", "os")) as db:
        for agent in ("web1", "web2"):
            db.set_faults(agent, [fault("disk", 50)])
        db.squelch("net", "", "ops")
        db.lease("taken", "web1", 86400)
        send(FleetActions(db), DATA, "web1", "web2")
    return fleet


def login(fleet: Fleet, role: str) -> str:  # noqa: F811
    return fleet.login("web1") if role == roles.CONFINED else roles.role_name(fleet.name, role)


def test_each_call_and_each_command_of_the_table_is_tried() -> None:
    assert CALLS.keys() == roles.CALLS.keys()
    assert COMMANDS.keys() == roles.COMMANDS.keys()


@pytest.mark.parametrize("role", roles.ROLES)
def test_the_server_permits_the_calls_of_the_table(whole: Fleet, role: str) -> None:
    with whole.db(login(whole, role), Instance("other", 2, "1", "os")) as db, whole.db() as owner:
        for call, make in CALLS.items():
            for agent in ("web2", "web1"):
                before = whole.contents()
                cell = roles.may(role, call)
                if cell == roles.NO or (
                    cell == roles.OWN and agent == "web2" and call in ("set_faults", "report", "remove_agent")
                ):
                    with pytest.raises(errors.StoreDenied):
                        make(db, agent)
                    assert whole.contents() == before
                else:
                    make(db, agent)
                if cell == roles.OWN:
                    assert [row for row in whole.contents()["faults"] if row[0] == "web2"] == [
                        row for row in before["faults"] if row[0] == "web2"
                    ]
            for agent in ("web1", "web2"):
                owner.set_faults(agent, [fault("disk", 50)])
            owner.lease("taken", "web1", 86400)


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_may_run_the_commands_of_the_table(
    whole: Fleet, role: str, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys.make("jane")
    keys.signers(f"jane {keys.public('jane')}")
    (tmp_path / "q.json").write_bytes(DATA)
    (tmp_path / "q.json.sig").write_bytes(keys.sign("jane", DATA))
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "one.cfg").write_text("[one]\ncommand = echo\n")
    settings = "".join(f"{key} = {value}\n" for key, value in whole.settings(login(whole, role)).items())
    config = tmp_path / "cimaa.cfg"
    config.write_text(
        f"[database]\nclass = zc.cimaa.postgres\n{settings}[agent]\nname = web1\ndirectory = checks\n{ASKED}"
    )
    for command, arguments in COMMANDS.items():
        done = CliRunner().invoke(cimaa, ["--config", str(config), *arguments], input="[]")
        permitted = roles.may_run(role, command) != roles.NO
        assert (done.exit_code == 0) == permitted, f"{command}: {done.output}"
        assert permitted or "no permission" in done.output
        with whole.db() as owner:
            owner.set_faults("web1", [fault("disk", 50)])
            owner.squelch("net", "", "ops")
            owner.lease("taken", "web1", 86400)


def test_the_table_knows_each_column(whole: Fleet) -> None:
    """So that the next table, or column, is forgotten by none of the roles."""
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"
    with whole.connected() as connection:
        there = set(connection.execute(query, (whole.name,)).fetchall())
    known = {(table, column) for table, columns in roles.COLUMNS.items() for column in columns}
    for_the_setup = {("logins", "login"), ("logins", "agent"), ("agents", "login")}
    assert there - for_the_setup == known
    agents_own = {table for table, column in known if column == "agent"} - {"seen", "commands"}
    assert agents_own | {"agents", "entries"} == roles.CONFINED_ROWS.keys()


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_has_the_privileges_of_its_calls_and_no_others(whole: Fleet, role: str) -> None:
    query = """
        SELECT relname, privilege_type FROM pg_class, aclexplode(relacl) AS granted
        WHERE relnamespace = %s::regnamespace AND granted.grantee = %s::regrole"""
    with whole.connected() as connection:
        names = (f'"{whole.name}"', f'"{roles.role_name(whole.name, role)}"')
        found = {f"{privilege} {table}" for table, privilege in connection.execute(query, names).fetchall()}
        query = """
            SELECT attname, relname, privilege_type
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) AS granted
            WHERE relnamespace = %s::regnamespace AND granted.grantee = %s::regrole"""
        columns = connection.execute(query, names).fetchall()
    if role == roles.CONFINED:
        assert found == set()
    else:
        found |= {f"{privilege}({column}) {table}" for column, table, privilege in columns}
        assert found == set(roles.needs(role))


def test_no_role_but_the_confined_one_notices_row_level_security(whole: Fleet) -> None:
    for role in (roles.AGENT, roles.OPERATOR, roles.READER):
        with whole.db(login(whole, role)) as db:
            assert [agent["name"] for agent in db.get_agents()] == ["web1", "web2"]
            assert len(db.find_faults()) == 2


def test_a_store_without_confined_agents_has_row_level_security_only_for_entries(fleet: Fleet) -> None:  # noqa: F811
    fleet.setup()
    with fleet.connected() as connection:
        query = "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = %s::regnamespace"
        assert connection.execute(query, (f'"{fleet.name}"',)).fetchall() == [("entries",)]


def may_write(fleet: Fleet, role: str, kind: str, owner: str) -> tuple[bool, bool]:  # noqa: F811
    """Whether the role may add an entry, and change one that is there."""
    added, changed = entry(kind, owner, "new"), entry(kind, owner, "there")
    with fleet.db() as db:
        db._add([entry(kind, owner, "there")])
    with psycopg.connect(fleet.dsn(login(fleet, role)), autocommit=True) as connection:
        values = (kind, owner, added.revision)
        insert = "INSERT INTO {s}.entries (kind, owner, key, revision, value) VALUES (%s, %s, 'new', %s, '1')"
        try:
            connection.execute(fleet.sql(insert), values)
        except InsufficientPrivilege:
            may_add = False
        else:
            may_add = True
        update = "UPDATE {s}.entries SET revision = %s WHERE kind = %s AND owner = %s AND key = 'there'"
        try:
            may_change = connection.execute(fleet.sql(update), (changed.revision, kind, owner)).rowcount == 1
        except InsufficientPrivilege:
            may_change = False
    with fleet.db() as db:
        for one in db._entries(kind, owner):
            db._swap(*one[:3], one.revision, None)
    return may_add, may_change


def test_each_role_may_write_only_its_kinds_of_entries(whole: Fleet) -> None:
    """Agents take leases, answer, and change their commands; the role of all agents does it for every agent.

    Operators take leases, and change actions; investigators add actions and commands.
    """
    agents = {roles.AGENT, roles.CONFINED}
    cases = {  # of each kind and owner, those who may add it, and those who may change it
        ("lease", ""): ({*agents, roles.OPERATOR}, {*agents, roles.OPERATOR}),
        ("lease", "web1"): (set(), set()),
        ("action", ""): ({roles.INVESTIGATOR}, {roles.INVESTIGATOR, roles.OPERATOR}),
        ("action", "web1"): (set(), set()),
        ("command", "web1"): ({roles.INVESTIGATOR}, agents),
        ("command", "web2"): ({roles.INVESTIGATOR}, {roles.AGENT}),
        ("command", ""): (set(), set()),
        ("answer", "web1"): (agents, agents),
        ("answer", "web2"): ({roles.AGENT}, {roles.AGENT}),
        ("answer", ""): (set(), set()),
        ("other", ""): (set(), set()),
        ("other", "web1"): (set(), set()),
    }
    for (kind, owner), (adding, changing) in cases.items():
        for role in (roles.AGENT, roles.CONFINED, roles.OPERATOR, roles.INVESTIGATOR):
            assert may_write(whole, role, kind, owner) == (role in adding, role in changing), (role, kind, owner)


def test_no_agent_may_change_an_entry_into_one_of_another_kind_or_remove_it(whole: Fleet) -> None:
    with whole.db() as db:
        db._add([entry("lease", "", "mine"), entry("other", "", "theirs")])
    for role in (roles.AGENT, roles.CONFINED):
        with psycopg.connect(whole.dsn(login(whole, role)), autocommit=True) as connection:
            for statement in ("UPDATE {s}.entries SET kind = 'other' WHERE key = 'mine'", "DELETE FROM {s}.entries"):
                with pytest.raises(InsufficientPrivilege):
                    connection.execute(whole.sql(statement))


def test_a_confined_agent_cannot_write_a_lease_that_others_cannot_read(whole: Fleet) -> None:
    with psycopg.connect(whole.dsn(login(whole, roles.CONFINED)), autocommit=True) as connection:
        for value in ("1e400", "[" * 300 + "]" * 300):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(whole.sql("UPDATE {s}.entries SET value = %s"), (value,))
        hostile = ["null", "5", "[[]]", '{"until": 1e100, "token": true, "since": "x", "holder": 5, "released": 1}']
        for value in hostile:
            connection.execute(whole.sql("UPDATE {s}.entries SET value = %s"), (value,))
            with whole.db(login(whole, roles.READER)) as db, whole.connected() as owner:
                assert [lease.name for lease in db.get_leases()] == ["taken"]
                assert len(owner.execute(whole.sql("SELECT * FROM {s}.leases")).fetchall()) == 1


def test_people_read_leases_in_a_view(whole: Fleet) -> None:
    with whole.db() as db:
        taken = next(iter(db.get_leases()))
        db.lease("released", "web2", 60)
        db.release("released", "web2")
    query = """
        SELECT name, holder, token, extract(epoch FROM since)::bigint, extract(epoch FROM until)::bigint, over
        FROM {s}.leases ORDER BY name DESC"""
    with psycopg.connect(whole.dsn(login(whole, roles.READER))) as connection:
        rows = connection.execute(whole.sql(query)).fetchall()
    assert rows[0] == ("taken", "web1", 1, taken.since, taken.until, False)
    assert (rows[1][:3], rows[1][-1]) == (("released", "web2", 1), True)


def test_a_login_that_may_nothing_is_told_so(whole: Fleet) -> None:
    with whole.connected() as connection:
        connection.execute(
            whole.sql("CREATE ROLE {x} LOGIN; GRANT CONNECT ON DATABASE {s} TO {x}", x=f"{whole.name}_x")
        )
    if not whole.server.certificate.exists():
        with whole.db(f"{whole.name}_x") as db, pytest.raises(errors.StoreDenied, match="permission denied for schema"):
            db.get_agents()


@pytest.mark.parametrize("version", range(1, versions.VERSION + 1))
def test_each_migration_says_which_programs_may_write(version: int) -> None:
    if version > 2:  # until then the tables' version had to be the programs'
        assert "UPDATE version SET current" in versions.migration(version)
