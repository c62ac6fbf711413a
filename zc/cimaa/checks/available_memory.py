"""Is there memory left that programs can get without swapping?"""

import psutil

from . import Problem
from .items import Item, findings, measured, percent
from .ranges import Thresholds, thresholds

#: Of how much (percent) is available.
THRESHOLDS = ("10:", "5:")


def check() -> list[Problem]:
    """What is wrong now."""
    return findings(read(thresholds(*THRESHOLDS)))


def read(limits: Thresholds) -> list[Item]:
    """How much is available now."""
    memory = psutil.virtual_memory()
    return judge(memory.available, memory.total, limits)


def judge(available: int, total: int, limits: Thresholds) -> list[Item]:
    """Judge so many bytes of memory available, of so many in all.

    The message has whole percents, so that a report changes seldom.
    """
    left = 100 * available / total
    message = f"{int(left)} % of {total / 2**30:.1f} GiB memory is available"
    return [measured("", message, percent("available", left, limits))]
