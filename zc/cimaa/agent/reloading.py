"""The configuration of a daemon, and what is done when it is to be read anew while the daemon runs."""

import logging
import os
from typing import NamedTuple

from .. import config
from ..alerters import Alerter
from ..config import Setting
from ..errors import ConfigurationError, unexpected
from ..metrics import Sink
from . import plugins, settings
from .daemon import Daemon
from .errands import Errand
from .measuring import Measuring
from .settings import Settings

_LOG = logging.getLogger("zc.cimaa.agent")

#: Of the settings in the section ``[agent]``, those that count from the start of a process to its end.
FIXED = ("name", "parallel", "base_interval")


class Configuration(NamedTuple):
    """All that a file says of a daemon, but the checks."""

    agent: Settings
    database: list[Setting]
    alerters: dict[str, Alerter]
    sinks: dict[str, Sink]


def read(path: str | os.PathLike[str] | None = None) -> Configuration:
    """What the configuration says; see :func:`zc.cimaa.config.find_file` for ``path``.

    :raises ConfigurationError: naming what is wrong, and where.
    """
    file = config.find_file(path)
    database = config.database_settings(file)
    return Configuration(settings.load(file), database, plugins.alerters(file), plugins.sinks(file))


class Reloader:
    """Reads the configuration anew: all of it counts, or nothing."""

    def __init__(
        self, daemon: Daemon, measuring: Measuring, current: Configuration, path: str | os.PathLike[str] | None
    ) -> None:
        """``current`` is what the daemon was started with."""
        self._daemon = daemon
        self._measuring = measuring
        self._current = current
        self._path = path
        self._errand = Errand(self.reload)

    def ask(self) -> None:
        """Have it read, soon."""
        self._errand.ask()

    async def reload(self) -> None:
        """Read it: what can change changes.  If it cannot be read, all stays as it is, and a fault tells so."""
        current = self._current
        try:
            new = read(self._path)
            self._daemon.reload(new.agent._replace(**{key: getattr(current.agent, key) for key in FIXED}))
        except Exception as error:  # a plugin is somebody else's code, and must not end the agent
            reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            _LOG.error("the configuration stays as it was: %s", reason, exc_info=unexpected(error))
            self._daemon.tell_outdated(reason)
            return
        self._daemon.tell_outdated(None)
        alerters, sinks = plugins.kept(current.alerters, new.alerters), plugins.kept(current.sinks, new.sinks)
        self._current = current._replace(alerters=alerters, sinks=sinks)
        self._daemon.alerts.replace(alerters)
        await self._measuring.replace(sinks)
        count = len(self._daemon.standing())
        _LOG.info("the configuration was read: %d check%s", count, "" if count == 1 else "s")
        if changed := _needs_restart(current, new):
            _LOG.warning("a restart is needed, as these changed: %s", ", ".join(changed))


def _needs_restart(current: Configuration, new: Configuration) -> list[str]:
    changed = [f"[agent] {key}" for key in FIXED if getattr(current.agent, key) != getattr(new.agent, key)]
    return changed if current.database == new.database else [*changed, "[database]"]
