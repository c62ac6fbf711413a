"""What a run of setup-postgres will do, from what is there already, and that as text.  Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from . import roles
from .logins import MAKE, REMOVE, RENEW, Request, wanted
from .steps import Facts
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


def plan(facts: Facts, schema: str, *, makes_roles: bool, request: Request) -> Plan:
    """What to do where these are the facts; ``makes_roles`` says whether the roles of the store are to be made.

    :raises StoreNotSetUp: if a login is to be renewed or removed and does not exist.
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


def report(schema: str, plan: Plan) -> list[str]:
    """What is there, and what would be done, a line for each."""
    todo = [f"to do: {line}" for line in _todo(plan)]
    return [*_there(schema, plan.facts), *(todo or ["nothing to do"])]


def _there(schema: str, facts: Facts) -> Iterator[str]:
    current, oldest = facts.versions
    if current:
        yield (
            f"tables: version {current} in the schema {schema}; programs that know version {oldest} or later may use"
            f" them, and this one knows {VERSION}"
        )
    else:
        seen = "" if facts.is_owner else f" that this role may see; {facts.owner} is the owner"
        yield f"tables: none in the schema {schema}{seen}"
    known = [name for name in roles.names(schema) if name in facts.roles]
    yield f"roles: {', '.join(known) or 'none'}"
    yield f"confined agents: {len(facts.logins)}"
    yield f"large objects: {_makers(facts.large_objects, 'superusers')}"
    yield f"temporary tables: {_makers(facts.temporary_tables, 'the owner of the database')}"


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
