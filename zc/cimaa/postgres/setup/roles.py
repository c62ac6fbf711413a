"""Who may do what: one table of calls, commands and roles, from which the privileges follow.  Pure.

A role may make a call if the table says so, and has exactly the privileges that its calls need.  The confined role is a
group: each confined agent's login is a member of it (see ``agents``).  It has privileges on columns only, because one
on a whole table (UPDATE, DELETE or TRUNCATE) permits ``LOCK TABLE`` in every mode.  Row-level security confines it to
the rows of its agent, and functions that go by ``session_user`` delete for it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from psycopg import sql

from ... import history, limits, tags
from ...entries import CHANGED_KINDS, OWN_KINDS, READ_KINDS, SHARED_KINDS

#: The roles; a role's name in the database is the schema's, "_", and this one.
AGENT, CONFINED, OPERATOR, INVESTIGATOR, READER = ROLES = ("agent", "confined", "operator", "investigator", "reader")
#: Those that log in themselves.
LOGINS = (AGENT, OPERATOR, INVESTIGATOR, READER)

YES, OWN, NO = "yes", "own", "no"

#: For each call of a store, whether each of the ``ROLES`` may make it: for every agent, for its own alone, or not.
CALLS: Mapping[str, tuple[str, str, str, str, str]] = {
    "set_faults": (YES, OWN, NO, NO, NO),
    "report": (YES, OWN, NO, NO, NO),
    "wake": (YES, OWN, NO, YES, NO),
    "get_faults": (YES, OWN, YES, YES, YES),
    "find_faults": (YES, OWN, YES, YES, YES),
    "get_agents": (YES, OWN, YES, YES, YES),
    "old_agents": (YES, OWN, YES, YES, YES),
    "offline_agents": (YES, OWN, YES, YES, YES),
    "double_agents": (YES, NO, YES, YES, YES),
    "remove_agent": (YES, OWN, YES, NO, NO),
    "squelch": (NO, NO, YES, NO, NO),
    "unsquelch": (NO, NO, YES, NO, NO),
    "get_squelches": (YES, YES, YES, YES, YES),
    "get_squelch_details": (YES, YES, YES, YES, YES),
    "lease": (YES, YES, YES, NO, NO),
    "release": (YES, YES, YES, NO, NO),
    "get_leases": (YES, YES, YES, YES, YES),
    "forget_lease": (NO, NO, YES, NO, NO),
    "late_agents": (YES, OWN, YES, YES, YES),
    "get_history": (YES, OWN, YES, YES, YES),
    "faults_at": (YES, OWN, YES, YES, YES),
    "squelches_at": (YES, YES, YES, YES, YES),
    "history_start": (YES, YES, YES, YES, YES),
    "expired_history": (YES, OWN, YES, YES, YES),
    "count_expired_history": (YES, OWN, YES, YES, YES),
    "prune_history": (NO, NO, YES, NO, NO),
    "dump": (YES, OWN, YES, YES, YES),
    # Of FleetActions, which has its own place in the table of commands.
    "answer actions": (YES, OWN, NO, NO, NO),
    "read actions": (YES, OWN, YES, YES, YES),
    "query the views of actions": (YES, NO, YES, YES, YES),
    "send actions": (NO, NO, NO, YES, NO),
    "cancel actions": (NO, NO, YES, YES, NO),
}

#: The calls that each command makes.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "agent": ("set_faults", "get_faults", "find_faults", "get_squelch_details", "remove_agent", "lease", "release"),
    "report": ("set_faults",),
    "faults": ("find_faults", "get_agents", "get_squelches"),
    "faults --at": ("faults_at", "get_history", "get_agents", "late_agents", "squelches_at"),
    "history": ("get_history", "get_agents"),
    "uptime": ("find_faults", "faults_at", "get_history", "get_agents", "get_squelch_details", "late_agents"),
    "squelches": ("get_squelches", "get_squelch_details", "find_faults"),
    "squelch": ("get_squelch_details", "squelch", "find_faults", "get_squelches"),
    "unsquelch": ("get_squelch_details", "unsquelch", "find_faults", "get_squelches"),
    "agents": ("get_agents", "old_agents", "offline_agents"),
    "agents --double": ("double_agents",),
    "remove-agent": ("get_agents", "remove_agent"),
    "meta-check": ("get_agents", "double_agents", "get_squelch_details", "get_squelches", "find_faults"),
    "leases": ("get_leases",),
    "leases --release": ("get_leases", "release"),
    "leases --forget": ("forget_lease", "get_leases"),
    "once": ("lease", "release"),
    "tend": ("count_expired_history", "prune_history"),
    "action check": ("get_agents",),
    "action send": ("get_agents", "send actions", "wake"),
    "action list": ("read actions",),
    "action status": ("read actions",),
    "action results": ("read actions",),
    "action cancel": ("read actions", "cancel actions"),
    "action run": ("get_agents", "send actions", "wake", "read actions"),
    "dump": ("dump",),
}

#: The columns of each table, but for those that only the setup writes.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "version": ("version", "current", "oldest"),
    "agents": ("name", "updated", "digest", "instance", "within", "written", "recorded", "marked"),
    "instances": ("agent", "id", "host", "pid", "version", "os", "first", "last", "tags"),
    "faults": ("agent", "name", "severity", "since", "message", "extras"),
    "squelches": ("regex", "reason", "user", "time", "permanent", "expires"),
    "entries": ("kind", "owner", "key", "revision", "value", "expires", "state", "found"),
    "leases": ("name", "holder", "token", "since", "until", "over"),
    "actions": ("id", "name", "target", "validfrom", "expireafter", "sender", "sent", "cancelled_by", "state"),
    "commands": ("action", "agent", "state", "time", "found", "reason"),
    "signatures": ("action", "number", "key"),
    "history": (
        *("at", "number", "agent", "kind", "fault", "before", "after", "since", "until", "message", "who", "why"),
    ),
    "seen": ("agent", "updated", "id", "host", "pid", "version", "os", "first", "last", "tags"),
}
#: Which of them an ``UPDATE`` sets.
UPDATED: Mapping[str, tuple[str, ...]] = {
    "agents": ("updated", "digest", "instance", "within", "written", "recorded", "marked"),
    "instances": ("first", "last", "tags"),
    "faults": ("severity", "since", "message", "extras"),
    "squelches": ("reason", "user", "time", "permanent", "expires"),
    "entries": ("revision", "value", "expires"),
}


def _kinds(kinds: Iterable[str], owner: str = "owner = ''") -> str:
    """The condition that an entry is of one of these kinds, and its owner as said."""
    return f"({owner} AND kind IN ({', '.join(map(repr, kinds))}))"


_SHARED, _OWNED = _kinds(SHARED_KINDS), "owner <> ''"
#: Which entries a role may add, and which it may change; it may read all.  A migration that adds a kind drops these
#: policies.  Others may not write entries at all.
ADDED_ENTRIES: Mapping[str, str] = {
    AGENT: f"{_SHARED} OR {_kinds(OWN_KINDS, _OWNED)}",
    CONFINED: f"{_SHARED} OR {_kinds(OWN_KINDS, _OWNED)}",
    OPERATOR: _SHARED,
    INVESTIGATOR: f"{_kinds(READ_KINDS)} OR {_kinds(CHANGED_KINDS, _OWNED)}",
}
CHANGED_ENTRIES: Mapping[str, str] = {
    AGENT: f"{_SHARED} OR {_kinds((*OWN_KINDS, *CHANGED_KINDS), _OWNED)}",
    CONFINED: f"{_SHARED} OR {_kinds((*OWN_KINDS, *CHANGED_KINDS), _OWNED)}",
    OPERATOR: _kinds((*SHARED_KINDS, *READ_KINDS)),
    INVESTIGATOR: _kinds(READ_KINDS),
}
#: The condition under which a confined login may see or write a row of a table.  On the agents' it is a plain
#: comparison, because each unchanged report pays for it; the setup and a trigger keep that column in step with the
#: table of logins.
CONFINED_ROWS: Mapping[str, str] = {
    "agents": "login = session_user",
    "instances": "agent = (SELECT {schema}.own_agent())",
    "faults": "agent = (SELECT {schema}.own_agent())",
    # What it may write of them is in ADDED_ENTRIES and CHANGED_ENTRIES.
    "entries": f"{_kinds((*SHARED_KINDS, *READ_KINDS))} OR owner = (SELECT {{schema}}.own_agent())",
    # It reads what happened to squelches, as it reads them; what it may write is in CONFINED_VALUES.
    "history": f"agent IN ((SELECT {{schema}}.own_agent()), '{history.SQUELCHES}')",
}

# How deep the value of a confined agent's entry may be: far deeper than any is, and what every program can decode.
_ENTRY_NESTING = 200
_DECODABLE = "NOT {} @? '$.** ? (@.type() == \"number\" && (@ > 1e125 || @ < -1e125))'"
_TAG = f"[{tags.CHARACTERS}]+"
# How long (bytes) the kind of an event may be: longer than any is.
_KIND = 64
#: What a confined login may write into a row.  Programs check that before they write, but a host that was broken into
#: may run statements of its own, and one fault that cannot be decoded would make every list of faults fail.
CONFINED_VALUES: Mapping[str, str] = {
    "instances": f"""
        octet_length(host) <= {limits.AGENT} AND octet_length(version) <= {limits.AGENT}
        AND octet_length(os) <= {limits.AGENT} AND coalesce(pid, 0) >= 0
        AND coalesce(tags ~ '^{_TAG}( {_TAG}){{{{0,{tags.MOST - 1}}}}}$', true)
        AND coalesce(octet_length(replace(tags, ' ', '')), 0) <= {tags.BYTES}
        """,
    "faults": f"""
        octet_length(name) BETWEEN 1 AND {limits.FAULT_NAME} AND octet_length(message) <= {limits.MESSAGE}
        AND jsonb_typeof(extras) = 'object' AND octet_length(extras::text) <= {32 * limits.FAULT}
        AND NOT extras ?| ARRAY['agent', 'name', 'severity', 'since', 'message']
        AND NOT extras @? 'strict $.**{{{{{limits.NESTING + 2} to last}}}}'
        AND {_DECODABLE.format("extras")}
        """,
    "entries": f"""
        octet_length(key) BETWEEN 1 AND {limits.ENTRY_KEY} AND octet_length(value::text) <= {32 * limits.ENTRY_VALUE}
        AND NOT value @? 'strict $.**{{{{{_ENTRY_NESTING} to last}}}}' AND {_DECODABLE.format("value")}
        """,
    "history": f"""
        agent = (SELECT {{schema}}.own_agent())
        AND octet_length(kind) <= {_KIND} AND coalesce(octet_length(fault), 1) BETWEEN 1 AND {limits.FAULT_NAME}
        AND (fault IS NOT NULL AND before IS NOT NULL AND since IS NOT NULL
            OR kind NOT IN ('{history.WORSE}', '{history.BETTER}', '{history.ENDED}'))
        AND coalesce(octet_length(message), 0) <= {history.MESSAGE}
        AND coalesce(octet_length(who), 0) <= {limits.USER} AND coalesce(octet_length(why), 0) <= {limits.REASON}
        """,
}
#: Columns without statistics for the planner, which needs none: its estimates, which every role sees in ``EXPLAIN``,
#: would disclose values of all agents.  Setting the type again removes what has been gathered.
_WITHOUT_STATISTICS = """
    ALTER TABLE {schema}.faults
        ALTER message TYPE text, ALTER extras TYPE jsonb,
        ALTER name SET STATISTICS 0, ALTER message SET STATISTICS 0, ALTER extras SET STATISTICS 0
    """

_WRITE = tuple(
    f"{privilege} {table}" for table in ("agents", "instances", "faults") for privilege in ("INSERT", "UPDATE")
)
_RECORD = ("SELECT history", "INSERT history")
_REPORT = (
    *("SELECT agents", "SELECT instances", "SELECT faults", *_WRITE, "DELETE faults", "DELETE instances"),
    *_RECORD,
)
_CHANGE_ENTRY = tuple(f"UPDATE({column}) entries" for column in UPDATED["entries"])
#: The privileges that each call needs, for every agent: on a table, or on one column of it.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "set_faults": _REPORT,
    "report": _REPORT,
    "wake": ("SELECT agents", "UPDATE(marked) agents"),
    "get_faults": ("SELECT faults",),
    "find_faults": ("SELECT faults",),
    "get_agents": ("SELECT agents", "SELECT instances"),
    "old_agents": ("SELECT agents",),
    "offline_agents": ("SELECT agents",),
    "double_agents": ("SELECT seen", "SELECT instances"),
    "remove_agent": ("SELECT agents", "SELECT instances", "SELECT faults", "DELETE agents", *_RECORD),
    "squelch": ("SELECT squelches", "INSERT squelches", "UPDATE squelches", *_RECORD),
    "unsquelch": ("SELECT squelches", "DELETE squelches", *_RECORD),
    "get_squelches": ("SELECT squelches",),
    "get_squelch_details": ("SELECT squelches",),
    "lease": ("SELECT entries", "INSERT entries", "UPDATE entries"),
    "release": ("SELECT entries", "UPDATE entries"),
    "get_leases": ("SELECT entries", "SELECT leases"),
    "forget_lease": ("SELECT entries", "UPDATE entries", "DELETE entries"),
    "late_agents": ("SELECT agents",),
    "get_history": ("SELECT history",),
    "faults_at": ("SELECT agents", "SELECT faults", "SELECT history"),
    "squelches_at": ("SELECT squelches", "SELECT history"),
    "history_start": (),
    "expired_history": ("SELECT history",),
    "count_expired_history": ("SELECT history",),
    "prune_history": ("SELECT history", "DELETE history", "SELECT entries", "DELETE entries"),
    "dump": ("SELECT agents", "SELECT instances", "SELECT faults", "SELECT squelches"),
    "answer actions": ("SELECT entries", "INSERT entries", "UPDATE entries"),
    "read actions": ("SELECT entries",),
    "query the views of actions": ("SELECT actions", "SELECT commands", "SELECT signatures"),
    "send actions": ("SELECT entries", "INSERT entries", *_CHANGE_ENTRY),
    "cancel actions": ("SELECT entries", *_CHANGE_ENTRY),
}
#: What a confined login has in place of a privilege on a whole table.
_FUNCTIONS: Mapping[str, str] = {
    "DELETE faults": "remove_own_faults(text, json)",
    "DELETE instances": "keep_own_instances(text, json)",
    "DELETE agents": "remove_own_agent(text)",
}


def role_name(schema: str, role: str) -> str:
    """The name of one of the ``ROLES`` in the database."""
    return f"{schema}_{role}"


def names(schema: str) -> list[str]:
    """The names of the roles that log in themselves."""
    return [role_name(schema, role) for role in LOGINS]


def may(role: str, call: str) -> str:
    """Whether the role may make the call: ``YES``, ``OWN`` or ``NO``."""
    return CALLS[call][ROLES.index(role)]


def may_run(role: str, command: str) -> str:
    """Whether the role may run the command: that is, make all of its calls."""
    cells = {may(role, call) for call in COMMANDS[command]}
    return NO if NO in cells else OWN if OWN in cells else YES


def adding_role(kind: str) -> str:
    """A role that may add entries of this kind."""
    return INVESTIGATOR if kind in (*READ_KINDS, *CHANGED_KINDS) else AGENT


def needs(role: str) -> list[str]:
    """The privileges that the role's calls need, each once, such as ``SELECT faults``."""
    needed = ["SELECT version"]
    for call in CALLS:
        if may(role, call) != NO:
            needed += _NEEDS[call]
    return [need for need in dict.fromkeys(needed) if _of_table(need) == need or _of_table(need) not in needed]


def _of_table(need: str) -> str:
    """The privilege on the whole table, for one that is on a column of it."""
    return re.sub(r"\(\w+\)", "", need)


def grants(schema: str, existing: Iterable[str]) -> list[sql.Composed]:
    """The statements that give those of the roles that exist their privileges; to run them twice does no harm."""
    statements = []
    for role in ROLES:
        if (name := role_name(schema, role)) in existing:
            privileges = ["USAGE ON SCHEMA {schema}", *_privileges(role)]
            parts = {"schema": sql.Identifier(schema), "role": sql.Identifier(name)}
            statements += [sql.SQL(f"GRANT {each} TO {{role}}").format(**parts) for each in privileges]
    return statements


def policies(schema: str, roles: Collection[str], existing: Collection[tuple[str, str]]) -> list[sql.Composed]:
    """The statements that confine those of the roles that exist, but for the ``existing`` policies (table, policy).

    Each role may write only its kinds of entries, and the confined group sees only its agents' rows.  Otherwise,
    row-level security changes nothing.
    """
    missing = [
        (table, policy, statement)
        for role, table, policy, statement in _policies()
        if role_name(schema, role) in roles and (table, policy) not in existing
    ]
    secured = {table for table, policy in existing if policy == "everyone"}
    statements: list[str] = []
    for table, policy, statement in missing:
        if table not in secured:
            secured.add(table)
            statements.append(f"ALTER TABLE {{schema}}.{table} ENABLE ROW LEVEL SECURITY")
            statements.append(f"CREATE POLICY everyone ON {{schema}}.{table} USING (true)")
        if (table, policy) == ("faults", "valid"):
            statements.append(_WITHOUT_STATISTICS)  # before a policy depends on the columns' types
        statements.append(f"CREATE POLICY {policy} ON {{schema}}.{table} AS RESTRICTIVE {statement}")
    parts = {role: sql.Identifier(role_name(schema, role)) for role in ROLES}
    return [sql.SQL(statement).format(schema=sql.Identifier(schema), **parts) for statement in statements]


def _policies() -> Iterator[tuple[str, str, str, str]]:
    """For each policy: the role that it confines, the table, its name, and its definition."""
    for role, condition in ADDED_ENTRIES.items():
        yield role, "entries", f"{role}_adds", f"FOR INSERT TO {{{role}}} WITH CHECK ({condition})"
    for role, condition in CHANGED_ENTRIES.items():
        # An investigator, who may not change what an entry is, is denied to change others; they are not hidden.
        seen = "true" if role == INVESTIGATOR else condition
        yield role, "entries", f"{role}_changes", f"FOR UPDATE TO {{{role}}} USING ({seen}) WITH CHECK ({condition})"
    for table, condition in CONFINED_ROWS.items():
        yield CONFINED, table, "confined", f"TO {{confined}} USING ({condition})"
    for table, condition in CONFINED_VALUES.items():
        yield CONFINED, table, "valid", f"TO {{confined}} USING (true) WITH CHECK ({condition})"


def _privileges(role: str) -> list[str]:
    """What is granted to the role, table by table: to the confined one, never a privilege on a whole table."""
    functions = [need for need in needs(role) if role == CONFINED and need in _FUNCTIONS]
    by_table: dict[str, list[str]] = {}
    for need in needs(role):
        if need not in functions:
            privilege, table = need.split()
            by_table.setdefault(table, []).append(_on_columns(privilege, table) if role == CONFINED else privilege)
    return [
        *(f"{', '.join(privileges)} ON {{schema}}.{table}" for table, privileges in by_table.items()),
        *(f"EXECUTE ON FUNCTION {{schema}}.{_FUNCTIONS[need]}" for need in functions),
    ]


def _on_columns(privilege: str, table: str) -> str:
    if privilege.endswith(")"):  # is on a column
        return privilege
    return f"{privilege} ({_quoted(UPDATED[table] if privilege == 'UPDATE' else COLUMNS[table])})"


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
