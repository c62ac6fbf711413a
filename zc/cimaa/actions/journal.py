"""What an agent has run: a directory with a file for each action, made before anything runs.

A store that gives an action again is not believed.  Nothing here depends on the store: a user who can write to it can
withhold actions, but cannot make an agent run one twice.  Agents of one user may have the same journal: in it, each has
a directory of its name.

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

from ..durable import make_directory, sync_directory
from ..errors import JournalError
from ..text import file_name
from ..units import format_duration
from . import trusted_files
from .config import WIDEST

#: How far the clock may be behind the latest time that was seen (seconds).
TOLERANCE: Final = 5 * 60

_LATEST = "latest"
_ID = re.compile(r"[0-9a-f]{64}")


class Journal:
    """The journal of an agent.  Several processes may use it: each action is claimed by one of them."""

    def __init__(self, directory: Path, agent: str) -> None:
        """Open the agent's part of a directory, which is made if it is missing.

        :raises ConfigurationError: if other users may write to it.
        :raises JournalError: if it cannot be made.
        """
        self.path = directory / file_name(agent)
        self._remedy = f"remove {self.path / _LATEST} after the windows of all actions that ran are over"
        with self._errors("made"):
            make_directory(self.path)
        trusted_files.check(self.path)

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
        """Claim an action whose window ends at ``until``; false if it was claimed before, by any process.

        When it returns true, the claim is on disk.

        :raises JournalError: if the clock is behind, or the claim cannot be written: then nothing may run.
        """
        if not _ID.fullmatch(action):
            raise ValueError(f"{action!r} is not the id of an action")
        self.see(now)
        with self._errors("written"):
            return self._write_claim(action, json.dumps({"until": until}).encode())

    def take_over(self, other: "Journal") -> None:
        """Claim what another journal has claimed, and see what it saw: this one is used in its place from now on.

        If the directory of the other one is missing, it was moved, and there is nothing to take over.

        :raises JournalError: if one of them cannot be read or written; then this one must not be used.
        """
        with other._errors("read"):
            latest = other._latest()
            claims = {}
            for path in other._claims() if other.path.is_dir() else ():
                with suppress(FileNotFoundError):  # another process removed it
                    claims[path.name] = path.read_bytes()
        with self._errors("written"):
            for action, claim in claims.items():
                self._write_claim(action, claim)
            if latest > self._latest():
                self._write_latest(latest)

    def prune(self, now: float) -> None:
        """Remove the claims that are no longer needed, because the windows of their actions are over.

        :raises JournalError: if the clock is behind, or the journal cannot be written.
        """
        self.see(now)
        with self._errors("written"):
            for path in self._claims():
                # The clock may be behind by the tolerance, and must not be in the window then.
                if _end(path) + TOLERANCE < now:
                    path.unlink(missing_ok=True)

    def _write_claim(self, action: str, claim: bytes) -> bool:
        """Write the file of a claim, and return when it is on disk; false if there is one."""
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

    def _claims(self) -> list[Path]:
        return [path for path in self.path.iterdir() if _ID.fullmatch(path.name)]

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
        sync_directory(self.path)

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
