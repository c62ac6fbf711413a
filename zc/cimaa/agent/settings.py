"""The ``[agent]`` section: who this agent is, and which checks it runs."""

import os
import platform
import socket
from pathlib import Path
from typing import Any, NamedTuple

from .. import agents, config, options
from ..errors import ConfigurationError, InvalidAgent
from ..options import PATH, Option, Type
from ..units import parse_duration


class Settings(NamedTuple):
    """What the section says."""

    name: str
    #: Where the checks' files are; ``None`` for the checks of the host that come with zc.cimaa.
    directory: Path | None
    #: How long (seconds) a check may take that does not say so itself.
    timeout: int
    #: How many checks may run at once.
    parallel: int
    #: Seconds from one tick of the daemon to the next.
    base_interval: int = 60


def host_name() -> str:
    """The full name of this host, as far as it is known."""
    node = platform.node()
    if "." in node:
        return node
    full = socket.getfqdn()
    return full if "." in full and not full.startswith("localhost") else node or "localhost"


def _count(text: str) -> int:
    number = options.INTEGER.parse(text)
    if number < 1:
        raise ValueError(f"{text!r} is less than 1")
    return int(number)


def _timeout(text: str) -> int:
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"{text!r} leaves no time at all")
    return seconds


COUNT = Type("count", _count)
TIMEOUT = Type("duration", _timeout)
BASE_INTERVAL = "60s"

SECTION = "agent"
_INTERVAL = Option(
    "base_interval",
    "how often the daemon reports, and runs the checks that say nothing else; all other intervals are rounded up"
    " to multiples of it",
    TIMEOUT,
    BASE_INTERVAL,
)
OPTIONS = (
    Option("name", "the name under which this agent reports; without it, this host's full name", default=host_name),
    Option(
        "directory",
        "where the checks are, in files whose names end in .cfg; relative to the configuration file."
        " Without it, the checks of this host run that come with zc.cimaa",
        PATH,
    ),
    Option("timeout", "how long a check may take that says nothing else", TIMEOUT, "60s"),
    Option("parallel", "how many checks may run at once", COUNT, "10"),
    _INTERVAL,
)


def load(path: str | os.PathLike[str] | None = None) -> Settings:
    """What the ``[agent]`` section of the configuration says; see :func:`zc.cimaa.config.find_file` for ``path``.

    :raises ConfigurationError: naming what is wrong, and where.
    """
    file = config.find_file(path)
    values: dict[str, Any] = {
        setting.option.name: options.value(SECTION, setting.option, setting.text, setting.source)
        for setting in config.settings(SECTION, OPTIONS, file)
    }
    try:
        agents.check_name(values["name"])
    except InvalidAgent as error:
        raise ConfigurationError(f"[{SECTION}] name: {error}") from error
    directory = None if values["directory"] is None else Path(values["directory"])
    return Settings(values["name"], directory, values["timeout"], values["parallel"], values["base_interval"])


def base_interval(path: str | os.PathLike[str] | None = None) -> int:
    """The ``base_interval`` (seconds) alone; nothing need be known of the host for it.

    :raises ConfigurationError: if it is none.
    """
    file = config.find_file(path)
    text = config.configuration(file).get(SECTION, {}).get(_INTERVAL.name)
    return int(options.value(SECTION, _INTERVAL, text, f"file {file}" if text else ""))
