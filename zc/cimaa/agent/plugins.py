"""The alerters that the configuration names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import config, options
from ..alerters import GROUP, Alerter
from ..config import Setting
from ..errors import ConfigurationError

ALERTER = "alerter"


def alerters(path: str | os.PathLike[str] | None = None) -> dict[str, Alerter]:
    """The alerters of the sections ``[alerter:NAME]``, by name; see :func:`zc.cimaa.config.find_file` for ``path``.

    :raises ConfigurationError: naming the section, and what is wrong with it.
    """
    file = config.find_file(path)
    return {name: _alerter(name, given, file) for name, given in config.named_sections(ALERTER, file).items()}


def settings(name: str, given: Mapping[str, str], file: Path | None) -> list[Setting]:
    """The effective settings of one section, ``class`` first."""
    made = _class(name, given)
    return config.plugin_settings(f"{ALERTER}:{name}", given["class"], [*made.options, *made.COMMON], given, file)


def _alerter(name: str, given: Mapping[str, str], file: Path | None) -> Alerter:
    section = f"{ALERTER}:{name}"
    made = _class(name, given)
    values: dict[str, Any] = {
        s.option.name: options.value(section, s.option, s.text, s.source) for s in settings(name, given, file)
    }
    try:
        return made(values)
    except ConfigurationError as error:
        raise ConfigurationError(f"[{section}] {error}") from error


def _class(name: str, given: Mapping[str, str]) -> type[Alerter]:
    section = f"{ALERTER}:{name}"
    if "class" not in given:
        raise ConfigurationError(f"[{section}] has no class; there is: {', '.join(config.plugin_names(GROUP))}")
    return config.load_plugin(GROUP, given["class"], Alerter, "alerter", f"[{section}] class")  # type: ignore[type-abstract]
