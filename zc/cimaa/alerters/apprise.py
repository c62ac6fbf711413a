"""Sends alerts to any of the services that Apprise knows: PagerDuty, Slack, mail, and a hundred more."""

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

#: In a URL, what stands for the same text in all alerts about one fault: 32 hexadecimal digits.
KEY = "{key}"


class Alerter(Base):
    """Sends each alert to all URLs of Apprise's that are given."""

    options = (
        Option(
            "urls",
            "where to send alerts: URLs of Apprise's, one a line; they hold secrets, so better give urls_file",
            Type("URLs", str.split),
            secret=True,
        ),
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._urls: list[str] = settings["urls"] or []
        if not self._urls:
            raise ConfigurationError("urls: none are given")
        with warnings.catch_warnings():
            # Apprise imports its services now.  What they import that is deprecated is not for users to mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._services = [self._service(number, url) for number, url in enumerate(self._urls, 1)]
        # The alert that failed last, and the services that have it: when it is tried again, it is for the others.
        self._failed: tuple[str, str, str] | None = None
        self._done: set[int] = set()

    def send(self, alert: Alert) -> None:
        """Send it to every service that does not have it yet."""
        identity = (alert.event, alert.key, alert.message)
        if identity != self._failed:
            self._failed, self._done = identity, set()
        failed = []
        for number, url in enumerate(self._urls):
            if number in self._done:
                continue
            service = self._service(number + 1, url, alert.key) if KEY in url else self._services[number]
            if self._notify(service, alert):
                self._done.add(number)
            else:
                failed.append(f"URL {number + 1} ({service[0].service_name})")
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
        return bool(service.notify(body=alert.message or alert.name, title=title, notify_type=kind))
