"""The ``[actions]`` section: whose actions an agent runs.  Without investigators, it runs none."""

from pathlib import Path
from typing import NamedTuple

from .. import config
from ..config import Config
from ..errors import ConfigurationError
from ..options import PATH, TIMEOUT, Option, Type
from ..units import format_duration

SECTION = config.ACTIONS
#: The widest window that ``longest`` may allow (seconds): the journal keeps what it knows of an action that long.
WIDEST = 30 * 24 * 60 * 60


class ActionSettings(NamedTuple):
    """The settings of the section."""

    #: The file of allowed signers; ``None``: no action is run.
    investigators: Path | None
    #: The list of revoked keys.
    revoked: Path | None
    #: The directory in which the agent remembers what it ran; others may share it.
    journal: Path | None
    #: The widest window of an action that is run (seconds).
    longest: int
    #: The key with which the agent signs its answers.
    key: Path | None

    @classmethod
    def load(cls, configuration: Config) -> "ActionSettings":
        """The settings of a configuration.

        :raises ConfigurationError: naming the setting, and the problem.
        """
        values = config.values(configuration.section(SECTION, OPTIONS))
        paths = {name: values[name] and Path(values[name]) for name in ("investigators", "revoked", "journal", "key")}
        return cls(longest=values["longest"], **paths)

    def check(self) -> bool:
        """True if an agent with these settings runs actions.

        :raises ConfigurationError: if a setting is missing that it needs for that.
        """
        if self.investigators is None:
            if given := [name for name in ("revoked", "journal", "key") if getattr(self, name)]:
                raise ConfigurationError(f"[{SECTION}] has {', '.join(given)}, but no investigators")
            return False
        if self.journal is None:
            raise ConfigurationError(f"[{SECTION}] journal is missing: name a directory for what the agent has run")
        return True


def _window(text: str) -> int:
    seconds: int = TIMEOUT.parse(text)
    if seconds > WIDEST:
        raise ValueError(f"{text!r} is too long: at most {format_duration(WIDEST)} are allowed")
    return seconds


#: The type of the length of an action's window: a duration of at most :data:`WIDEST`.
WINDOW = Type("duration", _window)

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
        "the directory in which the agent remembers what it ran, so that nothing runs twice; it is created if missing."
        "  Agents of one user may share it",
        PATH,
    ),
    Option("longest", "the longest window of an action: validfrom to expireafter", WINDOW, "1d"),
    Option("key", "the private SSH key with which the agent signs its answers", PATH),
)
