"""The alerters and metrics sinks of the configuration, each in a section of its own."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from .. import alerters as alerters_room
from .. import config, entrypoints, metrics
from ..alerters import Alerter
from ..config import Config, Setting
from ..errors import ConfigurationError
from ..metrics import Sink

P = TypeVar("P", Alerter, Sink)


class Kind(NamedTuple):
    """A kind of plugins."""

    #: How its sections' names start, and what it is called.
    section: str
    name: str
    group: str
    base: type[Alerter] | type[Sink]


ALERTER = Kind("alerter", "alerter", alerters_room.GROUP, Alerter)
METRICS = Kind("metrics", "metrics sink", metrics.GROUP, Sink)
KINDS = (ALERTER, METRICS)


def alerters(configuration: Config) -> dict[str, Alerter]:
    """The alerters of the sections ``[alerter:NAME]``, by name.

    :raises ConfigurationError: naming the section, and what is wrong with it.
    """
    return _plugins(ALERTER, configuration)


def sinks(configuration: Config) -> dict[str, Sink]:
    """The sinks of the sections ``[metrics:NAME]``, likewise."""
    return _plugins(METRICS, configuration)


def kept(old: Mapping[str, P], new: Mapping[str, P]) -> dict[str, P]:
    """The new ones, but where nothing changed the old one."""
    return {name: old[name] if name in old and _same(old[name], plugin) else plugin for name, plugin in new.items()}


def settings(kind: Kind, section: str, configuration: Config) -> list[Setting]:
    """The effective settings of a section of this kind, ``class`` first.

    :raises ConfigurationError: naming what is wrong with it.
    """
    return _described(kind, section, configuration)[1]


def make(kind: Kind, section: str, configuration: Config) -> Any:
    """The plugin that a section of this kind describes.

    :raises ConfigurationError: naming what is wrong with it.
    """
    plugin, found = _described(kind, section, configuration)
    try:
        return plugin(config.values(found))
    except ConfigurationError as error:
        raise ConfigurationError(f"[{section}] {error}") from error


def _same(one: P, other: P) -> bool:
    return type(one) is type(other) and one.settings == other.settings


def _plugins(kind: Kind, configuration: Config) -> dict[str, Any]:
    sections = configuration.named(kind.section)
    return {section.partition(":")[2]: make(kind, section, configuration) for section in sections}


def _described(kind: Kind, section: str, configuration: Config) -> tuple[type[Alerter] | type[Sink], list[Setting]]:
    name = configuration.sections[section].get("class")
    if name is None:
        raise ConfigurationError(f"[{section}] has no class; available: {', '.join(entrypoints.names(kind.group))}")
    plugin = entrypoints.load(kind.group, name, kind.base, kind.name, f"[{section}] class")
    return plugin, configuration.plugin(section, [*plugin.options, *plugin.COMMON])
