"""The agent as a service of systemd: its unit, its user, and a configuration to start from.

The texts of the files are beside this module.
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
#: What is to be done, as root, once the files are there.
NEXT = "systemd-sysusers && systemctl daemon-reload && systemctl enable --now cimaa-agent"

#: Where a package installs the program.
PACKAGED = Path("/usr/bin/cimaa")

# Where systemd has services look for programs, and where Nagios plugins are.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/usr/lib/nagios/plugins:/usr/lib64/nagios/plugins"
_ESCAPES = str.maketrans({"\\": r"\\", "%": "%%"})


class File(NamedTuple):
    """A file to be installed."""

    path: Path
    text: str
    #: True if it is the operator's own once it is there, and whatever is in it is right.
    example: bool


def program() -> Path:
    """The ``cimaa`` program of this very installation.

    :raises ConfigurationError: if there is none.
    """
    path = Path(sysconfig.get_path("scripts"), "cimaa")
    if not path.exists():
        raise ConfigurationError(f"there is no program {path}: install zc.cimaa with pip, so that there is")
    return path


def installed_program(root: Path) -> Path:
    """The path of the program on a host whose ``/`` is to be ``root``: this installation's if it is there."""
    path, below = program(), root.resolve()
    for place in (path, path.parent.resolve() / path.name):
        if place.is_relative_to(below):
            return Path("/", place.relative_to(below))
    return PACKAGED


def unit(program: Path) -> str:
    """The text of the agent's unit, which runs this program."""
    path = _quoted(f"PATH={program.parent}:{_PATH}")
    return _text(UNIT).replace("@program@", _quoted(str(program))).replace("@path@", path)


def files(program: Path, root: Path) -> list[File]:
    """All files of the service; their paths start below ``root``."""
    etc = root / "etc"
    found = [
        File(etc / "sysusers.d" / "cimaa.conf", _text("cimaa.conf"), False),
        File(etc / "systemd" / "system" / UNIT, unit(program), False),
    ]
    if not os.path.lexists(etc / "cimaa" / "cimaa.cfg"):  # whoever has one may have removed the check from the example
        found.append(File(etc / "cimaa" / "checks" / "host.cfg", _text("host.cfg"), True))
    found.append(File(etc / "cimaa" / "cimaa.cfg", _text("cimaa.cfg"), True))
    return found


def missing(files: Iterable[File]) -> list[File]:
    """The files that are not there.

    :raises ConfigurationError: if one is there that is no example, and differs.
    """
    found = []
    for file in files:
        if not os.path.lexists(file.path):
            found.append(file)
        elif not file.example and _content(file.path) != file.text:
            raise ConfigurationError(f"{file.path} is there already, and differs from what would be written")
    return found


def write(file: File) -> None:
    """Write a file, which is there as a whole or not at all, and which everybody may read.

    :raises ConfigurationError: if it cannot be written, or is there already.
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
            os.link(name, path)  # unlike a renaming, it replaces nothing
        finally:
            Path(name).unlink()
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def closed(program: Path) -> Path | None:
    """The first file or directory that keeps the service's user from running the program, if any does."""
    needed = [program, Path(sys.executable), Path(sys.executable).resolve(), Path(__file__).resolve()]
    paths = [path for each in needed for path in (*reversed(each.absolute().parents), each)]
    return next((path for path in paths if not _is_open(path)), None)


def _is_open(path: Path) -> bool:
    wanted = 0o004 if path.suffix == ".py" else 0o001
    return path.stat().st_mode & wanted == wanted


def _make_directory(path: Path) -> None:
    """Make the directory, and those above it, for everybody to look into, whatever this process's umask is."""
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
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _quoted(word: str) -> str:
    """The word as it stands in a unit: quoted only if it must be."""
    escaped = word.translate(_ESCAPES)
    return escaped if escaped == word and not set(word) & set(" \t';") else f'"{escaped}"'
