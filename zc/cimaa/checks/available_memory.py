"""Is memory available to programs without swapping?"""

import psutil

from . import Problem
from .items import Item, measured, percent, problems
from .ranges import Thresholds, thresholds

#: For the percentage that is available.
THRESHOLDS = ("10:", "5:")


def check() -> list[Problem]:
    """The current problems."""
    return problems(read(thresholds(*THRESHOLDS)))


def read(limits: Thresholds) -> list[Item]:
    """The memory that is available now."""
    memory = psutil.virtual_memory()
    return judge(memory.available, memory.total, limits)


def judge(available: int, total: int, limits: Thresholds) -> list[Item]:
    """Judge the bytes of memory that are available, of ``total``.

    The message has whole percents, so that reports change seldom.
    """
    left = 100 * available / total
    message = f"{int(left)} % of {total / 2**30:.1f} GiB memory is available"
    return [measured("", message, percent("available", left, limits))]
