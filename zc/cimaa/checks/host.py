"""The checks that an agent runs if none are configured: those of its host."""

from collections.abc import Callable, Mapping

from . import Problem, available_memory, disk, load

#: Each check by its name.
CHECKS: Mapping[str, Callable[[], list[Problem]]] = {
    "disk": disk.check,
    "load": load.check,
    "memory": available_memory.check,
}
