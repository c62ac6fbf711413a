"""Runs a command that the agent's own configuration allows, in a section ``[command:NAME]``."""

from collections.abc import Sequence
from typing import Any

from ... import config
from ...config import Config, Setting
from ...errors import ConfigurationError
from ...options import COMMAND, TIMEOUT, Option, Type, nearest
from ...outcomes import Finished, NotStarted, Outcome, TimedOut
from ...squelches import compiled
from ...units import format_duration
from ..answers import Answer, cut_text, failed
from ..parameters import ONE_TEXT, TEXTS, Parameter, ParameterValues
from . import Host, HostCommand, Operator

#: What the names of the sections start with.
SECTION = "command"
OPTIONS = (
    Option("command", "the command: split into words like a shell's, but not run by a shell", COMMAND),
    Option(
        "arguments",
        "an RE2 regular expression for arguments that an action may add: each must match as a whole."
        " Without it, none may be added",
        Type("regular expression", compiled),
    ),
    Option("timeout", "how long a run may take", TIMEOUT, "60s"),
)

# Bytes of output that are kept, and bytes that it may have in the answer, as JSON.
_KEPT = 192 * 1024
_OUTPUT, _ERRORS = 192 * 1024, 16 * 1024


class Module(Operator):
    """Runs a command of the configuration."""

    name = "command"
    summary = "run a command that the agent's configuration has in a section [command:NAME]"
    parameters = (
        Parameter("name", ONE_TEXT, "the NAME of the section", required=True),
        Parameter("arguments", TEXTS, "arguments to add, as far as the section allows them", ()),
    )

    @classmethod
    async def operate(cls, values: ParameterValues, host: Host) -> Answer:
        """Run it, and end it with all its children."""
        from ... import child_process  # imports asyncio, which commands that only read the sections do not need
        from ...child_process import Execution

        name, arguments = values["name"], values["arguments"]
        if wrong := refusal(name, arguments, host):
            return failed(wrong)
        chosen = host.commands[name]
        execution = Execution(
            [*chosen.command, *arguments], chosen.timeout, _KEPT, "/", environment=host.environment, cut=True
        )
        return judge(name, await child_process.run(execution))


def load(configuration: Config) -> dict[str, HostCommand]:
    """The commands of a configuration, by name.

    :raises ConfigurationError: naming the section, and the problem.
    """
    return {section.partition(":")[2]: _load(section, configuration) for section in configuration.named(SECTION)}


def settings(section: str, configuration: Config) -> list[Setting]:
    """The effective settings of a section.

    :raises ConfigurationError: naming the section, and the problem.
    """
    found = configuration.section(section, OPTIONS)
    if config.values(found)["command"] is None:
        raise ConfigurationError(f"[{section}] command: the command is missing")
    return found


def refusal(name: str, arguments: Sequence[str], host: Host) -> str:
    """Why this command may not be run with these arguments; empty: it may."""
    if name not in host.commands:
        return f"this agent's configuration has no section [{SECTION}:{name}]; {nearest(name, host.commands)}"
    wrong = [argument for argument in arguments if not host.commands[name].allows(argument)]
    return f"[{SECTION}:{name}] arguments does not allow the argument {wrong[0]!r}" if wrong else ""


def judge(name: str, outcome: Outcome) -> Answer:
    """The answer to a run with this outcome: it is found, and a success, if the exit status is 0."""
    if isinstance(outcome, NotStarted):
        return failed(f"[{SECTION}:{name}] {outcome.reason}")
    left = [f"processes are left that could not be killed: {', '.join(outcome.left)}"] if outcome.left else []
    if isinstance(outcome, TimedOut):
        return failed(f"it was killed because it took longer than {format_duration(outcome.timeout)}", *left)
    assert isinstance(outcome, Finished)  # output beyond the limit is dropped
    good = outcome.status == 0
    return Answer(good, good, [_shape(name, outcome)], errors=[*([] if good else [_ending(outcome.status)]), *left])


def _load(section: str, configuration: Config) -> HostCommand:
    values = config.values(settings(section, configuration))
    arguments = values["arguments"]
    allows = (lambda _argument: False) if arguments is None else arguments.fullmatch
    return HostCommand(values["command"], allows, values["timeout"])


def _shape(name: str, outcome: Finished) -> dict[str, Any]:
    output = cut_text(outcome.output.decode(errors="replace"), _OUTPUT)
    if outcome.dropped:
        output += f"\n[cut: {outcome.dropped} more bytes]"
    errors = cut_text(outcome.errors.decode(errors="replace"), _ERRORS)
    return {"command": name, "status": outcome.status, "output": output, "errors": errors}


def _ending(status: int) -> str:
    return f"it exited with status {status}" if status >= 0 else f"it was killed by signal {-status}"
