"""The ``[agent]`` section: who this agent is, and which checks it runs."""

import os
import platform
import socket
from pathlib import Path
from typing import NamedTuple

from .. import agents, config, tags
from ..config import Config
from ..errors import ConfigurationError, InvalidAgent
from ..options import COUNT, PATH, TIMEOUT, Option, Type


class Settings(NamedTuple):
    """The settings of the section."""

    name: str
    #: The directory of the check files; ``None``: the built-in checks run.
    directory: Path | None
    #: The timeout (seconds) of checks that set none.
    timeout: int
    #: The maximum number of checks that run at the same time.
    parallel: int
    #: Seconds from one tick of the daemon to the next.
    base_interval: int = 60
    #: Words that describe this host, sorted.
    tags: tuple[str, ...] = ()

    @classmethod
    def load(cls, configuration: Config) -> "Settings":
        """The settings in the ``[agent]`` section of the configuration.

        :raises ConfigurationError: naming the setting, and the problem.
        """
        values = config.values(configuration.section(SECTION, OPTIONS))
        try:
            agents.check_name(values["name"])
        except InvalidAgent as error:
            raise ConfigurationError(f"[{SECTION}] name: {error}") from error
        directory = None if values["directory"] is None else Path(values["directory"])
        return cls(
            name=values["name"],
            directory=directory,
            timeout=values["timeout"],
            parallel=values["parallel"],
            base_interval=values["base_interval"],
            tags=values["tags"],
        )


def host_name() -> str:
    """The full name of this host if it is known, else its short name."""
    node = platform.node()
    if "." in node:
        return node
    full = socket.getfqdn()
    return full if "." in full and not full.startswith("localhost") else node or "localhost"


SECTION = "agent"
_INTERVAL = Option(
    "base_interval",
    "how often the daemon reports, and runs checks that set no interval; other intervals are rounded up to multiples"
    " of it",
    TIMEOUT,
    "60s",
)
OPTIONS = (
    Option("name", "the name under which this agent reports; without it, this host's full name", default=host_name),
    Option(
        "directory",
        "the directory of the check files, whose names end in .cfg; relative to the configuration file."
        " Without it, the built-in checks of this host run",
        PATH,
    ),
    Option("timeout", "the timeout of checks that set none", TIMEOUT, "60s"),
    Option("parallel", "how many checks may run at the same time", COUNT, "10"),
    _INTERVAL,
    Option(
        "tags",
        f"words that describe this host, for the targets of actions: at most {tags.MOST}, {tags.BYTES} bytes together",
        Type("words", tags.parse),
        "",
    ),
)


def check_environment(configuration: Config) -> dict[str, str]:
    """What checks get in addition to the agent's environment: a ``cimaa`` that they run uses this configuration."""
    return {} if configuration.path is None else {"CIMAA_CONFIG": os.fspath(configuration.path)}


def base_interval(configuration: Config) -> int:
    """The ``base_interval`` (seconds) alone, without looking up the name of this host.

    :raises ConfigurationError: if it is invalid.
    """
    return int(configuration.setting(SECTION, _INTERVAL).value)
