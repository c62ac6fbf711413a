"""Runs the command of a check, and ends it with all of its children."""

from collections.abc import Mapping

from .. import child_process
from ..child_process import Execution
from ..outcomes import Outcome
from .rules.check import Check

#: The limit of a check's output (bytes).
OUTPUT = 1024 * 1024


async def run(check: Check, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run the check's command; ``environment`` is added to that of this process; see :func:`child_process.run`."""
    return await child_process.run(Execution(check.command, check.timeout, OUTPUT, check.directory, environment or {}))
