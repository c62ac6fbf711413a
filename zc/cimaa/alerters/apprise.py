"""Sends alerts to the services that Apprise supports: PagerDuty, Slack, mail, and many more."""

import time
import warnings
from collections.abc import Mapping
from typing import Any

import apprise

from ..errors import AlertError, ConfigurationError
from ..faults import severity_name
from ..options import Option, Type
from ..text import hex_digest
from . import TRIGGERED, Alert
from . import Alerter as Base

#: In a URL, this is replaced with 32 hexadecimal digits that identify the fault.
KEY = "{key}"


class Alerter(Base):
    """Sends each alert to all configured Apprise URLs."""

    options = (
        Option(
            "urls",
            "where to send alerts: Apprise URLs, one per line; they contain secrets, so urls_file is preferable",
            Type("URLs", str.split),
            secret=True,
        ),
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._urls: list[str] = settings["urls"] or []
        if not self._urls:
            raise ConfigurationError("urls: not given")
        with warnings.catch_warnings():
            # Apprise imports its services now.  Users cannot fix what is deprecated in them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._services = [self._service(number, url) for number, url in enumerate(self._urls, 1)]
        # The alert that failed last, and the services that have accepted it: it is sent again to the others only.
        self._failed: tuple[str, str, str] | None = None
        self._done: set[int] = set()

    def send(self, alert: Alert) -> None:
        """Send the alert to every service that has not accepted it yet.

        :raises AlertError: if some services refused it.
        :raises TimeoutError: if some services did not answer in time: they may have accepted it.
        """
        identity = (alert.event, alert.key, alert.message)
        if identity != self._failed:
            self._failed, self._done = identity, set()
        failed, late = [], False
        for number, url in enumerate(self._urls):
            if number in self._done:
                continue
            service = self._service(number + 1, url, alert.key) if KEY in url else self._services[number]
            started = time.monotonic()
            if self._notify(service, alert):
                self._done.add(number)
            else:
                # Apprise reports a timeout like any other failure; only the time that it took distinguishes them.
                late |= time.monotonic() - started >= service[0].socket_read_timeout
                failed.append(f"URL {number + 1} ({service[0].service_name})")
        if late:
            raise TimeoutError(f"no answer in time, the alert may have been sent: {', '.join(failed)}")
        if failed:
            raise AlertError(f"not sent by {', '.join(failed)}")
        self._failed = None

    def _service(self, number: int, url: str, key: str = "") -> apprise.Apprise:
        service = apprise.Apprise()
        if not service.add(url.replace(KEY, hex_digest(key, 16))):
            raise ConfigurationError(f"urls: Apprise cannot read URL {number}")
        return service

    def _notify(self, service: apprise.Apprise, alert: Alert) -> bool:
        triggered = alert.event == TRIGGERED
        kind = apprise.NotifyType.FAILURE if triggered else apprise.NotifyType.SUCCESS
        title = f"{severity_name(alert.severity) if triggered else alert.event}: {alert.name}"
        body = alert.message or alert.name
        # As text: services that show HTML must escape what a check wrote.
        return bool(service.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))
