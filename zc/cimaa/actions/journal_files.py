"""The files of a journal: one for each claimed action, and ``latest`` with the latest time that was seen."""

import json
import os
import re
from contextlib import suppress
from math import isfinite, nan
from pathlib import Path
from typing import Final

from ..durable import sync_directory
from ..errors import JournalError
from .config import WIDEST

#: After which a claim is not needed any more.
WINDOWS_OVER: Final = "when the windows of all actions that ran are over"

_LATEST = "latest"
_ID = re.compile(r"[0-9a-f]{64}")
_DRAFT = re.compile(rf"{_LATEST}\.\d+")


class JournalFiles:
    """The files of one agent, in its directory; what is written is on disk when a method returns.

    Its methods raise :class:`OSError` if files cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Where earlier versions wrote the files of one agent; they still count.
        self._earlier = path.parent

    def write_claim(self, action: str, claim: bytes) -> bool:
        """Write the file of a claim; false if there is one."""
        if (self._earlier / action).is_file():
            return False
        try:
            descriptor = os.open(self.path / action, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
                file.write(claim)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self.path)
        except BaseException:  # nothing has run, and it may be claimed again
            with suppress(OSError):
                (self.path / action).unlink()
            raise
        return True

    def claims(self) -> list[Path]:
        """The files of all claims; none if the directory is missing."""
        claims = _matching(self.path, _ID)
        with suppress(PermissionError):  # earlier versions could not use such a directory
            # Files only: the directory of an agent may have such a name.
            claims += [path for path in _matching(self._earlier, _ID) if path.is_file()]
        return claims

    def latest(self) -> tuple[float, Path]:
        """The latest time that was seen, and its file; 0 if there is none.

        :raises JournalError: if the file is damaged.
        """
        path = self.path / _LATEST
        with suppress(FileNotFoundError):
            return _read_latest(path), path
        earlier = self._earlier / _LATEST
        with suppress(FileNotFoundError, IsADirectoryError):  # the directory of an agent with this name
            return _read_latest(earlier), earlier
        return 0, path

    def write_latest(self, now: float) -> None:
        """Write the latest time that was seen."""
        # Two processes may write at the same time; they have the same clock.
        draft = self.path / f"{_LATEST}.{os.getpid()}"
        try:
            with draft.open("w") as file:
                file.write(repr(now))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path / _LATEST)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        sync_directory(self.path)

    def remove_before(self, time: float) -> None:
        """Remove the claims whose windows ended before this time, and older files that killed processes left behind."""
        for path in self.claims():
            if _end(path) < time:
                path.unlink(missing_ok=True)
        for path in _matching(self.path, _DRAFT):
            if _modified(path) < time:
                path.unlink(missing_ok=True)


def is_id(text: str) -> bool:
    """True if an action may have this id."""
    return _ID.fullmatch(text) is not None


def remedy(path: Path) -> str:
    """What to do if ``latest`` is wrong."""
    return f"remove {path} and restart the agent {WINDOWS_OVER}"


def _read_latest(path: Path) -> float:
    try:
        latest = float(path.read_text())
    except ValueError:
        latest = nan
    if not isfinite(latest):
        raise JournalError(f"{path} is damaged; no action runs: {remedy(path)}")
    return latest


def _matching(directory: Path, name: re.Pattern[str]) -> list[Path]:
    """The files with such names; none if the directory is missing."""
    with suppress(FileNotFoundError):
        return [path for path in directory.iterdir() if name.fullmatch(path.name)]
    return []


def _end(path: Path) -> float:
    """When the window of a claimed action ends; for a damaged claim, when it ends at the latest."""
    try:
        return float(json.loads(path.read_text())["until"])
    except (ValueError, KeyError, TypeError):
        return _modified(path) + WIDEST
    except FileNotFoundError:  # another process removed it
        return 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0
