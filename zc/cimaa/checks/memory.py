"""Is there memory left that programs can get without swapping?"""

import psutil

from ..faults import SEVERITIES
from . import Finding

#: Below how many percent available the memory is reported.
WARNING_AVAILABLE = 10
ERROR_AVAILABLE = 5


def check() -> list[Finding]:
    """What is wrong now."""
    memory = psutil.virtual_memory()
    return judge(memory.available, memory.total)


def judge(available: int, total: int) -> list[Finding]:
    """What is wrong with so many bytes of memory available, of so many in all.

    The message has whole percents, so that a report changes seldom.
    """
    percent = 100 * available / total
    if percent >= WARNING_AVAILABLE:
        return []
    severity = SEVERITIES["error" if percent < ERROR_AVAILABLE else "warning"]
    return [Finding("", severity, f"{int(percent)} % of {total / 2**30:.1f} GiB memory is available")]
