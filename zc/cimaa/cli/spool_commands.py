"""The files of a spool about the commands of its actions: one for each agent, in the directory of its state."""

from collections.abc import Collection, Iterable
from pathlib import Path

from ..actions.entries_of_actions import RUNNING, SENT
from ..text import file_name
from . import action_answers, spool_files
from .action_answers import Answered

READY, INFLIGHT, RETURNED, DONE = STATES = ("ready", "inflight", "returned", "done")


class CommandFiles:
    """The directory ``command``: in each state it has a directory for each action, by the name of its file."""

    def __init__(self, directory: Path) -> None:
        self._places = {state: directory / state for state in STATES}

    def prepare(self) -> None:
        """Make the directories, and remove what was half-written."""
        for place in self._places.values():
            spool_files.prepare(place)
            for path in place.iterdir():
                spool_files.remove_drafts(path)

    def write(self, name: str, found: Iterable[Answered]) -> None:
        """Write the files of an action, and remove those of earlier states."""
        for answered in found:
            state = {SENT: READY, RUNNING: INFLIGHT}.get(answered.command.state, RETURNED)
            directory = self._places[state] / name
            directory.mkdir(exist_ok=True)
            file = f"{file_name(answered.command.agent)}.json"
            about = {"action": answered.command.id, **action_answers.shape(answered)}
            spool_files.write_json(directory / file, about)
            for other in (READY, INFLIGHT, RETURNED):
                if other != state:
                    (self._places[other] / name / file).unlink(missing_ok=True)

    def finish(self, name: str) -> None:
        """Move the files of an action that is done."""
        done = self._places[DONE] / name
        done.mkdir(exist_ok=True)
        for state in (RETURNED, INFLIGHT, READY):
            place = self._places[state] / name
            for file in place.glob("*.json"):
                file.replace(done / file.name)
            spool_files.remove(place)

    def keep(self, names: Collection[str]) -> None:
        """Remove the files of all actions that are done, but of these names."""
        for path in self._places[DONE].iterdir():
            if path.name not in names:
                spool_files.remove(path)
