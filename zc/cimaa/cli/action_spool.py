"""A spool of actions: directories for programs that can only write files, in MIG's layout.

The store is the truth.  Each pass computes from it what the directories should be, so that it does not matter where the
last one was killed, and two spools may have the same action.

=====================  ===============================================================================================
``action/new``         files to be sent, each with its signatures in ``NAME.sig``
``action/inflight``    those that were sent; ``NAME.status`` has their counters
``action/done``        those that are completed or cancelled
``action/invalid``     those that cannot be sent; ``NAME.reason`` says why
``command/ready``      a directory for each action, with a file for each agent that has not looked at it
``command/inflight``   the same for agents that run it
``command/returned``   the same for agents that ended it, while others have not
``command/done``       the same, once the action is done
=====================  ===============================================================================================
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..actions import documents, signed_files, signers
from ..actions.documents import Document
from ..actions.entries_of_actions import COMMAND, Counters, StoredAction
from ..actions.fleet_actions import FleetActions
from ..actions.signed_files import signature_file
from ..db import DB
from ..errors import InvalidAction
from ..text import file_name
from . import action_answers, action_costs, action_following, spool_files
from .action_answers import AnswerFilter
from .action_delivery import check_signed, reached
from .action_files import module_checks
from .spool_commands import CommandFiles

ACTIONS = ("new", "inflight", "done", "invalid")
#: Up to this number of agents, there is a file for each.
AGENTS = 10_000

# Seconds for which a file that is wrong must not have changed: it may be half-written.
_SETTLED = 10.0
_SIGNATURES = ".sig"
# What the spool itself writes.
_OWN = (".status", ".reason")

#: Gives these agents the action; may be paced.
Deliver = Callable[[FleetActions, Document, int, Sequence[str]], None]


class ActionSpool:
    """The spool in a directory."""

    def __init__(
        self, directory: Path, db: DB, sender: str, deliver: Deliver, clock: Callable[[], float] = time.time
    ) -> None:
        self._fleet = FleetActions(db)
        self._db = db
        self._sender = sender
        self._deliver = deliver
        self._clock = clock
        self._actions = {name: directory / "action" / name for name in ACTIONS}
        self._commands = CommandFiles(directory / "command")
        # The counters of which the files were written.
        self._written: dict[str, Counters] = {}

    def prepare(self) -> None:
        """Make the directories, and tidy up after a process that was killed."""
        self._commands.prepare()
        for path in self._actions.values():
            spool_files.prepare(path)

    def send_new(self) -> list[str]:
        """Send the new actions; the names of those that were sent, and lines about those that are invalid."""
        said = []
        for path in _files(self._actions["new"], (_SIGNATURES,)):
            try:
                document = self._send(path)
            except InvalidAction as error:
                if self._is_settled(path):
                    self._reject(path, str(error))
                    said.append(f"{path.name} is invalid: {error}")
            else:
                said.append(f"{path.name} is sent: {document.id}")
        for following in ("inflight", "invalid"):
            _remove_lonely(self._actions["new"], self._actions[following], (_SIGNATURES,))
        return said

    def follow(self) -> list[str]:
        """Write what became of the actions in flight; the names of those that are done, or are not files."""
        said = []
        for path in _files(self._actions["inflight"]):
            try:
                data = spool_files.read(path, documents.SIZE + 1)
            except InvalidAction as error:  # another program put it there
                self._reject(path, str(error))
                said.append(f"{path.name} is invalid: {error}")
                continue
            if self._follow(path, documents.document_id(data)):
                said.append(f"{path.name} is done")
        _remove_lonely(self._actions["inflight"], self._actions["done"])
        return said

    def prune(self, keep: float) -> None:
        """Remove what has been done or invalid for longer than ``keep`` seconds."""
        before = self._clock() - keep
        for place in ("done", "invalid"):
            for path in self._actions[place].iterdir():
                if path.lstat().st_ctime < before:
                    spool_files.remove(path)
        self._commands.keep({path.name for path in _files(self._actions["done"])})

    def is_billed(self) -> bool:
        """True if the store bills what is read to follow actions."""
        return self._fleet.is_billed()

    def _send(self, path: Path) -> Document:
        """Send an action, unless that was done before it was moved.

        :raises InvalidAction: if it cannot be sent.
        """
        data, given = _read(path)
        document = documents.parse(data, module_checks())
        check_signed(data, given, path.name)
        there = self._actions["inflight"] / path.name
        if any(_other(self._actions[place] / path.name, data) for place in ("inflight", "done")):
            raise InvalidAction(f"another action named {path.name} is not removed yet: choose another name")
        known = self._fleet.action(document.id)
        if known is None or document.expires > self._clock():
            agents = reached(self._db, document).agents
            if not agents:
                raise InvalidAction("no agent is in its target")
            self._fleet.add(data, given, self._sender)
            self._deliver(self._fleet, document, len(data) + len(given), agents)
        spool_files.write(signature_file(there), given)
        path.replace(there)
        return document

    def _reject(self, path: Path, reason: str) -> None:
        name = path.name if spool_files.has_good_name(path) else file_name(path.name)
        there = self._actions["invalid"] / name
        spool_files.write(there.with_name(f"{there.name}.reason"), f"{reason}\n".encode())
        signatures = signature_file(path)
        if signatures.is_file():
            signatures.replace(signature_file(there))
        if there.is_dir():
            spool_files.remove(there)
        path.replace(there)

    def _is_settled(self, path: Path) -> bool:
        changed = [each.lstat().st_mtime for each in (path, signature_file(path)) if each.exists()]
        return not changed or self._clock() - max(changed) >= _SETTLED

    def _follow(self, path: Path, document_id: str) -> bool:
        """Write what became of an action; true if it is done, and was moved."""
        action = self._fleet.action(document_id)
        if action is None:  # it is not kept any longer, or another program wrote a file here
            return self._finish(path, {"state": "unknown: the store does not have it"})
        if not (is_known := path.name in self._written):
            action_costs.show(self._fleet, COMMAND, f" once a minute for {path.name}")
        counted = self._fleet.counters(action)
        if self._written.get(path.name) != counted:
            if counted.sent <= AGENTS:
                found = action_answers.answered(self._fleet, action, AnswerFilter(), quiet=is_known)
                self._commands.write(path.name, found)
            spool_files.write_json(_with(path, ".status"), self._status(action, counted))
            self._written[path.name] = counted
        if not action_following.is_over(self._fleet, action, counted):
            return False
        return self._finish(path, self._status(action, counted))

    def _status(self, action: StoredAction, counted: Counters) -> dict[str, Any]:
        return action_following.shape(self._fleet, action, counted)

    def _finish(self, path: Path, status: dict[str, Any]) -> bool:
        there, name = self._actions["done"] / path.name, path.name
        self._commands.finish(name)
        spool_files.write_json(_with(there, ".status"), {**status, "file": name})
        spool_files.write(signature_file(there), signed_files.read_signatures(path))
        path.replace(there)
        self._written.pop(name, None)
        return True


def _remove_lonely(place: Path, following: Path, suffixes: Sequence[str] = (_SIGNATURES, *_OWN)) -> None:
    """Remove what belongs to files that were moved on to the next directory, when a process was killed there."""
    for path in place.iterdir():
        name = path.name.removesuffix(path.suffix)
        if path.suffix in suffixes and not (place / name).exists() and (following / name).exists():
            spool_files.remove(path)


def _files(directory: Path, skipped: Sequence[str] = (_SIGNATURES, *_OWN)) -> list[Path]:
    """The actions in a directory, the oldest first; ``skipped`` are the suffixes of other files."""
    found = [path for path in directory.iterdir() if path.suffix not in skipped and path.name[0] != "."]
    return sorted(found, key=lambda path: (path.lstat().st_mtime, path.name))


def _read(path: Path) -> tuple[bytes, bytes]:
    """A document and its signatures.

    :raises InvalidAction: if they cannot be read.
    """
    if not spool_files.has_good_name(path):
        raise InvalidAction("choose a name of at most 200 bytes, without characters that cannot be shown")
    if path.suffix in _OWN:
        raise InvalidAction(f"choose a name that does not end with {path.suffix}: the spool writes such files itself")
    try:
        return spool_files.read(path, documents.SIZE + 1), _read_signatures(path)
    except OSError as error:
        raise InvalidAction(f"it cannot be read: {error.strerror}") from error


def _read_signatures(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return spool_files.read(signature_file(path), signers.SIZE + 1)
    return b""


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _other(path: Path, data: bytes) -> bool:
    """True if there is another action of this name."""
    return path.is_file() and signed_files.read(path) != data
