"""Names in directories that are still there after a power failure."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Return once the names in a directory are on disk: of files that were created, renamed or removed in it.

    The content of new files has to be synced before, by ``os.fsync``.

    :raises OSError: if that cannot be done; the user must be able to list the directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, each for this user alone; they are on disk then.

    Also one that is there: a process may have been stopped, or have failed, after it made it.

    :raises OSError: if that cannot be done.
    """
    if path.is_dir():
        if os.access(path.parent, os.W_OK):  # otherwise this user has not made it
            sync_directory(path.parent)
        return
    if path.parent != path:
        make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)
