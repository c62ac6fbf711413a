"""Installs the agent as a systemd service: its unit, its user, and a configuration to start from.

The texts of the files are in this directory.
"""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigurationError

UNIT = "cimaa-agent.service"
#: The commands to run, as root, once the files are installed.
NEXT = "systemd-sysusers && systemctl daemon-reload && systemctl enable --now cimaa-agent"

#: The path at which a package installs the program.
PACKAGED = Path("/usr/bin/cimaa")

# systemd's default path for services, and the directories of Nagios plugins.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/usr/lib/nagios/plugins:/usr/lib64/nagios/plugins"
_ESCAPES = str.maketrans({"\\": r"\\", "%": "%%"})


class ServiceFile(NamedTuple):
    """A file to be installed."""

    path: Path
    text: str
    #: True for an example, which the operator may change: if it exists, it is kept.
    example: bool


def program() -> Path:
    """The ``cimaa`` program of this installation.

    :raises ConfigurationError: if it is missing.
    """
    path = Path(sysconfig.get_path("scripts"), "cimaa")
    if not path.exists():
        raise ConfigurationError(f"the program {path} is missing: install zc.cimaa with pip")
    return path


def installed_program(root: Path) -> Path:
    """The path of the program on a host whose ``/`` is ``root``: this installation's if it is below it."""
    path, below = program(), root.resolve()
    for place in (path, path.parent.resolve() / path.name):
        if place.is_relative_to(below):
            return Path("/", place.relative_to(below))
    return PACKAGED


def unit(program: Path) -> str:
    """The text of the agent's unit, which runs this program."""
    path = _quoted(f"PATH={program.parent}:{_PATH}")
    return _text(UNIT).replace("@program@", _quoted(str(program))).replace("@path@", path)


def files(program: Path, root: Path) -> list[ServiceFile]:
    """All files of the service; their paths start below ``root``."""
    etc = root / "etc"
    found = [
        ServiceFile(etc / "sysusers.d" / "cimaa.conf", _text("cimaa.conf"), False),
        ServiceFile(etc / "systemd" / "system" / UNIT, unit(program), False),
    ]
    if not os.path.lexists(etc / "cimaa" / "cimaa.cfg"):  # else the operator may have removed the example check
        found.append(ServiceFile(etc / "cimaa" / "checks" / "host.cfg", _text("host.cfg"), True))
    found.append(ServiceFile(etc / "cimaa" / "cimaa.cfg", _text("cimaa.cfg"), True))
    return found


def missing(files: Iterable[ServiceFile]) -> list[ServiceFile]:
    """The files that do not exist.

    :raises ConfigurationError: if a file other than an example exists and differs.
    """
    found = []
    for file in files:
        if not os.path.lexists(file.path):
            found.append(file)
        elif not file.example and _content(file.path) != file.text:
            raise ConfigurationError(f"{file.path} exists, and differs from what would be written")
    return found


def write(file: ServiceFile) -> None:
    """Write a file atomically; all users may read it.

    :raises ConfigurationError: if it cannot be written, or exists.
    """
    path = file.path
    try:
        _make_directory(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as new:
                new.write(file.text)
                os.fchmod(new.fileno(), 0o644)
                os.fsync(new.fileno())
            os.link(name, path)  # unlike rename, it replaces nothing
        finally:
            Path(name).unlink()
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def closed(program: Path) -> Path | None:
    """The first file or directory whose mode keeps the service's user from running the program; ``None``: no such."""
    needed = [program, Path(sys.executable), Path(sys.executable).resolve(), Path(__file__).resolve()]
    paths = [path for each in needed for path in (*reversed(each.absolute().parents), each)]
    return next((path for path in paths if not _is_open(path)), None)


def _is_open(path: Path) -> bool:
    wanted = 0o004 if path.suffix == ".py" else 0o001
    return path.stat().st_mode & wanted == wanted


def _make_directory(path: Path) -> None:
    """Make the directory and its parents, accessible to all users, independent of this process's umask."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(0o755)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _quoted(word: str) -> str:
    """The word as in a unit, in quotes if it needs them."""
    escaped = word.translate(_ESCAPES)
    return escaped if escaped == word and not set(word) & set(" \t';") else f'"{escaped}"'
