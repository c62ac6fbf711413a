"""Checks a configuration, with everything that the agent would read because of it."""

import shutil
import stat
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .. import options
from ..actions import permissions, private_keys, signatures
from ..actions.config import SECTION, ActionSettings
from ..actions.modules import host_commands
from ..config import Config, Setting
from ..errors import ConfigurationError, SigningError
from . import check_files, plugins
from .check_files import SUFFIX
from .config import Settings
from .rules.check import Broken, Check


class Inspection(NamedTuple):
    """What was checked, and the problems found."""

    #: The checks that can be run; ``None``: the built-in ones.
    checks: list[Check] | None
    alerters: list[str]
    sinks: list[str]
    #: What the agent refuses, or reports as a fault: one line each.
    problems: list[str]
    #: What may be a problem, depending on the user who runs the agent: one line each.
    warnings: list[str]


def inspect(config: Config) -> Inspection:
    """Check everything that the agent would read.  Nothing is started, and the store is not opened."""
    problems: list[str] = []
    found = _settings(config, problems)
    ours = _tried(lambda: Settings.load(config), problems)
    names = _tried(lambda: _investigators(config), problems)
    granted = _tried(lambda: permissions.of_configuration(config), problems)
    checks = [] if ours is None else _checks(ours, problems)
    unknown = permissions.unknown_names(granted, names) if granted and names else []
    unreachable = granted.unreachable() if granted else []
    warnings = [*_readable(found), *_programs(found, checks or []), *unknown, *unreachable, *_answer_key(config)]
    alerters, sinks = (config.named(kind.section) for kind in plugins.KINDS)
    return Inspection(checks, alerters, sinks, list(dict.fromkeys(problems)), warnings)


def _settings(config: Config, problems: list[str]) -> list[tuple[str, Setting]]:
    """The settings of the store, the alerters, the sinks and the commands for actions, by their sections."""
    found = []
    if (database := _tried(lambda: config.database, problems)) is not None:
        found += [("database", setting) for setting in database.settings]
    for kind in plugins.KINDS:
        for section in config.named(kind.section):
            given = _tried(lambda kind=kind, section=section: plugins.settings(kind, section, config), problems)
            if given is not None:
                found += [(section, setting) for setting in given]
                _tried(lambda kind=kind, section=section: plugins.make(kind, section, config), problems)
    for section in config.named(host_commands.SECTION):
        given = _tried(lambda section=section: host_commands.settings(section, config), problems)
        found += [(section, setting) for setting in given or ()]
    return found


def _investigators(config: Config) -> list[str]:
    """The names of those who may sign actions."""
    settings = ActionSettings.load(config)
    if not settings.check() or settings.investigators is None:
        return []
    known, _ = signatures.read_files(settings.investigators, settings.revoked)
    return [signer.name for signer in known.values()]


def _answer_key(config: Config) -> Iterable[str]:
    """A warning about a key with which this user could not sign answers."""
    try:
        key = ActionSettings.load(config).key
        if key is not None:
            private_keys.check(key, alone=True)
    except SigningError as error:
        yield f"[{SECTION}] key: answers would not be signed: {error}"
    except ConfigurationError:  # a problem, which is named with the investigators
        return


def _tried(what: Callable[..., Any], problems: list[str]) -> Any:
    """What the function returns; ``None`` if it fails, which adds the reasons to the problems."""
    try:
        return what()
    except ConfigurationError as error:
        problems += [str(each) for each in (error, *error.others)]
    except Exception as error:  # a plugin may raise anything
        problems.append(f"{type(error).__name__}: {error}")
    return None


def _checks(ours: Settings, problems: list[str]) -> list[Check] | None:
    directory = ours.directory
    if directory is None:
        return None
    found = _tried(lambda: check_files.load(directory, ours.timeout, ours.base_interval), problems) or []
    broken = [item for item in found if isinstance(item, Broken)]
    problems += [f"{directory}/{item.file}{SUFFIX}: {item.reason}" for item in broken]
    return [item for item in found if isinstance(item, Check)]


def _programs(found: Iterable[tuple[str, Setting]], checks: Iterable[Check]) -> Iterable[str]:
    """Warnings about programs that this user cannot run."""
    commands = [(f"[{section}]", s.value) for section, s in found if s.option.type is options.COMMAND and s.value]
    commands += [(f"{check.file}{SUFFIX}: [{check.section}]", check.command) for check in checks if check.command]
    for where, (program, *_) in commands:
        if shutil.which(program) is None:
            on_path = "" if "/" in program else " on the PATH"
            yield f"{where} command: {program} not found{on_path}, or not executable by this user"


def _readable(found: Iterable[tuple[str, Setting]]) -> Iterable[str]:
    """Warnings about files with secrets that every user of the host can read."""
    for section, setting in found:
        if setting.option.secret and setting.text and setting.file and setting.file.stat().st_mode & stat.S_IROTH:
            name = setting.option.name
            yield (
                f"[{section}] {name} is a secret, and every user may read it in {setting.file}: chmod o-r,"
                f" or put it into a file of its own and give {name}_file"
            )
