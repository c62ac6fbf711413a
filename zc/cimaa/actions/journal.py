"""What an agent has run: a directory with a file for each action, made before anything runs.

A store that gives an action again is not believed.  Nothing here depends on the store: a user who can write to it can
withhold actions, but cannot make an agent run one twice.  Agents of one user may have the same journal: in it, each has
a directory of its name.

A file is removed when the window of its action has been over for a while.  So that a clock that was set back does not
open that window again, the journal keeps the latest time that it saw, and while the clock is behind it, nothing runs.

A process that finds its journal emptied, missing or replaced by an earlier one does not go on with that: it could not
know any longer what ran.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..durable import make_directory
from ..errors import JournalError
from ..text import file_name
from ..units import format_duration
from . import trusted_files
from .journal_files import WINDOWS_OVER, JournalFiles, is_id, remedy

#: How far the clock may be behind the latest time that was seen (seconds).
TOLERANCE: Final = 5 * 60


class Journal:
    """The journal of an agent.  Several processes may use it: each action is claimed by one of them."""

    def __init__(self, directory: Path, agent: str) -> None:
        """Open the agent's part of a directory, which is made if it is missing.

        :raises ConfigurationError: if other users may write to it.
        :raises JournalError: if it cannot be made.
        """
        self.path = directory / file_name(agent)
        self._files = JournalFiles(self.path)
        # The latest time that this process knows to be in the journal: if it is not there, claims are lost, too.
        self._seen = 0.0
        with self._errors("made"):
            make_directory(self.path)
        trusted_files.check(self.path)
        with suppress(JournalError), self._errors("read"):  # such a problem is reported when the journal is used
            self._seen, _ = self._files.latest()

    def see(self, now: float) -> None:
        """Note the time (seconds since the epoch), before anything is decided by it.

        :raises JournalError: if the clock is behind the latest time that was seen, what this process wrote is not in
            the journal any more, or the journal cannot be written.
        """
        with self._errors("written"):
            latest, path = self._files.latest()
            if latest < self._seen - TOLERANCE:
                raise JournalError(
                    f"what this agent wrote to the journal {self.path} is not there any more; no action runs: "
                    f"restore it, or restart the agent {WINDOWS_OVER}"
                )
            if now < latest - TOLERANCE:
                behind = format_duration(latest - now)
                raise JournalError(
                    f"the clock is {behind} behind the latest time that the journal {self.path} saw; no action runs."
                    f"  If the clock is right now, {remedy(path)}"
                )
            if now > latest:
                self._files.write_latest(now)
            self._seen = max(self._seen, now, latest)

    def claim(self, action: str, until: float, now: float) -> bool:
        """Claim an action whose window ends at ``until``; false if it was claimed before, by any process.

        When it returns true, the claim is on disk.

        :raises JournalError: if the clock is behind, or the claim cannot be written: then nothing may run.
        """
        if not is_id(action):
            raise ValueError(f"{action!r} is not the id of an action")
        self.see(now)
        with self._errors("written"):
            return self._files.write_claim(action, json.dumps({"until": until}).encode())

    def take_over(self, last: "Journal") -> None:
        """Use this journal in place of the ``last`` one of this process from now on.

        It claims what that has claimed, and sees what it saw.  If that is not there any more, it must have been moved
        here.

        :raises JournalError: if it was not moved here, or one of them cannot be read or written; then this one must
            not be used.
        """
        if self.path != last.path:
            self._copy(last)
        self._seen = max(self._seen, last._seen)

    def prune(self, now: float) -> None:
        """Remove the claims that are no longer needed, because the windows of their actions are over.

        :raises JournalError: if the clock is behind, or the journal cannot be written.
        """
        self.see(now)
        with self._errors("written"):
            # The clock may be behind by the tolerance, and must not be in the window of a claim then.
            self._files.remove_before(now - TOLERANCE)

    def _copy(self, last: "Journal") -> None:
        """Copy what another journal has into this one."""
        with last._errors("read"):
            latest, _ = last._files.latest()
            claims = {}
            for path in last._files.claims():
                with suppress(FileNotFoundError):  # another process removed it
                    claims[path.name] = path.read_bytes()
            is_there = last.path.is_dir() and latest >= last._seen - TOLERANCE
        with self._errors("written"):
            ours, _ = self._files.latest()
            if not is_there and (not ours or ours < last._seen):
                raise JournalError(
                    f"what this agent wrote to the journal {last.path} is not there any more, and was not moved to "
                    f"{self.path}; no action runs: restore it, or restart the agent {WINDOWS_OVER}"
                )
            for action, claim in claims.items():
                self._files.write_claim(action, claim)
            if latest > ours:
                self._files.write_latest(latest)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"the journal {self.path} cannot be {done}: {error.strerror}; no action runs"
            raise JournalError(reason) from error
