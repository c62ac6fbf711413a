"""Writes alerts to the log of the agent."""

import logging

from . import TRIGGERED, Alert
from . import Alerter as Base

_LOG = logging.getLogger("zc.cimaa.alerts")


class Alerter(Base):
    """Writes each alert to the agent's log."""

    def send(self, alert: Alert) -> None:
        """Write the alert."""
        level = alert.severity if alert.event == TRIGGERED else logging.INFO
        _LOG.log(level, "%s %s: %s", alert.event, alert.name, alert.message)
