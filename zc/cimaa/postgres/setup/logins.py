"""The logins of confined agents: their names, and what is asked of the setup about them.  Pure."""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from ... import agents
from ...errors import ConfigurationError, StoreNotSetUp

MAKE, RENEW, REMOVE = "make", "renew", "remove"

#: How many connections a login may have at the same time, unless asked otherwise: those of an agent that is being
#: restarted, and of one-shot commands beside it.
CONNECTIONS = 10

# PostgreSQL cuts longer names.
_NAME = 63
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_DIGEST = 16


class LoginRequest(NamedTuple):
    """What to do with the logins of these agents."""

    agents: tuple[str, ...] = ()
    action: str = MAKE
    connections: int = CONNECTIONS


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """The agents' names, each once.

    :raises InvalidAgent: if one cannot be an agent's name.
    """
    return tuple(dict.fromkeys(map(agents.check_name, names)))


def login_name(schema: str, agent: str) -> str:
    """The name of the agent's login: it ends with the agent's, or if that does not fit, with a part and a digest.

    :raises ConfigurationError: if the schema's name leaves no room for it.
    """
    prefix = f"{schema}_agent_"
    if _PLAIN.fullmatch(agent) and len(f"{prefix}{agent}".encode()) <= _NAME:
        return f"{prefix}{agent}"
    end = "~" + blake2b(agent.encode(), digest_size=_DIGEST // 2).hexdigest()  # plain names have no ~
    room = _NAME - len(prefix.encode()) - len(end)
    if room < 0:
        raise ConfigurationError(
            f"[database] schema: {schema!r} is too long for logins of agents: {_NAME - _DIGEST - 8} bytes at most"
        )
    return f"{prefix}{re.sub(r'[^A-Za-z0-9._-]', '_', agent)[:room]}{end}"


def wanted(request: LoginRequest, schema: str, known: Mapping[str, str]) -> dict[str, str]:
    """The logins that the request is for, by agent; ``known`` are those that exist.

    :raises StoreNotSetUp: if one that should be renewed or removed does not exist.
    """
    if request.action == MAKE:
        return {agent: login_name(schema, agent) for agent in request.agents if agent not in known}
    if missing := [agent for agent in request.agents if agent not in known]:
        raise StoreNotSetUp(f"no login was made for {', '.join(missing)}: nothing was changed")
    return {agent: known[agent] for agent in request.agents}
