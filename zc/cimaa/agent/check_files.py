"""The checks of an agent: the built-in ones, or those of INI files, a section for each check."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from .. import ini, leases, options
from ..errors import ConfigurationError, InvalidLease
from ..naming import GLOBAL, PART
from ..options import FLAG, RETRIES, TIMEOUT, Option, Type
from .config import Settings
from .rules import thresholds
from .rules.check import HOST, Broken, Check

SUFFIX = ".cfg"

#: The keys that a check's section may have.
OPTIONS = (
    Option(
        "command",
        "the command, which runs in the file's directory: split into words like a shell's, but not run by a shell."
        " A program with a slash in its name is relative to the file's directory, others are searched on the PATH",
    ),
    Option("timeout", "how long a run may take; default: the agent's timeout", TIMEOUT),
    Option("interval", "how often it runs; default: the agent's base_interval", TIMEOUT),
    Option("retry", "how many times a failing check is retried before its error becomes critical", RETRIES, "3"),
    Option(
        "retry_interval",
        "how often it runs while it fails; default: the shorter of the agent's base_interval and its own interval",
        TIMEOUT,
    ),
    Option(
        "thresholds",
        "when its metrics are faults, one per line: NAME [optional] warning > 50 error >= 99 critical > 200 clear < 80",
        Type("thresholds", thresholds.parse),
        "",
    ),
    Option("nagios_performance", "whether the performance data of a Nagios plugin is read as metrics", FLAG, "true"),
    Option("escalates", "whether a persistent error becomes critical", FLAG, "true"),
    Option("once", "whether only one of the agents that have a section of this name runs it", FLAG, "false"),
)


def of_agent(settings: Settings) -> list[Check | Broken]:
    """The agent's checks: those in its directory, or the built-in ones if it has none.

    :raises ConfigurationError: if the directory does not exist, or has no checks.
    """
    if settings.directory is not None:
        return load(settings.directory, settings.timeout, settings.base_interval)
    from ..checks import host  # imports psutil, which commands that only read check files do not need

    return [_built_in(name, settings) for name in host.CHECKS]


def load(directory: Path, timeout: float, interval: int = 60) -> list[Check | Broken]:
    """The checks of all files in a directory, sorted by file.

    ``timeout`` and ``interval`` (seconds) are for checks that set none.

    :raises ConfigurationError: if the directory does not exist, or has no checks.
    """
    try:
        paths = [path for path in directory.iterdir() if path.suffix == SUFFIX and not path.name.startswith(".")]
    except OSError as error:
        raise ConfigurationError(f"[agent] directory: cannot read {directory}: {error.strerror}") from error
    found = [check for path in sorted(paths) for check in _read(path, timeout, interval)]
    if not found:
        raise ConfigurationError(
            f"[agent] directory: there is no check in {directory}: put a file named *{SUFFIX} there,"
            " or remove the setting to run the built-in checks"
        )
    return _without_doubles(found)


def check(
    file: str, section: str, given: Mapping[str, str], directory: Path, timeout: float, interval: int = 60
) -> Check | Broken:
    """The check that a section describes, or why it cannot be read.  Pure."""
    if PART in section:
        return Broken(
            file, section, f"a check's name must not contain {PART!r}, which separates the names of its faults"
        )
    try:
        values = options.parse(section, OPTIONS, given)
        command = _command(values["command"] or "", directory)
    except ConfigurationError as error:
        return Broken(file, section, str(error))
    except (
        ValueError,
        RuntimeError,
    ) as error:  # from shlex, and from pathlib for the home directory of an unknown user
        return Broken(file, section, f"[{section}] command: {error}")
    if values["once"] and (reason := _not_once(section)):
        return Broken(file, section, f"[{section}] once: {reason}")
    own = values["interval"] or interval
    return Check(
        file=file,
        section=section,
        command=command,
        timeout=values["timeout"] or timeout,
        directory=directory,
        interval=own,
        retry=values["retry"],
        retry_interval=values["retry_interval"] or min(interval, own),
        thresholds=values["thresholds"],
        nagios_performance=values["nagios_performance"],
        escalates=values["escalates"],
        once=values["once"],
    )


def _not_once(section: str) -> str | None:
    """Why a section of this name cannot be run by one agent of several; ``None``: it can."""
    if not section.startswith(GLOBAL):
        return (
            "only for global checks: agents agree by the section's name on which of them runs it, so the name must be"
            f" the same for all of them, and start with {GLOBAL}"
        )
    try:
        leases.check_name(section)
    except InvalidLease as error:
        return str(error)
    return None


def _without_doubles(found: list[Check | Broken]) -> list[Check | Broken]:
    """The checks; each whose lease another one has, too, cannot be run."""
    files: dict[str, str] = {}
    for index, item in enumerate(found):
        if isinstance(item, Check) and item.once:
            other = files.setdefault(item.section, item.file)
            if other != item.file:
                reason = f"[{item.section}] once: {other}{SUFFIX} has a section of this name, and a lease is for one"
                found[index] = Broken(item.file, item.section, reason)
    return found


def _built_in(name: str, settings: Settings) -> Check:
    base = settings.base_interval
    return Check(
        file=HOST,
        section=name,
        command=(),
        timeout=settings.timeout,
        directory=Path(),
        interval=base,
        retry_interval=base,
    )


def _read(path: Path, timeout: float, interval: int) -> list[Check | Broken]:
    file = path.name.removesuffix(SUFFIX)
    if not path.is_file():  # reading a pipe could block
        return [Broken(file, "", f"{path} is not a file, or a link to a missing file")]
    try:
        sections = ini.read(path)
    except ConfigurationError as error:
        return [Broken(file, "", str(error))]
    directory = path.parent.absolute()
    return [check(file, section, given, directory, timeout, interval) for section, given in sections.items()]


def _command(text: str, directory: Path) -> tuple[str, ...]:
    words = shlex.split(text)
    if not words:
        raise ValueError("the command is missing")
    if "/" in words[0]:
        words[0] = os.fspath(directory / Path(words[0]).expanduser())
    return tuple(words)
