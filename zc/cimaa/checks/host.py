"""The checks that an agent runs if nobody gave it any: those of the host that it runs on."""

from collections.abc import Callable, Mapping

from . import Finding, disk, load
from . import available_memory as memory

#: Each check by its name.
CHECKS: Mapping[str, Callable[[], list[Finding]]] = {"disk": disk.check, "load": load.check, "memory": memory.check}
