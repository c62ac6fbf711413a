"""The files that describe checks: INI files, a section for each check."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .. import ini, options
from ..errors import ConfigurationError
from ..naming import PART
from ..options import FLAG, RETRIES, TIMEOUT, Option, Type
from .rules import thresholds
from .rules.thresholds import Threshold

SUFFIX = ".cfg"


#: The keys that a check's section may have.
OPTIONS = (
    Option(
        "command",
        "what to run, in the file's directory: words as a shell splits them, but no shell runs them."
        " A program with a slash in its name is found from the file's directory, others on the PATH",
    ),
    Option("timeout", "how long it may take; default: the agent's timeout", TIMEOUT),
    Option("interval", "how often it runs; default: the agent's base_interval", TIMEOUT),
    Option("retry", "how many times a failing check is retried before its error becomes critical", RETRIES, "3"),
    Option(
        "retry_interval",
        "how often it runs while it fails; default: the shorter of the agent's base_interval and its own interval",
        TIMEOUT,
    ),
    Option(
        "thresholds",
        "when its metrics are faults, one a line: NAME [optional] warning > 50 error >= 99 critical > 200 clear < 80",
        Type("thresholds", thresholds.parse),
        "",
    ),
    Option("nagios_performance", "whether the performance data of a Nagios plugin is its metrics", FLAG, "true"),
    Option("escalates", "whether an error that stays becomes critical", FLAG, "true"),
)


class Check(NamedTuple):
    """A check to run."""

    #: The name of its file, without ``.cfg``.
    file: str
    section: str
    command: tuple[str, ...]
    #: Seconds.
    timeout: float
    #: The directory of its file, in which it runs.
    directory: Path
    #: Seconds.
    interval: int = 60
    #: An error becomes critical with one more failure in a row than this.
    retry: int = 3
    #: Seconds.
    retry_interval: int = 60
    thresholds: tuple[Threshold, ...] = ()
    #: True if performance data is read.
    nagios_performance: bool = True
    #: False if its errors never become critical.
    escalates: bool = True


class Broken(NamedTuple):
    """A check, or (with no ``section``) a whole file, that cannot be read."""

    file: str
    section: str
    reason: str


def load(directory: Path, timeout: float, interval: int = 60) -> list[Check | Broken]:
    """The checks of all files in a directory, sorted by file; ``timeout`` and ``interval`` for those without.

    :raises ConfigurationError: if there is no such directory, or no check in it.
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
    return found


def check(
    file: str, section: str, given: Mapping[str, str], directory: Path, timeout: float, interval: int = 60
) -> Check | Broken:
    """The check that a section describes.  Pure."""
    if PART in section:
        return Broken(
            file, section, f"a check's name must not contain {PART!r}, which separates the names of its faults"
        )
    try:
        values = options.parse(section, OPTIONS, given)
        command = _command(values["command"] or "", directory)
    except ConfigurationError as error:
        return Broken(file, section, str(error))
    except (ValueError, RuntimeError) as error:  # of shlex, and of pathlib for the home of an unknown user
        return Broken(file, section, f"[{section}] command: {error}")
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
    )


def _read(path: Path, timeout: float, interval: int) -> list[Check | Broken]:
    file = path.name.removesuffix(SUFFIX)
    if not path.is_file():  # a pipe would not even end
        return [Broken(file, "", f"{path} is not a file, or a link to a missing one")]
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
