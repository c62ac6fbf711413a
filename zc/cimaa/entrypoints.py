"""Loads plugins by the names of their entry points: backends, alerters and metrics sinks.

Nothing else uses stevedore.
"""

import re
from typing import Any, TypeVar

from . import options
from .errors import ConfigurationError

T = TypeVar("T")

# What the name of a plugin looks like, unlike a connection string, which may contain a password.
_NAME = re.compile(r"[\w.:-]{1,100}")


def load(group: str, name: str, base: type[T], kind: str, where: str) -> type[T]:
    """The class, derived from ``base``, that an entry point of the group names.

    ``kind`` (what it is) and ``where`` (the setting that names it) are for the messages.

    :raises ConfigurationError: if there is none, or a library that it needs is not installed.
    """
    from stevedore import named

    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{where} is not the name of an entry point (it is not shown, because it may contain a password);"
            f" available: {', '.join(names(group))}"
        )

    def failed(_manager: object, entry_point: Any, error: BaseException) -> None:
        if isinstance(error, ModuleNotFoundError):
            raise ConfigurationError(
                f"the {kind} {name} needs the Python package {error.name!r}, which is not installed:"
                f" {_installation(entry_point.dist, error.name or '')}"
            ) from error
        raise ConfigurationError(f"the {kind} {name} ({entry_point.value}) cannot be loaded: {error}") from error

    found: list[Any] = named.NamedExtensionManager(
        group, [name], on_load_failure_callback=failed, on_missing_entrypoints_callback=None
    ).extensions
    if not found:
        raise ConfigurationError(f"{where}: there is no {kind} {name!r}; {options.nearest(name, names(group))}")
    plugin = found[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise ConfigurationError(f"the entry point {name} of the group {group} is not a {kind}: {plugin!r}")
    return plugin


def names(group: str) -> list[str]:
    """The names in a group of entry points, sorted."""
    from importlib.metadata import entry_points

    return sorted({entry_point.name for entry_point in entry_points(group=group)})


def _installation(distribution: Any, module: str) -> str:
    """The command that installs a module: with the extra of the plugin's distribution that requires it, if any does."""
    for requirement in distribution.requires or () if distribution else ():
        required = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*[\"']([\w.-]+)[\"']", requirement)
        if extra and required and required[0].replace("-", "_").lower() == module.partition(".")[0].lower():
            return f"pip install '{distribution.name}[{extra[1]}]'"
    return f"pip install {module}"
