"""Is there swap space left?"""

import psutil

from .items import Item, measured, percent
from .ranges import Thresholds
from .states import State

#: For the percentage that is used.
THRESHOLDS = ("50", "80")


def read(limits: Thresholds) -> list[Item]:
    """The current use."""
    swap = psutil.swap_memory()
    return judge(swap.used, swap.total, limits)


def judge(used: int, total: int, limits: Thresholds) -> list[Item]:
    """Judge the bytes of swap space that are used; a host without swap space is OK."""
    if not total:
        return [Item("", State.OK, "there is no swap space")]
    full = 100 * used / total
    message = f"{int(full)} % of {total / 2**30:.1f} GiB swap space is used"
    return [measured("", message, percent("used", full, limits))]
