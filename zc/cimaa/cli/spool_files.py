"""Files of a spool: written aside and renamed, so that a process may be killed at any time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import orjson

from ..errors import Error
from ..text import hex_digest

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
    for draft in directory.glob(".*.draft"):
        draft.unlink()


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it; it may be missing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole, on disk when this returns; one with this content is left alone."""
    if path.is_file() and path.read_bytes() == data:
        return
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON; see :func:`write`."""
    write(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def encoded_name(agent: str) -> str:
    """The name of the file about an agent: its own, with the characters escaped that others may not be used to."""
    name = quote(agent, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    return name if len(name) <= _NAME else f"{name[:_NAME]}-{hex_digest(agent, 8)}"
