"""The directories that this process has opened: each once for all its handles, and again in a fork."""

import os
import threading
from pathlib import Path

from .shared import SharedDirectory

_directories: dict[Path, SharedDirectory] = {}
_lock = threading.Lock()  # taken before the lock of any directory


def acquire(path: Path, map_size: int) -> SharedDirectory:
    """The directory with this path, for one more handle; the largest map that a handle asks for counts."""
    with _lock:
        resolved = path.resolve()  # the current directory may change
        shared = _directories.get(resolved)
        if shared is None:
            shared = _directories[resolved] = SharedDirectory(resolved, map_size)
        shared.handles += 1
    shared.widen(map_size)
    return shared


def release(shared: SharedDirectory) -> None:
    """One handle less; the last one closes the files."""
    with _lock:
        shared.handles -= 1
        if not shared.handles:
            del _directories[shared.path]
            with shared.gate.lock:
                shared.close()


def _before_fork() -> None:
    """Wait until no thread uses an environment: the child could never close one that is in use."""
    _lock.acquire()
    for shared in _directories.values():
        shared.gate.lock.acquire()
        shared.gate.wait()


def _after_fork_in_parent() -> None:
    for shared in _directories.values():
        shared.gate.lock.release()
    _lock.release()


def _after_fork_in_child() -> None:
    for shared in _directories.values():
        shared.close_in_fork()
    _after_fork_in_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
