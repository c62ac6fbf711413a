"""The configuration of a daemon, and reading it again while the daemon runs."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from ..alerters import Alerter
from ..config import Config
from ..errors import ConfigurationError, unexpected
from ..masking import mask_urls
from ..metrics import Sink
from . import plugins
from .config import Settings
from .daemon import Daemon
from .publisher import Publisher
from .tasks import Coalesced

_LOG = logging.getLogger("zc.cimaa.agent")

#: The settings in the section ``[agent]`` that a running daemon cannot change.
FIXED = ("name", "parallel", "base_interval", "tags")


class Configuration(NamedTuple):
    """Everything that a configuration says about a daemon, except its checks."""

    config: Config
    agent: Settings
    alerters: dict[str, Alerter]
    sinks: dict[str, Sink]


def load(config: Config) -> Configuration:
    """What the configuration says about a daemon.

    :raises ConfigurationError: naming the setting, and the problem.
    """
    config.database  # noqa: B018  # raises an error if its settings are invalid
    return Configuration(config, Settings.load(config), plugins.alerters(config), plugins.sinks(config))


class Reloader:
    """Reads the configuration again, and applies all of it or nothing."""

    def __init__(
        self,
        daemon: Daemon,
        publisher: Publisher,
        current: Configuration,
        on_reload: Callable[[Config, Settings], None] = lambda _config, _settings: None,
    ) -> None:
        """``current`` is what the daemon was started with; ``on_reload`` is called with each one that was applied."""
        self._daemon = daemon
        self._measuring = publisher
        self._on_reload = on_reload
        self._current = current
        self._reloading = Coalesced(self.reload)

    def request(self) -> None:
        """Have the configuration read soon."""
        self._reloading.request()

    async def reload(self) -> None:
        """Read the configuration, and apply it.  If it cannot be read, nothing changes, and a fault reports that."""
        current = self._current
        try:
            new = load(current.config.again())
            self._daemon.reload(new.agent._replace(**{key: getattr(current.agent, key) for key in FIXED}))
        except Exception as error:  # a plugin must not end the agent
            reason = mask_urls(
                str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            )
            _LOG.error("the configuration is unchanged: %s", reason, exc_info=unexpected(error))
            self._daemon.reporter.report_outdated(reason)
            return
        self._daemon.reporter.report_outdated(None)
        alerters, sinks = plugins.kept(current.alerters, new.alerters), plugins.kept(current.sinks, new.sinks)
        self._current = current._replace(alerters=alerters, sinks=sinks)
        self._daemon.reporter.notifier.replace(alerters)
        self._on_reload(new.config, self._daemon.settings)
        await self._measuring.replace(sinks)
        count = len(self._daemon.states)
        _LOG.info("the configuration was read: %d check%s", count, "" if count == 1 else "s")
        if changed := _needs_restart(current, new):
            _LOG.warning("restart the agent to apply the changes of: %s", ", ".join(changed))


def _needs_restart(current: Configuration, new: Configuration) -> list[str]:
    changed = [f"[agent] {key}" for key in FIXED if getattr(current.agent, key) != getattr(new.agent, key)]
    return changed if _store(current) == _store(new) else [*changed, "[database]"]


def _store(configuration: Configuration) -> tuple[type[Any], dict[str, Any]]:
    """What identifies a store, regardless of where its settings come from."""
    database = configuration.config.database
    return database.backend, database.values
