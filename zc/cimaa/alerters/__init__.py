"""What passes alerts on to people: an ``[alerter:NAME]`` section each, found by its entry point.

Whoever writes an alerter derives from :class:`Alerter`, declares its options, and
registers the class in the group ``zc.cimaa.alerter``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..options import TIMEOUT, Option

#: The entry points' group; a name in it is what ``class`` names.
GROUP = "zc.cimaa.alerter"

TRIGGERED = "triggered"
RESOLVED = "resolved"


class Alert(NamedTuple):
    """What people should know: a fault is critical, or no longer."""

    #: ``triggered`` or ``resolved``.
    event: str
    #: The same for all alerts about one fault, also if several agents tell of it: its name.
    key: str
    agent: str
    name: str
    severity: int
    message: str
    #: When the agent decided to alert (whole seconds since the epoch).
    time: int


class Alerter(ABC):
    """Passes alerts on.  One alert is passed at a time, in a thread."""

    #: The keys that the section may have, besides ``class`` and ``timeout``.
    options: ClassVar[Sequence[Option]] = ()

    #: The keys that every alerter's section may have.
    COMMON: ClassVar[Sequence[Option]] = (Option("timeout", "how long passing on one alert may take", TIMEOUT, "30s"),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Get ready; ``settings`` has the value of each option."""
        self.settings = settings
        #: Seconds.
        self.timeout: float = settings["timeout"]

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Pass the alert on.

        It should take at most ``timeout`` seconds, and return once the alert was sent.

        :raises AlertError: if it was certainly not sent; it is tried again later.  After any other exception it may
            have been sent: it is sent again, or resolved.  The message holds no secret.
        """
