"""Alerters, which send alerts to people: each has a section ``[alerter:NAME]``, and is found by its entry point.

To write an alerter, derive a class from :class:`Alerter`, declare its options, and register
it as an entry point in the group ``zc.cimaa.alerter``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from ..options import TIMEOUT, Option

#: The entry points' group; a name in it is what ``class`` names.
GROUP = "zc.cimaa.alerter"

TRIGGERED = "triggered"
RESOLVED = "resolved"


class Alert(NamedTuple):
    """A fault is critical, or no longer."""

    #: ``triggered`` or ``resolved``.
    event: str
    #: Identifies the fault, also if several agents report it: its name.
    key: str
    agent: str
    name: str
    severity: int
    message: str
    #: The time of the alert (whole seconds since the epoch).
    time: int


class Alerter(ABC):
    """Sends alerts.  :meth:`send` is called in a thread, for one alert at a time."""

    #: The settings of the section, besides ``class`` and ``timeout``.
    options: ClassVar[Sequence[Option]] = ()

    #: The settings that every alerter has.
    COMMON: ClassVar[Sequence[Option]] = (Option("timeout", "how long sending one alert may take", TIMEOUT, "30s"),)

    #: Variables to add to the environment of programs that it runs, so that a ``cimaa`` uses the agent's configuration.
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """``settings`` has the value of each option.

        :raises ConfigurationError: if the settings are not valid together.
        """
        self.settings = settings
        #: Seconds.
        self.timeout: float = settings["timeout"]

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Send the alert, and return once it was sent, within ``timeout`` seconds.

        An error's message becomes part of a fault, so it must not contain secrets.

        :raises AlertError: if the alert was certainly not sent.  It is sent again while it is due: if the fault is over
            before the alert was sent, nothing is sent.
        :raises Exception: any other exception, such as ``TimeoutError``, if it is unknown whether the alert was sent.
            It is sent again while it is due, and resolved otherwise, so that no incident stays open.  After a timeout
            of a program or a service, do not raise ``AlertError``: the service may have accepted the alert.
        """
