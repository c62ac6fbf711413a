"""What the signers of an action may ask an agent for: the weights of MIG.  Pure, but for finding the modules.

Each operation needs a minimum.  The weights of those who signed are added up, and must reach it::

    [permission:file]
    minimum = 2
    weights = jane 2, joe 1
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import entrypoints, options
from ..config import Config
from ..errors import ActionRefused, ConfigurationError
from ..options import COUNT, Option, Type
from ..text import quoted
from .documents import Operation

#: What the names of the sections start with, and the section for modules that have none of their own.
SECTION, DEFAULT = "permission", "default"
#: The group of entry points in which modules are found.
MODULES = "zc.cimaa.module"
#: The module that may have a section for each of its commands, which this parameter names.
COMMAND, COMMAND_NAME = "command", "name"
#: The key by which a section confines the module ``file`` to directories.
WITHIN = "within"


class Permission(NamedTuple):
    """What an operation needs."""

    #: The name of the section.
    section: str
    minimum: int
    #: The weights of investigators, by their names.
    weights: Mapping[str, int]
    #: The directories to which the module ``file`` is confined; none: it is not.
    within: tuple[str, ...] = ()


class Weighed(NamedTuple):
    """An operation, and what the signatures of its action weigh for it."""

    operation: Operation
    #: ``None``: no section permits the module to anybody.
    permission: Permission | None
    weight: int
    #: True if no section permits the module, but ``[permission:default]`` would.
    has_default: bool

    @property
    def reason(self) -> str:
        """Why the operation is not permitted; empty: it is."""
        if self.permission is None:
            module = self.operation.module
            default = f" or [{SECTION}:{DEFAULT}]" if self.has_default else ""
            return f"no section permits the module {module}: [{SECTION}:{module}]{default}"
        needed = f"[{self.permission.section}] needs {self.permission.minimum}"
        if self.weight < self.permission.minimum:
            return f"the signatures weigh {self.weight} for the module {self.operation.module}; {needed}"
        return ""


class Permissions:
    """The permissions of an agent's configuration."""

    def __init__(self, permissions: Iterable[Permission], only_looks: Callable[[str], bool]) -> None:
        """``only_looks`` says whether the module with this name only looks, so that the default holds for it."""
        self._only_looks = only_looks
        self._by_name = {each.section.partition(":")[2]: each for each in permissions}

    def names(self) -> set[str]:
        """The names of all investigators that have a weight."""
        return {name for permission in self._by_name.values() for name in permission.weights}

    def unreachable(self) -> list[str]:
        """Warnings about sections that permit nothing to anybody."""
        return [
            f"[{each.section}] permits nothing to anybody: the weights add up to {total}, and minimum is {each.minimum}"
            for each in self._by_name.values()
            if (total := sum(each.weights.values())) < each.minimum
        ]

    def of(self, operation: Operation) -> Permission | None:
        """The permission that holds for an operation: the most special one.

        The default holds only for modules that only look.
        """
        module = operation.module
        names = [f"{COMMAND}:{operation.parameters.get(COMMAND_NAME)}", COMMAND] if module == COMMAND else [module]
        own = next((self._by_name[name] for name in names if name in self._by_name), None)
        return self._by_name.get(DEFAULT) if own is None and self._only_looks(module) else own

    def weigh(self, operations: Iterable[Operation], signers: Sequence[str]) -> list[Weighed]:
        """What the signatures weigh for each operation; ``signers`` are the names of those who signed.

        :raises ActionRefused: naming a signer who is there twice: each key and each name counts once.
        """
        for number, name in enumerate(signers):
            if name in signers[:number]:
                raise ActionRefused(f"{name} signed twice")
        return [self._weighed(operation, signers) for operation in operations]

    def check(self, operations: Iterable[Operation], signers: Sequence[str]) -> None:
        """Refuse an action, with all of its operations, if one of them is not permitted.

        :raises ActionRefused: naming the module, and what its signatures weigh.
        """
        for weighed in self.weigh(operations, signers):
            if weighed.reason:
                raise ActionRefused(weighed.reason)

    def _weighed(self, operation: Operation, signers: Sequence[str]) -> Weighed:
        permission = self.of(operation)
        weight = sum(permission.weights.get(name, 0) for name in signers) if permission else 0
        return Weighed(operation, permission, weight, permission is None and self._only_looks(operation.module))


def parse(
    sections: Mapping[str, Mapping[str, str]], known: Iterable[str], only_looks: Callable[[str], bool]
) -> Permissions:
    """The permissions in the sections ``[permission:NAME]``; other sections are passed over.

    ``known`` has the names that a section may have besides ``default``: modules, and ``command:NAME``; ``only_looks``
    says which modules only look.

    :raises ConfigurationError: naming what is wrong, with all other errors as its ``others``.
    """
    found, wrong = [], []
    for section, given in sections.items():
        if section.startswith(f"{SECTION}:"):
            try:
                found.append(_permission(section, given, [DEFAULT, *known]))
            except ConfigurationError as error:
                wrong.append(error)
    ConfigurationError.raise_all(wrong)
    return Permissions(found, only_looks)


def of_configuration(configuration: Config) -> Permissions:
    """The permissions of an agent, for the modules that are installed and the commands that its configuration has.

    :raises ConfigurationError: naming what is wrong.
    """
    known = [*entrypoints.names(MODULES), *configuration.named(COMMAND)]
    return parse(configuration.sections, known, _only_looks)


def options_of(section: str) -> list[Option]:
    """The settings that a section ``[permission:NAME]`` has."""
    confined = section == f"{SECTION}:file"
    return [option for option in OPTIONS if confined or option.name != WITHIN]


def unknown_names(permissions: Permissions, investigators: Iterable[str]) -> list[str]:
    """Warnings about names that have a weight, but no key."""
    known = list(investigators)
    unknown = sorted(permissions.names() - set(known))
    return [f"no investigator is named {quoted(name)}; {options.nearest(name, known)}" for name in unknown]


def _only_looks(name: str) -> bool:
    """True if the module with this name says that it only looks."""
    try:
        module = entrypoints.load(MODULES, name, object, "module", "module")
    except ConfigurationError:  # it is not installed, or cannot be loaded
        return False
    return getattr(module, "only_looks", False) is True


def _permission(section: str, given: Mapping[str, str], known: Sequence[str]) -> Permission:
    name = section.partition(":")[2]
    if name not in known:
        raise ConfigurationError(f"[{section}]: there is no module {quoted(name)}; {options.nearest(name, known)}")
    values = options.parse(section, options_of(section), given)
    for key in ("minimum", "weights"):
        if values[key] is None:
            raise ConfigurationError(f"[{section}] {key} is missing")
    return Permission(section, values["minimum"], values["weights"], values.get(WITHIN) or ())


def _weights(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = part.strip().rpartition(" ")
        name = name.strip()
        if not name or " " in name:
            raise ValueError(f"{quoted(part.strip())} is not NAME WEIGHT: write it like jane 2, joe 1")
        if name in found:
            raise ValueError(f"{quoted(name)} is there twice")
        try:
            found[name] = COUNT.parse(weight)
        except ValueError as error:
            raise ValueError(f"the weight of {name}: {error}") from None
    return found


def _directories(text: str) -> tuple[str, ...]:
    directories: Any = options.COMMAND.parse(text)  # words as a shell splits them
    for directory in directories:
        if not directory.startswith("/"):
            raise ValueError(f"{quoted(directory)} is not an absolute path")
    return tuple(directories)


OPTIONS = (
    Option("minimum", "what the weights of those who signed must add up to, at least 1", COUNT),
    Option("weights", "the weight of each investigator: NAME 2, NAME 1", Type("weights", _weights)),
    Option(WITHIN, "the directories to which the module file is confined", Type("directories", _directories)),
)
