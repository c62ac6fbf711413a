"""An alerter."""

from collections.abc import Mapping
from typing import Any

from zc.cimaa.alerters import RESOLVED, Alert, Alerter
from zc.cimaa.errors import AlertError, ConfigurationError
from zc.cimaa.options import Option


class Desk(Alerter):
    """Prints what is critical."""

    options = (Option("desk", "where the pager lies"),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if settings["desk"] is None:
            raise ConfigurationError("desk is missing")

    def send(self, alert: Alert) -> None:
        if self.timeout < 1:
            raise AlertError("there is not enough time")
        over = alert.event == RESOLVED
        print(self.settings["desk"], alert.key, "is over" if over else f"is critical: {alert.message}", alert.time)


Desk({"desk": "2", "timeout": 5}).send(Alert("triggered", "//web1/raid", "web1", "//web1/raid", 50, "sdb is gone", 0))
