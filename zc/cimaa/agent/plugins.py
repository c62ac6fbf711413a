"""The alerters and the metrics' sinks that the configuration names, a section each."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .. import alerters as alerters_room
from .. import config, metrics, options
from ..alerters import Alerter
from ..config import Setting
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
METRICS = Kind("metrics", "metrics' sink", metrics.GROUP, Sink)
KINDS = (ALERTER, METRICS)


def alerters(path: str | os.PathLike[str] | None = None) -> dict[str, Alerter]:
    """The alerters of the sections ``[alerter:NAME]``, by name; see :func:`zc.cimaa.config.find_file` for ``path``.

    :raises ConfigurationError: naming the section, and what is wrong with it.
    """
    return _plugins(ALERTER, path)


def sinks(path: str | os.PathLike[str] | None = None) -> dict[str, Sink]:
    """The sinks of the sections ``[metrics:NAME]``, likewise."""
    return _plugins(METRICS, path)


def kept(old: Mapping[str, P], new: Mapping[str, P]) -> dict[str, P]:
    """The new ones, but where nothing changed the old one."""
    return {name: old[name] if name in old and _same(old[name], plugin) else plugin for name, plugin in new.items()}


def settings(kind: Kind, file: Path | None) -> dict[str, list[Setting]]:
    """The effective settings of all sections of a kind, by their names, ``class`` first."""
    return {
        f"{kind.section}:{name}": _settings(kind, name, given, file)
        for name, given in config.named_sections(kind.section, file).items()
    }


def _same(one: P, other: P) -> bool:
    return type(one) is type(other) and one.settings == other.settings


def _plugins(kind: Kind, path: str | os.PathLike[str] | None) -> dict[str, Any]:
    file = config.find_file(path)
    given = config.named_sections(kind.section, file)
    return {name: _plugin(kind, name, each, file) for name, each in given.items()}


def _settings(kind: Kind, name: str, given: Mapping[str, str], file: Path | None) -> list[Setting]:
    made = _class(kind, name, given)
    declared = [*made.options, *made.COMMON]
    return config.plugin_settings(f"{kind.section}:{name}", given["class"], declared, given, file)


def _plugin(kind: Kind, name: str, given: Mapping[str, str], file: Path | None) -> Alerter | Sink:
    section = f"{kind.section}:{name}"
    made = _class(kind, name, given)
    found = _settings(kind, name, given, file)
    values: dict[str, Any] = {s.option.name: options.value(section, s.option, s.text, s.source) for s in found}
    try:
        return made(values)
    except ConfigurationError as error:
        raise ConfigurationError(f"[{section}] {error}") from error


def _class(kind: Kind, name: str, given: Mapping[str, str]) -> type[Alerter] | type[Sink]:
    section = f"{kind.section}:{name}"
    if "class" not in given:
        raise ConfigurationError(f"[{section}] has no class; there is: {', '.join(config.plugin_names(kind.group))}")
    return config.load_plugin(kind.group, given["class"], kind.base, kind.name, f"[{section}] class")
