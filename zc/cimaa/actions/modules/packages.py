"""Which packages are installed, going by dpkg and rpm?"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..answers import Answer, failed
from ..parameters import PATTERNS, REGEXES, Parameter, ParameterValues, integer
from . import Bounds, Inspector, any_match, matched

# The command of each package manager: it lists state, name, version and architecture of each package.
_COMMANDS = {
    "dpkg": ("dpkg-query", "-W", "-f", "${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n"),
    "rpm": ("rpm", "-qa", "--qf", "installed\\t%{NAME}\\t%{EVR}\\t%{ARCH}\\n"),
}


class Package(NamedTuple):
    """An installed package."""

    name: str
    version: str
    architecture: str
    #: ``dpkg`` or ``rpm``.
    manager: str


class Module(Inspector):
    """Searches for packages."""

    name = "package"
    summary = "search for installed packages (dpkg, rpm) by name and version"
    parameters = (
        Parameter("name", PATTERNS, "patterns for the package's name, as in a shell; one must match"),
        Parameter("version", REGEXES, "RE2 for the version; all must match", ()),
        Parameter("matches", integer(1, 1000), "the most packages in the answer", 100),
    )

    @classmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:  # noqa: ARG003  # a listing takes a second
        """Ask the package managers that this host has."""
        managers = [manager for manager, command in _COMMANDS.items() if shutil.which(command[0])]
        if not managers:
            return failed("neither dpkg-query nor rpm is on the PATH")
        installed: list[Package] = []
        errors = []
        for manager in managers:
            done = subprocess.run(
                _COMMANDS[manager], capture_output=True, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
            )
            if done.returncode:
                errors.append(f"{_COMMANDS[manager][0]} exited with status {done.returncode}")
            installed += parse(manager, done.stdout.decode(errors="replace"))
        return judge(installed, values)._replace(success=not errors, errors=errors)


def parse(manager: str, listing: str) -> Iterator[Package]:
    """The installed packages in a listing of one of the commands."""
    for line in listing.splitlines():
        state, *fields = line.split("\t")
        if state == "installed" and len(fields) == 3:
            yield Package(fields[0], fields[1], fields[2], manager)


def judge(installed: Sequence[Package], values: ParameterValues) -> Answer:
    """The packages that were asked for."""
    found = sorted(package for package in installed if _is_wanted(package, values))
    return matched(found, Package._asdict, values["matches"], packages=len(installed))


def _is_wanted(package: Package, values: ParameterValues) -> bool:
    return any_match(values["name"], package.name) and all(matches(package.version) for matches in values["version"])
