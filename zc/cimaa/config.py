"""Reads the configuration file, and opens the store that it describes.

The effective value of a setting comes from the first of these that has one:

1. the environment, for the ``[database]`` section: ``CIMAA_DATABASE_<KEY>``;
2. a separate file: ``<key>_file`` (in the section or the environment) names a file that contains the value;
3. the section;
4. the default.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from . import entrypoints, ini, options
from .agents import Instance
from .db import DB, Clock
from .errors import ConfigurationError
from .masking import mask_text
from .options import Option, Values

#: The group of entry points from which ``class`` names one.
BACKENDS = "zc.cimaa.database"
#: The backend if the configuration has no ``class``.
DEFAULT_BACKEND = "zc.cimaa.lmdb"
#: The sections that a configuration file may have, and the kinds of sections with names: ``[alerter:NAME]``.
DATABASE = "database"
ACTIONS = "actions"
SECTIONS = (DATABASE, "agent", ACTIONS)
NAMED_SECTIONS = ("alerter", "metrics", "permission", "command")

_ENVIRONMENT = "CIMAA_DATABASE_"
_FILE = "_file"
_BACKEND = Option("class", "the store's backend: see cimaa backends", default=DEFAULT_BACKEND)
_PLUGIN = Option("class", "the plugin: the name of an entry point")


@dataclass(frozen=True, slots=True)
class Setting:
    """An effective setting of a section."""

    option: Option
    #: Its text; ``None``: it is not set.
    text: str | None
    #: Where the text comes from, to be shown; and the file that contains it, if any.
    source: str
    #: The parsed text.
    value: Any = None
    file: Path | None = None

    @property
    def shown(self) -> str | None:
        """The text with credentials masked."""
        return None if self.text is None else self.option.shown(self.text)


class Database(NamedTuple):
    """The store that a configuration describes."""

    backend: type[DB]
    #: The effective settings, ``class`` first.
    settings: list[Setting]

    @property
    def values(self) -> Values:
        """The value of each option of the backend, to open it with."""
        return values(self.settings[1:])


@dataclass(frozen=True, slots=True)
class _Given:
    text: str
    source: str
    #: The file that contains it.
    file: Path | None = None
    #: The directory to which a relative path refers.
    base: Path = Path()

    def path(self) -> str:
        """The text as a path."""
        return self.text if self.text.startswith("~") else str(self.base / self.text)


@dataclass(frozen=True)
class Config:
    """A configuration, as it was when it was read.

    The file is read once, so the parts of one object are consistent even if the file is edited in the meantime.
    """

    #: The file, as it was named or found; ``None``: there is none, and the defaults apply.
    file: Path | None
    #: The keys and texts of its sections, by the names of the sections.
    sections: Mapping[str, Mapping[str, str]]
    #: The variables of the environment that change the ``[database]`` section.
    environment: Mapping[str, str]

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None = None) -> "Config":
        """Read a configuration file: see :func:`find_file` for which.

        :raises ConfigurationError: if it cannot be read, or has an unknown section, naming the nearest known one.
        """
        file = find_file(path)
        sections = {} if file is None else ini.read(file)
        wrong = filter(None, map(_wrong, sections))
        ConfigurationError.raise_all([ConfigurationError(f"{file} {each}") for each in wrong])
        environment = {name: text for name, text in os.environ.items() if name.startswith(_ENVIRONMENT)}
        return cls(file, sections, environment)

    def again(self) -> "Config":
        """Read the same file again; if there was none, look for one again."""
        return Config.read(self.file)

    @property
    def path(self) -> Path | None:
        """The absolute path of the file."""
        return None if self.file is None else self.file.absolute()

    @property
    def source(self) -> str:
        """How the source of the file's settings is shown."""
        return "the given mapping" if self.file is None else f"file {self.file}"

    @cached_property
    def database(self) -> Database:
        """The store that the configuration describes.

        :raises ConfigurationError: for an unknown backend or key, or a value that cannot be parsed.
        """
        given = self._database_texts()
        chosen = _setting(DATABASE, _BACKEND, given.pop("class", None))
        backend = load_backend(chosen.value)
        return Database(backend, [chosen, *_effective(DATABASE, backend.options, given, ["class"])])

    def section(self, name: str, declared: Iterable[Option]) -> list[Setting]:
        """The effective settings of a section, each with its default.

        :raises ConfigurationError: for a key that is not declared, naming the nearest that is, or an invalid value.
        """
        return _effective(name, declared, self._texts(name))

    def setting(self, section: str, option: Option) -> Setting:
        """One setting of a section; the others are not validated.

        :raises ConfigurationError: for an invalid value.
        """
        return _setting(section, option, self._texts(section).get(option.name))

    def plugin(self, section: str, declared: Iterable[Option]) -> list[Setting]:
        """The effective settings of a section that names a plugin, ``class`` first; see :meth:`section`."""
        return self.section(section, [_PLUGIN, *declared])

    def named(self, kind: str) -> list[str]:
        """The names of the sections ``[KIND:NAME]``, in full."""
        return [section for section in self.sections if section.startswith(f"{kind}:")]

    def open_database(self, instance: Instance | None = None, clock: Clock | None = None) -> DB:
        """Open the store; see :func:`open_database`."""
        return self.database.backend(self.database.values, instance=instance, clock=clock)

    def _texts(self, section: str) -> dict[str, _Given]:
        given = self.sections.get(section, {})
        base = Path() if self.file is None else self.file.parent
        return {key: _Given(text, self.source, self.file, base) for key, text in given.items()}

    def _database_texts(self) -> dict[str, _Given]:
        """The texts of the section and the environment; a key of the environment hides both forms in the section."""
        environment = {
            variable.removeprefix(_ENVIRONMENT).lower(): _Given(text, f"environment variable {variable}")
            for variable, text in self.environment.items()
        }
        forms = {form for key in environment for form in (key, key + _FILE, key.removesuffix(_FILE))}
        return {key: text for key, text in self._texts(DATABASE).items() if key not in forms} | environment


def open_database(
    config: str | os.PathLike[str] | Mapping[str, str] | Config | None = None,
    instance: Instance | None = None,
    clock: Clock | None = None,
) -> DB:
    """Open the store that a configuration describes.

    ``config`` is the path of a file, a :class:`Config`, the ``[database]`` section as a
    mapping (which the environment does not change), or ``None`` for the file that
    :func:`find_file` finds.  ``instance`` is the instance that reports, by default this process.

    :raises ConfigurationError: naming the setting and what is wrong with it.
    :raises StoreError: if the store cannot be opened.
    """
    if isinstance(config, Mapping):
        config = Config(None, {DATABASE: config}, {})
    elif not isinstance(config, Config):
        config = Config.read(config)
    return config.open_database(instance, clock)


def values(settings: Iterable[Setting]) -> Values:
    """The values of settings, by their options' names."""
    return Values({setting.option.name: setting.value for setting in settings})


def load_backend(name: str) -> type[DB]:
    """The class of the backend with this name: an entry point of the group ``zc.cimaa.database``.

    :raises ConfigurationError: if there is none, or a library that it requires is not installed.
    """
    return entrypoints.load(BACKENDS, name, DB, "backend", f"[{DATABASE}] class")  # type: ignore[type-abstract]


def backend_names() -> list[str]:
    """The names of all backends, sorted, including those whose libraries are not installed."""
    return entrypoints.names(BACKENDS)


def find_file(path: str | os.PathLike[str] | None = None) -> Path | None:
    """The configuration file: ``path`` if given, or else the first of these that exists.

    ``$CIMAA_CONFIG``, ``./cimaa.cfg``, ``$XDG_CONFIG_HOME/cimaa/cimaa.cfg`` (or in
    ``~/.config``), ``/etc/cimaa/cimaa.cfg``.

    :raises ConfigurationError: if a file was named that is not there or not readable.
    """
    for named, source in ((path, ""), (os.environ.get("CIMAA_CONFIG"), "$CIMAA_CONFIG: ")):
        if named:
            if not _is_file(Path(named)):
                raise ConfigurationError(f"{source}there is no readable configuration file {os.fspath(named)}")
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
    except (OSError, ValueError):  # a directory without search permission, or an invalid path
        return False


def _wrong(name: str) -> str:
    """What is wrong with a section's name; empty: nothing."""
    kind, _, own = name.partition(":")
    if name in SECTIONS or (kind in NAMED_SECTIONS and own):
        return ""
    hint = options.nearest(name, [*SECTIONS, *(f"{kind}:NAME" for kind in NAMED_SECTIONS)])
    return f"has an unknown section [{mask_text(name)}]; {hint}"


def _effective(
    section: str, declared: Iterable[Option], given: Mapping[str, _Given], others: Iterable[str] = ()
) -> list[Setting]:
    """The settings of a section; ``others`` are further keys that it may have."""
    declared = list(declared)
    names = [option.name for option in declared]
    texts = _with_files(section, names, given)
    settings, wrong = [], []
    for key in texts:
        try:
            options.check_keys(f"[{section}] ({texts[key].source})", [key], [*others, *names])
        except ConfigurationError as error:
            wrong.append(error)
    for option in declared:
        try:
            settings.append(_setting(section, option, texts.get(option.name)))
        except ConfigurationError as error:
            wrong.append(error)
    ConfigurationError.raise_all(wrong)
    return settings


def _with_files(section: str, names: Iterable[str], given: Mapping[str, _Given]) -> dict[str, _Given]:
    """The texts, with the contents of the files that keys ending in ``_file`` name."""
    texts = dict(given)
    for key, value in given.items():
        name = key.removesuffix(_FILE)
        if key.endswith(_FILE) and key not in names and name in names:
            del texts[key]
            if name in given:
                raise ConfigurationError(f"[{section}] has both {name} and {key}: give one of them")
            file, content = _content(f"[{section}] {key} ({value.source})", value)
            texts[name] = _Given(content, f"file {file} (named by {key} in {value.source})", file)
    return texts


def _setting(section: str, option: Option, given: _Given | None) -> Setting:
    if given is None:
        text = option.default_text()
        return Setting(option, text, "default", None if text is None else options.value(section, option, text))
    text = given.path() if option.type is options.PATH and given.text else given.text
    return Setting(option, text, given.source, options.value(section, option, text, given.source), given.file)


def _content(where: str, named: _Given) -> tuple[Path, str]:
    """The file that a setting names, and the text in it."""
    if "://" in named.text or mask_text(named.text) != named.text:  # the secret itself
        raise ConfigurationError(f"{where}: it is not the path of a file (it is not shown, because it may be a secret)")
    path = named.path()
    try:
        file = Path(options.PATH.parse(path))
        return file, file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{where}: cannot read {path}: {reason}") from error
