"""The configuration of a daemon, and reading it again while the daemon runs."""

import logging
from typing import Any, NamedTuple

from ..alerters import Alerter
from ..config import Config
from ..errors import ConfigurationError, unexpected
from ..metrics import Sink
from . import config as settings
from . import plugins
from .config import Settings
from .daemon import Daemon
from .publisher import Measuring
from .tasks import Errand

_LOG = logging.getLogger("zc.cimaa.agent")

#: Of the settings in the section ``[agent]``, those that count from the start of a process to its end.
FIXED = ("name", "parallel", "base_interval")


class Configuration(NamedTuple):
    """All that a configuration says about a daemon, but the checks."""

    config: Config
    agent: Settings
    alerters: dict[str, Alerter]
    sinks: dict[str, Sink]


def load(config: Config) -> Configuration:
    """What the configuration says about a daemon.

    :raises ConfigurationError: naming what is wrong, and where.
    """
    config.database  # noqa: B018  # raises what is wrong with it
    return Configuration(config, settings.load(config), plugins.alerters(config), plugins.sinks(config))


class Reloader:
    """Reads the configuration again: all of it counts, or nothing."""

    def __init__(self, daemon: Daemon, measuring: Measuring, current: Configuration) -> None:
        """``current`` is what the daemon was started with."""
        self._daemon = daemon
        self._measuring = measuring
        self._current = current
        self._errand = Errand(self.reload)

    def ask(self) -> None:
        """Read it soon."""
        self._errand.ask()

    async def reload(self) -> None:
        """Read it: what can change changes.  If it cannot be read, all stays as it is, and a fault reports that."""
        current = self._current
        try:
            new = load(current.config.again())
            self._daemon.reload(new.agent._replace(**{key: getattr(current.agent, key) for key in FIXED}))
        except Exception as error:  # a plugin's code must not end the agent
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
    return changed if _store(current) == _store(new) else [*changed, "[database]"]


def _store(configuration: Configuration) -> tuple[type[Any], dict[str, Any]]:
    """What tells one store from another: wherever its settings come from."""
    database = configuration.config.database
    return database.backend, database.values
