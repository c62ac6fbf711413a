"""Runs a program for each alert."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..errors import AlertError, ConfigurationError
from ..faults import encode
from ..masking import mask_text
from ..options import COMMAND, Option
from . import Alert
from . import Alerter as Base

# So much of what the program wrote is told, of its end: there the reason is.
_TOLD = 200


class Alerter(Base):
    """Runs a program for each alert, which reads it as one line of JSON, and ends with status 0 if it passed it on."""

    options = (Option("command", "what to run: words as a shell splits them, but no shell runs them", COMMAND),)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        if settings["command"] is None:
            raise ConfigurationError("command: there is none")

    def send(self, alert: Alert) -> None:
        """Run the program; it is killed with its children if it takes too long."""
        command: list[str] = self.settings["command"]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AlertError(f"cannot run {command[0]}: {reason}") from error
        with process:
            try:
                _, errors = process.communicate(encode(alert._asdict()) + b"\n", self.timeout)
            except subprocess.TimeoutExpired as error:
                raise AlertError(f"{command[0]} took longer than {self.timeout} s, and was killed") from error
            finally:
                _kill(process)
        if process.returncode:
            said = mask_text(errors.decode(errors="replace").strip())[-_TOLD:]
            raise AlertError(f"{command[0]} ended with status {process.returncode}{f': {said}' if said else ''}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
