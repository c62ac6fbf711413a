"""The alerters and metrics sinks of the configuration, a section each."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from .. import config, entrypoints
from ..alerters import GROUP as ALERTER_GROUP
from ..alerters import Alerter
from ..config import Config, Setting
from ..errors import ConfigurationError
from ..metrics import GROUP as SINK_GROUP
from ..metrics import Sink
from .config import check_environment

P = TypeVar("P", Alerter, Sink)


class PluginKind(NamedTuple):
    """A kind of plugin."""

    #: What the names of its sections start with.
    section: str
    #: What messages call it.
    name: str
    group: str
    base: type[Alerter] | type[Sink]


ALERTER = PluginKind(section="alerter", name="alerter", group=ALERTER_GROUP, base=Alerter)
METRICS = PluginKind(section="metrics", name="metrics sink", group=SINK_GROUP, base=Sink)
KINDS = (ALERTER, METRICS)


def alerters(configuration: Config) -> dict[str, Alerter]:
    """The alerters of the sections ``[alerter:NAME]``, by name.

    :raises ConfigurationError: naming the section, and the problem.
    """
    made: dict[str, Alerter] = _plugins(ALERTER, configuration)
    for alerter in made.values():
        alerter.environment = check_environment(configuration)
    return made


def sinks(configuration: Config) -> dict[str, Sink]:
    """The metrics sinks of the sections ``[metrics:NAME]``, by name; see :func:`alerters`."""
    return _plugins(METRICS, configuration)


def kept(old: Mapping[str, P], new: Mapping[str, P]) -> dict[str, P]:
    """The new plugins, with the old one wherever its class and settings are unchanged."""
    return {name: old[name] if name in old and _same(old[name], plugin) else plugin for name, plugin in new.items()}


def settings(kind: PluginKind, section: str, configuration: Config) -> list[Setting]:
    """The effective settings of a section of this kind, ``class`` first.

    :raises ConfigurationError: naming the problem.
    """
    return _described(kind, section, configuration)[1]


def make(kind: PluginKind, section: str, configuration: Config) -> Any:
    """The plugin that a section of this kind describes.

    :raises ConfigurationError: naming the problem.
    """
    plugin, found = _described(kind, section, configuration)
    try:
        return plugin(config.values(found))
    except ConfigurationError as error:
        raise ConfigurationError(f"[{section}] {error}") from error


def _same(one: P, other: P) -> bool:
    return type(one) is type(other) and one.settings == other.settings


def _plugins(kind: PluginKind, configuration: Config) -> dict[str, Any]:
    sections = configuration.named(kind.section)
    return {section.partition(":")[2]: make(kind, section, configuration) for section in sections}


def _described(
    kind: PluginKind, section: str, configuration: Config
) -> tuple[type[Alerter] | type[Sink], list[Setting]]:
    name = configuration.sections[section].get("class")
    if name is None:
        raise ConfigurationError(
            f"[{section}] class: not given; choose one of: {', '.join(entrypoints.names(kind.group))}"
        )
    plugin = entrypoints.load(kind.group, name, kind.base, kind.name, f"[{section}] class")
    return plugin, configuration.plugin(section, [*plugin.options, *plugin.COMMON])
