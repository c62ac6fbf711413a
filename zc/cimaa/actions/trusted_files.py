"""Files on whose content an agent's obedience depends: no other user may be able to write them."""

import os
import stat
from pathlib import Path

from ..errors import ConfigurationError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read(path: Path, most: int) -> bytes:
    """The content of a file that only root and this user can write; ``most`` limits its size (bytes).

    :raises ConfigurationError: naming the file or directory that others can write, or why it cannot be read.
    """
    check(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123  # opening a pipe could block
            status = os.fstat(file.fileno())
            _check(path, status)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f"{path} is not a file")
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > most:
        raise ConfigurationError(f"{path} has more than {most} bytes")
    return data


def check(path: Path) -> None:
    """Refuse a path if it, or a directory that leads to it, can be changed by others than root and this user.

    :raises ConfigurationError: naming the file or directory, and what to do.
    """
    try:
        real = path.resolve(strict=True)
        for place in (real, *real.parents):
            _check(place, place.stat())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _check(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        hint = "give it to root (chown), or choose another path"
        raise ConfigurationError(f"{path} belongs to another user (uid {status.st_uid}), who may change it: {hint}")
    # In a directory such as /tmp, users cannot replace what belongs to others.
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS_WRITE and not sticky:
        raise ConfigurationError(f"other users may write to {path}: chmod go-w {path}")
