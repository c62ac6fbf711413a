"""Do more processes want to run than there are processor cores?"""

import psutil

from . import Problem
from .items import Item, Measurement, problems
from .ranges import Thresholds, thresholds

#: For the load of five minutes per core.
THRESHOLDS = ("2", "4")


def check() -> list[Problem]:
    """The current problems."""
    return problems(read(thresholds(*THRESHOLDS)))


def read(limits: Thresholds) -> list[Item]:
    """The load now."""
    return judge(psutil.getloadavg(), psutil.cpu_count() or 1, limits)


def judge(loads: tuple[float, float, float], cores: int, limits: Thresholds) -> list[Item]:
    """Judge the loads of 1, 5 and 15 minutes.

    The message has whole numbers, so that reports change seldom.
    """
    per_core = loads[1] / cores
    plural = "" if cores == 1 else "s"
    message = f"the load of the last 5 minutes is {loads[1]:.0f} on {cores} core{plural}"
    each = (
        Measurement(f"load{minutes}", round(load, 2), minimum=0)
        for minutes, load in zip((1, 5, 15), loads, strict=True)
    )
    metrics = (Measurement("load5_per_core", round(per_core, 3), thresholds=limits, minimum=0), *each)
    return [Item("", limits.state(per_core), message, metrics)]
