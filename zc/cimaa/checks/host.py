"""The checks that an agent runs if nobody gave it any: those of the host that it runs on."""

from collections.abc import Callable, Mapping

from . import Finding, available_memory, disk, load

#: Each check by its name.
CHECKS: Mapping[str, Callable[[], list[Finding]]] = {
    "disk": disk.check,
    "load": load.check,
    "memory": available_memory.check,
}
