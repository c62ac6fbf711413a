"""The ``[actions]`` section: whose actions an agent runs.  Without investigators, it runs none."""

from pathlib import Path
from typing import NamedTuple

from .. import config
from ..config import Config
from ..errors import ConfigurationError
from ..options import PATH, TIMEOUT, Option, Type
from ..units import format_duration

SECTION = "actions"
#: The widest window that ``longest`` may allow (seconds): the journal keeps what it knows of an action that long.
WIDEST = 30 * 24 * 60 * 60


class ActionSettings(NamedTuple):
    """The settings of the section."""

    #: The file of allowed signers.
    investigators: Path
    #: The list of revoked keys.
    revoked: Path | None
    #: The directory in which the agent remembers what it ran.
    journal: Path
    #: The widest window of an action that is run (seconds).
    longest: int
    #: The key with which the agent signs its answers.
    key: Path | None

    @classmethod
    def load(cls, configuration: Config) -> "ActionSettings | None":
        """The settings of a configuration; ``None`` if it names no investigators.

        :raises ConfigurationError: naming the setting, and the problem.
        """
        values = config.values(configuration.section(SECTION, OPTIONS))
        if values["investigators"] is None:
            if given := configuration.sections.get(SECTION):
                raise ConfigurationError(f"[{SECTION}] has {', '.join(given)}, but no investigators")
            return None
        if values["journal"] is None:
            raise ConfigurationError(f"[{SECTION}] journal is missing: name a directory for what the agent has run")
        paths = {name: values[name] and Path(values[name]) for name in ("investigators", "revoked", "journal", "key")}
        return cls(longest=values["longest"], **paths)


def _window(text: str) -> int:
    seconds: int = TIMEOUT.parse(text)
    if seconds > WIDEST:
        raise ValueError(f"{text!r} is too long: at most {format_duration(WIDEST)} are allowed")
    return seconds


OPTIONS = (
    Option(
        "investigators",
        "the file of those whose actions this agent runs, in OpenSSH's format of allowed signers;"
        " without it, the agent runs no actions",
        PATH,
    ),
    Option("revoked", "a list of public keys, or a KRL of ssh-keygen: keys that are no longer accepted", PATH),
    Option(
        "journal",
        "the directory in which the agent remembers what it ran, so that nothing runs twice; it is created if missing",
        PATH,
    ),
    Option("longest", "the longest window of an action: validfrom to expireafter", Type("duration", _window), "1d"),
    Option("key", "the private SSH key with which the agent signs its answers", PATH),
)
