"""Files of a spool: written aside and renamed, so that a process may be killed at any time."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from ..errors import Error, InvalidAction

# The longest name of a file (bytes).
_NAME = 200


class SpoolError(Error):
    """The directory of a spool cannot be used."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a spool's directory.

    :raises SpoolError: if another process has it, or the directory cannot be used.
    """
    try:
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"cannot use {directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SpoolError(f"another process works on {directory}") from None
    finally:
        os.close(descriptor)


def prepare(directory: Path) -> None:
    """Make a directory, and remove what was half-written in it."""
    directory.mkdir(parents=True, exist_ok=True)
    remove_drafts(directory)


def remove_drafts(directory: Path) -> None:
    """Remove what was half-written in a directory."""
    for draft in directory.glob(".*.draft"):
        draft.unlink()


def has_good_name(path: Path) -> bool:
    """True if other files can be named after this one, and its name can be shown."""
    return path.name.isprintable() and len(os.fsencode(path.name)) <= _NAME


def read(path: Path, most: int) -> bytes:
    """The content of a file that others wrote, as far as this number of bytes.

    A link is not followed, as it may lead to what those others may not read; and nothing waits for a writer.

    :raises InvalidAction: if it is not a file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise InvalidAction(f"{path.name} is not a file") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidAction(f"{path.name} is not a file")
        with open(descriptor, "rb", closefd=False) as file:  # a descriptor, not a path
            return file.read(most)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it; it may be missing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole, on disk when this returns; one with this content is left alone.

    :raises OSError: naming the file, if it cannot be written, or is a directory.
    """
    if path.is_file() and path.read_bytes() == data:
        return
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:  # users do not know the draft
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON; see :func:`write`."""
    write(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
