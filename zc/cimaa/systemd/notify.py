"""Messages to systemd: sd_notify(3)."""

import contextlib
import socket
from collections.abc import MutableMapping

# Seconds to wait until systemd accepts a message.
_TIMEOUT = 1.0


class Systemd:
    """Messages to systemd, which are sent only if it started this process and asked for them.

    Its variables are removed from ``environment``, so that child processes do not inherit them.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self._watchdog = environment.pop("WATCHDOG_USEC", "")
        environment.pop("WATCHDOG_PID", None)

    def notify(self, state: str) -> None:
        """Send a message; it is dropped if systemd does not accept it within a second."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.settimeout(_TIMEOUT)
            systemd.connect(f"\0{self._address[1:]}" if self._address.startswith("@") else self._address)
            systemd.send(state.encode())

    def prolong_watchdog(self, seconds: float) -> None:
        """Extend the watchdog's timeout to ``seconds``, if it is shorter."""
        wanted = int(seconds * 1_000_000)
        if self._watchdog.isdecimal() and 0 < int(self._watchdog) < wanted:
            self.notify(f"WATCHDOG_USEC={wanted}")
