"""Modules: what an action can ask of an agent, each found by its entry point in the group ``zc.cimaa.module``.

``mounts``, ``file_tree``
    The mounted file systems, and which of them a search enters; walking through directories.
``file_search``, ``packages``, ``process_search``, ``connections``
    The modules ``file``, ``package``, ``process`` and ``port``, which look at the host.  Each has a
    function that reads, and one that judges what was read.
``agent_checks``, ``host_commands``
    The modules ``check`` and ``command``, which run what the agent's configuration names.

Importing this package loads none of them.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from ... import entrypoints
from ...faults import FaultDict
from ..answers import Answer
from ..parameters import Parameter, ParameterValues, Test, read

T = TypeVar("T")

#: The entry points' group; a name in it is a module's name.
GROUP = "zc.cimaa.module"


class CheckRun(NamedTuple):
    """A check that was run."""

    check: str
    faults: Sequence[FaultDict] = ()
    #: Why it could not be run; empty: it was run.
    error: str = ""


#: Runs checks of the agent, by their names, and reports what they found.
RunChecks: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[CheckRun]]]


class HostCommand(NamedTuple):
    """A ``[command:NAME]`` section."""

    command: Sequence[str]
    #: True for an argument that may be added.
    allows: Callable[[str], object]
    #: Seconds.
    timeout: float


class Host(NamedTuple):
    """What a module is given by the agent's configuration, and by the permission for this action."""

    #: The directories to which ``file`` is confined; empty: it is not confined.
    within: Sequence[str] = ()
    #: The commands of the configuration, by name.
    commands: Mapping[str, HostCommand] = MappingProxyType({})
    #: ``None``: no checks can be run.
    run_checks: RunChecks | None = None
    #: Added to the environment of commands.
    environment: Mapping[str, str] = MappingProxyType({})


class Bounds(NamedTuple):
    """The limits of a module that looks at the host."""

    #: The monotonic clock's time (seconds) at which it is to answer with what it has found.
    deadline: float
    #: The directories to which it is confined; empty: it is not confined.
    within: Sequence[str] = ()

    def over(self) -> bool:
        """True if it is to answer now."""
        return time.monotonic() >= self.deadline


class Module(ABC):
    """A module.  It has no state; :meth:`check` validates parameters, and runs nothing."""

    #: The name of the entry point.
    name: ClassVar[str]
    #: One line for lists.
    summary: ClassVar[str]
    #: True if it changes nothing on the host, so that ``[permission:default]`` holds for it; any other module needs a
    #: section of its own.
    only_looks: ClassVar[bool] = False
    parameters: ClassVar[Sequence[Parameter]]

    @classmethod
    def check(cls, parameters: object) -> ParameterValues:
        """The value of every parameter.

        :raises InvalidParameters: naming the parameter that is unknown, missing or invalid.
        """
        return read(cls.name, cls.parameters, parameters)


class Inspector(Module):
    """A module that only looks at the host; it runs in a child process of its own."""

    only_looks = True

    @classmethod
    @abstractmethod
    def inspect(cls, values: ParameterValues, bounds: Bounds) -> Answer:
        """Look, and answer."""


class Operator(Module):
    """A module that starts what the agent's configuration names, in child processes."""

    @classmethod
    @abstractmethod
    async def operate(cls, values: ParameterValues, host: Host) -> Answer:
        """Run it, and answer.  When this is cancelled, no child process is left."""


def names() -> list[str]:
    """The names of all modules, sorted."""
    return entrypoints.names(GROUP)


def load(name: str) -> type[Module]:
    """The module of this name.

    :raises ConfigurationError: if there is none, naming the nearest.
    """
    return entrypoints.load(GROUP, name, Module, "module", "module")


def checks() -> dict[str, Callable[[object], ParameterValues]]:
    """What validates the parameters of each module, by the module's name; see :meth:`Module.check`."""
    return {name: load(name).check for name in names()}


def any_match(patterns: Sequence[Test] | None, name: str) -> bool:
    """True if one of the patterns matches the name, or none was asked for."""
    return patterns is None or any(matches(name) for matches in patterns)


def matched(found: Sequence[T], shape: Callable[[T], Mapping[str, Any]], matches: int, **statistics: Any) -> Answer:
    """The answer of a search: the first ``matches`` of what was found, each as ``shape`` has it."""
    return Answer(bool(found), True, list(map(shape, found[:matches])), {**statistics, "matches": len(found)})
