"""From an operator's INI file to an open store.  The one user of configparser and stevedore.

A setting comes from the first of these that has it:

1. the environment: ``CIMAA_DATABASE_<KEY>`` for the key of the ``[database]`` section;
2. a file of its own: ``<key>_file`` (in the section or the environment) names a file that holds the value;
3. the section;
4. the backend's default.
"""

import configparser
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import options
from .agents import Instance
from .db import DB, Clock
from .errors import ConfigurationError
from .options import Option

#: The entry points' group; a name in it is what ``class`` names.
BACKENDS = "zc.cimaa.database"
#: What is used where no file says otherwise.
DEFAULT_BACKEND = "zc.cimaa.lmdb"
#: The sections that a configuration file may have, and those of which it may have several: ``[alerter:NAME]``.
SECTIONS = ("database", "agent")
NAMED_SECTIONS = ("alerter", "metrics")

T = TypeVar("T")

# The pip extras that are not named as the plugin.
_EXTRAS = {"apprise": "alerts"}

_ENVIRONMENT = "CIMAA_DATABASE_"
_FILE = "_file"
_CLASS = Option("class", "the store's backend: see cimaa backends", default=DEFAULT_BACKEND)


@dataclass(frozen=True, slots=True)
class Setting:
    """An effective setting: what it is, its text (``None``: not set), and where that came from."""

    option: Option
    text: str | None
    source: str

    @property
    def shown(self) -> str | None:
        """The text as people may see it: a secret is masked."""
        return options.MASK if self.option.secret and self.text else self.text


@dataclass(frozen=True, slots=True)
class _Given:
    text: str
    source: str
    #: The configuration file that a relative path starts from; ``None`` for the current directory.
    file: Path | None = None

    def path(self) -> str:
        """The text as a path."""
        return self.text if self.file is None or self.text.startswith("~") else str(self.file.parent / self.text)


def open_database(
    config: str | os.PathLike[str] | Mapping[str, str] | None = None,
    instance: Instance | None = None,
    clock: Clock | None = None,
) -> DB:
    """Open the store that a configuration describes.

    ``config`` is a file's path, or the ``[database]`` section as a mapping (which
    the environment does not change), or ``None`` for the file that
    :func:`find_file` finds.  ``instance`` is who reports: by default this process.

    :raises ConfigurationError: naming what is wrong, and where.
    :raises StoreError: if the store cannot be opened.
    """
    settings = {setting.option.name: setting for setting in database_settings(config)}
    backend = load_backend(settings.pop("class").text or "")
    for setting in settings.values():
        options.value("database", setting.option, setting.text, setting.source)
    given = {name: setting.text for name, setting in settings.items() if setting.text is not None}
    return backend(given, instance=instance, clock=clock)


def database_settings(config: str | os.PathLike[str] | Mapping[str, str] | None = None) -> list[Setting]:
    """The effective settings of the store, ``class`` first; see :func:`open_database` for ``config``.

    :raises ConfigurationError: for a key that the backend does not have, naming the nearest that it has.
    """
    if isinstance(config, Mapping):
        given = {key: _Given(text, "the given mapping") for key, text in config.items()}
    else:
        path = find_file(config)
        source = f"file {path}"
        section = configuration(path).get("database", {})
        environment = _from_environment()
        forms = {form for key in environment for form in (key, key + _FILE, key.removesuffix(_FILE))}
        given = {key: _Given(text, source, path) for key, text in section.items() if key not in forms} | environment
    chosen = given.pop("class", _Given(DEFAULT_BACKEND, "default"))
    declared = load_backend(chosen.text).options
    return [Setting(_CLASS, chosen.text, chosen.source), *_effective("database", declared, given)]


def settings(section: str, declared: Iterable[Option], path: str | os.PathLike[str] | None) -> list[Setting]:
    """The effective settings of another section of the configuration file at ``path``, each with its default.

    :raises ConfigurationError: for a key that is not declared, naming the nearest that is.
    """
    given = configuration(path).get(section, {})
    declared = list(declared)
    options.check_keys(f"[{section}] (file {path})", given, [option.name for option in declared])
    file = None if path is None else Path(path)
    texts = {key: _Given(text, f"file {path}", file) for key, text in given.items()}
    return [_setting(option, texts.get(option.name)) for option in declared]


def named_sections(kind: str, path: str | os.PathLike[str] | None) -> dict[str, dict[str, str]]:
    """The sections ``[KIND:NAME]`` of the configuration file at ``path``, by their names."""
    found = configuration(path)
    return {section.partition(":")[2]: given for section, given in found.items() if section.startswith(f"{kind}:")}


def plugin_settings(
    section: str, plugin: str, declared: Iterable[Option], given: Mapping[str, str], path: Path | None
) -> list[Setting]:
    """The effective settings of a section that names a plugin as its class; secrets may come from files of their own.

    :raises ConfigurationError: for a key that is not declared, or a file that cannot be read.
    """
    source = f"file {path}"
    texts = {key: _Given(text, source, path) for key, text in given.items() if key != "class"}
    option = Option("class", "which kind of plugin it is")
    return [Setting(option, plugin, source), *_effective(section, declared, texts)]


def load_backend(name: str) -> type[DB]:
    """The class that an entry point of the group ``zc.cimaa.database`` names.

    :raises ConfigurationError: if there is none, or a library that it needs is not installed.
    """
    return load_plugin(BACKENDS, name, DB, "backend", "[database] class")  # type: ignore[type-abstract]


def load_plugin(group: str, name: str, base: type[T], kind: str, where: str) -> type[T]:
    """The class, derived from ``base``, that an entry point of the group names.

    :raises ConfigurationError: if there is none, or a library that it needs is not installed.
    """
    from stevedore import named

    def failed(_manager: object, entry_point: Any, error: BaseException) -> None:
        if isinstance(error, ModuleNotFoundError):
            extra = name.rpartition(".")[2]
            raise ConfigurationError(
                f"the {kind} {name} needs the Python package {error.name!r}, which is not installed:"
                f" pip install 'zc.cimaa[{_EXTRAS.get(extra, extra)}]'"
            ) from error
        raise ConfigurationError(f"the {kind} {name} ({entry_point.value}) cannot be loaded: {error}") from error

    found: list[Any] = named.NamedExtensionManager(
        group, [name], on_load_failure_callback=failed, on_missing_entrypoints_callback=None
    ).extensions
    if not found:
        raise ConfigurationError(f"{where}: there is no {kind} {name!r}; {options.nearest(name, plugin_names(group))}")
    plugin = found[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise ConfigurationError(f"the entry point {name} of the group {group} is no {kind}: {plugin!r}")
    return plugin


def backend_names() -> list[str]:
    """The names of all backends that are installed, whether or not their libraries are, sorted."""
    return plugin_names(BACKENDS)


def plugin_names(group: str) -> list[str]:
    """The names in a group of entry points, sorted."""
    from importlib.metadata import entry_points

    return sorted({entry_point.name for entry_point in entry_points(group=group)})


def find_file(path: str | os.PathLike[str] | None = None) -> Path | None:
    """The configuration file: ``path`` if given, else the first there is of those that are looked for.

    ``$CIMAA_CONFIG``, ``./cimaa.cfg``, ``$XDG_CONFIG_HOME/cimaa/cimaa.cfg`` (or under
    ``~/.config``), ``/etc/cimaa/cimaa.cfg``.

    :raises ConfigurationError: if a file was named and is not there.
    """
    for named, source in ((path, ""), (os.environ.get("CIMAA_CONFIG"), "$CIMAA_CONFIG: ")):
        if named:
            if not _is_file(Path(named)):
                raise ConfigurationError(f"{source}there is no configuration file {os.fspath(named)} that can be read")
            return Path(named)
    places = [Path("cimaa.cfg"), *_user_files(), Path("/etc/cimaa/cimaa.cfg")]
    return next((place for place in places if _is_file(place)), None)


def _user_files() -> Iterable[Path]:
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    except RuntimeError:  # a user without a home
        return
    yield Path(base, "cimaa", "cimaa.cfg")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # in a directory that this user may not search, or no path at all
        return False


def configuration(path: str | os.PathLike[str] | None) -> dict[str, dict[str, str]]:
    """The sections of a configuration file; none if there is no file.

    :raises ConfigurationError: if it cannot be read, or has a section that nobody reads, naming the nearest known one.
    """
    sections = {} if path is None else read_sections(path)
    for name in sections:
        kind, _, own = name.partition(":")
        if name not in SECTIONS and not (kind in NAMED_SECTIONS and own):
            hint = options.nearest(name, [*SECTIONS, *(f"{kind}:NAME" for kind in NAMED_SECTIONS)])
            raise ConfigurationError(f"{os.fspath(path or '')} has an unknown section [{name}]; {hint}")
    return sections


def read_sections(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """The sections of an INI file, each a mapping of its keys, as they are written, to their values.

    :raises ConfigurationError: if it cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # option names keep their case
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read {os.fspath(path)}: it is not UTF-8 ({error.reason})") from error
    except configparser.Error as error:
        # Its own message shows the line, which may hold a secret.
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {_without_text(error)}") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def section(path: str | os.PathLike[str], name: str) -> dict[str, str]:
    """One section of an INI file, as it is written.

    :raises ConfigurationError: if the file cannot be read or has no such section.
    """
    sections = read_sections(path)
    if name not in sections:
        raise ConfigurationError(f"{os.fspath(path)} has no section [{name}]")
    return sections[name]


def _from_environment() -> dict[str, _Given]:
    return {
        variable.removeprefix(_ENVIRONMENT).lower(): _Given(text, f"environment variable {variable}")
        for variable, text in os.environ.items()
        if variable.startswith(_ENVIRONMENT)
    }


def _effective(section: str, declared: Iterable[Option], given: Mapping[str, _Given]) -> list[Setting]:
    declared = list(declared)
    texts = dict(given)
    names = [option.name for option in declared]
    for key, value in given.items():
        name = key.removesuffix(_FILE)
        if key.endswith(_FILE) and key not in names and name in names:
            del texts[key]
            if name in given:
                raise ConfigurationError(f"[{section}] has both {name} and {key}: give one of them")
            path = value.path()
            source = f"file {path} (named by {key} in {value.source})"
            texts[name] = _Given(_content(section, path, key, value.source), source)
    for key in texts:
        options.check_keys(f"[{section}] ({texts[key].source})", [key], ["class", *names])
    return [_setting(option, texts.get(option.name)) for option in declared]


def _setting(option: Option, given: _Given | None) -> Setting:
    if given is not None:
        text = given.path() if option.type is options.PATH and given.text else given.text
        return Setting(option, text, given.source)
    return Setting(option, option.default_text(), "default")


def _content(section: str, path: str, key: str, source: str) -> str:
    try:
        return Path(options.PATH.parse(path)).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"[{section}] {key} ({source}): cannot read {path}: {reason}") from error


def _without_text(error: configparser.Error) -> str:
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} stands before any [section]"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: the section [{error.section}] has {error.option!r} twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: the section [{error.section}] is there twice"
    if isinstance(error, configparser.ParsingError):
        return f"line {error.errors[0][0]} is neither a [section] nor key = value"
    return type(error).__name__
