"""Do more programs want to run than the processors can?"""

import psutil

from ..faults import SEVERITIES
from . import Finding

#: Above how much load (of five minutes) per core it is reported.
WARNING_LOAD = 2
ERROR_LOAD = 4


def check() -> list[Finding]:
    """What is wrong now."""
    return judge(psutil.getloadavg()[1], psutil.cpu_count() or 1)


def judge(load: float, cores: int) -> list[Finding]:
    """What is wrong with such a load on so many cores.

    The message has whole numbers, so that a report changes seldom.
    """
    if load <= WARNING_LOAD * cores:
        return []
    severity = SEVERITIES["error" if load > ERROR_LOAD * cores else "warning"]
    plural = "" if cores == 1 else "s"
    return [Finding("", severity, f"the load of the last 5 minutes is {load:.0f} on {cores} core{plural}")]
