"""What a run of setup-postgres will do, from what is there already, and that as text.  Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from . import roles
from .facts import Facts
from .logins import MAKE, REMOVE, RENEW, LoginRequest, wanted
from .versions import VERSION


class Plan(NamedTuple):
    """What a run will do."""

    facts: Facts
    #: Those of the store's roles that exist once it is done, the group of confined logins included.
    roles: list[str]
    #: Those that it makes, with passwords.
    new_roles: list[str]
    #: Those that log in, are not there, and are not made.
    missing_roles: list[str]
    makes_group: bool
    forbids_large_objects: bool
    #: The login of each agent that gets one, gets a new password for it, or loses it.
    new_logins: Mapping[str, str]
    renewed_logins: Mapping[str, str]
    removed_logins: Mapping[str, str]

    @property
    def changed_logins(self) -> dict[str, Mapping[str, str]]:
        """The logins, by what is done to them."""
        return {"made": self.new_logins, "renewed": self.renewed_logins, "removed": self.removed_logins}


def plan(facts: Facts, schema: str, *, makes_roles: bool, request: LoginRequest) -> Plan:
    """What to do where these are the facts; ``makes_roles`` says whether the roles of the store are to be made.

    :raises StoreNotSetUp: if a login that should be renewed or removed does not exist.
    """
    names, group = roles.names(schema), roles.role_name(schema, roles.CONFINED)
    missing = [name for name in names if name not in facts.roles]
    made = missing if makes_roles and facts.creates_roles else []
    logins: dict[str, Mapping[str, str]] = {MAKE: {}, RENEW: {}, REMOVE: {}}
    logins[request.action] = wanted(request, schema, facts.logins)
    makes_group = bool(logins[MAKE]) and group not in facts.roles
    has_group = makes_group or group in facts.roles
    return Plan(
        facts=facts,
        roles=[name for name in names if name in facts.roles or name in made] + [group] * has_group,
        new_roles=made,
        missing_roles=[name for name in missing if name not in made],
        makes_group=makes_group,
        forbids_large_objects=facts.may_harden and facts.large_objects,
        new_logins=logins[MAKE],
        renewed_logins=logins[RENEW],
        removed_logins=logins[REMOVE],
    )


class SetupReport(NamedTuple):
    """What is there, and what a run would do."""

    #: The schema of the tables, their version (0: there are none), the oldest version that a program may know and still
    #: use them, and the version that this program knows.
    schema: str
    version: int
    oldest: int
    known: int
    #: Those of the store's roles that exist, and how many agents have logins of their own.
    roles: list[str]
    confined_agents: int
    #: Whether every role may make these in the database.
    large_objects: bool
    temporary_tables: bool
    #: What a run would do, a line for each.
    to_do: list[str]

    def lines(self) -> list[str]:
        """The same for users."""
        tables = (
            f"version {self.version} in the schema {self.schema}; programs that know version {self.oldest} or later"
        )
        return [
            f"tables: {tables} may use them, and this one knows {self.known}" if self.version else "tables: none",
            f"roles: {', '.join(self.roles) or 'none'}",
            f"confined agents: {self.confined_agents}",
            f"large objects: {_makers(self.large_objects, 'superusers')}",
            f"temporary tables: {_makers(self.temporary_tables, 'the owner of the database')}",
            *([f"to do: {line}" for line in self.to_do] or ["nothing to do"]),
        ]


def report(schema: str, plan: Plan) -> SetupReport:
    """What is there, and what would be done."""
    facts = plan.facts
    return SetupReport(
        schema=schema,
        version=facts.versions.current,
        oldest=facts.versions.oldest,
        known=VERSION,
        roles=[name for name in roles.names(schema) if name in facts.roles],
        confined_agents=len(facts.logins),
        large_objects=facts.large_objects,
        temporary_tables=facts.temporary_tables,
        to_do=list(_todo(plan)),
    )


def _makers(everyone: bool, others: str) -> str:
    return "every role may make some" if everyone else f"only {others} may make some"


def _todo(plan: Plan) -> Iterator[str]:
    current = plan.facts.versions.current
    if not plan.facts.is_owner:
        yield f"run this as the role {plan.facts.owner}, or as a superuser"
    elif current > VERSION:
        yield f"upgrade zc.cimaa on this host, which knows version {VERSION}"
    elif not current:
        yield f"make the tables, at version {VERSION}"
    elif current < VERSION:
        yield f"bring the tables from version {current} to {VERSION}; agents go on reporting meanwhile"
    if plan.new_roles:
        yield f"make the roles {', '.join(plan.new_roles)}"
    if plan.missing_roles:
        yield f"have the roles {', '.join(plan.missing_roles)} made (--local or --remote, or CREATE ROLE ... LOGIN)"
    if plan.forbids_large_objects:
        yield "let only superusers make large objects"
    for what, logins in plan.changed_logins.items():
        for agent, login in logins.items():
            yield f"login of {agent}: {login} is {what}"
