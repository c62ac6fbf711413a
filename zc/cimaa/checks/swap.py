"""Is there swap space left?"""

import psutil

from .items import Item, measured, percent
from .ranges import Thresholds
from .states import State

#: Of how much (percent) is used.
THRESHOLDS = ("50", "80")


def read(limits: Thresholds) -> list[Item]:
    """How much is used now."""
    swap = psutil.swap_memory()
    return judge(swap.used, swap.total, limits)


def judge(used: int, total: int, limits: Thresholds) -> list[Item]:
    """Judge so many bytes of swap space used, of so many in all; having none is nothing wrong."""
    if not total:
        return [Item("", State.OK, "there is no swap space")]
    full = 100 * used / total
    message = f"{int(full)} % of {total / 2**30:.1f} GiB swap space is used"
    return [measured("", message, percent("used", full, limits))]
