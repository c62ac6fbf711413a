"""What an agent has run: a directory with a file for each action, made before anything runs.

A store that gives an action again is not believed.  Nothing here depends on the store: whoever can write to it can
withhold actions, but cannot make an agent run one twice.

A file is removed when the window of its action has been over for a while.  So that a clock that was set back does not
open that window again, the journal keeps the latest time that it saw, and while the clock is behind it, nothing runs.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite, nan
from pathlib import Path
from typing import Final

from ..errors import JournalError
from ..units import format_duration
from . import trusted_files
from .config import WIDEST

#: How far the clock may be behind the latest time that was seen (seconds).
TOLERANCE: Final = 5 * 60

_LATEST = "latest"
_ID = re.compile(r"[0-9a-f]{64}")


class Journal:
    """The journal in a directory.  Several processes may use it: each action is claimed by one of them."""

    def __init__(self, path: Path) -> None:
        """Open the directory, which is made if it is missing.

        :raises ConfigurationError: if other users may write to it.
        :raises JournalError: if it cannot be made.
        """
        self.path = path
        self._remedy = f"remove {path / _LATEST} after the windows of all actions that ran are over"
        with self._errors("made"):
            if not path.is_dir():
                path.mkdir(mode=0o700, parents=True)
                _sync(path.parent)
        trusted_files.check(path)

    def see(self, now: float) -> None:
        """Note the time (seconds since the epoch), before anything is decided by it.

        :raises JournalError: if the clock is behind the latest time that was seen, or the journal cannot be written.
        """
        with self._errors("written"):
            latest = self._latest()
            if now < latest - TOLERANCE:
                behind = format_duration(latest - now)
                raise JournalError(
                    f"the clock is {behind} behind the latest time that the journal {self.path} saw; no action runs."
                    f"  If the clock is right now, {self._remedy}"
                )
            if now > latest:
                self._write_latest(now)

    def claim(self, action: str, until: float, now: float) -> bool:
        """Claim an action whose window ends at ``until``; false if it was claimed before, by whatever process.

        When it returns true, the claim is on disk.

        :raises JournalError: if the clock is behind, or the claim cannot be written: then nothing may run.
        """
        if not _ID.fullmatch(action):
            raise ValueError(f"{action!r} is not the id of an action")
        self.see(now)
        with self._errors("written"):
            try:
                descriptor = os.open(self.path / action, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return False
            try:
                with open(descriptor, "w") as file:  # noqa: PTH123  # a descriptor, not a path
                    json.dump({"until": until}, file)
                    file.flush()
                    os.fsync(file.fileno())
                _sync(self.path)
            except BaseException:  # nothing has run, and it may be claimed again
                with suppress(OSError):
                    (self.path / action).unlink()
                raise
        return True

    def prune(self, now: float) -> None:
        """Remove the claims that are no longer needed, because the windows of their actions are over.

        :raises JournalError: if the clock is behind, or the journal cannot be written.
        """
        self.see(now)
        with self._errors("written"):
            for path in self.path.iterdir():
                # The clock may be behind by the tolerance, and must not be in the window then.
                if _ID.fullmatch(path.name) and _end(path) + TOLERANCE < now:
                    path.unlink(missing_ok=True)

    def _latest(self) -> float:
        path = self.path / _LATEST
        try:
            latest = float(path.read_text())
        except FileNotFoundError:
            return 0
        except ValueError:
            latest = nan
        if not isfinite(latest):
            raise JournalError(f"{path} is damaged; no action runs: {self._remedy}")
        return latest

    def _write_latest(self, now: float) -> None:
        # Two processes may write at the same time; they have the same clock.
        draft = self.path / f"{_LATEST}.{os.getpid()}"
        with draft.open("w") as file:
            file.write(repr(now))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / _LATEST)
        _sync(self.path)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"the journal {self.path} cannot be {done}: {error.strerror}; no action runs"
            raise JournalError(reason) from error


def _end(path: Path) -> float:
    """When the window of a claimed action ends; for a damaged claim, when it ends at the latest."""
    try:
        return float(json.loads(path.read_text())["until"])
    except (ValueError, KeyError, TypeError):
        return path.stat().st_mtime + WIDEST
    except FileNotFoundError:  # another process removed it
        return 0


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
